"""The claim card of gd-alignment: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...models.subject import Source
from ..comparing.by_candidate import CANDIDATE, MODEL
from ..comparing.numbers import number
from ..comparing.ranking import CONSTANT, NOT_FINITE
from ..comparing.verdicts import percent, percent_with_interval, verdict
from ..measure import Claim, Measure
from ..regression.limits import notes
from ..regression.nulls import UNTRAINED
from ..regression.reading_measures import GIVEN, assumed_layout, found_layout, in_words
from ..regression.sign import turned_words
from .limits import limits
from .names import GD
from .ranking import Ranking, numbers_of_steps, ranking

CITATIONS = (
    "J. von Oswald, E. Niklasson, E. Randazzo, J. Sacramento, A. Mordvintsev, A. Zhmoginov, M. Vladymyrov."
    " Transformers learn in-context by gradient descent. ICML 2023. arXiv:2212.07677.",
)


def gd_claim(
    measures: Mapping[str, Measure],
    sources: tuple[Source, ...],
    tasks_file: str | None = None,
    law: Mapping[str, float] | None = None,
    sign: int | None = None,
) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step.

    law, sign: what the user changed of the law of generated tasks; the sign of the read-out, where the user gave it
    """
    methods = _methods(measures, tasks_file, sign)
    order = ranking(measures)
    if order is None or order.constant:
        return Claim(
            found=NOT_FINITE if order is None else CONSTANT,
            rival="No candidate was ranked.",
            evidence="None.",
            limits=notes(sources),
            methods=methods,
            citations=CITATIONS,
            badge="Predictions are not finite" if order is None else "Predictions do not vary",
        )
    return Claim(
        found=_found(order),
        rival=_rival(order),
        evidence=_evidence(order),
        limits=limits(order, sources, tasks_file, law or {}, sign),
        methods=methods,
        citations=CITATIONS,
        badge=_badge(order),
    )


def _found(order: Ranking) -> str:
    layout, replicate = found_layout(order.measures), order.measures["readout_sign"].replicate
    some = "" if layout is None else f" in {layout.seeds} of {layout.of} {replicate}s" * (layout.seeds < layout.of)
    return f"Tokens rearranged{some}. " * (layout is not None) + turned_words(order.measures) + _verdict(order)


def _verdict(order: Ranking) -> str:
    title, left = order.title(order.closest), order.unexplained(order.closest)
    called = verdict(left)
    if _tied(order):
        return f"These tasks do not separate {title} from {order.title(order.next)} ({_both(order)})."
    if order.is_floor and called == "agrees":
        return f"The model agrees with {title}, which ignores the query: it leaves {percent(left)} unexplained."
    if order.is_floor and called == "none":
        difference = order.difference(order.closest)
        return f"No candidate explains the model: none is closer than {title} (prediction difference {difference})."
    share = percent_with_interval(left)
    if called == "none":
        return f"No candidate explains the model: even {title} leaves {share} unexplained."
    title += " (most tried)" * order.at_edge
    if called == "agrees":
        return f"The model agrees with {title}, leaving {share} unexplained."
    return f"Closest: {title}{', which ignores the query' * order.is_floor}, but it leaves {share} unexplained."


def _badge(order: Ranking) -> str:
    """The verdict without its interval: the closest candidate, or that there is none, or that two are."""
    left = order.unexplained(order.closest)
    called = verdict(left)
    if _tied(order):
        return f"Not separated: {order.title(order.closest)}, {order.title(order.next)}"
    if called == "none":
        return "No candidate explains the model"
    title = order.title(order.closest) + " (most tried)" * order.at_edge
    words = f"Agrees with {title}" if called == "agrees" else f"Closest: {title}"
    return words if np.isnan(left.value) else f"{words}, {percent(left)} unexplained"


def _tied(order: Ranking) -> bool:
    """Whether the first sentence names two candidates: one explains at least in part, and another may be as close."""
    called = verdict(order.unexplained(order.closest))
    return not order.separated and called != "none" and not (order.is_floor and called == "agrees")


