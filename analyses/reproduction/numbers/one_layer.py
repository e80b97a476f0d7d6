"""Figure 2: one layer and one step of gradient descent."""

from __future__ import annotations

from functools import partial

import numpy as np

from ...reports.record import Record
from ..figure_numbers import FigureNumbers
from ..judging import Statistic
from ..panels import LOSS, Curve, CurvePanel
from ..von_oswald_needs import NARROW, ONE_LAYER_WIDTHS
from .curves import ALIGNMENTS, CALLED, alignment_panel, drawn, loss_panel
from .reading import Lacking, PerSeed, Reports, collected, gap, loss_gap, per_seed, statistic
from .shifts import SCALES, largest_ratio, shift_panel

_TRAINED_WIDTH = 10
ELSEWHERE_COSINE = 0.9
"""With a step of gradient descent, below which a seed that has learned does something else."""
LEARNED = 0.95
"""Of the loss of answering zero."""
WIDTHS_NOTE = "Of other widths, gaps count in both directions, and the width counts whose interval reaches farthest."


def one_step(reports: Reports) -> FigureNumbers:
    """Figure 2."""
    report = reports["lsa-1layer"]
    found, lacking = collected(
        {
            "loss_gap": partial(loss_gap, report, "gd"),
            "cosine_gd": partial(per_seed, report, "cosine", candidate="gd"),
            "model_difference_gd": partial(per_seed, report, "model_difference", candidate="gd"),
            "prediction_difference_gd": partial(per_seed, report, "prediction_difference", candidate="gd"),
            "interpolated_gap": partial(_interpolated_gap, report),
            "widths_gap": partial(_widest_gap, reports),
            "narrow_gap": lambda: np.abs(loss_gap(_of_width(reports, NARROW), "gd")),
            "shift_ratio": partial(largest_ratio, report, "gd", SCALES),
        }
    )
    panels = (
        loss_panel(report, interpolated=True),
        *(alignment_panel(report, name, ("gd",)) for name in ALIGNMENTS),
        _widths_panel(reports),
        *(shift_panel(report, name, "gd") for name in SCALES),
    )
    return FigureNumbers(found, panels, lacking, (WIDTHS_NOTE, *_elsewhere(reports)))


def _interpolated_gap(report: Record) -> PerSeed:
    return gap(per_seed(report, "loss_interpolated"), per_seed(report, "loss", candidate="gd"))


def _of_width(reports: Reports, width: int) -> Record:
    return reports["lsa-1layer" if width == _TRAINED_WIDTH else f"lsa-1layer-d{width}"]


def _widest_gap(reports: Reports) -> Statistic:
    gaps = []
    for width in (width for width in ONE_LAYER_WIDTHS if width != NARROW):
        try:
            gaps.append(statistic(np.abs(loss_gap(_of_width(reports, width), "gd"))))
        except Lacking as why:
            raise Lacking(f"N = d = {width}: {why}") from why
    return max(gaps, key=lambda one: one.high)


def _elsewhere(reports: Reports) -> tuple[str, ...]:
    """What is said of seeds of N = d = 2 that have learned, and another thing than a step."""
    try:
        report = _of_width(reports, NARROW)
        cosines, losses = per_seed(report, "cosine", candidate="gd"), per_seed(report, "loss", candidate="model")
        zero = per_seed(report, "loss", candidate="zero")
    except Lacking:
        return ()
    learned = (cosines < ELSEWHERE_COSINE) & (losses < zero * LEARNED)
    if not learned.any():
        return ()
    return (
        f"At N = d = {NARROW}, {learned.sum()} of {len(losses)} seeds learn something else than a step of gradient"
        f" descent: cosine {cosines[learned].mean():.2f}, loss {losses[learned].mean():.3f} beside"
        f" {float(per_seed(report, 'loss', candidate='gd').mean()):.3f}.",
    )


def _widths_panel(reports: Reports) -> CurvePanel:
    def of(candidate: str, label: str, role: str) -> Curve:
        found = [
            statistic(per_seed(_of_width(reports, width), "loss", candidate=candidate)) for width in ONE_LAYER_WIDTHS
        ]
        values, low, high = (tuple(getattr(one, name) for one in found) for name in ("value", "low", "high"))
        return Curve(label, tuple(map(float, ONE_LAYER_WIDTHS)), values, low, high, role)  # type: ignore[arg-type]

    curves = drawn(partial(of, "model", "trained", "model"), partial(of, "gd", *CALLED["gd"]))
    return CurvePanel("other widths", "N = d", LOSS, curves)
