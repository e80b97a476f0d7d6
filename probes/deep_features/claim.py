"""The claim card of deep-features: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...models.subject import Source
from ..comparing.by_candidate import CANDIDATE, MODEL
from ..comparing.evidence import interval_over
from ..comparing.numbers import rounded
from ..comparing.verdicts import percent_with_interval
from ..measure import Claim, Measure
from ..regression.limits import notes
from ..regression.sign import turned_words
from .limits import limits
from .names import ATTENDED_GD, EMBEDDING, FEATURE_GD, FEATURE_RIDGE, TWIN, UNTRAINED, ZERO
from .standing import Standing

CITATIONS = (
    "J. von Oswald, E. Niklasson, E. Randazzo, J. Sacramento, A. Mordvintsev, A. Zhmoginov, M. Vladymyrov."
    " Transformers learn in-context by gradient descent. ICML 2023. arXiv:2212.07677.",
)
RULES = {
    FEATURE_GD: "gradient descent on features as they stand",
    ATTENDED_GD: "a step on features as attention reads them",
    FEATURE_RIDGE: "ridge regression",
}
WITHOUT_A_RULE = {
    "nothing": "Attention adds nothing",
    "none": "No gradient descent on its features",
    "open": "Not clear",
}
NOT_FINITE = "Nothing was measured: the model's answers are not finite on these tasks."
ADDS_NOTHING = "Attention adds nothing to the answers, or nothing finite, so no rule on features explains what it adds."


def features_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], tasks_file: str | None, sign: int | None
) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step."""
    order = Standing(measures)
    if order.called == "undefined":
        return Claim(NOT_FINITE, "None.", "None.", notes(sources), _methods(order, tasks_file), CITATIONS, "Not finite")
    return Claim(
        found=turned_words(measures) + " ".join(filter(None, (_step(order), _loss(order), _twin(order)))),
        rival=_rival(order),
        evidence=_evidence(order),
        limits=limits(order, sources, tasks_file, sign),
        methods=_methods(order, tasks_file),
        citations=CITATIONS,
        badge=_badge(order),
    )


def steps_in_words(steps: int) -> str:
    return "one step of gradient descent" if steps == 1 else f"{steps} steps of gradient descent"


def _rule(order: Standing, name: str) -> str:
    return {
        FEATURE_GD: f"{steps_in_words(order.steps)} on the features of its embedding",
        ATTENDED_GD: "one step of gradient descent on features as attention reads them",
        FEATURE_RIDGE: "ridge regression on the features of its embedding",
    }[name]


def _badge(order: Standing) -> str:
    if order.called in WITHOUT_A_RULE:
        return WITHOUT_A_RULE[order.called]
    steps = "A step" if order.steps == 1 else f"{order.steps} steps"
    said = {
        FEATURE_GD: f"{steps} of gradient descent on its features",
        ATTENDED_GD: "A step of gradient descent on attended features",
        FEATURE_RIDGE: "Ridge regression on its features",
    }[order.closest]
    return said if order.called == "agrees" else f"{said}, in part"


def _step(order: Standing) -> str:
    if order.called == "nothing":
        return ADDS_NOTHING
    name, left = _rule(order, order.closest), percent_with_interval(order.share(order.closest))
    return {
        "agrees": f"Attention adds to the answers what {name} adds, up to {left}.",
        "in part": f"{name[0].upper()}{name[1:]} explains in part what attention adds to the answers: {left} is left.",
        "open": f"Of the rules on the features of its embedding {name} is closest to what attention adds to the"
        f" answers, but not clearly close: it leaves {left}.",
        "none": f"No rule on the features of its embedding explains what attention adds to the answers: the closest,"
        f" {name}, leaves {left}.",
    }[order.called]


def _loss(order: Standing) -> str:
    loss, zero = order.loss(MODEL), rounded(order.loss(ZERO).value)
    if not order.learned:
        return f"The loss, {loss}, is no better than that of answering zero ({zero})."
    return f"The loss is {loss}; that of answering zero is {zero}."


def _twin(order: Standing) -> str:
    """The twin beside the model: the paper's comparison."""
    if not order.has_twin:
        return ""
    said = (
        f"The twin's loss is {rounded(order.loss(TWIN).value)}; its answers differ by {order.difference(TWIN)} on"
        " average"
    )
    slopes = order.slopes(TWIN)
    return f"{said}." if np.isnan(slopes.value) else f"{said}, and slopes agree by {slopes}."


def _rival(order: Standing) -> str:
    """What each rule leaves of what attention adds, of this model and of untrained ones."""
    if order.called == "nothing":
        return "None."
    left = "; ".join(
        f"{RULES[name]} {percent_with_interval(order.share(name))} (its loss is {rounded(order.loss(name).value)})"
        for name in order.rules
    )
    held = order.measures["unexplained_share"].sel(**{CANDIDATE: order.closest}).nulls
    if not held:
        return f"Not explained: {left}."
    least = ", ".join(f"{100 * float(np.nanmin(null)):.3g} % ({name})" for name, null in held.items())
    return f"Not explained: {left}. Under the nulls {RULES[order.closest]} leaves at least {least}."


def _evidence(order: Standing) -> str:
    loss, read = order.measures["loss"], order.measures["linear_readout"]
    said = f"{loss.n:,} {loss.replicate}s. Before attention the loss is {rounded(order.loss(EMBEDDING).value)}."
    if not read.has_number:
        return said
    first, last = (rounded(float(read.values[place])) for place in (0, -1))
    return f"{said} A linear read-out of the query's state has R² {first} before attention and {last} after it."


def _methods(order: Standing, tasks_file: str | None) -> str:
    loss = order.measures["loss"]
    source = "supplied by the user" if tasks_file else "freshly drawn"
    intervals = f" 95 % confidence intervals: {interval_over(loss)}." if loss.replicate != "none" else ""
    twin = ", and with another model of the same tasks (the twin)" if order.has_twin else ""
    step = ", with one step on the true labels whose inner products are those of keys and the query"
    attended = step if ATTENDED_GD in order.rules else ""
    return (
        "We took what a model's embedding makes of each token, the last number as the slot of its label and all others"
        f" as features, and compared the model's answers with those of {steps_in_words(order.steps)} on these features"
        " from the answer that is read before attention, with ridge regression of the true labels on the same"
        f" features{attended}{twin}. Learning rates and the penalty were fitted to the model's answers on other tasks."
        " Slopes are derivatives of an answer by the query's input; their agreement is the mean cosine over tasks (von"
        f" Oswald et al. 2023). Tasks were {source}. Nulls: {_untrained(order)} untrained models, and the model on"
        f" shuffled labels.{intervals}"
    )


def _untrained(order: Standing) -> int:
    held = order.measures["loss"].sel(**{CANDIDATE: MODEL}).nulls
    return len(held.get(UNTRAINED, ()))
