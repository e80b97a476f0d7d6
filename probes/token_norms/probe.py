"""How long are token representations, where, for which tokens, and what has that to do with what the model predicts?

Token-norm statistics in the inner-optimization view (after Wu & Varshney 2024, arXiv 2310.05884). The measurement
ships, no pass or fail: the paper's theorem is neither tested nor reproduced. What stands on firm ground are exact
identities (`inner_problem.py`), and a warning: a loss that falls from layer to layer forces a positive step cosine,
which is therefore no evidence of an inner optimizer. Beside it stand the statistics that the field uses: norm-based
attention and mixing ratios (Kobayashi et al. 2020, 2021), massive activations, attention sinks and drains, rogue
dimensions and anisotropy.

Data runs one way: a text (`text.py`) is read by one model, whose watchers (`*_watcher.py`) note sums and a sample of
tokens (`accumulator.py`, `sample.py`), and keep the most extreme tokens (`extreme_tokens.py`); measures are made of
these (`*_measures.py`), one pass after the other (`measuring.py`); untrained models, and the model once more, read a
few tokens of the text, to be compared on these (`untrained_comparison.py`); the claim and the figures read the
measures. The formulas, for tensors from anywhere, are in `lengths.py`, `inner_problem.py`, `attention.py` and
`outliers.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from annotated_types import Ge

from ...data.documents import documents_sha256
from ...data.errors import UsageError, nearest
from ...data.recipe import named_seed
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable, Site, Source, Subject
from ..findings import Findings
from ..measure import Claim, Measure
from ..parts import Parts
from ..probe import Cost, Progress, silent
from ..reading import WINDOWS_A_PASS, Reader, Reading, read_alone
from .claim import norm_claim
from .measuring import PassFindings, PassSettings, begin_pass, reading_of
from .memory import cost, memory_in_bytes
from .text import Text, TextSettings, read_text, unreadable
from .untrained_comparison import SAMPLE_TOKENS, NullModel, beside_untrained, null_model, sample_statistics

PARTS = ("inner", "attention", "outliers")
Draw = Callable[[int], LanguageModel | NotApplicable]
"""Makes an untrained model by its seed."""

STREAM: tuple[Site, ...] = ("embed", "resid_pre", "resid_post")
"""Sites without which nothing is measured."""


@dataclass(frozen=True)
class TokenNorms(Reader):
    """Settings of the probe.

    text:       a text file (.txt, .md, .jsonl, .json, .csv, .parquet, or a folder of .txt), read with the model's own
                tokenizer
    tokens:     a file of token ids (.npy, .npz, .bin, .jsonl, .json, .parquet) in its place; without either, text of
                the shipped grammar
    pad_id:     the token that fills documents up; it is left out at their ends
    limit:      the first so many tokens; of the grammar, 16,384 by default
    context:    tokens of a window, BOS included; by default the model's context, at most 512
    parts:      what is measured beside norms and their correlations, joined by "+": "inner" (inner optimization, on a
                third of the tokens, at least 512), "attention" (norm-based attention, mixing ratios),
                "outliers"; or "all", or "none"
    maps:       of so many windows the head-summed attention norms of all pairs of tokens are kept
    untrained:  models of the same shape with fresh weights, which read the first 128 tokens, as the model itself does
                once more; with fewer than 19, p cannot reach 0.05
    """

    name: ClassVar[str] = "token-norms"
    version: ClassVar[str] = "5"
    batch_size: ClassVar[int] = WINDOWS_A_PASS
    part_kinds: ClassVar[tuple[type, ...]] = (PassFindings, NullModel)

    text: str | None = None
    tokens: str | None = None
    pad_id: Annotated[int, Ge(0)] | None = None
    limit: Annotated[int, Ge(2)] | None = None
    context: Annotated[int, Ge(2)] | None = None
    parts: str = "all"
    maps: Annotated[int, Ge(0)] = 0
    untrained: Annotated[int, Ge(0)] = 19

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text is not None and self.tokens is not None:
            raise UsageError("token-norms: text and tokens are both given; expected one of them")
        for part in self._parts:
            if part not in PARTS:
                raise UsageError(f"token-norms: part {part!r} is not known; {nearest(part, (*PARTS, 'all', 'none'))}")
        if self.maps and "attention" not in self._parts:
            raise UsageError(
                f"token-norms: maps = {self.maps} with parts = {self.parts!r}; maps need the part 'attention'"
            )

    @property
    def _parts(self) -> tuple[str, ...]:
        return {"all": PARTS, "none": ()}.get(self.parts, tuple(self.parts.split("+")))

    @property
    def _text_settings(self) -> TextSettings:
        return TextSettings(self.text, self.tokens, self.limit, self.context, self.pad_id)

    def applies(self, subject: Subject) -> NotApplicable | None:
        if not isinstance(subject, LanguageModel):
            return NotApplicable(
                "this model is no language model. token-norms measures the token representations of language models"
            )
        for site in STREAM:
            if reason := subject.not_shown.get(site):
                return NotApplicable(f"the lengths of this model's states cannot be measured: {reason}")
        return unreadable(subject, self._text_settings)

    def fingerprint(self) -> dict[str, str]:
        given = {"text": self.text, "tokens": self.tokens}
        return {f"{name}_sha256": documents_sha256(path) for name, path in given.items() if path is not None}

    def memory(self, subject: Subject) -> int | None:
        return self._memory(subject, nulls=self.untrained > 0)

    def reading_memory(self, subject: Subject) -> int | None:
        return self._memory(subject, nulls=False)

    def _memory(self, subject: Subject, nulls: bool) -> int | None:
        if not isinstance(subject, LanguageModel):
            return None
        text = read_text(subject, self._text_settings)
        return memory_in_bytes(subject, text, "inner" in self._parts, self.batch_size, nulls)

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        if not isinstance(subject, LanguageModel):
            return None
        text = read_text(subject, self._text_settings)
        sample = text.shortened(SAMPLE_TOKENS)
        return cost(subject, text, sample, "inner" in self._parts, batch_size, self.untrained)

    def reading(self, subject: Subject, seed: int, batch_size: int) -> Reading | None:
        if not isinstance(subject, LanguageModel):
            return None
        text = read_text(subject, self._text_settings, seed)
        return reading_of(begin_pass(subject, text, seed), self._pass_settings(batch_size))

    def measure_in_parts(
        self, subject: Subject, seed: int, batch_size: int, kept: Parts, progress: Progress = silent
    ) -> Findings:
        if not isinstance(subject, LanguageModel):
            raise UsageError("token-norms needs a language model; ask applies() first")
        progress("reading the text", 0.0)
        text = read_text(subject, self._text_settings, seed)
        sample = text.shortened(SAMPLE_TOKENS)
        settings = self._pass_settings(batch_size)
        share = 1 / (1 + self.untrained * sample.corpus.n_tokens / text.corpus.n_tokens)
        in_text = _share_of(progress, 0.0, share)
        found = kept.made(
            self.text_part,
            lambda: read_alone(subject, reading_of(begin_pass(subject, text, seed), settings), in_text),
        )
        draw, nulls = subject.untrained_models(), list[NullModel]()
        for number in range(self.untrained):
            progress(f"measuring untrained {subject.source.name}", share + (1 - share) * number / self.untrained)
            null = kept.made(f"untrained-{number}", partial(_null, draw, number, sample, settings, seed))
            if null is None:
                break
            nulls.append(null)
        measures, recipes = found.measures, {"evaluation": text.corpus.recipe}
        if nulls:
            own = sample_statistics(begin_pass(subject, sample, seed), settings)
            measures, recipes = (
                beside_untrained(measures, own, nulls, sample),
                recipes | {"nulls": sample.corpus.recipe},
            )
        progress("done", 1.0)
        return Findings(measures, found.arrays, recipes, examples=found.examples)

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return norm_claim(measures, sources, self._parts, own_text=bool(self.text or self.tokens))

    def _pass_settings(self, batch_size: int) -> PassSettings:
        return PassSettings(self._parts, self.maps, batch_size)


def _null(draw: Draw, number: int, sample: Text, settings: PassSettings, seed: int) -> NullModel | None:
    """One untrained model, gone again once it is measured; None where nobody knows how to initialise one."""
    model = draw(named_seed(seed, "untrained", number))
    return None if isinstance(model, NotApplicable) else null_model(model, sample, settings, seed)


def _share_of(progress: Progress, begun: float, share: float) -> Progress:
    """The progress of one part of a run, told as that of the whole."""

    def told(stage: str, fraction: float) -> None:
        progress(stage, begun + share * fraction)

    return told
