"""The claim card on tasks: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...models.subject import Source
from ..comparing.by_candidate import MODEL
from ..comparing.numbers import number, rounded
from ..comparing.ranking import CONSTANT, NOT_FINITE
from ..comparing.verdicts import percent, percent_with_interval, verdict
from ..measure import Claim, Measure
from .limits import limits
from .names import GD
from .nulls import INITIALISATIONS, SHUFFLED, UNTRAINED
from .ranking import Ranking, ranking
from .shift_measures import DRAWS, RANDOM

CITATIONS = (
    "S. Li, Z. Song, Y. Xia, T. Yu, T. Zhou. The closeness of in-context learning and weight shifting for softmax"
    " regression. NeurIPS 2024. arXiv:2304.13276.",
)


def task_claim(measures: Mapping[str, Measure], sources: tuple[Source, ...], tasks_file: str | None) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step."""
    order = ranking(measures)
    if order is None or order.constant:
        return Claim(
            found=NOT_FINITE if order is None else CONSTANT,
            rival="No candidate was ranked.",
            evidence="None.",
            limits=tuple(dict.fromkeys(note for source in sources for note in source.notes)),
            methods=_methods(measures, tasks_file),
            citations=CITATIONS,
            badge="Predictions are not finite" if order is None else "Predictions do not vary",
        )
    return Claim(
        found=f"{_verdict(order)} {_shifts(measures)}".strip(),
        rival=_rival(order),
        evidence=_evidence(order),
        limits=limits(order, sources, tasks_file),
        methods=_methods(measures, tasks_file),
        citations=CITATIONS,
        badge=_badge(order),
    )


def _verdict(order: Ranking) -> str:
    title, left = order.title(order.closest), order.unexplained(order.closest)
    called, share = verdict(left), percent_with_interval(left)
    blind = ", which does not look at A" * order.is_floor
    if _tied(order):
        other = order.title(order.next)
        shares = f"{percent(left)} and {percent(order.unexplained(order.next))}"
        return f"These tasks do not separate {title} from {other} ({shares} of the predictions unexplained)."
    if called == "none":
        return f"No candidate explains the model: even {title} leaves {share} of its predictions unexplained."
    if called == "agrees":
        return f"The model agrees with {title}{blind}, leaving {share} of its predictions unexplained."
    return f"Closest: {title}{blind}, but it leaves {share} of the model's predictions unexplained."


def _shifts(measures: Mapping[str, Measure]) -> str:
    cosine = measures["shift_cosine"]
    if not cosine.has_number:
        return ""
    sizes = {moved: rounded(measures[f"shift_{moved}"].estimate) for moved in "xA"}
    null = rounded(float(cosine.nulls[RANDOM].mean()) + 0.0) if RANDOM in cosine.nulls else "not known"
    return (
        f"One gradient step shifts the targets by {sizes['x']} and what the model writes by {sizes['A']}; the cosine"
        f" between both shifts is {number(cosine)}, in random directions {null}."
    )


def _badge(order: Ranking) -> str:
    left = order.unexplained(order.closest)
    called = verdict(left)
    title = order.title(order.closest)
    if _tied(order):
        return f"Not separated: {title}, {order.title(order.next)}"
    if called == "none":
        return "No candidate explains the model"
    words = f"Agrees with {title}" if called == "agrees" else f"Closest: {title}"
    return words if np.isnan(left.value) else f"{words}, {percent(left)} unexplained"


def _tied(order: Ranking) -> bool:
    """Whether the first sentence names two candidates: one explains at least in part, and another may be as close."""
    called = verdict(order.unexplained(order.closest))
    return order.limit_of_smoother is None and not order.separated and called != "none"


def _rival(order: Ranking) -> str:
    """The next candidate, and the gap to it; and how far one gradient step is, where it is neither."""
    if _tied(order):
        return f"Gap in prediction difference: {order.gap}."
    share, title = percent(order.unexplained(order.next)), order.title(order.next)
    if order.limit_of_smoother:
        return f"{title[0].upper()}{title[1:]}, of which that is a limit, leaves {share} unexplained."
    words = f"Next: {title} ({share} unexplained). Gap in prediction difference: {order.gap}."
    if GD.name in (order.closest, order.next) or GD.name not in order.names:
        return words
    return f"{words} One gradient step leaves {percent(order.unexplained(GD.name))} unexplained."


def _evidence(order: Ranking) -> str:
    """What was resampled, and how the losses compare."""
    loss = order.of("loss", MODEL)
    replicates = f"{loss.n:,} {loss.replicate}{'s' * (loss.n != 1)}."
    return f"{replicates} Loss {order.loss()}, {order.loss_over_gd} of one gradient step's."


def _methods(measures: Mapping[str, Measure], tasks_file: str | None) -> str:
    source = "tasks supplied by the user" if tasks_file else "freshly drawn tasks of softmax regression"
    loss = measures["loss"].sel(candidate=MODEL)
    intervals = (
        f"paired bootstrap over {loss.n:,} tasks"
        if loss.replicate == "task"
        else f"t-interval over {loss.n} {loss.replicate}s"
    )
    nulls = [f"{INITIALISATIONS} untrained layers"] if UNTRAINED in loss.nulls else []
    nulls += ["b in random order for the model only"] if SHUFFLED in loss.nulls else []
    return " ".join([
        f"We compared the model with solvers of softmax regression (Li et al., 2023), b = softmax(A x), on {source}:"
        " gradient descent from x = 0 with one to eight steps, a Gauss-Newton step, the exact solution, kernel"
        " smoothing, and copying b.",
        "Learning rates and the factor of the copy were fitted to the loss, the smoother's settings to the model's"
        f" predictions, on {'the other half of the tasks' if tasks_file else 'tasks that share none with these'}.",
        "We report 0.5 |f - b|^2, the prediction difference |f_model - f_candidate|, also as a share of the mean"
        " distance of the model's predictions from their median, and the cosine of the sensitivities"
        " d f_0 / dA with b held fixed.",
        "The shift of the targets by a step is f before it minus f after it (weight shift: one gradient step on x from"
        " 0; data shift: what the layer writes into its query tokens), compared with the bounds |A|/2 and |x|/2 per"
        " length of the step.",
        f"Nulls: {', '.join([*nulls, f'{DRAWS} random directions of equal length'])}.",
        f"95 % confidence intervals: {intervals}.",
    ])  # fmt: skip
