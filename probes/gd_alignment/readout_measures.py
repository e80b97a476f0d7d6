"""The measure `loss_rollout`, of the model and of constructed gradient descent."""

from __future__ import annotations

from ...models.subject import NotApplicable
from ..comparing.by_candidate import MODEL, measures_by_candidate, missing_by_candidate
from ..measure import Measure
from ..regression.sensitivity import LOSS
from ..statistics.sample_measures import PerTask
from .names import GD
from .readouts import ROLLOUT_DAMPENINGS, ROLLOUT_STEPS, RolloutLosses

DAMPENING, STEP = "dampening", "rollout_step"
OVERFLOWS = "NaN where the loss overflows: applied so often, the layer diverges"


def rollout_measures(losses: RolloutLosses | NotApplicable, seed: int) -> dict[str, Measure]:
    """Loss after each step, at each dampening."""
    if isinstance(losses, NotApplicable):
        return {"loss_rollout": missing_by_candidate([MODEL, GD.name], LOSS, "not applicable", losses.reason)}
    coords = {DAMPENING: ROLLOUT_DAMPENINGS, STEP: tuple(range(1, ROLLOUT_STEPS + 1))}
    samples = {
        name: PerTask(
            held,
            LOSS,
            (DAMPENING, STEP),
            coords,
            no_nulls="compare with the loss after the first step",
            no_number=OVERFLOWS,
        )
        for name, held in losses.items()
    }
    return measures_by_candidate({"loss_rollout": samples}, seed)