def _both(order: Ranking) -> str:
    """How far the closest two are from the model. A single task has no variation to take a share of."""
    shares = [order.unexplained(name) for name in (order.closest, order.next)]
    if any(np.isnan(share.value) for share in shares):
        return f"prediction differences {order.difference(order.closest)} and {order.difference(order.next)}"
    return f"{percent(shares[0])} and {percent(shares[1])} unexplained"


def _rival(order: Ranking) -> str:
    """The next candidate, and the gap to it."""
    if _tied(order):
        return f"Gap in prediction difference: {order.gap}."
    title, share = order.title(order.next), percent(order.unexplained(order.next))
    return f"Next: {title} ({share} unexplained). Gap in prediction difference: {order.gap}."


def _evidence(order: Ranking) -> str:
    """What was resampled, and the cosine beside that of the null that agrees best with the closest candidate."""
    loss, cosine = order.of("loss", MODEL), order.of("cosine", order.closest)
    replicates = f"{loss.n:,} {loss.replicate}{'s' * (loss.n != 1)}."
    means = {null: float(samples.mean()) for null, samples in cosine.nulls.items()}
    if order.is_floor or not means:
        return replicates
    strongest = max(means, key=lambda null: means[null])
    return f"{replicates} Cosine {cosine.estimate:.4g}; null ({strongest}) {means[strongest] + 0.0:.2f}."


def _methods(measures: Mapping[str, Measure], tasks_file: str | None, sign: int | None) -> str:
    source = "tasks supplied by the user" if tasks_file else "freshly drawn in-context linear regression tasks"
    steps = numbers_of_steps(measures)
    counted = f"{' or '.join(map(str, steps))} gradient step{'s' * (steps != (1,))}"
    untrained = "untrained" in measures["loss"].sel(**{CANDIDATE: MODEL}).nulls
    return " ".join([
        f"We compared the model with transformers constructed to take {counted} (von Oswald et al., 2023) and with"
        f" other algorithms of linear regression, on {source}.",
        "We report the mean absolute prediction difference, also as a share of the mean absolute deviation of the"
        f" model's predictions from their median;{_sensitivities(measures)} and the loss 0.5 (y - y_hat)^2.",
        *_fits(measures, tasks_file),
        f"The sign of the predictions was {'found on the labels of other tasks' if sign is None else 'given'},"
        f" {_layout_from(measures)}, alike for the model and for every null.",
        f"Nulls: {f'{UNTRAINED} untrained initialisations of the same architecture, and ' * untrained}context labels"
        " shuffled for the model only.",
        f"95 % confidence intervals: {_intervals(measures)}.",
    ])  # fmt: skip


def _sensitivities(measures: Mapping[str, Measure]) -> str:
    if measures["cosine"].status == "not applicable":
        return ""
    return " the mean L2 distance and the mean cosine of the sensitivities d prediction / d x_query;"


def _layout_from(measures: Mapping[str, Measure]) -> str:
    if (name := assumed_layout(measures)) is not None:
        return f"{in_words(name)} were assumed"
    return f"the layout of tokens was {'given' if measures['layout_gain'].message == GIVEN else 'found likewise'}"


def _fits(measures: Mapping[str, Measure], tasks_file: str | None) -> list[str]:
    split = (
        "Settings that were not given were cross-fitted between two halves of the tasks."
        if tasks_file
        else "Settings that were not given were fitted on tuning tasks that share none with the evaluation tasks"
        " (von Oswald et al. tune on the evaluation tasks)."
    )
    rates = measures["learning_rate"]
    rate = rates.sel(**{CANDIDATE: GD.name}) if GD.name in rates.labels(CANDIDATE) else None
    used = [f"Constructed gradient descent has the learning rate {number(rate)}."] if rate and rate.has_number else []
    return [
        split,
        "Of these, settings of constructed models were fitted to the loss, those of ridge regression and k-step"
        " gradient descent to the model's predictions.",
        *used,
    ]


def _intervals(measures: Mapping[str, Measure]) -> str:
    loss = measures["loss"].sel(**{CANDIDATE: MODEL})
    paired = loss.replicate == "task"
    return f"paired bootstrap over {loss.n:,} tasks" if paired else f"t-interval over {loss.n} {loss.replicate}s"
