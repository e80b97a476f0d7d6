"""Curves and matrices of saved reports, and the panels that many figures have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from ....probes.measure import Measure
from ...reports.record import Record
from ..panels import LOSS, Curve, CurvePanel, Role
from .reading import Lacking, at_last_step, measure_of

STEPS = "training step"
CALLED: dict[str, tuple[str, Role]] = {"gd": ("gradient descent", "gd"), "gdpp": ("GD++", "gdpp")}
"""Label and role of the curves of a candidate."""
ALIGNMENTS = {
    "cosine": ("alignment", "cosine"),
    "model_difference": ("sensitivities", "distance"),
    "prediction_difference": ("predictions", "distance"),
}
"""Title and axis of the panel of a measure."""


def curve(measure: Measure, label: str, role: Role) -> Curve:
    """A measure along its one axis, with an interval where it is one over seeds."""
    (axis,) = measure.axes
    return _curve(measure, tuple(float(place) for place in measure.labels(axis)), label, role)


def _curve(measure: Measure, x: tuple[float, ...], label: str, role: Role) -> Curve:
    values, low, high = (np.atleast_1d(one) for one in (measure.values, *measure.interval))
    if measure.replicate != "seed" or not np.isfinite(low).any():
        return Curve(label, x, tuple(values.tolist()), role=role)
    return Curve(label, x, *(tuple(one.tolist()) for one in (values, low, high)), role=role)


def drawn(*attempts: Callable[[], Curve]) -> tuple[Curve, ...]:
    """The curves that have numbers."""
    found = []
    for attempt in attempts:
        try:
            found.append(attempt())
        except Lacking:
            continue
    return tuple(found)


def over_steps(report: Record, name: str, label: str, role: Role, **labels: Any) -> Callable[[], Curve]:
    """The curve of a measure over training: one point where one step was measured. Lacking where none is known."""

    def attempt() -> Curve:
        found = measure_of(report, name, **labels)
        if found.axes == ("step",):
            return curve(found, label, role)
        known = {source["step"] for source in report.sources}
        if found.axes or len(known) != 1 or None in known:
            raise Lacking(f"{name} was measured at one step alone, which no source names")
        return _curve(found, (float(known.pop()),), label, role)

    return attempt


def at_the_end(report: Record, name: str, label: str, role: Role, **labels: Any) -> Callable[[], Curve]:
    """The curve of a measure along its own axis, at the last step."""
    return lambda: curve(at_last_step(report, name, **labels), label, role)


def loss_panel(
    report: Record, title: str = "loss", candidates: Iterable[str] = ("gd",), interpolated: bool = False
) -> CurvePanel:
    """The model's loss over training, beside those of candidates."""
    curves = drawn(
        over_steps(report, "loss", "trained", "model", candidate="model"),
        *(over_steps(report, "loss", *CALLED[name], candidate=name) for name in candidates),
        *([over_steps(report, "loss_interpolated", "interpolated", "interpolated")] if interpolated else []),
    )
    return CurvePanel(title, STEPS, LOSS, curves)


def alignment_panel(report: Record, name: str, candidates: Iterable[str], of: str = "") -> CurvePanel:
    """How near each candidate is to the model over training.

    of:  which model, where a figure shows several: a panel is quoted by its title
    """
    title, unit = ALIGNMENTS[name]
    curves = drawn(*(over_steps(report, name, *CALLED[one], candidate=one) for one in candidates))
    return CurvePanel(f"{of}: {title}" if of else title, STEPS, unit, curves)


def of_first_seed(report: Record, name: str, n_axes: int) -> Float[np.ndarray, "*axes"]:
    """An array of weights at the last step, of the first seed; `n_axes` without that of seeds."""
    if name not in report.arrays:
        raise Lacking(f"the report holds no {name}")
    array = report.arrays[name]
    return array[0] if array.ndim > n_axes else array
