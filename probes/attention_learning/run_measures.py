"""What several runs of a copy model show: which learn and how, what passes one half first, and how early beta says
where attention will go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from ..measure import Measure, missing, without_interval
from ..statistics.bootstrap import t_interval
from ..statistics.medians import Median, median_of
from .crossings import crossing_ends, first_crossing, lead_ends, order_of
from .names import (
    ATTENTION,
    ATTENTION_ARRAY,
    BETA,
    KTIW,
    NOT_LEARNED,
    ORDER,
    ORDERS,
    OUTCOME,
    OUTCOMES,
    PAIR,
    QUANTITIES,
    QUANTITY,
    TASK,
    UNIFORM,
)  # fmt: skip
from .outcomes import Share, outcome_of, shares_of
from .similarity import Run as OtherRun
from .similarity import agreements_with, xi, xi_star
from .training_runs import Run, all_steps, estimate_of, not_comparable

SEQUENCES = 16
"""Sequences whose attention is compared between runs: every target of theirs is a row."""
SHARE = "share"
NO_NULLS = "a count of seeds: the accuracies behind it have nulls of their own"
STEP = "step"


def crossing_measures(runs: Sequence[Run]) -> dict[str, Measure]:
    """When each accuracy first passes one half, and which of KTIW and attention does so first."""
    lasts = [run.steps[-1] for run in runs]
    crossed = {name: [first_crossing(run.steps, run.accuracies(name)) for run in runs] for name in QUANTITIES}
    medians = [median_of(list(map(crossing_ends, steps, lasts))) for steps in crossed.values()]
    points = np.array([[np.nan if step is None else step for step in steps] for steps in crossed.values()], float).T
    never = {QUANTITIES[name]: steps.count(None) for name, steps in crossed.items()}
    said = [f"{words}: {n} of {len(runs)} seeds never do by their last step" for words, n in never.items() if n]
    pairs = list(zip(crossed[KTIW], crossed[ATTENTION], strict=True))
    orders = shares_of([order_of(*pair) for pair in pairs], ORDERS)
    message = (
        "the first checkpoint at which the accuracy is at least one half: true to the distance between checkpoints"
    )
    first = _of_medians(medians, "training step", points, "; ".join([message, *said]))
    lead = median_of([lead_ends(*pair, last) for pair, last in zip(pairs, lasts, strict=True)])
    of_quantity = dict(zip(crossed, points.T, strict=True))
    leads = of_quantity[ATTENTION] - of_quantity[KTIW]
    return {
        "first_crossing": first,
        "ktiw_lead": _of_medians(
            [lead], "training steps", leads[:, None], "steps from KTIW's crossing to attention's; seeds in which one"
            " never crosses count with what is known of them",
        ),
        "crossing_order": _of_shares(orders, ORDER, "which of KTIW and attention passes one half first", len(runs)),
    }  # fmt: skip


def _of_medians(medians: Sequence[Median], unit: str, points: Float[np.ndarray, "run median"], message: str) -> Measure:
    """One number for each quantity, or a single one; the interval is that of order statistics over seeds."""
    several = len(medians) > 1
    words = [
        f"{name}: {median.words}" if several else median.words
        for name, median in zip(QUANTITIES.values(), medians, strict=False)
        if median.words
    ]
    values = np.array([median.value for median in medians])
    message = "; ".join([f"median over seeds of {message}", *words])
    low, high = (np.array([median.interval[end] for median in medians]) for end in (0, 1))
    axes, coords = ((QUANTITY,), {QUANTITY: tuple(QUANTITIES)}) if several else ((), {})
    if not several:
        (values, low, high), points = (np.asarray(of[0]) for of in (values, low, high)), points[:, 0]
    no_nulls = "a time of training: the accuracies behind it have nulls of their own"
    # seeds that leave the median open have numbers of their own nonetheless
    return Measure(
        values, unit, (low, high), "seed", len(points), axes, coords, no_nulls=no_nulls, points=points, message=message,
        status="ok" if np.isfinite(values).any() else "undefined",
    )  # fmt: skip


def _of_shares(shares: Mapping[str, Share], axis: str, message: str, n: int) -> Measure:
    """Shares of seeds, with the interval of Clopper and Pearson."""
    held = list(shares.values())
    value, low, high = (np.array([getattr(share, end) for share in held]) for end in ("value", "low", "high"))
    return Measure(
        value, SHARE, (low, high), "seed", n, (axis,), {axis: tuple(shares)}, no_nulls=NO_NULLS,
        message=f"share of seeds: {message}; interval of Clopper and Pearson",
    )  # fmt: skip


# -- outcomes ----------------------------------------------------------------------------------------------------------


def outcome_measures(runs: Sequence[Run], learned: float) -> dict[str, Measure]:
    """The share of seeds that have learned to copy by each step, and how."""
    steps = all_steps(runs)
    at = {step: shares_of(_outcomes(runs, step, learned), OUTCOMES) for step in steps}
    by_step = np.array([[list(share) for share in shares.values()] for shares in at.values()])
    copies = {step: _not(shares[NOT_LEARNED]) for step, shares in at.items()}
    words = f"task accuracy of at least {learned:g}"
    outcome = _share_measure(
        by_step, steps, (OUTCOME,), {OUTCOME: OUTCOMES}, f"{words}, and attention and KTIW of at least one half (by"
        " attention), both below 0.1 (anti-attention), anything else (otherwise); or less (not learned)", len(runs),
    )  # fmt: skip
    total = _share_measure(np.array([list(share) for share in copies.values()]), steps, (), {}, words, len(runs))
    return {"learned": total, "outcome": outcome}


def _outcomes(runs: Sequence[Run], step: int, learned: float) -> list[str | None]:
    def at(run: Run, quantity: str) -> float:
        return run.at(step, run.accuracies(quantity))

    return [outcome_of(at(run, TASK), at(run, ATTENTION), at(run, KTIW), learned) for run in runs]


def _not(share: Share) -> Share:
    return Share(1 - share.value, 1 - share.high, 1 - share.low, share.n)


def _share_measure(
    shares: Float[np.ndarray, "step *axes number"],
    steps: tuple[int, ...],
    axes: tuple[str, ...],
    coords: Mapping[str, tuple[str, ...]],
    words: str,
    n: int,
) -> Measure:
    """value, low and high along the last axis; without an axis for steps where there is one."""
    numbers = shares if len(steps) > 1 else shares[0]
    lead, named = ((STEP,), {STEP: steps}) if len(steps) > 1 else ((), {})
    value, low, high = numbers[..., 0], numbers[..., 1], numbers[..., 2]
    return Measure(
        value, SHARE, (low, high), "seed", n, (*lead, *axes), {**named, **coords}, no_nulls=NO_NULLS,
        message=f"share of seeds: {words}; interval of Clopper and Pearson",
    )  # fmt: skip


# -- other runs --------------------------------------------------------------------------------------------------------


def similarity_measures(runs: Sequence[Run]) -> dict[str, Measure]:
    """xi and xi*: how well another run copies once its attention resembles a finished run as much as beta does."""
    checkpoints = [checkpoint for run in runs for checkpoint in run.checkpoints]
    if (why := not_comparable(checkpoints, ATTENTION_ARRAY)) is not None:
        return {"xi": missing(SHARE, "not applicable", why)}
    finals = [run.last.arrays[ATTENTION_ARRAY][:SEQUENCES] for run in runs]
    along = [np.stack([one.arrays[ATTENTION_ARRAY][:SEQUENCES] for one in run.checkpoints]) for run in runs]
    accuracies = [run.accuracies(TASK) for run in runs]
    points = np.full((len(runs), 2), np.nan)
    for i, run in enumerate(runs):
        others = [OtherRun(agreements_with(finals[i], along[j]), accuracies[j]) for j in range(len(runs)) if j != i]
        points[i] = [xi(_agreement_of(run, pair), others).value for pair in (UNIFORM.name, BETA.name)]
    best = np.array([xi_star(of) for of in accuracies])
    return {"xi": _of_xi(points), "xi_star": _mean_over_seeds(best, "best task accuracy of a run")}


def _agreement_of(run: Run, pair: str) -> float:
    """Of attention at its last step; infinite where there is none, so that no run reaches it."""
    agreement = run.last.measures.get("agreement")
    value = np.nan if agreement is None else estimate_of(agreement.sel(**{PAIR: pair}))
    return np.inf if np.isnan(value) else value


def _of_xi(points: Float[np.ndarray, "run pair"]) -> Measure:
    """Means over the finished runs for which another run reaches the agreement."""
    known = np.isfinite(points)
    words = [
        f"{pair}: of {n} of {len(points)} seeds" for pair, n in zip(("uniform", "beta"), known.sum(axis=0), strict=True)
    ]
    message = (
        "task accuracy of other runs at their first checkpoint whose attention agrees more with that of a finished run"
        f" than beta does; known for {', '.join(words)}"
    )
    values, low, high = (np.full(points.shape[1], np.nan) for _ in range(3))
    for pair in np.flatnonzero(known.any(axis=0)):
        of = points[known[:, pair], pair]
        values[pair], (low[pair], high[pair]) = of.mean(), t_interval(of)
    if not np.isfinite(values).any():
        return missing(SHARE, "undefined", message)
    return Measure(
        values, SHARE, (low, high), "seed", len(points), (PAIR,), {PAIR: ("uniform", "beta")}, points=points,
        no_nulls="compare with xi_star", message=message,
    )  # fmt: skip


def _mean_over_seeds(points: Float[np.ndarray, " run"], words: str) -> Measure:
    if np.isnan(points).any():
        return without_interval(np.array(np.nan), SHARE, message=f"{words}; not every seed has one")
    return Measure(
        np.asarray(points.mean()), SHARE, t_interval(points), "seed", len(points), no_nulls="compare with xi",
        points=points, message=words,
    )  # fmt: skip
