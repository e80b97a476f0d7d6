"""The claim card of token-norms: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Mapping

from ...models.subject import Source
from ..measure import Claim, Measure
from .answers import correlations, growth, growth_in_brief, outliers
from .inner_measures import FORCED
from .null_words import Nulls

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


def norm_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], parts: tuple[str, ...], own_text: bool
) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step.

    parts:     what was measured beside norms
    own_text:  whether the text was the user's
    """
    nulls = Nulls(measures)
    return Claim(
        found=" ".join([growth(measures), *(outliers(measures) if "outliers" in parts else [])]),
        rival=correlations(measures, nulls.words),
        evidence=f"{_replicates(measures)} {nulls.of_growth()}",
        limits=(
            *nulls.limits(),
            *_limits(measures, parts),
            *dict.fromkeys(note for source in sources for note in source.notes),
        ),
        methods=_methods(parts, own_text, nulls),
        citations=CITATIONS,
        badge=growth_in_brief(measures),
    )


def _replicates(measures: Mapping[str, Measure]) -> str:
    growth = measures["norm_growth"]
    if growth.n < 2:
        return f"One {growth.replicate}: no intervals."
    return f"{growth.n:,} {growth.replicate}s."


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


def _methods(parts: tuple[str, ...], own_text: bool, nulls: Nulls) -> str:
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
    said.append("Intervals of 95 % resample whole documents, or blocks of a single one.")
    if nulls.n:
        said.append(
            f"The model and untrained models of its shape ({nulls.n}) read the first tokens of the text. A two-sided p"
            " ranks the model among all of them by the distance from their common mean."
        )
    return " ".join(said)
