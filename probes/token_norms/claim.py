"""The claim card of token-norms: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...models.subject import Source
from ..measure import Claim, Measure
from .inner_measures import FORCED
from .massive_dimensions import massive_dimensions, named_dimensions
from .measuring import UNTRAINED

CITATIONS = (
    "X. Wu, L. R. Varshney. A meta-learning perspective on transformers for causal language modeling. Findings of ACL"
    " 2024. arXiv:2310.05884.",
    "G. Kobayashi, T. Kuribayashi, S. Yokoi, K. Inui. Attention is not only a weight: analyzing transformers with"
    " vector norms. EMNLP 2020. arXiv:2004.10102.",
    "G. Kobayashi, T. Kuribayashi, S. Yokoi, K. Inui. Incorporating residual and normalization layers into analysis of"
    " masked language models. EMNLP 2021. arXiv:2109.07152.",
    "M. Sun, X. Chen, J. Z. Kolter, Z. Liu. Massive activations in large language models. 2024. arXiv:2402.17762.",
    "X. Gu et al. When attention sink emerges in language models: an empirical view. 2024. arXiv:2410.10781.",
    "W. Timkey, M. van Schijndel. All bark and no bite: rogue dimensions in transformer language models obscure"
    " representational quality. EMNLP 2021. arXiv:2109.04404.",
    "S. Heimersheim, A. Turner. Residual stream norms grow exponentially over the forward pass. Alignment Forum 2023.",
)


MOST_DIMENSIONS = 5
"""Massive dimensions that the card names."""


@dataclass(frozen=True)
class Headline:
    """A number that a reader looks for first: which measure at which labels (`layer=-1`: the last), and its name."""

    words: str
    measure: str
    places: Mapping[str, int]
    labels: Mapping[str, str]


def _last_layer(words: str, measure: str, **labels: str) -> Headline:
    """Of the last layer, position 0 left out."""
    return Headline(words, measure, {"layer": -1}, {"position": "later", **labels})


GROWTH = Headline("growth", "norm_growth", {}, {})
SINK = Headline("attention sinks", "sink_metric", {}, {})
HEADLINES = (
    GROWTH,
    *(
        _last_layer(f"norm–{key.replace('_', ' ')} correlation", "stream_spearman", covariate=key)
        for key in ("log_frequency", "surprisal", "entropy")
    ),
    _last_layer("step cosine", "step_cosine"),
    _last_layer("mixing ratio", "mixing_ratio", ratio="AttnRes-N"),
    SINK,
    _last_layer("anisotropy", "anisotropy", dimensions="all dimensions"),
)


@dataclass(frozen=True, eq=False)
class Number:
    """The number of a headline with its interval, and what untrained models have there."""

    words: str
    value: float
    low: float
    high: float
    untrained: np.ndarray

    @property
    def has_interval(self) -> bool:
        return not np.isnan(self.low)

    @property
    def differs(self) -> bool | None:
        """Whether every untrained model lies outside the interval; None where that cannot be said."""
        if not self.has_interval or not len(self.untrained):
            return None
        return bool(((self.untrained < self.low) | (self.untrained > self.high)).all())


def number(measures: Mapping[str, Measure], headline: Headline) -> Number | None:
    """None where the measures have no such number."""
    measure = measures.get(headline.measure)
    axes = {*headline.places, *headline.labels}
    if measure is None or measure.status != "ok" or axes != set(measure.axes):
        return None
    if any(label not in measure.labels(axis) for axis, label in headline.labels.items()):
        return None
    found = measure.at(**headline.places).sel(**headline.labels)
    if not found.has_number:
        return None
    low, high = (float(bound) for bound in found.interval)
    return Number(headline.words, found.estimate, low, high, found.nulls.get(UNTRAINED, np.zeros(0)))


def norm_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], parts: tuple[str, ...], own_text: bool
) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step.

    parts:     what was measured beside norms
    own_text:  whether the text was the user's
    """
    found = [one for headline in HEADLINES if (one := number(measures, headline)) is not None]
    return Claim(
        found=_found(measures, parts),
        rival=_beside_untrained(found),
        evidence=_evidence(measures, sources),
        limits=(
            *_like_untrained(found),
            *_limits(measures, parts),
            *dict.fromkeys(note for source in sources for note in source.notes),
        ),
        methods=_methods(parts, own_text),
        citations=CITATIONS,
    )


def _found(measures: Mapping[str, Measure], parts: tuple[str, ...]) -> str:
    sentences = [_growth(number(measures, GROWTH))]
    if "outliers" in parts:
        sentences += _outliers(number(measures, SINK), _massive_dimensions(measures))
    return " ".join(sentences)


