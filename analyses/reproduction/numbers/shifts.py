"""Losses on tasks of other scales and distributions, for Figures 2 and 6."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import numpy as np
from jaxtyping import Float

from ...reports.record import Record
from ..panels import LOSS, CurvePanel
from .curves import CALLED, at_the_end, drawn
from .reading import per_seed

SCALES = {"loss_input_scale": "inputs' scale", "loss_weight_scale": "targets' scale"}
"""Titles of panels, by measure."""
ELSEWHERE = {**SCALES, "loss_other_distributions": "distributions"}


def largest_ratio(report: Record, candidate: str, names: Iterable[str]) -> Float[np.ndarray, " seed"]:
    """max over scales of |log10(loss of the model / loss of the candidate)|."""
    ratios = (per_seed(report, name, candidate="model") / per_seed(report, name, candidate=candidate) for name in names)
    return reduce(np.maximum, (np.abs(np.log10(ratio)).max(axis=1) for ratio in ratios))


def shift_panel(report: Record, name: str, candidate: str, of: str = "") -> CurvePanel:
    curves = drawn(
        at_the_end(report, name, "trained", "model", candidate="model"),
        at_the_end(report, name, *CALLED[candidate], candidate=candidate),
    )
    return CurvePanel(f"{of}{ELSEWHERE[name]}", "α", LOSS, curves, log_y=True)
