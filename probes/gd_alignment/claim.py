"""The claim card of gd-alignment: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Mapping

from ...models.subject import Source
from ..measure import Claim, Measure
from .limits import limits, notes
from .names import CANDIDATE, GD, MODEL
from .ranking import Ranking, number, ranking

CITATIONS = (
    "J. von Oswald, E. Niklasson, E. Randazzo, J. Sacramento, A. Mordvintsev, A. Zhmoginov, M. Vladymyrov."
    " Transformers learn in-context by gradient descent. ICML 2023. arXiv:2212.07677.",
)


def gd_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], tasks_file: str | None, law: Mapping[str, float]
) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step.

    law: what the user changed of the law of generated tasks
    """
    methods = _methods(measures, sources[0].facts.get("n_layers"), tasks_file)
    order = ranking(measures)
    if order is None:
        return Claim(
            found="The model's predictions on these tasks are not finite, so mesascope compared nothing.",
            rival="No candidate was ranked.",
            evidence="None.",
            limits=notes(sources),
            methods=methods,
            citations=CITATIONS,
        )
    return Claim(
        found=_found(order),
        rival=_rival(order),
        evidence=_evidence(order),
        limits=limits(order, sources, tasks_file, law),
        methods=methods,
        citations=CITATIONS,
    )


def _found(order: Ranking) -> str:
    title, difference = order.title(order.closest), order.difference(order.closest)
    if order.is_floor:
        return f"No candidate is closer to the model than {title} (prediction difference {difference})."
    if not order.separated:
        differences = f"prediction differences {difference} and {order.difference(order.next)}"
        return f"These tasks do not separate {title} from {order.title(order.next)} ({differences})."
    cosine = order.of("cosine", order.closest).estimate
    return f"Closest candidate: {title} (prediction difference {difference}, sensitivity cosine {cosine:.4g})."


def _rival(order: Ranking) -> str:
    if not order.is_floor and not order.separated:
        return f"The gap between the two is {order.gap}."
    return f"Next: {order.title(order.next)} ({order.difference(order.next)}); the gap is {order.gap}."


def _evidence(order: Ranking) -> str:
    """What was resampled, and the null that agrees best with the closest candidate."""
    loss = order.of("loss", MODEL)
    replicates = f"{loss.n:,} {loss.replicate}{'s' * (loss.n != 1)}."
    means = {null: float(samples.mean()) for null, samples in order.of("cosine", order.closest).nulls.items()}
    if order.is_floor or not means:
        return replicates
    strongest = max(means, key=lambda null: means[null])
    return f"{replicates} Strongest null ({strongest}): cosine {means[strongest] + 0.0:.2f}."


def _methods(measures: Mapping[str, Measure], layers: int | None, tasks_file: str | None) -> str:
    source = "tasks supplied by the user" if tasks_file else "freshly drawn in-context linear regression tasks"
    steps = f"{layers} gradient step{'s' * (layers != 1)}" if layers else "gradient steps"
    return " ".join([
        f"We compared the model with transformers constructed to take {steps} (von Oswald et al., 2023) and with other"
        f" algorithms of linear regression, on {source}.",
        "We report the mean absolute prediction difference, the mean L2 distance and the mean cosine of the"
        " sensitivities d prediction / d x_query, and the loss 0.5 (y - y_hat)^2.",
        *_fits(measures, tasks_file),
        "Nulls: 50 untrained initialisations of the same architecture, and context labels shuffled for the model only.",
        f"95 % confidence intervals: {_intervals(measures)}.",
    ])  # fmt: skip


def _fits(measures: Mapping[str, Measure], tasks_file: str | None) -> list[str]:
    split = (
        "Settings that were not given were cross-fitted between two halves of the tasks."
        if tasks_file
        else "Settings were fitted on tuning tasks that share none with the evaluation tasks"
        " (von Oswald et al. tune on the evaluation tasks)."
    )
    rates = measures["learning_rate"]
    rate = rates.sel(**{CANDIDATE: GD.name}) if GD.name in rates.labels(CANDIDATE) else None
    used = [f"Constructed gradient descent has the learning rate {number(rate)}."] if rate and rate.has_number else []
    return [
        split,
        *used,
        "Constructed models were fitted to the loss; ridge regression and k-step gradient descent to the model's"
        " predictions.",
    ]


def _intervals(measures: Mapping[str, Measure]) -> str:
    loss = measures["loss"].sel(**{CANDIDATE: MODEL})
    return f"t-interval over {loss.n} seeds" if loss.replicate == "seed" else f"paired bootstrap over {loss.n:,} tasks"
