"""Trained beside constructed weights: what is compared with what, the controls included, and the losses in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from ...data.batch import Batch, generator
from ...models.own.merged import predict_stack
from ...models.own.regression_transformer import RegressionTransformer
from ...models.subject import NotApplicable
from ..comparing.behaviour import half_squared_error
from ..regression.nulls import Untrained
from ..regression.products import Live, WeightProducts, live_entries, module_products, products
from .setup import Setup
from .weights import align, matched_blocks, path, rotated, with_sign

WRONG_RATE = 0.5
RATES_DIFFER = "constructed layers have learning rates of their own, but all layers of this model share one block"
ALIGNED, UNALIGNED, WRONG, ROTATED = PATH_LABELS = ("aligned", "unaligned", "wrong_rate", "rotated")
"""Paths to a constructed model: from the aligned weights, and three controls."""
CONTROLS = ("trained", WRONG, ROTATED)
"""Distances to a constructed model: of the trained weights, and two controls."""

Ends = tuple[WeightProducts, WeightProducts]


@dataclass(frozen=True)
class WeightComparison:
    """A subject's weights and all that they are compared with.

    aligned:      in the gauge of the constructed weights, or why they cannot be
    constructed:  by candidate
    untrained:    the same architecture before training
    live:         entries that can reach the output
    seed:         of the random rotation
    """

    trained: WeightProducts
    aligned: WeightProducts | NotApplicable
    constructed: Mapping[str, WeightProducts]
    untrained: Sequence[WeightProducts]
    live: Live
    seed: int

    def controls(self, candidate: str) -> dict[str, Ends]:
        """What a distance is taken between, for each of `CONTROLS`."""
        constructed = self.constructed[candidate]
        ends = (
            (self.trained, constructed),
            (self.trained, at_wrong_rate(constructed)),
            (self._rotated(self.trained), constructed),
        )
        return dict(zip(CONTROLS, ends, strict=True))

    def paths(self, candidate: str) -> dict[str, Ends | NotApplicable]:
        """Where each of `PATH_LABELS` begins and ends."""
        aligned, constructed = self.aligned, self.constructed[candidate]
        if isinstance(aligned, NotApplicable):
            return dict.fromkeys(PATH_LABELS, aligned) | {UNALIGNED: (self.trained, constructed)}
        return {
            ALIGNED: (aligned, constructed),
            UNALIGNED: (self.trained, constructed),
            WRONG: (aligned, at_wrong_rate(constructed)),
            ROTATED: (self._rotated(aligned), constructed),
        }

    def _rotated(self, weights: WeightProducts) -> WeightProducts:
        return rotated(weights, generator(self.seed, "rotation"))


def at_wrong_rate(constructed: WeightProducts) -> WeightProducts:
    """Constructed weights at half their learning rate."""
    return replace(constructed, PV=constructed.PV * WRONG_RATE)


def compare_weights(
    setup: Setup,
    constructed: Mapping[str, RegressionTransformer],
    untrained: Sequence[Untrained],
) -> WeightComparison | NotApplicable:
    """The subject's weights beside constructed and untrained ones, or why they cannot be compared."""
    trained = signed_products(setup)
    if isinstance(trained, NotApplicable):
        return trained
    steps, layers = setup.shape.n_layers, trained.config.n_layers
    if steps != layers:
        return NotApplicable(f"the constructed models take {steps} steps, but the model has {layers} layers")
    if trained.config.n_blocks == 1 and any(model.config.n_blocks > 1 for model in constructed.values()):
        return NotApplicable(RATES_DIFFER)
    return WeightComparison(
        trained,
        align(trained),
        {name: matched_blocks(module_products(model), trained.config) for name, model in constructed.items()},
        [_signed(module_products(model.module), model.sign) for model in untrained],
        live_entries(trained.config, setup.query_label_set),
        setup.seed,
    )


def signed_products(setup: Setup) -> WeightProducts | NotApplicable:
    """The subject's products with the sign of its read-out, or why they cannot be set beside constructed ones."""
    held = products(setup.subject)
    if isinstance(held, NotApplicable):
        return held
    return with_sign(held, setup.sign, setup.query_label_set)


def _signed(untrained: WeightProducts, sign: int) -> WeightProducts:
    """With its own sign where that has a meaning."""
    turned = with_sign(untrained, sign)
    return untrained if isinstance(turned, NotApplicable) else turned


def path_losses(setup: Setup, start: WeightProducts, end: WeightProducts, tasks: Batch) -> Float[np.ndarray, "task t"]:
    """Loss at the 21 positions between two sets of products, task by task, on the same tasks."""
    KQ, PV = (held.to(setup.subject.device, setup.subject.dtype) for held in path(start, end))
    parts = setup.inputs(tasks).split(setup.batch_size)
    with torch.no_grad():
        answers = torch.cat([predict_stack(start.config, KQ, PV, part).cpu().double() for part in parts], dim=1)
    return half_squared_error(answers, tasks.targets).T.numpy()


PathLosses = dict[str, dict[str, Float[np.ndarray, "task t"] | NotApplicable]]
"""By candidate and path."""


def all_path_losses(setup: Setup, weights: WeightComparison) -> PathLosses:
    """Losses along every path to every constructed model, on the evaluation tasks."""
    tasks = setup.splits.evaluation
    return {
        candidate: {
            label: ends if isinstance(ends, NotApplicable) else path_losses(setup, *ends, tasks)
            for label, ends in weights.paths(candidate).items()
        }
        for candidate in weights.constructed
    }
