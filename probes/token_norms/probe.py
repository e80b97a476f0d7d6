"""How long are token representations, where, for which tokens, and what has that to do with what the model predicts?

Token-norm statistics in the inner-optimization view (after Wu & Varshney 2024, arXiv 2310.05884). The measurement
ships, no pass or fail: the paper's theorem is neither tested nor reproduced. What stands on firm ground are exact
identities (`norm_inner.py`), and a warning: a loss that falls from layer to layer forces a positive step cosine, which
is therefore no evidence of an inner optimizer. Beside it stand the statistics that the field uses: norm-based attention
and mixing ratios (Kobayashi et al. 2020, 2021), massive activations, attention sinks and drains, rogue dimensions and
anisotropy.

The formulas are in `norm_lengths.py`, `norm_ranks.py`, `norm_inner.py`, `norm_attention.py` and `norm_outliers.py`, for
tensors from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...data.corpus import documents_sha256
from ...data.errors import UsageError, nearest
from ...data.recipe import Recipe, named_seed
from ...models.hugging_face.untrained import untrained
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable, Source, Subject
from ..findings import Findings
from ..measure import Claim, Measure
from ..probe import Probe, Progress, silent
from ..streaming import stream
from .accumulator import VALUES, Notes
from .attention_measures import AttentionNorms
from .claim import norm_claim
from .inner_measures import InnerSteps
from .inner_problem import CHUNK
from .length_measures import SITES, SiteLengths, correlation_measures
from .outlier_measures import Outliers, pilot
from .text import Reading, read, refusal

PARTS = ("inner", "attention", "outliers")
INNER_TOKENS = 4_096
TWIN_TOKENS = 4_096
KEPT = 2_000
"""Tokens whose values are kept for figures."""
UNTRAINED = "untrained"


@dataclass(frozen=True)
class TokenNorms(Probe):
    """Settings of the probe.

    text:       a text file (.txt, .jsonl, or a folder of .txt), read with the model's own tokenizer
    tokens:     a file of token ids (.npy, .npz, .jsonl) in its place; without either, text of the shipped grammar
    limit:      the first so many tokens; of the grammar, 16,384 by default
    context:    tokens of a window, BOS included; by default the model's context, at most 512
    parts:      what is measured beside norms and their correlations, joined by "+": "inner" (inner optimization, on the
                first 4,096 tokens), "attention" (norm-based attention, mixing ratios), "outliers"; or "all", or "none"
    maps:       of so many windows the head-summed attention norms of all pairs of tokens are kept
    untrained:  models of the same shape with fresh weights, which read the first 4,096 tokens: what every statistic
                stands beside
    """

    name: ClassVar[str] = "token-norms"
    version: ClassVar[str] = "1"
    batch_size: ClassVar[int] = 8

    text: str | None = None
    tokens: str | None = None
    limit: int | None = None
    context: int | None = None
    parts: str = "all"
    maps: int = 0
    untrained: int = 3

    def __post_init__(self) -> None:
        if self.text is not None and self.tokens is not None:
            raise UsageError("text and tokens: give one of them")
        for name, least in (("limit", 2), ("context", 2), ("maps", 0), ("untrained", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} = {value}: expected at least {least}")
        for part in self._parts:
            if part not in PARTS:
                raise UsageError(f"parts: {part!r} is not known; {nearest(part, (*PARTS, 'all', 'none'))}")
        if self.maps and "attention" not in self._parts:
            raise UsageError(f"maps = {self.maps}: maps of attention need the part 'attention'")

    @property
    def _parts(self) -> tuple[str, ...]:
        return {"all": PARTS, "none": ()}.get(self.parts, tuple(self.parts.split("+")))

    def applies(self, subject: Subject) -> NotApplicable | None:
        if not isinstance(subject, LanguageModel):
            return NotApplicable("this model reads no tokens: there are no token representations")
        return refusal(subject, self.text, self.tokens)

    def fingerprint(self) -> dict[str, str]:
        given = {"text": self.text, "tokens": self.tokens}
        return {f"{name}_sha256": documents_sha256(path) for name, path in given.items() if path is not None}

    def memory(self, subject: Subject) -> int | None:
        if not isinstance(subject, LanguageModel):
            return None
        shape = subject.shape
        window = self.context or min(shape.n_ctx or 512, 512)
        stream_width = self.batch_size * window * shape.d_model
        logits = self.batch_size * window * shape.d_vocab * subject.dtype.itemsize
        # a state in float64, thrice; the inner problem's states and pushes; chunks of logits; the sample of tokens
        own = 8 * (3 * stream_width + 3 * CHUNK + 4 * VALUES) + 4 * 4 * stream_width + logits
        twin = (shape.n_layers * 12 * shape.d_model**2 + 2 * shape.d_vocab * shape.d_model) * subject.dtype.itemsize
        return own + (twin if self.untrained else 0)

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        if not isinstance(subject, LanguageModel):
            raise UsageError("token-norms needs a language model; ask applies() first")
        progress("reading", 0.0)
        reading = read(subject, self.text, self.tokens, self.limit, self.context, seed)
        nulls = reading.first(TWIN_TOKENS)
        share = 1 / (1 + self.untrained * nulls.corpus.n_tokens / reading.corpus.n_tokens)
        measures, arrays = self._look(subject, reading, seed, batch_size, _part(progress, 0.0, share))
        twins = []
        for number in range(self.untrained):
            twin = untrained(subject, named_seed(seed, "untrained", number))
            if isinstance(twin, NotApplicable):
                break
            begun = share + (1 - share) * number / self.untrained
            part = _part(progress, begun, (1 - share) / self.untrained)
            twins.append(self._look(twin, nulls, seed, batch_size, part)[0])
        recipes: dict[str, Recipe] = {"evaluation": reading.corpus.recipe}
        if twins:
            recipes["nulls"] = nulls.corpus.recipe
        progress("done", 1.0)
        return Findings(_beside(measures, twins), arrays, recipes)

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return norm_claim(measures, sources, self._parts, given=bool(self.text or self.tokens))

    def _look(
        self, subject: LanguageModel, reading: Reading, seed: int, batch_size: int, progress: Progress
    ) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
        """Everything about one model, in one pass."""
        columns = (len(SITES) + 2) * (subject.shape.n_layers + 1)
        notes = Notes(reading, columns, named_seed(seed, "token norms"))
        sites = SiteLengths(subject, notes)
        inner = InnerSteps(subject, notes, INNER_TOKENS, seed) if "inner" in self._parts else None
        attention = AttentionNorms(subject, notes, self.maps) if "attention" in self._parts else None
        outliers = None
        if "outliers" in self._parts:
            first = next(iter(reading.corpus.batches(batch_size))).tokens
            outliers = Outliers(notes, pilot(subject, first), subject.shape.d_model)
        watchers = [watcher for watcher in (sites, inner, attention, outliers) if watcher is not None]
        stage, total = f"reading as {subject.source.name}", notes.n_batches(batch_size)
        stream(subject, notes.batches(batch_size), watchers, progress=progress, stage=stage, total=total)
        measures, arrays = sites.measures(subject), _kept(notes)
        if inner is not None:
            measures |= inner.measures()
        if attention is not None:
            measures, arrays = measures | attention.measures(), arrays | attention.arrays
        if outliers is not None:
            measures, arrays = measures | outliers.measures(subject.shape.causal), arrays | outliers.arrays
        names = ("embed", "resid", "attn_out", "mlp_out", "final_norm", "write_norm", "mixing_ratio")
        return measures | correlation_measures(notes, names), arrays


def _part(progress: Progress, begun: float, share: float) -> Progress:
    return lambda stage, fraction: progress(stage, begun + share * fraction)


def _beside(measures: Mapping[str, Measure], twins: list[dict[str, Measure]]) -> dict[str, Measure]:
    """Every measure with that of the untrained models as a null, where they have it in the same shape."""
    found = {}
    for name, measure in measures.items():
        others = [twin[name].values for twin in twins if name in twin]
        alike = [values for values in others if values.shape == measure.values.shape and np.isfinite(values).any()]
        if measure.status == "ok" and alike:
            measure = replace(measure, nulls={UNTRAINED: np.stack(alike), **measure.nulls}, no_nulls="")
        found[name] = measure
    return found


def _kept(notes: Notes) -> dict[str, np.ndarray]:
    """Values of some tokens, for figures: of those after position 0, evenly through the sample."""
    sample = notes.sample
    rows = sample.at("later")
    rows = rows[np.linspace(0, len(rows) - 1, min(KEPT, len(rows))).round().astype(np.int64)]
    names = dict.fromkeys(name for name, _ in sample.columns)
    kept = {f"token_{name}": sample.column(name)[rows] for name in names}
    frequency = notes.reading.log_frequency[sample.token[rows]]
    return kept | {"token_position": sample.position[rows], "token_log_frequency": frequency}
