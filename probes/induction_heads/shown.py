"""Which heads' attention the report keeps, and on which tokens: the user's text, or a sequence that repeats."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, zip_longest
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from ...data.batch import tensors_sha256
from ...data.corpus import Corpus
from ...data.errors import TaskError, UsageError
from ...data.recipe import Recipe
from ...models.language_model import LanguageModelShape
from ..findings import Head, head_from, head_name
from ..kept_attention import MOST_HEADS, KeptAttention
from ..measure import Measure
from ..token_texts import token_texts
from .experiment import KEPT_ATTENTION, Experiment
from .names import MATCHING, Verdict
from .patterns import Patterns, not_weighted
from .verdicts import heads_called

_SCORES = {
    **dict.fromkeys(MATCHING, "strength"),
    Verdict.DUPLICATE_TOKEN: "duplicate_token_score",
    Verdict.PREVIOUS_TOKEN: "previous_token_score",
    Verdict.CURRENT_TOKEN: "current_token_score",
    Verdict.FIRST_TOKEN: "first_token_score",
    Verdict.FIXED_OFFSET: "fixed_offset_score",
}
"""What the heads of a verdict are ordered by."""


class Shown(NamedTuple):
    """One sequence, and in words what it is."""

    tokens: Int[Tensor, "1 pos"]
    words: str
    seed: int | None


def checked_heads(asked: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """The setting `attention` with every head named once, as reports write it. UsageError for what names no heads."""
    if isinstance(asked, str):
        return asked
    if not asked:
        raise UsageError('induction-heads: attention = []; expected at least one head, such as L1H4, or "nothing"')
    try:
        names = tuple(dict.fromkeys(head_name(head_from(name)) for name in asked))
    except ValueError as error:
        raise UsageError(f"induction-heads: attention: {error}; or called or nothing, alone") from error
    if len(names) > MOST_HEADS:
        raise UsageError(
            f"induction-heads: attention names {len(names)} heads; expected at most {MOST_HEADS};"
            " run the probe again for others"
        )
    return names


def require_heads(asked: str | tuple[str, ...], shape: LanguageModelShape) -> None:
    """TaskError for heads that the model does not have."""
    named = [] if isinstance(asked, str) else [head_from(name) for name in asked]
    if absent := [head for head in named if head[0] >= shape.n_layers or head[1] >= shape.n_heads]:
        last = head_name((shape.n_layers - 1, shape.n_heads - 1))
        raise TaskError(
            f"{', '.join(map(head_name, absent))} {'do' if len(absent) > 1 else 'does'} not exist: this model has"
            f" {shape.n_layers} layer{'s' * (shape.n_layers > 1)} of {shape.n_heads}"
            f" head{'s' * (shape.n_heads > 1)}; expected L0H0 to {last}"
        )


def chosen_heads(
    asked: str | tuple[str, ...], verdicts: Mapping[Head, Verdict], measures: Mapping[str, Measure]
) -> dict[Head, Verdict]:
    """The heads that were asked for, or of those with a verdict the strongest: of each verdict in turn the next one.
    With their verdicts.
    """
    if not isinstance(asked, str):
        return {head: verdicts[head] for head in map(head_from, asked)}
    if asked == "nothing":
        return {}
    ranked = [
        sorted(heads_called(verdicts, verdict), key=lambda head, name=name: (-measures[name].values[head], head))
        for verdict, name in _SCORES.items()
    ]
    in_turn = [head for head in chain.from_iterable(zip_longest(*ranked)) if head is not None][:MOST_HEADS]
    return {head: verdicts[head] for heads in ranked for head in heads if head in in_turn}


def shown_sequence(experiment: Experiment, corpus: Corpus | None, most: int) -> Shown:
    """The first tokens of the text, or of the first sequence of the longest period."""
    if corpus is not None:
        return _of_text(corpus, most)
    longest = experiment.periods[0]
    words = f"{'BOS and ' * longest.law.first}{longest.period} random tokens, {longest.law.repeats} times"
    whole = longest.law.length
    words = words if whole <= most else f"the first {most} of {whole} tokens: {words}"
    return Shown(longest.repeated[:1, :most], words, experiment.seed)


def _of_text(corpus: Corpus, most: int) -> Shown:
    """Of the first document that a pair of tokens can be read of."""
    begin = [] if corpus.bos is None else [corpus.bos]
    number, document = next(
        (number, ids) for number, ids in enumerate(corpus.documents, 1) if len(begin) + len(ids) >= 2
    )
    tokens = [*begin, *document.tolist()][: min(most, corpus.length)]
    of = f", document {number} of {len(corpus.documents)}" if len(corpus.documents) > 1 else ""
    return Shown(
        torch.tensor([tokens]), f"the first {len(tokens)} tokens of {corpus.recipe.settings['file']}{of}", None
    )


def keep_attention(experiment: Experiment, heads: Mapping[Head, Verdict], shown: Shown) -> KeptAttention | None:
    """The attention of these heads on that sequence; None where there is no head."""
    if not heads:
        return None
    subject, ids = experiment.subject, shown.tokens[0].tolist()
    watcher = Patterns(subject, list(heads))
    experiment.passes.send(KEPT_ATTENTION, shown.tokens, [watcher])
    settings = {
        "sequence": shown.words,
        "ids": ids,
        "texts": token_texts(subject, ids),
        "not_weighted": not_weighted(subject),
    }
    recipe = Recipe("kept attention", settings, shown.seed, 1, tensors_sha256(shown.tokens))
    verdicts = tuple(map(str, heads.values()))
    return KeptAttention(tuple(heads), watcher.pattern, watcher.value_norms, recipe, verdicts)
