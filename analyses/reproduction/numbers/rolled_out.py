"""Figures 1 and 10: one trained layer that is applied 50 times."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Float

from ...reports.record import Record
from ..figure_numbers import FigureNumbers
from ..judging import Statistic
from ..panels import LOSS, Curve, CurvePanel
from .curves import CALLED, at_the_end, drawn
from .reading import Lacking, Reports, collected, geometric, per_seed

DAMPENED, DAMPENINGS = 0.75, (1.0, 0.875, 0.75)
DIVERGED = 1000.0
"""So many times its first value a loss ends its panel, which shows each seed."""
APPLICATIONS = "applications"
RATIOS = "Ratios of losses are geometric means over seeds."
THIN = "Where losses diverge each seed has a thin line of its own."
OVERFLOW = "Where a loss overflows, its last finite value stands for the larger ones that follow."


def rolled_out(reports: Reports) -> FigureNumbers:
    """Figure 1, right."""
    report = reports["lsa-1layer"]
    found, lacking = collected(
        {"rollout_gap": partial(_largest_gap, report), "rollout_fall": partial(_growth, report, DAMPENED)}
    )
    return FigureNumbers(found, (_panel(report, DAMPENED),), lacking, (RATIOS,))


def rolled_out_otherwise(reports: Reports) -> FigureNumbers:
    """Figure 10."""
    report = reports["lsa-1layer"]
    found, lacking = collected(
        {
            "undamped_growth": partial(_growth, report, 1.0),
            "damped_fall": partial(_growth, report, DAMPENED),
            "damped_gap": partial(_largest_gap, report),
        }
    )
    panels = tuple(_panel(report, dampening) for dampening in DAMPENINGS)
    apart = any(sum(curve.role == "model" for curve in panel.curves) > 1 for panel in panels)
    notes = (RATIOS, OVERFLOW, *([THIN] if apart else []))
    return FigureNumbers(found, panels, lacking, notes)


def _losses(report: Record, candidate: str, dampening: float) -> Float[np.ndarray, "seed application"]:
    return per_seed(report, "loss_rollout", candidate=candidate, dampening=dampening)


def _largest_gap(report: Record) -> Float[np.ndarray, " seed"]:
    """The largest difference of the two losses over applications, as a share of the model's first loss."""
    model, descent = (_losses(report, candidate, DAMPENED) for candidate in ("model", "gd"))
    return np.abs(model - descent).max(axis=1) / model[:, 0]


def _growth(report: Record, dampening: float) -> Statistic:
    """The model's last finite loss over its first."""
    losses = _losses(report, "model", dampening)
    last = np.array([row[np.isfinite(row)][-1] for row in losses if np.isfinite(row).any()])
    if len(last) < len(losses):
        raise Lacking(f"loss_rollout: {len(losses) - len(last)} of {len(losses)} seeds have no number")
    return geometric(last / losses[:, 0])


def _panel(report: Record, dampening: float) -> CurvePanel:
    curve = partial(at_the_end, report, "loss_rollout", dampening=dampening)
    curves = drawn(curve("trained layer", "model", candidate="model"), curve(*CALLED["gd"], candidate="gd"))
    panel = CurvePanel("undamped" if dampening == 1 else f"damped by {dampening:g}", APPLICATIONS, LOSS, curves)
    calm = all(np.isfinite(one.y).all() and max(one.y) <= DIVERGED * one.y[0] for one in curves)
    if calm or curves[0].role != "model":
        return panel
    # a mean over the seeds that have not overflown yet would fall with each that does
    model = curves[0]
    rows = _losses(report, "model", dampening).tolist()
    seeds = (Curve(model.label, model.x, tuple(row), role=model.role) for row in rows)
    return replace(panel, curves=(*seeds, *curves[1:]), log_y=True, y_max=DIVERGED * model.y[0])
