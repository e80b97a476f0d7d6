"""The claim card of implicit-weights: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from ...models.subject import Source
from ..comparing.numbers import Number, number
from ..comparing.verdicts import at_most, percent, percent_with_interval
from ..measure import Claim, Measure
from ..regression.sign import turned_words
from .limits import limits, notes
from .names import BY_NAME, CONTEXT, FITTED_TASKS, LAYER, OUTPUT, UNTRAINED
from .standing import Named, Standing, steps_title

CITATIONS = (
    "M. Vladymyrov, J. von Oswald, M. Sandler, R. Ge. Linear transformers are versatile in-context learners."
    " NeurIPS 2024. arXiv:2402.14180.",
    "E. Akyürek, D. Schuurmans, J. Andreas, T. Ma, D. Zhou. What learning algorithm is in-context learning?"
    " Investigations with linear models. ICLR 2023. arXiv:2211.15661.",
    "J. von Oswald, E. Niklasson, E. Randazzo, J. Sacramento, A. Mordvintsev, A. Zhmoginov, M. Vladymyrov."
    " Transformers learn in-context by gradient descent. ICML 2023. arXiv:2212.07677.",
    "K. Ahn, X. Cheng, H. Daneshmand, S. Sra. Transformers learn to implement preconditioned gradient descent for"
    " in-context learning. NeurIPS 2023. arXiv:2306.00297.",
)
NEARLY, ALL = 0.98, 0.9995
"""Shares from here on are told apart by a decimal, and not any more."""
MOST_GROUPS = 4
"""Runs of layers that a sentence tells of."""


def weights_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], tasks_file: str | None, sign: int | None
) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step."""
    distance = measures["weight_distance"]
    if "loss" not in measures:
        return _nothing(f"The model's weights were not found: {_reason(distance)}.", "Not applicable", sources)
    if not measures["loss"].has_number:
        return _nothing("The model's answers on these tasks are not finite.", "Answers are not finite", sources)
    held = Standing(measures)
    if held.output.called == "empty":
        return _nothing("The model holds no linear model: its weights are all 0, or not finite.", "No weights", sources)
    return Claim(
        found=turned_words(measures) + " ".join(filter(None, (_linear(held), _found(held), _exchange(held)))),
        rival=_rival(held),
        evidence=_evidence(held),
        limits=limits(held, sources, tasks_file, sign),
        methods=_methods(held, tasks_file),
        citations=CITATIONS,
        badge=_badge(held),
    )


def _nothing(found: str, badge: str, sources: tuple[Source, ...]) -> Claim:
    return Claim(found, "No rule was compared.", "None.", notes(sources), "", CITATIONS, badge)


def _reason(measure: Measure) -> str:
    return next(iter(measure.apart().values())).message


def _linear(held: Standing) -> str:
    if held.linear:
        return ""
    share = percent(held.linearity) if held.linearity.value > 0 else "nothing"
    return f"The model's answer is not linear in the query: a matrix explains {share} of it at other queries."


def _found(held: Standing) -> str:
    """Runs of layers that are called the same, the first ones and the last."""
    runs = [_run(held, list(run)) for _, run in groupby(held.layers, lambda one: (one.called, one.rule, one.alike))]
    if len(runs) > MOST_GROUPS:
        runs = [*runs[: MOST_GROUPS - 1], f"… {runs[-1]}"]
    said = "; ".join(runs)
    return f"{said[0].upper()}{said[1:]}."


def _run(held: Standing, run: Sequence[Named]) -> str:
    first, last = run[0], run[-1]
    if first.label == OUTPUT:
        where = "the answer"
    elif first is last:
        where = f"after layer {first.label + 1}"
    else:
        where = f"after layers {first.label + 1} to {last.label + 1}"
    if first.called == "empty":
        return f"{where}: no weights"
    nearest, furthest = min(run, key=_away), max(run, key=_away)
    most = percent_with_interval(furthest.away)
    away = f"{at_most(most) if len(run) > 1 else most} away"
    title = steps_title(run)
    also = ", and so are untrained models" * (first.alike and first.called == "agrees")
    return {
        "agrees": f"{where}: {title} ({away}{also})",
        "closest": f"{where}: closest to {title}, but {away}",
        "none": f"{where}: no rule, even {steps_title([nearest])} is {percent_with_interval(nearest.away)} away",
    }[first.called]


