"""Trained beside constructed weights: what is compared with what, the controls included, and the losses in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ...data.batch import Batch, generator
from ...models.own.regression_transformer import RegressionTransformer
from ...models.subject import NotApplicable
from .setup import Setup
from .weights import (
    Live,
    WeightProducts,
    align,
    live_entries,
    matched_blocks,
    module_products,
    path,
    products,
    rotated,
)

WRONG_RATE = 0.5
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
    untrained: Sequence[RegressionTransformer],
) -> WeightComparison | NotApplicable:
    """The subject's weights beside constructed and untrained ones, or why they cannot be compared."""
    trained = products(setup.subject)
    if isinstance(trained, NotApplicable):
        return trained
    steps, layers = setup.shape.n_layers, trained.config.n_layers
    if steps != layers:
        return NotApplicable(f"the constructed models take {steps} steps, but the model has {layers} layers")
    tasks, d_in = setup.splits.evaluation, setup.subject.d_in
    return WeightComparison(
        trained,
        align(trained),
        {name: matched_blocks(module_products(model), trained.config) for name, model in constructed.items()},
        [module_products(model) for model in untrained],
        live_entries(trained.config, query_label_set=bool(tasks.inputs[:, -1, d_in:].any())),
        setup.seed,
    )


def path_losses(setup: Setup, start: WeightProducts, end: WeightProducts, tasks: Batch) -> Float[np.ndarray, "task t"]:
    """Loss at the 21 positions between two sets of products, task by task, on the same tasks."""
    models = (model.to(setup.subject.device) for model in path(start, end, setup.subject.dtype))
    return np.stack([setup.losses(model, tasks).numpy() for model in models], axis=1)


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
