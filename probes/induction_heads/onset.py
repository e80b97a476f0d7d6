"""When induction heads appear: between a checkpoint without any, and one from which on they are as at the end.

Olsson et al. (2022) find them to form in a narrow window of training, in which in-context learning improves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..findings import Head
from ..measure import Measure, without_interval
from .evidence import Evidence, Thresholds
from .names import Verdict
from .verdicts import head_verdicts, heads_called, strength, strength_words

STRENGTHS, NOT_YET = ("weak", "moderate", "strong"), -1
BOUNDS = ("none at", "as at the end from")


@dataclass(frozen=True)
class Onset:
    """Induction heads of a training's last step, and since when.

    heads:   how many there are at the last step
    before:  the last step before there is any; None: there are some at the first step
    settled: the first step from which on all of them are induction heads, at least as strong as at the end
    last:    the last step
    """

    heads: int
    before: int | None
    settled: int
    last: int

    @property
    def sentence(self) -> str:
        """For the claim."""
        if self.before is None:
            return "There are induction heads at the first checkpoint already: when they appear cannot be told."
        return f"Induction heads appear between steps {self.before} and {self.settled}."

    @property
    def measure(self) -> Measure:
        """The two steps between which the heads appear; NaN where no checkpoint is without them."""
        bounds = np.array([np.nan if self.before is None else self.before, self.settled])
        message = (
            "steps of checkpoints: the last before any head is an induction head, and the first from which on all heads"
            " that are at the end are, at least as strong as then (weak, moderate, strong); nothing was resampled"
        )
        if self.before is None:
            message += "; there are induction heads at the first checkpoint"
        return without_interval(
            bounds, "training step", ("bound",), {"bound": BOUNDS}, message=message,
            no_nulls="the verdicts that it is read off have nulls of their own",
        )  # fmt: skip


def onset(by_step: Mapping[int, Mapping[str, Measure]], thresholds: Thresholds) -> Onset | None:
    """When the induction heads of the last step appear; None where it has none, or heads have no verdicts."""
    steps = sorted(by_step)
    called = {step: _called(by_step[step], thresholds) for step in steps}
    final = called[steps[-1]]
    if not final:
        return None
    first = next(number for number, step in enumerate(steps) if called[step])
    unsettled = [
        number
        for number, step in enumerate(steps)
        if any(called[step].get(head, NOT_YET) < strong for head, strong in final.items())
    ]
    settled = steps[unsettled[-1] + 1] if unsettled else steps[0]
    return Onset(len(final), steps[first - 1] if first else None, settled, steps[-1])


def _called(measures: Mapping[str, Measure], thresholds: Thresholds) -> dict[Head, int]:
    """The induction heads of a step, each with its place in `STRENGTHS`."""
    evidence = Evidence.of(measures)
    if evidence is None:
        return {}
    matched = strength(evidence, thresholds)
    heads = heads_called(head_verdicts(measures, thresholds), Verdict.INDUCTION)
    return {head: STRENGTHS.index(strength_words(matched[head].reshape(1), thresholds)) for head in heads}
