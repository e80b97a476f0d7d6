"""Regression transformers of one configuration side by side, so that one pass asks all of them about the same tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, vmap

from .regression_config import RegressionConfig
from .regression_transformer import RegressionTransformer, label_last


@dataclass(frozen=True, eq=False)
class StackedTransformers:
    """Their parameters, by name, each with a leading model dimension."""

    config: RegressionConfig
    parameters: Mapping[str, Float[Tensor, "model *shape"]]

    @classmethod
    def of(cls, modules: Sequence[RegressionTransformer]) -> StackedTransformers:
        config = modules[0].config
        stacked = {name: torch.stack([module.get_parameter(name) for module in modules]) for name in config.shapes}
        return cls(config, {name: parameter.detach() for name, parameter in stacked.items()})

    def with_label_last(self, slot: int) -> StackedTransformers:
        """The same models of tokens whose label stands behind x instead of at `slot`."""
        return StackedTransformers(self.config, label_last(self.config, self.parameters, slot))

    def predict(
        self, inputs: Float[Tensor, "task token feature"], batch_size: int
    ) -> Float[Tensor, "model task d_out"]:
        """Every model's predictions, `batch_size` tasks of one model or fewer tasks of several models at a time."""
        blank = RegressionTransformer(self.config, {name: held[0] for name, held in self.parameters.items()})

        def one(parameters: dict[str, Tensor], tasks: Tensor) -> Tensor:
            return functional_call(blank, parameters, (tasks,))

        at_once = max(1, batch_size // len(inputs))
        everyone = vmap(one, in_dims=(0, None), chunk_size=at_once)
        with torch.no_grad():
            return torch.cat([everyone(dict(self.parameters), part) for part in inputs.split(batch_size)], dim=1)
