"""The claim card of gd-certificate: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...models.subject import Source
from ..comparing.numbers import Number, number, rounded
from ..comparing.verdicts import AGREES, at_most, percent, percent_with_interval
from ..measure import Claim, Measure
from ..regression.nulls import UNTRAINED as DRAWS
from .limits import limits
from .names import FORM, FORMS, GD, GDPP, PRECONDITIONED, PRECONDITIONED_GDPP
from .verdicts import Verdict, verdicts

CITATIONS = (
    "J. von Oswald, E. Niklasson, E. Randazzo, J. Sacramento, A. Mordvintsev, A. Zhmoginov, M. Vladymyrov."
    " Transformers learn in-context by gradient descent. ICML 2023. arXiv:2212.07677.",
    "K. Ahn, X. Cheng, H. Daneshmand, S. Sra. Transformers learn to implement preconditioned gradient descent for"
    " in-context learning. NeurIPS 2023. arXiv:2306.00297.",
    "R. Zhang, S. Frei, P. L. Bartlett. Trained transformers learn linear models in-context. JMLR 2024."
    " arXiv:2306.09927.",
    "A. Mahankali, T. B. Hashimoto, T. Ma. One step of gradient descent is provably the optimal in-context learner with"
    " one layer of linear self-attention. ICLR 2024. arXiv:2307.03576.",
    "Y. Zhang, A. K. Singh, P. E. Latham, A. Saxe. Training dynamics of in-context learning in linear attention."
    " ICML 2025. arXiv:2501.16265.",
)
CURVED = (GDPP, PRECONDITIONED_GDPP)
BY_DIRECTION = (PRECONDITIONED, PRECONDITIONED_GDPP)


def certificate_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], covariance: str | None, n_context: int | None
) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step.

    covariance, n_context: what the user gave of the law of the tasks
    """
    found = verdicts(measures)
    one = found[0] if len(found) == 1 else None
    law = "the covariance that you gave" if covariance else "its recorded law"
    law += f" with N = {n_context}" * (n_context is not None)
    return Claim(
        found=_several(measures, found) if one is None else _one(measures, one, _whole(sources), law),
        rival=_rival(found),
        evidence=_evidence(measures),
        limits=limits(measures, found, sources, covariance, n_context),
        methods=_methods(measures),
        citations=CITATIONS,
        badge=_badge(found),
    )


def _whole(sources: tuple[Source, ...]) -> str:
    """Which layers share the one block."""
    layers = sources[0].facts.get("n_layers", 1)
    return "Layer 1" if layers == 1 else f"Each of {layers} layers, which share their weights,"


def _one(measures: Mapping[str, Measure], verdict: Verdict, whole: str, law: str) -> str:
    """Of a model with one set of weights."""
    share, title = percent_with_interval(verdict.away), f"one step of {verdict.form.title}"
    elsewhere = f"{share} of its weights, by norm, are elsewhere"
    rates = _rates(measures, verdict)
    if verdict.called == "empty":
        return f"{whole} writes nothing: all its weights are 0."
    if verdict.called == "none":
        return f"{whole} is no step of gradient descent: {elsewhere}."
    if verdict.called == "closest":
        return f"{whole} is closest to {title}{rates}, but {elsewhere}."
    if verdict.called == "mixed":
        return f"{whole} is no step of gradient descent: along some directions it goes up the loss{rates}."
    if verdict.called == "ascent":
        return f"{whole} is one step up the loss{rates}, or its answer is read with the other sign: {elsewhere}."
    return f"{whole} is {title}{rates}: {elsewhere}{_optimum(measures, verdict, law)}."


def _rates(measures: Mapping[str, Measure], verdict: Verdict) -> str:
    """The learning rate, or η/N where N is not known; of a preconditioned step its range over directions."""
    size, rate = measures["step_size"].at(layer=verdict.layer), measures["learning_rate"]
    rate = rate.at(layer=verdict.layer) if rate.has_number and size.estimate else size
    if verdict.form in BY_DIRECTION:
        ends = (measures[f"{end}_step_size"].at(layer=verdict.layer).estimate for end in ("least", "largest"))
        low, high = (_signed(end * rate.estimate / size.estimate if size.estimate else end) for end in ends)
        said = f" at {_plural(rate)} from {low} to {high} by direction"
    else:
        said = f" at {rate.unit} {_said(rate)}"
    if verdict.form in CURVED:
        said += f" and γ = {_said(measures['gamma'].at(layer=verdict.layer))}"
    return said


def _said(measure: Measure) -> str:
    held = number(measure)
    return str(held) if np.isfinite(held.low) else _signed(held.value)