def _growth(growth: Number | None) -> str:
    if growth is None:
        return "How token norms grow with depth is undefined."
    factor = f"× {growth.value:.3g} per layer"
    if not growth.has_interval:
        return f"Token norms change {factor} (no interval)."
    interval = f"{factor} (95 % CI {growth.low:.3g} to {growth.high:.3g})"
    if growth.low > 1:
        return f"Token norms grow {interval}."
    if growth.high < 1:
        return f"Token norms shrink {interval}."
    return f"Token norms neither grow nor shrink clearly: {interval}."


def _outliers(sink: Number | None, massive: list[int] | None) -> list[str]:
    """Only what is there, unless there is nothing."""
    if sink is not None and sink.value == 0 and massive == []:
        return ["No attention sinks, no massive activations."]
    sentences = []
    if sink is not None and sink.value > 0:
        interval = f" (95 % CI {sink.low:.3g} to {sink.high:.3g})" if sink.has_interval else ""
        sentences.append(f"Attention sinks: {sink.value:.3g} %{interval}.")
    if massive:
        sentences.append(f"Massive activations: {named_dimensions(massive, MOST_DIMENSIONS)}.")
    return sentences


def _massive_dimensions(measures: Mapping[str, Measure]) -> list[int] | None:
    """None where nobody knows."""
    measure = measures.get("massive_dimension")
    return None if measure is None or measure.status == "not applicable" else massive_dimensions(measure)


def _beside_untrained(numbers: Sequence[Number]) -> str:
    """How many of the headlines differ from untrained models of the same shape, and how these grow."""
    beside = [one for one in numbers if len(one.untrained)]
    if not beside:
        return "No untrained model was measured beside it."
    n = max(len(one.untrained) for one in beside)
    compared = [one for one in beside if one.differs is not None]
    sentences = [_untrained_growth(one.untrained) for one in beside if one.words == GROWTH.words]
    if compared:
        models = f"all {n} of them" if n > 1 else "it"
        sentences.append(
            f"{sum(bool(one.differs) for one in compared)} of {len(compared)} statistics differ from {models}."
        )
    return " ".join(sentences)


def _untrained_growth(untrained: np.ndarray) -> str:
    if len(untrained) == 1:
        return f"Growth in 1 untrained model: × {untrained[0]:.3g}."
    low, high = untrained.min(), untrained.max()
    return f"Growth in untrained models: × {low:.3g} to {high:.3g} (minimum to maximum of {len(untrained)})."


def _evidence(measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> str:
    growth = measures["norm_growth"]
    checkpoints = f", {len(sources)} checkpoints" if len(sources) > 1 else ""
    if growth.n < 2:
        return f"One {growth.replicate}: no intervals{checkpoints}."
    plural = f"{growth.n:,} {growth.replicate}s{checkpoints}"
    return f"t-interval over {plural}." if growth.points is not None else f"Bootstrap over {plural}."


def _like_untrained(numbers: Sequence[Number]) -> list[str]:
    same = [one.words for one in numbers if one.differs is False]
    return [f"Not told apart from untrained models: {', '.join(same)}."] if same else []


def _limits(measures: Mapping[str, Measure], parts: tuple[str, ...]) -> list[str]:
    limits = [
        "These measurements neither test nor reproduce the theorem of Wu & Varshney (2024).",
        "A correlation of norms with predictions is no cause, and its sign may change along training.",
    ]
    if "step_cosine" in measures and measures["step_cosine"].status == "ok":
        limits.insert(0, f"{FORCED[0].upper()}{FORCED[1:]}.")
    if "outliers" in parts:
        limits.append("Massive activations have an absolute threshold: rescaling a model can create or remove them.")
    return limits


def _methods(parts: tuple[str, ...], own_text: bool) -> str:
    text = "text of our own" if own_text else "held-out text of a probabilistic grammar"
    said = [
        f"We read {text} in windows, with position 0 apart. We measured Euclidean norms of representations at every"
        " site, in float64. Growth is the exponential of the slope of the log mean norm over layers (Heimersheim &"
        " Turner 2023). Correlations are Spearman's, also given position and log frequency."
    ]
    if "inner" in parts:
        said.append(
            "The inner loss of a layer is that of reading out the residual stream there, with the final norm's"
            " statistics recomputed. The step cosine is the cosine of a block's write and minus the gradient of the"
            " inner loss. Its controls are writes of other tokens and shuffled targets."
        )
    if "attention" in parts:
        said.append("Mixing ratios follow Kobayashi et al. (2021), without the norm where none follows attention.")
    if "outliers" in parts:
        said.append(
            "Massive activations follow Sun et al. (2024), attention sinks Gu et al. (2024), rogue dimensions Timkey &"
            " van Schijndel (2021)."
        )
    return " ".join((*said, "Intervals of 95 % resample whole documents, or blocks of a single one."))
