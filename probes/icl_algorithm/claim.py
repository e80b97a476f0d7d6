"""The claim card of icl-algorithm: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Mapping

from ...models.subject import Source
from ..comparing.by_candidate import CANDIDATE, MODEL
from ..comparing.ranking import CONSTANT, NOT_FINITE
from ..comparing.verdicts import percent, percent_with_interval
from ..measure import Claim, Measure
from ..regression.limits import notes
from ..regression.sign import turned_words
from .contest import UNTRAINED
from .limits import limits
from .names import EQUAL
from .standing import Standing, standing

CITATIONS = (
    "E. Akyürek, D. Schuurmans, J. Andreas, T. Ma, D. Zhou. What learning algorithm is in-context learning?"
    " Investigations with linear models. ICLR 2023. arXiv:2211.15661.",
    "D. Fu, T. Chen, R. Jia, V. Sharan. Transformers learn to achieve second-order convergence rates for in-context"
    " linear regression. NeurIPS 2024. arXiv:2310.17086.",
    "J. von Oswald, E. Niklasson, E. Randazzo, J. Sacramento, A. Mordvintsev, A. Zhmoginov, M. Vladymyrov."
    " Transformers learn in-context by gradient descent. ICML 2023. arXiv:2212.07677.",
)


def contest_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], tasks_file: str | None, sign: int | None
) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step."""
    order = standing(measures)
    methods = _methods(measures, tasks_file)
    if order is None or order.constant:
        return Claim(
            found=NOT_FINITE if order is None else CONSTANT,
            rival="No rule was ranked.",
            evidence="None.",
            limits=notes(sources),
            methods=methods,
            citations=CITATIONS,
            badge="Predictions are not finite" if order is None else "Predictions do not vary",
        )
    return Claim(
        found=turned_words(measures) + _found(order),
        rival=_rival(order),
        evidence=_evidence(order),
        limits=limits(order, sources, tasks_file, sign),
        methods=methods,
        citations=CITATIONS,
        badge=_badge(order),
    )


def _found(order: Standing) -> str:
    title, left = order.title(order.winner), order.unexplained(order.winner)
    share = percent_with_interval(left)
    if order.verdict == "none":
        least = percent_with_interval(order.unexplained(order.closest))
        return f"No rule explains the model: even {order.title(order.closest)} leaves {least} unexplained."
    if order.verdict == "closest":
        others = order.titles([name for name in order.equals if name != order.winner])
        return f"Closest: {title}, but it leaves {share} unexplained." + f" As close: {others}." * bool(others)
    if order.verdict == "not separated":
        return f"These tasks do not separate {title} from {order.titles(order.rivals)} ({share} unexplained)."
    if order.verdict == "between":
        assert order.other_side is not None  # a rule without another one is not between
        other = percent(order.unexplained(order.other_side))
        return f"Between rules: {title} leaves {share} unexplained, and {order.title(order.other_side)} {other}."
    found = f"The model agrees with {title}, leaving {share} unexplained."
    if order.verdict == "untrained alike":
        return f"{found} So do untrained models of its architecture, which know no rule."
    return found + f" The same on these tasks: {order.titles(order.alike)}." * bool(order.alike)


def _badge(order: Standing) -> str:
    title, left = order.title(order.winner), percent(order.unexplained(order.winner))
    return {
        "none": "No rule explains the model",
        "closest": f"Closest: {title}, {left} unexplained",
        "not separated": f"Not separated: {title}, {order.titles(order.rivals)}",
        "between": "Between rules",
        "untrained alike": f"Agrees with {title}, and so do untrained models",
        "agrees": f"Agrees with {title}, {left} unexplained",
    }[order.verdict]


def _rival(order: Standing) -> str:
    """The next rule that is not equal, and the gap to it."""
    if order.runner_up is None:
        return "Next: none. Every rule is as close."
    share = percent(order.unexplained(order.runner_up))
    gap = order.gap_between(order.winner, order.runner_up)
    return f"Next: {order.title(order.runner_up)} ({share} unexplained). Gap in prediction difference: {gap}."


def _evidence(order: Standing) -> str:
    """What was resampled, and the winner's other comparisons."""
    loss, cosine, ratio = (
        order.of("loss", MODEL),
        order.of("cosine", order.winner),
        order.of("norm_ratio", order.winner),
    )
    fitted = " that the judged rules were not fitted on" * (loss.replicate == "task")
    replicates = f"{loss.n:,} {loss.replicate}{'s' * (loss.n != 1)}{fitted}."
    if not (cosine.has_number and ratio.has_number):
        return replicates
    return f"{replicates} Sensitivities: cosine {cosine.estimate:.4g}, norm ratio {ratio.estimate:.3g}."


def _methods(measures: Mapping[str, Measure], tasks_file: str | None) -> str:
    loss = measures["loss"].sel(**{CANDIDATE: MODEL})
    n_rules = len(measures["unexplained_share"].labels(CANDIDATE)) if measures["unexplained_share"].axes else 0
    source = "supplied by the user" if tasks_file else "freshly drawn"
    untrained = f"{UNTRAINED} untrained initialisations of the architecture, and " * ("untrained" in loss.nulls)
    paired = loss.replicate == "task"
    interval = f"paired bootstrap over {loss.n:,} tasks" if paired else f"t-interval over {loss.n} {loss.replicate}s"
    return (
        f"{n_rules} families of algorithms for in-context regression were fitted to the model's predictions on tuning"
        f" tasks, each with its number of steps and other settings, and compared with it on other tasks ({source})."
        " The unexplained share is the mean distance of predictions over the mean distance of the model's from their"
        f" median. Families whose shares differ by at most {EQUAL:g}, or by no sure gap, are equal;"
        f" of these the one with the fewest fitted settings is named. Nulls: {untrained}context labels shuffled for the"
        " model only; the families were fitted to each of them again."
        f" 95 % confidence intervals: {interval}."
    )
