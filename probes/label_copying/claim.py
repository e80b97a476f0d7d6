"""The claim card of label-copying: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ...models.subject import Source
from ..comparing.by_candidate import MODEL
from ..comparing.evidence import interval_over
from ..comparing.numbers import Number, number, rounded
from ..comparing.verdicts import percent_with_interval
from ..measure import Claim, Measure
from ..regression.limits import notes
from ..regression.sign import turned_words
from .limits import limits
from .names import ABLATED, COPIES_ONLY, GD, NEXT, OTHER, OWN, UNTRAINED, WITHOUT_COPIES, WITHOUT_NEXT, ZERO
from .standing import Called, Standing

CITATIONS = (
    "J. von Oswald, E. Niklasson, E. Randazzo, J. Sacramento, A. Mordvintsev, A. Zhmoginov, M. Vladymyrov."
    " Transformers learn in-context by gradient descent. ICML 2023. arXiv:2212.07677.",
    "C. Olsson et al. In-context learning and induction heads. Transformer Circuits Thread, 2022. arXiv:2209.11895.",
)
BADGES = {
    "copies": "Copies labels",
    "unused": "Copies labels that it does not need",
    "attends": "Attends to labels, does not copy them",
    "in part": "Copies labels in part",
    "none": "No label copying",
    "seeds differ": "Seeds differ in label copying",
}
DOES = {
    "copies": "copies labels",
    "unused": "copies labels that the answers do not need",
    "attends": "attends to labels, and tokens after it are not sensitive to them",
    "in part": "copies labels in part",
    "none": "does not copy labels",
}
"""What is said of some of several seeds."""
NOT_FINITE = "Nothing was measured: the model's attention or its answers are not finite on these tasks."


def copying_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], tasks_file: str | None, sign: int | None
) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step."""
    order = Standing(measures)
    if order.called == "undefined":
        return Claim(NOT_FINITE, "None.", "None.", notes(sources), _methods(order, tasks_file), CITATIONS, "Not finite")
    return Claim(
        found=turned_words(measures) + f"{_copies(order)} {_beside(order)}",
        rival=_rival(order),
        evidence=_evidence(order),
        limits=limits(order, sources, tasks_file, sign),
        methods=_methods(order, tasks_file),
        citations=CITATIONS,
        badge=BADGES[order.called],
    )


def _copies(order: Standing) -> str:
    score = f"x tokens pay their labels' tokens {_share(order.score)} of their attention"
    score += f" (even attention: {100 * order.even:.3g} %)"
    if order.called == "seeds differ":
        return f"{_of_seeds(order.by_seed)}: {score}."
    said = {
        "copies": f"The first layer copies labels: {score}.",
        "unused": f"The first layer copies labels, and the answers do not need it: {score}.",
        "attends": f"The first layer attends to labels, but tokens after it are not sensitive to them: {score}.",
        "in part": f"The first layer copies labels in part: {score}.",
        "none": f"The first layer does not copy labels: {score}.",
    }[order.called]
    if not order.needed.all():
        return said
    return f"{said} Without these copies the loss is {order.loss(WITHOUT_COPIES)}."


def _share(score: Measure) -> str:
    """Seeds may put the same copies into one head or into several, so that a mean of theirs is that of none."""
    if score.points is None:
        return percent_with_interval(number(score))
    return f"{100 * np.nanmin(score.points):.3g} to {100 * np.nanmax(score.points):.3g} %"


def _of_seeds(by_seed: Sequence[Called]) -> str:
    """ "Of 3 seeds the first layer copies labels in 2, does not copy labels in 1"."""
    counts = Counter(by_seed)
    return f"Of {len(by_seed)} seeds the first layer " + ", ".join(f"{DOES[one]} in {n}" for one, n in counts.items())


def _beside(order: Standing) -> str:
    """The loss beside that of one step of gradient descent on the same pairs."""
    loss, step = order.loss(MODEL), rounded(order.loss(GD).value)
    gap = _signed(order.gap(MODEL))
    return {
        "zero": f"The loss, {loss}, is no better than that of answering zero ({rounded(order.loss(ZERO).value)}).",
        "same": f"The loss, {loss}, is that of one step of gradient descent ({step}), up to {gap}.",
        "above": f"The loss, {loss}, is above that of one step of gradient descent ({step}), by {gap}.",
        "below": f"The loss, {loss}, is below that of one step of gradient descent ({step}), by {gap}.",
        "open": f"The loss, {loss}, is not clearly that of one step of gradient descent ({step}): {gap}.",
    }[order.beside]


def _signed(gap: Number) -> str:
    """ "+3.1 % (95 % CI +2.0 to +4.1)"."""
    value, low, high = (f"{100 * number:+.1f}".replace("-", "−") for number in (gap.value, gap.low, gap.high))
    return f"{value} %" if np.isnan(gap.low) else f"{value} % (95 % CI {low} to {high})"


def _rival(order: Standing) -> str:
    """What untrained models do, and what tokens are sensitive to beside the next one."""
    untrained = order.measures["first_layer_score"].nulls[UNTRAINED]
    own, following, rest = (rounded(order.to(kind).value) for kind in (OWN, NEXT, WITHOUT_NEXT))
    return (
        f"Of {len(untrained)} untrained models the one with the highest score pays labels"
        f" {100 * float(np.nanmax(untrained)):.3g} %. After the first layer a token is sensitive to itself by {own}, to"
        f" the next token by {following}, to each other token by {rest} (as the authors count, with the next one:"
        f" {rounded(order.to(OTHER).value)})."
    )


def _evidence(order: Standing) -> str:
    loss = order.measures["loss"]
    values = {name: order.loss(name).value for name in (ABLATED, COPIES_ONLY)}
    losses = {name: rounded(value) if np.isfinite(value) else "not finite" for name, value in values.items()}
    return (
        f"{loss.n:,} {loss.replicate}s. If labels move in no other way than by these copies the loss is"
        f" {losses[COPIES_ONLY]}; without the first layer's attention it is {losses[ABLATED]}."
    )


def _methods(order: Standing, tasks_file: str | None) -> str:
    loss = order.measures["loss"]
    source = "supplied by the user" if tasks_file else "freshly drawn"
    intervals = f" 95 % confidence intervals: {interval_over(loss)}." if loss.replicate != "none" else ""
    return (
        "On tasks whose inputs and labels are tokens of their own we measured the attention that each x token pays the"
        " next token, which holds its label, and the sensitivity of every token after the first layer to the tokens"
        " before it: norms of gradients of the sum of its coordinates, averaged over tasks (von Oswald et al. 2023)."
        " The loss was measured again with what x tokens read of their labels in the first layer set to that of a label"
        " of 0, with all other reading of labels set so, and with the layer's attention removed. It is compared with"
        f" one step of gradient descent on the same pairs, its learning rate fitted to other tasks. Tasks were"
        f" {source}. Null: {_nulls(order)} untrained models.{intervals}"
    )


def _nulls(order: Standing) -> int:
    return len(order.measures["first_layer_score"].nulls.get(UNTRAINED, ()))