def _away(named: Named) -> float:
    return named.away.value


def _exchange(held: Standing) -> str:
    """What becomes of the answer where another task's model is put in the place of this one's."""
    if not held.exchanged:
        return ""
    context, several = held.followed(CONTEXT), len(held.measures["exchange_followed"].labels(LAYER)) > 1
    share = share_of(context) if context.estimate > 0 else "nothing"
    if held.works_on:
        least = "at least " * (several and share[0].isdigit())
        return (
            "Later layers continue from this model: with another task's model put into the context,"
            f" {held.descent} from there predicts {least}{share} of the change in the answer."
        )
    where = f" after layer {held.least_followed(CONTEXT) + 1}" * several
    return (
        "The exchange does not show that later layers continue from this model: with another task's in the"
        f" context{where}, {held.descent} from there predicts {share} of the change in the answer."
    )


def share_of(measure: Measure) -> str:
    """A share that may be nearly all."""
    held = number(measure)
    if held.value > ALL:
        return "more than 99.9 %"
    if held.value < NEARLY or np.isnan(held.low):
        return percent_with_interval(held)
    value, low, high = (f"{100 * end:.1f}" for end in (held.value, held.low, held.high))
    return f"{value} % (95 % CI {low} to {high})"


def _badge(held: Standing) -> str:
    output = held.output
    title = steps_title([output])
    whose = "Answer" if output.label == OUTPUT else "Output"
    if not held.linear:
        return "The answer is not linear in the query"
    return {
        "agrees": f"{whose}: {title}, {percent(output.away)} away" + ", and so are untrained models" * output.alike,
        "closest": f"{whose} closest to {title}, {percent(output.away)} away",
        "none": f"{whose}: no rule",
    }[output.called]


def _rival(held: Standing) -> str:
    """The next rule at the output, and untrained models."""
    output = held.output
    following = held.runner_up(output.place)
    said = "Next for the output: none, every rule is as near."
    if following is not None:
        name, part = following
        title = steps_title(
            [Named(output.place, output.label, "closest", name, number(part), (), held.steps(name, -1))]
        )
        said = f"Next for the output: {title} ({percent(number(part))} away)."
    named = held.distance(output.rule, output.place)
    null = np.empty(0) if named is None else named.nulls.get(UNTRAINED, np.empty(0))
    if not len(null):
        return said
    least = percent(Number(float(null.min()), np.nan, np.nan))
    return f"{said} Untrained models, fitted again, are at least {least} from {BY_NAME[output.rule].words}."


def _evidence(held: Standing) -> str:
    """What was resampled, and what else the output's model does."""
    loss = held.measures["loss"]
    last = loss.at(layer=-1)
    plural = "s" * (last.n != 1)
    fitted = " that nothing was fitted on" * (loss.replicate == "task")
    said = f"{last.n:,} {loss.replicate}{plural}{fitted}. Loss of the output {number(last)}."
    if not held.exchanged or not held.residual.estimate > 0:
        return said
    return f"{said} Residuals y − W x explain {share_of(held.residual)} of what layers add to the context's labels."


def _methods(held: Standing, tasks_file: str | None) -> str:
    loss = held.measures["loss"]
    exact = held.measures["linearity"].message
    paired = loss.replicate == "task"
    interval = f"bootstrap over {loss.n:,} tasks" if paired else f"t-interval over {loss.n} {loss.replicate}s"
    source = "supplied by the user" if tasks_file else "freshly drawn"
    n_nulls = len(loss.nulls.get(UNTRAINED, ()))
    untrained = f" Null: {n_nulls} untrained initialisations, to which the rules were fitted again." * bool(n_nulls)
    return (
        f"After each layer we read the linear model W that maps the query to the answer, {exact}. Each W was compared"
        f" with {len(BY_NAME)} families of algorithms, each fitted to it on up to {FITTED_TASKS} tuning tasks, on other"
        f" tasks ({source}). A distance is the root of E‖W − W_rule‖² / E‖W‖² (its square is the normalised ILWD of"
        " Akyürek et al., 2023). Of rules whose distances differ by at most 0.01 the one with the fewest fitted"
        f" settings is named.{untrained} 95 % confidence intervals: {interval}."
    )
