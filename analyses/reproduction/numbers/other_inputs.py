"""Figures 4 and 5: sines behind an embedding, and x and y in tokens of their own."""

from __future__ import annotations

from functools import partial

import numpy as np
from jaxtyping import Float

from ....probes.measure import null_mean
from ....probes.statistics.plateaus import FEWEST, plateaus
from ...reports.record import Record
from ..figure_numbers import FigureNumbers
from ..judging import Statistic
from ..panels import LOSS, Curve, CurvePanel, Panel, Role
from .curves import CALLED, STEPS, drawn, of_first_seed, over_steps
from .reading import Lacking, PerSeed, Reports, collected, courses, geometric, loss_over, measure_of, per_seed

TWIN = "twin with a written step"
FUNCTIONS: dict[str, tuple[str, Role]] = {
    "function_target": ("sine", "other"),
    "function_model": ("trained", "model"),
    "function_twin": (TWIN, "twin"),
}
SENSITIVITIES: dict[str, tuple[str, Role]] = {
    "own": ("own token", "other"),
    "next": ("next token", "model"),
    "other": ("others, as published", "null"),
    "other_without_next": ("others", "gd"),
}
EVEN = "even attention"
ABLATION_NOTE = (
    "Without the whole first layer the second one reads what it was not trained for, and its loss may be far above that"
    " of answering zero: its gap is from a geometric mean over seeds. 'Labels not copied' takes away no more than what"
    " x tokens read of their labels."
)
PLATEAU_NOTE = "A plateau that lasts to the last step does not count: it is where training ends."


def sines(reports: Reports) -> FigureNumbers:
    """Figure 4."""
    report = reports["sine-mlp"]
    found, lacking = collected(
        {
            "sine_loss_over_zero": partial(loss_over, report, "zero"),
            "sine_loss_ratio": partial(loss_over, report, "twin"),
            "sine_prediction_difference": partial(per_seed, report, "prediction_difference", candidate="twin"),
            "sine_sign_agreement": partial(per_seed, report, "slope_agreement", candidate="twin"),
        }
    )
    losses = drawn(
        over_steps(report, "loss", "trained", "model", candidate="model"),
        over_steps(report, "loss", TWIN, "twin", candidate="twin"),
    )
    slopes = drawn(over_steps(report, "slope_agreement", TWIN, "twin", candidate="twin"))
    predictions = drawn(over_steps(report, "prediction_difference", TWIN, "twin", candidate="twin"))
    panels = (
        *_functions(report),
        CurvePanel("loss", STEPS, LOSS, losses),
        CurvePanel("slopes", STEPS, "sign agreement", slopes),
        CurvePanel("predictions", STEPS, "distance", predictions),
    )
    return FigureNumbers(found, panels, lacking)


def _functions(report: Record) -> tuple[Panel, ...]:
    """The first task of the first seed: its function, and what is answered."""
    try:
        x = tuple(of_first_seed(report, "function_grid", 2)[0].tolist())
    except Lacking:
        return ()

    def function(name: str, label: str, role: Role) -> Curve:
        return Curve(label, x, tuple(of_first_seed(report, name, 2)[0].tolist()), role=role)

    return (
        CurvePanel("one task", "x", "y", drawn(*(partial(function, name, *FUNCTIONS[name]) for name in FUNCTIONS))),
    )


def separate_tokens(reports: Reports) -> FigureNumbers:
    """Figure 5."""
    report = reports["separate-tokens"]
    found, lacking = collected(
        {
            "separate_gap": partial(per_seed, report, "loss_gap", candidate="model"),
            "plateau_decades": partial(_longest_plateau, report),
            "next_over_own_last": partial(per_seed, report, "next_over_own"),
            "next_over_own_first": partial(_at_first, report, "next_over_own"),
            "prefix_matching_excess": partial(_above_even_attention, report),
            "ablation_gap": partial(_ablation_gap, report),
        }
    )
    losses = drawn(
        over_steps(report, "loss", "trained", "model", candidate="model"),
        over_steps(report, "loss", *CALLED["gd"], candidate="gd"),
        over_steps(report, "loss", "labels not copied", "ablated", candidate="without_copies"),
    )
    sensitivities = drawn(
        *(over_steps(report, "copy_sensitivity", *SENSITIVITIES[to], to=to) for to in SENSITIVITIES),
    )
    panels = (
        CurvePanel("loss", STEPS, LOSS, losses),
        CurvePanel("sensitivity", STEPS, "norm", sensitivities),
        CurvePanel("prefix matching", STEPS, "score", _scores(report)),
    )
    return FigureNumbers(found, panels, lacking, (PLATEAU_NOTE, ABLATION_NOTE))


def _at_first(report: Record, name: str) -> Float[np.ndarray, " seed"]:
    return courses(report, name)[1][:, 0]


def _longest_plateau(report: Record) -> Float[np.ndarray, " seed"]:
    """Decades of steps of each seed's longest plateau that it leaves again; 0 where it has none.

    Losses of all steps are on the same tasks: what is irregular about them is the transition, and no noise.
    """
    steps, losses = courses(report, "loss", candidate="model")
    later = sum(step > 0 for step in steps)
    if later < FEWEST:
        raise Lacking(f"loss: {later} steps after step 0, and plateaus take at least {FEWEST} to tell")
    if not np.isfinite(losses).all():
        raise Lacking("loss: it is not finite at every step")
    left = [[one.decades for one in plateaus(steps, row) if one.after is not None] for row in losses]
    return np.array([max(decades, default=0.0) for decades in left])


def _ablation_gap(report: Record) -> Statistic:
    """Losses without the layer differ in orders of size between seeds."""
    ratio = geometric(1 + per_seed(report, "loss_gap", candidate="ablated"))
    return Statistic(ratio.value - 1, ratio.low - 1, ratio.high - 1, ratio.n_seeds)


def _even_attention(report: Record) -> float:
    """The score of a head that attends to all keys alike, which is the same at every step."""
    nulls = measure_of(report, "first_layer_score").nulls
    if EVEN not in nulls:
        raise Lacking(f"first_layer_score has no null of {EVEN}")
    return float(null_mean(nulls[EVEN]).flat[-1])


def _above_even_attention(report: Record) -> PerSeed:
    return per_seed(report, "first_layer_score") - _even_attention(report)


def _scores(report: Record) -> tuple[Curve, ...]:
    curves = drawn(over_steps(report, "first_layer_score", "first layer", "model"))

    def even() -> Curve:
        return Curve(EVEN, curves[0].x, (_even_attention(report),) * len(curves[0].x), role="null")

    return (*curves, *drawn(even)) if curves else ()
