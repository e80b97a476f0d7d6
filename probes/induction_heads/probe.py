"""Which heads do induction, and what is lost without them? (Olsson et al. 2022, arXiv 2209.11895; Elhage et al. 2021)

An induction head finds an earlier occurrence of the current token and copies what followed it. On random tokens that
are said twice only such a head can foresee the second run. A prefix-matching score near 1 says that a head looks there;
it is an induction head only if it also raises the logit of what it finds, if it looks there because tokens repeat (the
same offset without repeats is the control), and if it does so at every period. Those are the conditions of the verdict;
thresholds are settings. What a set of heads is worth is read off the loss when they are taken away together: single
heads stand in for each other.

The formulas are in `induction_scores.py` (attention), `induction_weights.py` (weights) and `induction_evidence.py` (the
test), for tensors from anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Le

from ...data.corpus import documents_sha256
from ...data.errors import UsageError
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable, Source, Subject
from ..findings import Findings
from ..measure import Claim, Measure, missing
from ..probe import Probe, Progress, silent
from ..statistics.sample_measures import PerTask, task_measures
from ..statistics.sign_flips import sequences_needed
from .ablation import EVEN, KINDS, ODD, Ablations, Halves
from .claim import induction_claim
from .composition import composition_measures, from_previous_token
from .inputs import LONGEST, PeriodInputs, input_recipes, period_inputs, period_laws
from .losses import loss_measures
from .passes import PARTS, Abilities, Passes, Sides, observe, observe_null
from .score_measures import HEADS, Inputs, excess_over_controls, head_measures, offset_measures
from .text import read_corpus, text_measures
from .verdicts import Thresholds, head_verdicts, heads_named, near_measure
from .watchers import OtherDefinitions
from .weight_measures import Folded, copying_measures

FEWEST = 16
"""Sequences of each period, at least."""
NULL_DRAWS = (4, 12)
"""Draws of permuted weights: at least, and at most, however few heads there are to pool over."""
SMALLEST_LEVEL = 1e-4
"""False discovery rate that the test can be asked for: the smaller it is, the more sign flips it takes."""
FEW_HEADS = 64
"""Up to so many heads each is taken away alone; of more, only those with a verdict by content or previous-token."""
GROUPS = ("induction", "previous-token")
WORTH_TAKING = ("induction", "anti-induction", "duplicate-token", "previous-token")


@dataclass(frozen=True)
class InductionHeads(Probe):
    """Settings of the probe; None means: what fits the model.

    periods:               tokens of the run that is said again, one number or several; by default the longest that
                           fits, up to 50, 3/4 and 1/2 of it
    repeats:               how often a run is said
    n_sequences:           sequences of each period, and as many controls
    matching_threshold:    a head matches from this excess of prefix matching over its controls on; also of duplicates
    positional_threshold:  attention to a position, beyond what even attention pays it, that names a head
    copying_threshold:     OV eigenvalue score, positive or negative, that says whether a head copies
    level:                 false discovery rate over heads
    tolerance:             verdicts that change when a threshold moves by so much are named
    ablate:                heads that are taken away alone: "all", "called" (by content, and previous-token heads),
                           "nothing" (groups neither); "auto": all of up to 64 heads, otherwise the called ones
    text, tokens:          the user's own text, or token ids, in a file; one of them
    limit:                 the first so many tokens of it
    compatibility_scores:  report the definitions of others, too, each under its own name
    """

    name: ClassVar[str] = "induction-heads"
    version: ClassVar[str] = "1"
    batch_size: ClassVar[int] = 16

    periods: Annotated[int, Ge(2)] | tuple[Annotated[int, Ge(2)], ...] | None = None
    repeats: Annotated[int, Ge(2)] = 2
    n_sequences: Annotated[int, Ge(2)] | None = None
    matching_threshold: Annotated[float, Ge(0), Le(1)] = 0.3
    positional_threshold: Annotated[float, Ge(0), Le(1)] = 0.3
    copying_threshold: Annotated[float, Ge(0), Le(1)] = 0.2
    level: Annotated[float, Ge(SMALLEST_LEVEL), Le(1)] = 0.05
    tolerance: Annotated[float, Ge(0), Le(1)] = 0.001
    ablate: Literal["auto", "all", "called", "nothing"] = "auto"
    text: str | None = None
    tokens: str | None = None
    limit: Annotated[int, Ge(2)] | None = None
    compatibility_scores: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.periods, int):
            object.__setattr__(self, "periods", (self.periods,))
        if self.text is not None and self.tokens is not None:
            raise UsageError("induction-heads: text and tokens are both given; expected one of them")
        if self.periods == ():
            raise UsageError("induction-heads: periods = []; expected at least one")

    @property
    def _periods(self) -> tuple[int, ...] | None:
        return (self.periods,) if isinstance(self.periods, int) else self.periods

    @property
    def thresholds(self) -> Thresholds:
        return Thresholds(
            self.matching_threshold, self.positional_threshold, self.copying_threshold, self.level, self.tolerance
        )

    def applies(self, subject: Subject) -> NotApplicable | None:
        if not isinstance(subject, LanguageModel):
            return NotApplicable("this model reads no tokens: induction heads are looked for in language models")
        if not subject.shape.causal:
            return NotApplicable(
                "tokens see those after them, too: nothing is foreseen, and what repeats later is seen already"
            )
        return None

    def fingerprint(self) -> dict[str, str]:
        given = {"text": self.text, "tokens": self.tokens}
        return {f"{name}_sha256": documents_sha256(path) for name, path in given.items() if path is not None}

    def memory(self, subject: Subject) -> int | None:
        """Copies of the attention weights, logits of a few positions, and a batch with its statistics."""
        if not isinstance(subject, LanguageModel):
            return None
        shape, size = subject.shape, subject.dtype.itemsize
        heads = shape.n_layers * shape.n_heads
        length = 2 * LONGEST if self._periods is None else self.repeats * max(self._periods)
        if self._periods is None and shape.n_ctx is not None:
            length = min(length, shape.n_ctx)
        weights = 4 * heads * shape.d_model * shape.d_head * size
        logits = 4 * min(2**24, self.batch_size * length * shape.d_vocab)
        batch = self.batch_size * length * 12 * shape.d_model * size
        pattern = 4 * min(2**23, self.batch_size * shape.n_heads * length**2)
        # measured: so many copies of each are alive at the peak
        return 4 * weights + 4 * logits + batch + 4 * pattern + 2_000 * 40 * heads * 8 + 8 * shape.d_model**2

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        if not isinstance(subject, LanguageModel):
            raise UsageError("induction-heads needs a language model; ask applies() first")
        laws = period_laws(subject.shape, subject.bos, self._periods, self.repeats)
        path = self.text or self.tokens
        corpus = None if path is None else read_corpus(subject, path, self.limit)
        n = self._sequences(subject, len(laws))
        periods = period_inputs(laws, n, seed)
        passes, able = Passes(subject, batch_size), Abilities.of(subject)
        progress("weights", 0.0)
        offsets = [law.period - 1 for law in laws]
        measures = _by_weights(subject, able, offsets, seed)
        progress("repeats and controls", 0.1)
        other = OtherDefinitions(laws[0].period)
        sides, windows, means = observe(passes, periods, able, [other] if self.compatibility_scores else [])
        nulls = self._nulls(passes, periods, able, seed, progress)
        progress("statistics", 0.5)
        inputs = Inputs(periods, nulls, self.level, seed, _windows_note(windows))
        measures |= head_measures(sides, inputs) | offset_measures(sides, inputs)
        if isinstance(able.directions, NotApplicable):
            measures["direct_logit_attribution"] = missing("logit", "not applicable", able.directions.reason)
        previous = heads_named(self.heads(measures), "previous-token")
        measures |= from_previous_token(Folded.of(subject, able), previous, offsets, seed)
        of_nulls = [null.repeated[0] for null in nulls]
        measures |= loss_measures(sides.repeated[0], sides.control[0], of_nulls, laws[0], seed, able.no_logits)
        progress("heads taken away", 0.6)
        if self.ablate == "nothing" or able.no_logits is not None:
            reason = "ablate = nothing was asked for" if able.no_logits is None else able.no_logits.reason
            measures |= {name: missing("nat", "not applicable", reason) for name in ABLATIONS}
        else:
            base = sides.repeated[0].tokens["loss"]
            ablations = Ablations(passes, laws[0], periods[0].repeated, base, means, seed)
            measures |= self._taken_away(ablations, sides, inputs, measures)
        progress("own text", 0.9)
        recipes = input_recipes(periods, n, seed)
        if corpus is not None:
            measures |= text_measures(passes, corpus, seed)
            recipes["text"] = corpus.recipe
        measures |= _others_measures(other, laws[0].period, seed)
        measures["near_threshold"] = near_measure(measures, self.thresholds)
        measures["forward_passes"] = _cost(passes, n * len(laws))
        progress("done", 1.0)
        return Findings(measures, _raw(sides), recipes)

    def heads(self, measures: Mapping[str, Measure]) -> dict[str, str]:
        return head_verdicts(measures, self.thresholds)

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return induction_claim(measures, sources, self.thresholds, self.heads(measures))

    def _sequences(self, subject: LanguageModel, periods: int) -> int:
        """So many of each period that the smallest p there is passes over all heads, on half of the sequences too."""
        heads = subject.shape.n_layers * subject.shape.n_heads
        needed = sequences_needed(heads, self.level)
        if self.n_sequences is None:
            return max(FEWEST, 2 * math.ceil(needed / periods))
        if self.n_sequences * periods < needed:
            raise UsageError(
                f"n_sequences = {self.n_sequences}: with {heads} heads the smallest p there is would hardly pass a"
                f" false discovery rate of {self.level:g}; expected at least {math.ceil(needed / periods)}"
            )
        return self.n_sequences

    def _nulls(
        self, passes: Passes, periods: Sequence[PeriodInputs], able: Abilities, seed: int, progress: Progress
    ) -> list[Sides]:
        """Draws of permuted weights: more of them where there are few heads to pool over."""
        fewest, most = NULL_DRAWS
        draws = max(fewest, min(most, 64 // (passes.subject.shape.n_layers * passes.subject.shape.n_heads)))
        found = []
        for draw in range(draws):
            progress("permuted weights", 0.2 + 0.3 * draw / draws)
            found.append(observe_null(passes, periods, able, seed, draw))
        return [sides for sides in found if sides is not None]

    def _taken_away(
        self, ablations: Ablations, sides: Sides, inputs: Inputs, measures: Mapping[str, Measure]
    ) -> dict[str, Measure]:
        """Heads alone, and the groups that each half of the sequences calls, tested on the other."""
        verdicts, n_heads = self.heads(measures), ablations.passes.subject.shape.n_heads
        shape = (len(verdicts) // n_heads, n_heads)
        alone = [head for label in WORTH_TAKING for head in heads_named(verdicts, label)]
        if self.ablate == "all" or (self.ablate == "auto" and len(verdicts) <= FEW_HEADS):
            alone = list(np.ndindex(shape))
        found = ablations.single(sorted(alone), shape)
        by_half = [self.heads({**measures, **head_measures(sides.of(half), inputs)}) for half in (EVEN, ODD)]
        chosen: dict[str, Halves] = {
            group: (heads_named(by_half[0], group), heads_named(by_half[1], group)) for group in GROUPS
        }
        return found | ablations.groups(chosen, n_heads)


ABLATIONS = tuple(
    name.format(kind)
    for name in ("ablation_{}", "group_ablation_{}", "in_context_learning_without_{}")
    for kind in KINDS
)


def _by_weights(subject: LanguageModel, able: Abilities, offsets: Sequence[int], seed: int) -> dict[str, Measure]:
    folded = Folded.of(subject, able)  # a copy of all attention weights: dropped before the passes
    return copying_measures(subject, able, folded, seed) | composition_measures(folded, offsets, seed)


def _windows_note(windows: Mapping[int, int]) -> str:
    """Which layers cannot see as far as they would have to."""
    by_size: dict[int, list[str]] = {}
    for layer, window in windows.items():
        by_size.setdefault(window, []).append(str(layer))
    return "; ".join(
        f"layer{'s' * (len(layers) > 1)} {', '.join(layers)} see{'s' * (len(layers) == 1)} the last {size} tokens only,"
        " hence nothing further back"
        for size, layers in sorted(by_size.items())
    )


def _others_measures(other: OtherDefinitions, period: int, seed: int) -> dict[str, Measure]:
    """Scores by the definitions of others, `compatibility_…`."""
    metrics = {
        f"compatibility_{name}": PerTask(
            values,
            "as defined",
            HEADS,
            no_nulls="another definition: its author gave no null",
            message=f"period {period}",
            replicate="sequence",
        )
        for name, values in other.arrays().items()
    }
    return task_measures(metrics, seed)


def _cost(passes: Passes, evaluated: int) -> Measure:
    """Sequences sent through the model, whatever the batch size."""
    counts = np.array([passes.spent[part] for part in PARTS], dtype=np.float64)
    nan = np.full(counts.shape, np.nan)
    words = f"{counts.sum():,.0f} sequences through the model in all, for {evaluated:,} that were scored"
    return Measure(
        counts, "sequence", (nan, nan), "none", 1, ("part",), {"part": PARTS}, no_nulls="a count", message=words
    )


def _raw(sides: Sides) -> dict[str, np.ndarray]:
    """Scores of every sequence, all periods one after the other: [sequence, layer, head]."""
    names = {"matching": "prefix_matching_score", "duplicate": "duplicate_token_score"}
    names |= {"attribution": "direct_logit_attribution"}
    found = {
        long: np.concatenate([seen.heads[short] for seen in sides.repeated])
        for short, long in names.items()
        if short in sides.repeated[0].heads
    }
    for short in ("previous", "current", "first"):
        found[f"{short}_token_score"] = np.concatenate([seen.heads[short] for seen in sides.control])
    places = range(len(sides.repeated))
    return found | {"excess": np.concatenate([excess_over_controls(sides, place) for place in places])}
