"""The figure of the filter over training, for several checkpoints of one recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...comparing.by_candidate import CANDIDATE
from ...drawing import panels
from ..names import EFFECTIVE, KIND, LAYER
from .layers import DEGREES
from .looks import LOOKS, MODEL, measured

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

NAMED = 3


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training, of the output: the share of E|W|² that no filter explains, what the named filters leave that come
    closest at some step, the steps of gradient descent times their learning rate, and the effective degree of the
    filter as a polynomial. Each filter is fitted again at every step. Grey: untrained models.
    """
    measures = findings.measures
    if not measured(measures) or "step" not in measures["off_filter_share"].axes:
        return None
    shares = measures["unexplained_share"]
    parts = {name: _of_output(shares.sel(**{CANDIDATE: name})) for name in shares.labels(CANDIDATE)}
    known = {name: part for name, part in parts.items() if part.has_number}
    nearest = sorted(known, key=lambda name: float(np.nanmin(known[name].values)))[:NAMED]
    drawn = {
        "no filter": {MODEL: _of_output(measures["off_filter_share"])},
        "named filters": {LOOKS[name]: known[name] for name in nearest},
        "steps × learning rate": {LOOKS["gd"]: _of_output(measures["gradient_time"])},
        "degree": {DEGREES[EFFECTIVE]: _of_output(measures["polynomial_degree"].sel(**{KIND: EFFECTIVE}))},
    }
    return panels.curves_figure(drawn, page)


def _of_output(measure: Measure) -> Measure:
    return measure.at(layer=-1) if LAYER in measure.axes else measure
