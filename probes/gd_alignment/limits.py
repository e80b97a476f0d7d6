"""What a report of gd-alignment does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...models.subject import Source
from ..algorithms.named import ZERO
from ..comparing.by_candidate import CANDIDATE, MODEL, OTHER_CANDIDATE
from ..comparing.numbers import number
from ..comparing.settings import AT_END
from ..comparing.verdicts import verdict
from ..measure import Measure
from ..regression.limits import notes, turned
from ..regression.reading_measures import assumed_layout, found_layout, in_words
from ..regression.splits import recorded_law
from .ranking import Ranking

HARD_TO_SEPARATE = 0.99
FAR_OFF = 10.0
"""A loss of so many times that of the zero predictor is no poor fit: the model does something else with these tokens.
"""
SAME_COSINE = 5e-5
"""Cosines that differ by less look the same in four decimals."""
DIRECTIONS = "A cosine compares directions only. Read the norm ratio and the prediction difference, too."
CONVEX = "With one layer and several heads a zero barrier is no evidence: the loss is convex along the mixture."


def limits(
    order: Ranking,
    sources: tuple[Source, ...],
    tasks_file: str | None,
    law: Mapping[str, float],
    sign: int | None,
) -> tuple[str, ...]:
    """All limits of one claim.

    law, sign: what the user changed of the law of generated tasks; the sign of the read-out, where the user gave it
    """
    facts = sources[0].facts
    return (
        *_agreement(order),
        *_far_off(order),
        *_layout(order.measures),
        *turned(order.measures, sign),
        *_learning_rate(order.measures, clipped=facts.get("activation_clip") is not None),
        *_edge(order),
        *_left_out(order),
        *_not_finite(order),
        *_hard_to_separate(order),
        *_no_sensitivities(order.measures),
        *([DIRECTIONS] if order.of("cosine", order.closest).has_number else []),
        *_barriers(order.measures, facts),
        *(_about_file(order) if tasks_file is not None else _about_law(sources, law)),
        *notes(sources),
    )


def _layout(measures: Mapping[str, Measure]) -> list[str]:
    """What the tuning tasks showed of the tokens that the model reads, or that they showed nothing."""
    found, assumed = found_layout(measures), assumed_layout(measures)
    if assumed is not None:
        return [f"mesascope assumed {in_words(assumed)}. These tasks do not show how the model reads them."]
    if found is None:
        return []
    return [
        f"By the labels of the tuning tasks the model reads {in_words(found.name)}: so its predictions explain"
        f" {100 * found.share:.0f} % of the labels' squares, and {100 * found.share_of_first:.0f} % as"
        f" {in_words(found.first)}. Every number is that of the model read so."
    ]


def _agreement(order: Ranking) -> list[str]:
    explains = not order.is_floor and verdict(order.unexplained(order.closest)) != "none"
    words = "Agreement on these tasks does not show that the model computes what the closest candidate computes."
    return [words] * explains


def _far_off(order: Ranking) -> list[str]:
    """For a model of another task, or of tokens in another layout, that is read as regression."""
    loss, zero = number(order.of("loss", MODEL)), number(order.of("loss", ZERO.name))
    if not loss.low > FAR_OFF * zero.value:
        return []
    times = f"{loss.value / zero.value:.2g}"
    return [
        f"The model's loss is {times} times that of the zero predictor."
        " It may solve another task, or read tokens in another layout."
    ]


def _learning_rate(measures: Mapping[str, Measure], clipped: bool) -> list[str]:
    """One step at another rate is the same direction, unless the activation clip saturates."""
    rates = measures.get("cosine_by_gd_rate")
    if measures["constructed_steps"].estimate != 1 or rates is None or not rates.has_number:
        return []
    cosines = ", ".join(f"{value:.4f}" for value in rates.values)
    seen = f"at {', '.join(f'{factor:g}' for factor in rates.labels('rate_factor'))} times the rate it is {cosines}."
    if np.ptp(rates.values) < SAME_COSINE:
        return [f"With one step the sensitivity cosine does not depend on the learning rate: {seen}"]
    return [f"The activation clip makes the sensitivity cosine depend on the learning rate: {seen}"] * clipped


def _edge(order: Ranking) -> list[str]:
    """Where the closest candidate takes the most steps that were tried, or its setting is at an end of its range."""
    title, setting = order.title(order.closest), order.setting(order.closest)
    found = [f"{title} is the end of the search. More steps may come closer."] * order.at_edge
    if setting is not None and AT_END in setting.message:
        found.append(f"The {setting.unit} of {title} is {AT_END}. One beyond may come closer.")
    return found


def _left_out(order: Ranking) -> list[str]:
    """Candidates that some seeds were not compared with: how many steps are tried depends on the model."""
    replicate, titles = order.of("loss", MODEL).replicate, ", ".join(map(order.title, order.left_out))
    return [f"Not ranked, with a number in fewer {replicate}s than the others: {titles}."] * bool(titles)


def _not_finite(order: Ranking) -> list[str]:
    """Of several seeds, those that no candidate has a distance from."""
    differences = order.of("prediction_difference", order.closest)
    if differences.points is None or not (gone := int(np.isnan(differences.points).sum())):
        return []
    of = f"{gone} of {differences.n} {differences.replicate}s"
    return [f"The predictions of {of} are not finite. Every number is that of the others."]


def _no_sensitivities(measures: Mapping[str, Measure]) -> list[str]:
    cosine = measures["cosine"]
    reason = next(iter(cosine.apart().values())).message
    return [f"No sensitivities were compared: {reason}."] * (cosine.status == "not applicable")


def _hard_to_separate(order: Ranking) -> list[str]:
    every = order.measures["candidate_cosines"]
    if not every.has_number:  # seeds that were not compared with the same candidates have no common matrix
        return []
    cosines = every.sel(**{CANDIDATE: order.closest})
    others = [name for name in order.names if not order.same_hypothesis(name)]
    alike = [name for name in others if cosines.sel(**{OTHER_CANDIDATE: name}).estimate > HARD_TO_SEPARATE]
    if not alike:
        return []
    titles = ", ".join(order.title(name) for name in alike)
    return [
        f"By sensitivity cosine these tasks hardly separate {order.title(order.closest)} from {titles}"
        f" (cosines above {HARD_TO_SEPARATE})."
    ]


def _barriers(measures: Mapping[str, Measure], facts: Mapping[str, Any]) -> list[str]:
    """One head's path goes through products of mixtures, and a clip is not linear: neither need be convex."""
    if not measures["barrier"].has_number:
        return []
    read = "A barrier alone is no evidence. Read the losses at both ends and the weight distance, too."
    convex = facts.get("n_layers") == 1 and facts.get("n_heads", 1) > 1 and facts.get("activation_clip") is None
    return [read, *([CONVEX] if convex else [])]


def _about_file(order: Ranking) -> list[str]:
    single = order.of("loss", MODEL).n == 1
    return ["With a single task, settings were fitted on the very task that is evaluated."] * single


def _about_law(sources: tuple[Source, ...], law: Mapping[str, float]) -> list[str]:
    """What was assumed about the tasks, or asked for instead of those of training."""
    asked = ", ".join(f"{name} = {value:g}" for name, value in law.items())
    if not all(recorded_law(source.record) for source in sources):
        used = f"the paper's tasks, changed to {asked}" if asked else "the paper's tasks with N = d_in"
        return [f"The checkpoint does not record its training tasks. mesascope drew {used}."]
    return [f"The tasks are not those of training: you asked for {asked}."] * bool(asked)
