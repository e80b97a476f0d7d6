"""The claim card of token-norms: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...models.subject import Source
from ..measure import Claim, Measure
from .inner_measures import FORCED

TITLE = "token-norm statistics in the inner-optimization view (after Wu & Varshney 2024)"
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


CORRELATION = "rank correlation of the last layer's norm"


class Number(NamedTuple):
    """One cell of a measure, what it is called, and what untrained models have there."""

    words: str
    value: float
    low: float
    high: float
    nulls: np.ndarray

    def __str__(self) -> str:
        interval = "" if np.isnan(self.low) else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.words} {self.value:.3g}{interval}"

    @property
    def differs(self) -> bool | None:
        """Whether every untrained model lies outside the interval; None where that cannot be said."""
        if np.isnan(self.low) or not len(self.nulls):
            return None
        return bool(((self.nulls < self.low) | (self.nulls > self.high)).all())


def number(measures: Mapping[str, Measure], name: str, words: str, **at: Any) -> Number | None:
    """The cell at these labels, one for each axis (`layer=-1`: the last); None where there is none."""
    measure = measures.get(name)
    if measure is None or measure.status != "ok" or not all(_has(measure, axis, at[axis]) for axis in at):
        return None
    place = tuple(_index(measure, axis, at[axis]) for axis in measure.axes)
    value, low, high = (float(part[place]) for part in (measure.values, *measure.interval))
    nulls = measure.nulls.get("untrained", np.zeros((0, *measure.values.shape)))[:, *place]
    return None if np.isnan(value) else Number(words, value, low, high, nulls[np.isfinite(nulls)])


def _has(measure: Measure, axis: str, label: Any) -> bool:
    return axis in measure.axes and (isinstance(label, int) or label in measure.labels(axis))


def _index(measure: Measure, axis: str, label: Any) -> int:
    labels = measure.labels(axis)
    return label % len(labels) if isinstance(label, int) else labels.index(label)


def norm_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], parts: tuple[str, ...], given: bool
) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step.

    parts:  what was measured beside norms; given: whether the text was the user's
    """
    numbers = list(_headlines(measures))
    return Claim(
        found=_found(measures, numbers),
        rival=_rival(numbers),
        evidence=_evidence(measures, sources),
        limits=(*_limits(measures, parts), *dict.fromkeys(note for source in sources for note in source.notes)),
        methods=_methods(parts, given),
        citations=CITATIONS,
    )


def _headlines(measures: Mapping[str, Measure]) -> Iterator[Number]:
    """The numbers that a reader looks for first, as far as they exist."""
    later: dict[str, Any] = {"position": "later"}
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("norm_growth", "growth of the norm per layer", {}),
        *(
            ("spearman_resid", f"{CORRELATION} with {key.replace('_', ' ')}", {"layer": -1, "covariate": key, **later})
            for key in ("log_frequency", "surprisal", "entropy")
        ),
        ("step_cosine", "step cosine of the last layer", {"layer": -1, **later}),
        ("mixing_ratio", "mixing ratio (AttnRes-N) of the last layer", {"layer": -1, "ratio": "AttnRes-N", **later}),
        ("sink_metric", "sink metric (%)", {}),
        ("anisotropy", "anisotropy of the last layer", {"layer": -1, "dimensions": "all dimensions", **later}),
    ]
    for name, words, at in asked:
        if (found := number(measures, name, words, **at)) is not None:
            yield found


def _found(measures: Mapping[str, Measure], numbers: list[Number]) -> str:
    listed = "; ".join(str(one) for one in numbers)
    return f"{TITLE[0].upper()}{TITLE[1:]}: {listed}; {_massive(measures)}."


def _massive(measures: Mapping[str, Measure]) -> str:
    dimensions = measures.get("massive_dimension")
    if dimensions is None:
        return "massive activations were not looked for"
    if dimensions.status != "ok":
        return "no massive activation"
    found = dict.fromkeys(int(index) for index in dimensions.values[np.isfinite(dimensions.values)])
    return f"massive activations in dimension{'s' * (len(found) > 1)} {', '.join(map(str, found))}"


def _rival(numbers: list[Number]) -> str:
    """What differs from untrained models of the same shape, and what does not."""
    if not any(len(one.nulls) for one in numbers):
        return "No untrained model stands beside it."
    n = max(len(one.nulls) for one in numbers)
    sentences = [f"Null: {n} untrained model{'s' * (n > 1)} of the same shape on the same text."]
    for verdict, words in ((True, "Different from all of them"), (False, "Not told apart from them")):
        named = [f"{one.words} ({_range(one.nulls)})" for one in numbers if one.differs is verdict]
        if named:
            sentences.append(f"{words}: {'; '.join(named)}.")
    return " ".join(sentences)


def _range(nulls: np.ndarray) -> str:
    low, high = f"{nulls.min():.3g}", f"{nulls.max():.3g}"
    return f"untrained {low}" if low == high else f"untrained {low} to {high}"


def _evidence(measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> str:
    growth = measures["norm_growth"]
    if growth.replicate == "seed":
        return f"95 % intervals: t-interval over {growth.n} seeds. {len(sources)} checkpoints."
    checkpoints = f" {len(sources)} checkpoints." if len(sources) > 1 else ""
    plural = "s" * (growth.n != 1)
    resampled = f"95 % intervals: bootstrap over {growth.n:,} {growth.replicate}{plural}."
    return f"{resampled} Growth: {growth.message}.{checkpoints}"


def _limits(measures: Mapping[str, Measure], parts: tuple[str, ...]) -> list[str]:
    limits = [
        "No theorem is claimed: the statement of Wu & Varshney (2024) is neither tested nor reproduced; these are"
        " measurements beside it.",
        "A rank correlation of norms with predictions says nothing about cause, and its sign is not stable along"
        " training.",
    ]
    if "step_cosine" in measures and measures["step_cosine"].status == "ok":
        limits.insert(0, f"{FORCED[0].upper()}{FORCED[1:]}.")
    if "outliers" in parts:
        limits.append("The criterion of massive activations is absolute: another scale of the same function moves it.")
    return limits


def _methods(parts: tuple[str, ...], given: bool) -> str:
    text = "the user's text" if given else "held-out text of a probabilistic grammar"
    said = [
        f"We read {text} in windows, position 0 apart, and measured Euclidean norms of representations at every site in"
        " float64; growth is the slope of the log mean norm over layers; correlations are Spearman's, plain and partial"
        " given position and log frequency."
    ]
    if "inner" in parts:
        said.append(
            "The inner loss of a layer is that of reading the stream out there, with the final norm's statistics"
            " recomputed; the step cosine is that of a block's write and minus the gradient of the inner loss, beside"
            " writes of other tokens of the same layer and shuffled targets."
        )
    if "attention" in parts:
        said.append("Mixing ratios follow Kobayashi et al. (2021), without the norm where it precedes attention.")
    if "outliers" in parts:
        said.append("Massive activations, attention sinks and anisotropy follow the works cited.")
    return " ".join((*said, "95 % intervals resample whole documents."))