def _signed(value: float) -> str:
    """Three significant digits of a number that may be negative."""
    return f"-{rounded(-value)}" if value < 0 else rounded(value)


def _optimum(measures: Mapping[str, Measure], verdict: Verdict, law: str) -> str:
    """How far the step is from the best one, where that is known in closed form."""
    distance = measures["optimum_distance"]
    if not distance.has_number:
        return ""
    away = number(distance)
    best = f" ({rounded(measures['optimal_learning_rate'].estimate)})" if verdict.form == GD else ""
    if away.value <= AGREES:
        return f", and the step is within {percent(away)} of the optimum of {law}{best}"
    return f", but the step is {percent_with_interval(away)} from the optimum of {law}{best}"


def _several(measures: Mapping[str, Measure], found: list[Verdict]) -> str:
    """Of layers with weights of their own."""
    kinds: dict[str, list[str]] = {}
    for verdict in found:
        kinds.setdefault(_kind(verdict), []).append(str(verdict.layer + 1))
    said = "; ".join(f"layer{'s' * (len(at) > 1)} {', '.join(at)}: {kind}" for kind, at in kinds.items())
    said = f"L{said[1:]}"
    steps = [verdict for verdict in found if verdict.called == "step"]
    if not steps:
        return f"{said}."
    rate = measures["learning_rate"] if measures["learning_rate"].has_number else measures["step_size"]
    rates = [rate.at(layer=verdict.layer).estimate for verdict in steps]
    most = percent_with_interval(max((one.away for one in steps), key=lambda away: away.value))
    return (
        f"{said}. Steps have {_plural(rate)} from {_signed(min(rates))} to {_signed(max(rates))}, and {at_most(most)}"
        " of a layer's weights elsewhere."
    )


def _plural(rate: Measure) -> str:
    """ "learning rates", "learning rates / N"."""
    return rate.unit.replace("rate", "rates")


def _kind(verdict: Verdict) -> str:
    return {
        "step": f"one step of {verdict.form.title}",
        "ascent": "one step up the loss",
        "mixed": "no step of gradient descent",
        "closest": f"closest to {verdict.form.title}",
        "none": "no step of gradient descent",
        "empty": "writes nothing",
    }[verdict.called]


def _badge(found: list[Verdict]) -> str:
    kinds = dict.fromkeys(map(_kind, found))
    if len(kinds) > 1:
        return "Layers of several kinds"
    worst = max(found, key=lambda verdict: verdict.away.value)
    kind = next(iter(kinds))
    words = f"{kind[0].upper()}{kind[1:]}"
    return f"{words}, {percent(worst.away)} elsewhere" if worst.called in ("step", "closest") else words


def _rival(found: list[Verdict]) -> str:
    """How much untrained weights have elsewhere, for the layer that is farthest from its form."""
    known = [verdict for verdict in found if len(verdict.untrained)]
    if not known:
        return "Nothing was compared."
    null = max(known, key=lambda verdict: verdict.away.value).untrained
    mean, least = (percent(Number(float(size), np.nan, np.nan)) for size in (null.mean(), null.min()))
    return f"Untrained weights of the same shape have {mean} elsewhere (the least of {len(null)}: {least})."


def _evidence(measures: Mapping[str, Measure]) -> str:
    step = measures["step_size"]
    read = "The weights alone: no task was drawn, and nothing was resampled."
    if step.replicate != "none":
        read = f"{step.n} {step.replicate}s, their weights alone: no task was drawn."
    loss = measures["expected_loss"]
    if not loss.has_number:
        return read
    mean, least = number(loss), measures["optimal_loss"].estimate
    above = percent(Number(mean.value / least - 1, np.nan, np.nan))
    return f"{read} Expected loss {mean}, {above} above the least of any such layer, {rounded(least)}."


def _methods(measures: Mapping[str, Measure]) -> str:
    forms = "its nearest step of gradient descent and of preconditioned gradient descent"
    if len(measures["form_distance"].labels(FORM)) == len(FORMS):
        forms += ", and of GD++ (von Oswald et al., 2023) and preconditioned GD++"
    closed = (
        "The best layer for the law of the tasks, and what this one loses, follow in closed form (Ahn et al., 2023;"
        " Zhang et al., 2024; Mahankali et al., 2024), for teachers w ~ N(0, τ² I)."
    )
    return " ".join([
        "We read the tensor Σ KQ ⊗ PV of each layer off its weights, over entries that can reach the output and"
        " symmetric in the two context entries that it multiplies.",
        f"We report the Frobenius norm of what is left of it without {forms}, relative to the whole.",
        *([closed] if measures["optimum_distance"].has_number else []),
        f"Null: {DRAWS} untrained initialisations of the same architecture.",
    ])  # fmt: skip
