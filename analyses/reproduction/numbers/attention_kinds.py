"""Figures 12 and 14: softmax attention and layer norm."""

from __future__ import annotations

from functools import partial

from ...reports.record import Record
from ..figure_numbers import FigureNumbers
from ..panels import Panel
from .curves import alignment_panel, loss_panel
from .reading import Lacking, PerSeed, Reports, collected, courses, loss_gap, per_seed

AS_AT_FIRST = 0.95
"""Of its first loss: a seed whose last loss is no lower has not learned."""


def softmax(reports: Reports) -> FigureNumbers:
    """Figure 12."""
    one, two = reports["softmax-1layer-1head"], reports["softmax-1layer-2heads"]
    found, lacking = collected(
        {
            "one_head_gap": partial(loss_gap, one, "gd"),
            "two_heads_gap": partial(loss_gap, two, "gd"),
            "heads_ahead": partial(_ahead, one, two),
        }
    )
    notes = (*_unlearned(one, "one head"), *_unlearned(two, "two heads"))
    return FigureNumbers(found, _panels(one, "one head") + _panels(two, "two heads"), lacking, notes)


def _ahead(one: Record, two: Record) -> PerSeed:
    """Seed by seed, as the two recipes share their seeds."""
    ours, other = (per_seed(report, "loss", candidate="model") for report in (one, two))
    if len(ours) != len(other):
        raise Lacking(f"one head has {len(ours)} seeds and two have {len(other)}; expected the same seeds of both")
    return (ours - other) / per_seed(one, "loss", candidate="gd")


def _unlearned(report: Record, of: str) -> tuple[str, ...]:
    """A mean over some seeds that have learned and some that have not is the loss of none of them."""
    try:
        _, losses = courses(report, "loss", candidate="model")
    except Lacking:
        return ()
    n = int((losses[:, -1] >= AS_AT_FIRST * losses[:, 0]).sum())
    if n == 0:
        return ()
    what = "one seed has" if n == 1 else f"{n} seeds have"
    return (
        f"Of {len(losses)} seeds of {of} {what} not learned: the last loss is the first, and the mean includes it.",
    )


def norms(reports: Reports) -> FigureNumbers:
    """Figure 14."""
    one, two = reports["lsa-1layer-norm"], reports["lsa-2layer-norm"]
    found, lacking = collected({"norm_1_gap": partial(loss_gap, one, "gd"), "norm_2_gap": partial(loss_gap, two, "gd")})
    return FigureNumbers(found, _panels(one, "one layer") + _panels(two, "two layers"), lacking)


def _panels(report: Record, of: str) -> tuple[Panel, ...]:
    return (
        loss_panel(report, f"{of}: loss"),
        alignment_panel(report, "cosine", ("gd",), of),
        alignment_panel(report, "prediction_difference", ("gd",), of),
    )
