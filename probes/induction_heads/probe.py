"""Which heads are induction heads, and what is lost without them? (Olsson et al. 2022, arXiv 2209.11895; Elhage et al.
2021)

An induction head finds an earlier occurrence of the current token and copies what followed it. On repeated random
tokens only such a head can predict the second repeat. Its prefix-matching score says how much it attends there. It is
an induction head only if it also raises the logit of the token it attends to, if it attends there because tokens repeat
(the same offset without repeats is the control), and if it does so at every period. Those are the conditions of the
verdict; their thresholds are settings. How strongly it does so is a number beside the verdict. A text of the user's
says which tokens the model knows, and what heads do there counts as well. What a set of heads contributes is read off
the loss when all are ablated together, because single heads can stand in for each other.

The formulas, for tensors from anywhere, are in `scores.py` (attention), `weights.py` (weights) and
`statistics/sign_flips.py` (the test).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from ...data.corpus import Corpus
from ...data.documents import documents_sha256
from ...data.errors import UsageError
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable, Source, Subject
from ..findings import Findings, Head, head_name
from ..kept_attention import MOST_TOKENS, RECIPE
from ..measure import Claim, Measure, missing
from ..parts import Parts
from ..probe import Cost, OverTraining, Progress, silent
from ..reading import WINDOWS_A_PASS, Reader, Reading, read_alone
from .ablation import Ablations
from .ablation_measures import ablation_measures, not_ablated
from .access import Access
from .choices import choose, number_of_sequences
from .claim import induction_claim
from .composition import composition_from_previous, composition_measures
from .evidence import Thresholds
from .experiment import OWN_TEXT, Experiment, Passes, cost_measure
from .inputs import LONGEST, input_recipes, period_inputs, period_laws
from .losses import loss_arrays, loss_measures
from .memory import cost, memory_in_bytes, text_memory_in_bytes
from .names import ONSET, Verdict
from .observations import Controls, ModelObservations, PeriodObservations, Repeats, observe
from .offset_measures import offset_measures
from .onset import onset
from .score_measures import Comparison, definition_measures, head_measures, sample_arrays
from .shown import checked_heads, chosen_heads, keep_attention, require_heads, shown_sequence
from .text import TextFindings, read_corpus, text_reading, window_length
from .token_ids import TokenIds
from .verdicts import head_verdicts, heads_called, near_measure, strength_measure
from .weight_measures import Folded, copying_measures

SMALLEST_LEVEL = 1e-4
"""False discovery rate that the test can be asked for: the smaller it is, the more sign flips it takes."""


@dataclass(frozen=True)
class InductionHeads(Reader):
    """Settings of the probe; None means: what fits the model.

    periods:               tokens in one repeat, one number or several; by default the longest that fits, up to 50, 3/4
                           and 1/2 of it
    repeats:               how often these tokens occur in a sequence
    n_sequences:           sequences of each period, and as many controls
    matching_threshold:    excess of prefix matching over its controls that a head which matches is sure to exceed
    duplicate_threshold:   excess of attention to earlier occurrences from which a head finds duplicates
    positional_threshold:  attention to a position, beyond what even attention pays it, that names a head
    copying_threshold:     OV eigenvalue score, positive or negative, from which a head copies or anti-copies
    level:                 false discovery rate over heads
    weak_below:            strength (that excess) below which an induction head is called weak
    strong_from:           strength from which it is called strong; between, moderate
    tolerance:             verdicts that change when a threshold moves by so much are named
    ablate:                heads that are ablated alone: "all", "called" (by content, and previous-token heads), or
                           "nothing" (no groups either); "auto": all of up to 64 heads, otherwise the called ones
    text, tokens:          the user's own text, or token ids, in a file; one of them. Random sequences then hold the
                           tokens that occur there, and heads may match there, too
    pad_id:                the token that fills documents up; it is left out at their ends
    limit:                 the first so many tokens of it
    attention:             heads whose attention on one sequence is kept to look at: "called" (of those with a verdict
                           the strongest, up to 8), "nothing", or up to 8 names, such as L1H4
    attention_tokens:      the first so many tokens of that sequence: of the text, or of the longest period's first
    compatibility_scores:  report the definitions of other papers and tools, too
    """

    name: ClassVar[str] = "induction-heads"
    version: ClassVar[str] = "4"
    batch_size: ClassVar[int] = 16
    part_kinds: ClassVar[tuple[type, ...]] = (Repeats, Controls, PeriodObservations, TextFindings)

    periods: Annotated[int, Ge(2)] | tuple[Annotated[int, Ge(2)], ...] | None = None
    repeats: Annotated[int, Ge(2)] = 2
    n_sequences: Annotated[int, Ge(2)] | None = None
    matching_threshold: Annotated[float, Ge(0), Le(1)] = 0.03
    duplicate_threshold: Annotated[float, Ge(0), Le(1)] = 0.3
    positional_threshold: Annotated[float, Ge(0), Le(1)] = 0.3
    copying_threshold: Annotated[float, Ge(0), Le(1)] = 0.2
    level: Annotated[float, Ge(SMALLEST_LEVEL), Le(1)] = 0.05
    weak_below: Annotated[float, Ge(0), Le(1)] = 0.3
    strong_from: Annotated[float, Ge(0), Le(1)] = 0.7
    tolerance: Annotated[float, Ge(0), Le(1)] = 0.001
    ablate: Literal["auto", "all", "called", "nothing"] = "auto"
    text: str | None = None
    tokens: str | None = None
    pad_id: Annotated[int, Ge(0)] | None = None
    limit: Annotated[int, Ge(2)] | None = None
    attention: Literal["called", "nothing"] | tuple[str, ...] = "called"
    attention_tokens: Annotated[int, Ge(2), Le(MOST_TOKENS)] = 128
    compatibility_scores: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.periods, int):
            object.__setattr__(self, "periods", (self.periods,))
        object.__setattr__(self, "attention", checked_heads(self.attention))
        if self.text is not None and self.tokens is not None:
            raise UsageError("induction-heads: text and tokens are both given; expected one of them")
        if self.periods == ():
            raise UsageError("induction-heads: periods = []; expected at least one")
        if self.weak_below > self.strong_from:
            raise UsageError(
                f"induction-heads: weak_below = {self.weak_below:g} is above strong_from = {self.strong_from:g};"
                " expected at most that"
            )

    @property
    def _periods(self) -> tuple[int, ...] | None:
        return (self.periods,) if isinstance(self.periods, int) else self.periods

    @property
    def thresholds(self) -> Thresholds:
        return Thresholds(
            self.matching_threshold,
            self.duplicate_threshold,
            self.positional_threshold,
            self.copying_threshold,
            self.level,
            self.weak_below,
            self.strong_from,
            self.tolerance,
        )

    def applies(self, subject: Subject) -> NotApplicable | None:
        if not isinstance(subject, LanguageModel):
            return NotApplicable(
                "this model predicts no next token. Induction heads are defined for causal language models."
            )
        if not subject.shape.causal:
            return NotApplicable(
                "this model's attention is bidirectional. Induction heads are defined for causal language models."
            )
        if reason := subject.not_shown.get("attention"):
            return NotApplicable(f"what the heads of this model attend to cannot be measured: {reason}")
        return None

    def fingerprint(self) -> dict[str, str]:
        given = {"text": self.text, "tokens": self.tokens}
        return {f"{name}_sha256": documents_sha256(path) for name, path in given.items() if path is not None}

    def memory(self, subject: Subject) -> int | None:
        if not isinstance(subject, LanguageModel):
            return None
        length = 2 * LONGEST if self._periods is None else self.repeats * max(self._periods)
        if self._periods is None and subject.shape.n_ctx is not None:
            length = min(length, subject.shape.n_ctx)
        return max(memory_in_bytes(subject, self.batch_size, length), self.reading_memory(subject) or 0)

    def reading_memory(self, subject: Subject) -> int | None:
        if not isinstance(subject, LanguageModel):
            return None
        if self.text is None and self.tokens is None:
            return 0
        return text_memory_in_bytes(subject, WINDOWS_A_PASS, window_length(subject))

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        if not isinstance(subject, LanguageModel):
            return None
        laws = period_laws(subject.shape, subject.bos, self._periods, self.repeats)
        n = number_of_sequences(self.n_sequences, subject.shape.n_layers * subject.shape.n_heads, len(laws), self.level)
        return cost(subject, batch_size, tuple(law.length for law in laws), n, self.ablate)

    def reading(self, subject: Subject, seed: int, batch_size: int) -> Reading | None:
        if not isinstance(subject, LanguageModel) or (corpus := self._corpus(subject)) is None:
            return None
        return text_reading(subject, corpus, batch_size, self.level, seed)

    def measure_in_parts(
        self, subject: Subject, seed: int, batch_size: int, kept: Parts, progress: Progress = silent
    ) -> Findings:
        if not isinstance(subject, LanguageModel):
            raise UsageError("induction-heads needs a language model; ask applies() first")
        require_heads(self.attention, subject.shape)
        corpus = self._corpus(subject)
        token_ids = TokenIds.of_model(subject) if corpus is None else TokenIds.of_text(corpus)
        experiment = self._experiment(Passes(subject, batch_size, kept), token_ids, seed)
        progress("weights", 0.0)
        measures = kept.made("weights", lambda: _by_weights(experiment)) | {"token_ids": token_ids.measure(subject)}
        observations = observe(
            experiment,
            self.compatibility_scores,
            lambda done: progress("repeats and controls", 0.1 + 0.4 * done),
        )
        recipes = input_recipes(experiment.periods, seed)
        if corpus is not None:
            progress("own text", 0.5)
            measures |= self._in_text(experiment, corpus)
            recipes["text"] = corpus.recipe
        progress("statistics", 0.6)
        comparison = Comparison(experiment.periods, observations.permuted, self.level, seed)
        measures |= _by_observations(experiment, observations, comparison)
        measures |= _from_previous(experiment, self._verdicts(measures))
        progress("ablations", 0.7)
        measures |= self._by_ablation(experiment, observations, comparison, measures)
        measures["strength"] = strength_measure(measures, self.thresholds)
        measures["near_threshold"] = near_measure(measures, self.thresholds)
        arrays = sample_arrays(observations) | loss_arrays(observations, comparison, experiment.access.no_logits)
        heads = chosen_heads(self.attention, self._verdicts(measures), measures)
        shown = keep_attention(experiment, heads, shown_sequence(experiment, corpus, self.attention_tokens))
        if shown is not None:
            arrays |= shown.arrays
            recipes[RECIPE] = shown.recipe
        measures["forward_passes"] = cost_measure(experiment)
        progress("done", 1.0)
        return Findings(measures, arrays, recipes)

    def _corpus(self, subject: LanguageModel) -> Corpus | None:
        """The user's own text or tokens, if any."""
        if self.text is not None:
            return read_corpus(subject, self.text, "text", self.limit, self.pad_id)
        if self.tokens is not None:
            return read_corpus(subject, self.tokens, "tokens", self.limit, self.pad_id)
        return None

    def heads(self, measures: Mapping[str, Measure]) -> dict[str, str]:
        return {head_name(head): str(verdict) for head, verdict in self._verdicts(measures).items()}

    def over_training(self, by_step: Mapping[int, Mapping[str, Measure]]) -> OverTraining:
        found = onset(by_step, self.thresholds)
        return OverTraining() if found is None else OverTraining({ONSET: found.measure}, found.sentence)

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return induction_claim(measures, sources, self.thresholds, self._verdicts(measures))

    def _verdicts(self, measures: Mapping[str, Measure]) -> dict[Head, Verdict]:
        return head_verdicts(measures, self.thresholds)

    def _in_text(self, experiment: Experiment, corpus: Corpus) -> dict[str, Measure]:
        """What heads do in the text, which another probe may have read along."""
        subject, passes = experiment.subject, experiment.passes
        reading = partial(text_reading, subject, corpus, passes.batch_size, self.level, experiment.seed)
        found = passes.kept.made(self.text_part, lambda: read_alone(subject, reading()))
        passes.spent[OWN_TEXT] += found.windows
        return found.measures

    def _experiment(self, passes: Passes, token_ids: TokenIds, seed: int) -> Experiment:
        subject = passes.subject
        laws = period_laws(subject.shape, subject.bos, self._periods, self.repeats, token_ids.ids)
        heads = subject.shape.n_layers * subject.shape.n_heads
        n = number_of_sequences(self.n_sequences, heads, len(laws), self.level)
        return Experiment(passes, Access.to(subject), period_inputs(laws, n, seed), seed)

    def _by_ablation(
        self,
        experiment: Experiment,
        observations: ModelObservations,
        comparison: Comparison,
        measures: Mapping[str, Measure],
    ) -> dict[str, Measure]:
        reason = experiment.access.no_logits or experiment.subject.no_edits()
        if self.ablate == "nothing" or reason is not None:
            return not_ablated("ablate = nothing" if reason is None else reason.reason)
        choice = choose(self.ablate, self._verdicts, measures, observations, comparison)
        return ablation_measures(Ablations.prepare(experiment, observations), choice)


def _by_weights(experiment: Experiment) -> dict[str, Measure]:
    """What heads do by their weights alone."""
    folded = Folded.of(experiment.subject, experiment.access)  # copies of all attention weights: gone before the passes
    return copying_measures(experiment, folded) | composition_measures(experiment, folded)


def _by_observations(
    experiment: Experiment, observations: ModelObservations, comparison: Comparison
) -> dict[str, Measure]:
    """What heads attend to and write, and what the model predicts."""
    access, longest = experiment.access, experiment.periods[0].period
    measures = head_measures(observations, comparison) | offset_measures(observations, comparison)
    if isinstance(access.direct_path, NotApplicable):
        measures["direct_logit_attribution"] = missing("logit", "not applicable", access.direct_path.reason)
    measures |= definition_measures(observations.other_definitions, longest, experiment.seed)
    return measures | loss_measures(observations, comparison, access.no_logits)


def _from_previous(experiment: Experiment, verdicts: Mapping[Head, Verdict]) -> dict[str, Measure]:
    """K-composition with the heads that are called previous-token heads."""
    folded = Folded.of(experiment.subject, experiment.access)
    return composition_from_previous(experiment, folded, heads_called(verdicts, Verdict.PREVIOUS_TOKEN))
