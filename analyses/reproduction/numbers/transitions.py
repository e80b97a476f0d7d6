"""Figures 15 and 16: when seeds learn, and what a fixed set of tasks teaches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from ....data.recipe import named_seed
from ....probes.statistics.bootstrap import percentile_interval, resample_counts
from ....probes.statistics.ranks import independent_interval, spearman
from ...reports.record import Record
from ..figure_numbers import FigureNumbers
from ..judging import Statistic
from ..panels import LOSS, Curve, CurvePanel
from ..von_oswald_needs import FIXED_SIZES
from .curves import CALLED, STEPS, drawn, over_steps
from .reading import Lacking, Reports, collected, courses, loss_gap, measure_of, per_seed

ALIGNED, HALF = 0.95, 0.5
"""Cosines from which on a seed counts as aligned, and as half way there."""
SHOWN = 2
"""Panels end at so many times the step at which the last seed has learned: nothing moves after it."""
FEWEST = 4
"""Seeds of a correlation with an interval."""
TRANSITIONS_NOTE = (
    "A seed's loss falls where it crosses half way from its first value to gradient descent's for the last time, and"
    " its alignment rises where the cosine so crosses 1/2; straight between checkpoints. The interval of the"
    " correlation is that of Bonett and Wright (2000), that of the ratio of medians is from a bootstrap over seeds, and"
    " the share is of these very seeds. Panels end at twice the step by which all seeds have done both."
)

# -- Figure 15 ---------------------------------------------------------------------------------------------------------


def transitions(reports: Reports) -> FigureNumbers:
    """Figure 15."""
    one, two = (reports[f"lsa-1layer-{heads}-10seeds"] for heads in ("1head", "2heads"))
    found, lacking = collected(
        {
            "seeds_aligned": partial(_aligned, one),
            "fall_rise_correlation": partial(_fall_and_rise, one),
            "two_heads_sooner": lambda: _ratio_of_medians(_falls(two), _falls(one)),
        }
    )
    until = _last_to_learn(one, two) * SHOWN
    panels = tuple(
        _each_seed(report, name, candidate, f"{title}: {name}", until)
        for name, candidate in (("loss", "model"), ("cosine", "gd"))
        for report, title in ((one, "one head"), (two, "two heads"))
    )
    return FigureNumbers(found, panels, lacking, (TRANSITIONS_NOTE,))


def crossing(steps: Sequence[int], values: Float[np.ndarray, " step"], level: float, rising: bool) -> float:
    """The step from which on a course stays beyond a level, straight between checkpoints.

    infinity: it does not by the last step; NaN: a value is not finite
    """
    if not np.isfinite(values).all():
        return float("nan")
    before = values < level if rising else values > level
    if before[-1]:
        return float("inf")
    if not before.any():
        return float(steps[0])
    last = int(np.flatnonzero(before)[-1])
    share = (level - values[last]) / (values[last + 1] - values[last])
    return float(steps[last] + share * (steps[last + 1] - steps[last]))


def _aligned(report: Record) -> Statistic:
    cosines = per_seed(report, "cosine", candidate="gd")
    share = float((cosines >= ALIGNED).mean())
    return Statistic(share, share, share, len(cosines))


def _falls(report: Record) -> Float[np.ndarray, " seed"]:
    """Of each seed the step at which its loss is half way from its first one to that of gradient descent."""
    steps, losses = courses(report, "loss", candidate="model")
    descent = np.broadcast_to(per_seed(report, "loss", candidate="gd"), len(losses))
    levels = (losses[:, 0] + descent) / 2
    return np.array([crossing(steps, row, level, rising=False) for row, level in zip(losses, levels, strict=True)])


def _rises(report: Record) -> Float[np.ndarray, " seed"]:
    steps, cosines = courses(report, "cosine", candidate="gd")
    return np.array([crossing(steps, row, HALF, rising=True) for row in cosines])


def _fall_and_rise(report: Record) -> Statistic:
    """The rank correlation over the seeds that do both by the last step."""
    falls, rises = _falls(report), _rises(report)
    both = np.isfinite(falls) & np.isfinite(rises)
    n = int(both.sum())
    if n < FEWEST:
        raise Lacking(f"{n} seeds fall and rise within the training; expected at least {FEWEST} for a correlation")
    correlation = np.clip(spearman(falls[both, None], rises[both, None]), -1, 1)  # rounding leaves 1 + 2e-16
    if not np.isfinite(correlation).all():
        raise Lacking("all seeds fall, or rise, at the same step")
    low, high = independent_interval(correlation, n)
    return Statistic(correlation.item(), low.item(), high.item(), n)


def _ratio_of_medians(ours: Float[np.ndarray, " seed"], other: Float[np.ndarray, " other_seed"]) -> Statistic:
    """A seed that has not fallen by the last step falls after all others."""
    for falls in (ours, other):
        if not np.isfinite(np.median(falls)):
            raise Lacking(f"{int((~np.isfinite(falls)).sum())} of {len(falls)} seeds do not fall within the training")
    resampled = _resampled_medians(ours, "ours") / _resampled_medians(other, "other")
    low, high = percentile_interval(resampled)
    return Statistic(float(np.median(ours) / np.median(other)), float(low), float(high), min(len(ours), len(other)))


def _resampled_medians(values: Float[np.ndarray, " seed"], stream: str) -> Float[np.ndarray, " resample"]:
    counts = resample_counts(len(values), named_seed(0, stream))
    return np.array([np.median(np.repeat(values, times)) for times in counts])


def _last_to_learn(*reports: Record) -> float:
    """The step by which all seeds have fallen and risen; infinity where one has not, or it cannot be said."""
    try:
        last = float(np.max([(*_falls(report), *_rises(report)) for report in reports]))
    except Lacking:
        return float("inf")
    return last if np.isfinite(last) else float("inf")


def _each_seed(report: Record, name: str, candidate: str, title: str, until: float) -> CurvePanel:
    unit = LOSS if name == "loss" else "cosine"
    try:
        steps, values = courses(report, name, candidate=candidate)
    except Lacking:
        return CurvePanel(title, STEPS, unit, ())
    curves = tuple(Curve("one seed", tuple(map(float, steps)), tuple(row.tolist())) for row in values)
    if name == "loss":
        curves += drawn(over_steps(report, "loss", *CALLED["gd"], candidate="gd"))
    return CurvePanel(title, STEPS, unit, tuple(curve.until(until) for curve in curves))


# -- Figure 16 ---------------------------------------------------------------------------------------------------------


def fixed_tasks(reports: Reports) -> FigureNumbers:
    """Figure 16."""
    of = {size: reports[f"lsa-1layer-fixed-{size}"] for size in FIXED_SIZES}
    found, lacking = collected(
        {
            "fixed_2048_cosine": partial(per_seed, of[2048], "cosine", candidate="gd"),
            "fixed_8192_cosine": partial(per_seed, of[8192], "cosine", candidate="gd"),
            "fixed_2048_gap": partial(loss_gap, of[2048], "gd"),
            "fixed_128_gap": partial(loss_gap, of[128], "gd"),
        }
    )
    losses = drawn(
        *(over_steps(report, "loss", f"{size:,} tasks", "model", candidate="model") for size, report in of.items()),
        over_steps(of[8192], "loss", *CALLED["gd"], candidate="gd"),
    )
    cosines = drawn(
        *(over_steps(report, "cosine", f"{size:,} tasks", "model", candidate="gd") for size, report in of.items())
    )
    panels = (
        CurvePanel("loss on fresh tasks", STEPS, LOSS, losses, y_max=_twice_the_first(of[8192])),
        CurvePanel("alignment", STEPS, "cosine", cosines),
    )
    return FigureNumbers(found, panels, lacking)


def _twice_the_first(report: Record) -> float | None:
    """A set that is learned by heart has losses far above all others."""
    try:
        return 2 * float(measure_of(report, "loss", candidate="model").values.flat[0])
    except Lacking:
        return None
