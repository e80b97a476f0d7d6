"""Few-shot tasks as the tokens that a language model reads.

Examples are joined as they are written, and the whole text is tokenised at once: what stands before a label may change
its tokens. Where the label begins, the prompt ends; the label's first token is what the model is asked for. Examples of
token ids are put one after another. Every prompt begins with the model's BOS, if it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, takewhile
from typing import NamedTuple

import torch

from ...data.errors import TaskError
from ...data.few_shot.examples import Example, Text
from ...data.few_shot.tasks import FewShotTask
from ...models.language_model import LanguageModel
from ...models.tokenizing import pieces_of
from .template import TEMPLATE, Template

_WORDS = ("yes", "no", "good", "bad", "red", "blue", "one", "two", "cat", "dog", "A", "B", "C", "D", "1", "2", "3", "4")
"""Labels to suggest instead of some that begin alike."""
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Prompts:
    """One task as one model reads it.

    alone:       the prompt of each demonstration by itself
    answers:     the first token of each demonstration's label
    zero_shot:   the prompt of each query by itself
    in_context:  the prompt of each query after all demonstrations
    own:         how many tokens both prompts of a query end with
    labels:      the first token of each label; of free text, each such token once
    right:       the place among `labels` of each query's own
    """

    name: str
    alone: tuple[Tokens, ...]
    answers: Tokens
    zero_shot: tuple[Tokens, ...]
    in_context: tuple[Tokens, ...]
    own: Tokens
    labels: Tokens
    right: Tokens


class _Cut(NamedTuple):
    """Some examples, cut before the last one's label.

    answers:  the first token of each one's label, the last one's included
    """

    prompt: Tokens
    answers: Tokens


_Cutter = Callable[[Sequence[Example]], _Cut]


def prompts_of(subject: LanguageModel, tasks: Sequence[FewShotTask], template: str = TEMPLATE) -> list[Prompts]:
    """Of each task.

    template:  how an example of text is written; examples of token ids have none

    Raises TaskError where the tokenizer does not keep labels apart, and for prompts that the model does not read.
    """
    text = isinstance(tasks[0].demos[0].input, str)
    if text and subject.tokenizer is None:
        raise TaskError(f"{subject.source.name}: came without a tokenizer, so it cannot read text; give token ids")
    begin = () if subject.bos is None else (subject.bos,)
    cut: _Cutter = partial(_cut_text, subject, Template.of(template), begin) if text else partial(_cut_tokens, begin)
    found = [_prompts(cut, task) for task in tasks]
    _check_lengths(subject, cut, tasks, found)
    for prompts in found:
        subject.check(torch.tensor([*prompts.labels, *prompts.answers])[:, None])
        for tokens in (*prompts.alone, *prompts.in_context):
            subject.check(torch.tensor([tokens]))
    return found


def _prompts(cut: _Cutter, task: FewShotTask) -> Prompts:
    alone, zero_shot = ([cut([example]) for example in some] for some in (task.demos, task.queries))
    in_context = [cut([*task.demos, query]) for query in task.queries]
    answers, asked = (tuple(one.answers[-1] for one in some) for some in (alone, zero_shot))
    begin = dict(zip(task.labels, _label_tokens(cut, task), strict=True))
    labels = tuple(dict.fromkeys(begin.values()))
    right = tuple(begin[query.output] for query in task.queries)
    for query, of_label, by_itself, after in zip(task.queries, right, asked, in_context, strict=True):
        for place, example in enumerate((*task.demos, query)):
            _check_same(example.output, (*answers, by_itself)[place], after.answers[place])
        _check_same(query.output, of_label, by_itself)
    own = tuple(_common_end(one.prompt, other.prompt) for one, other in zip(zero_shot, in_context, strict=True))
    prompts = [tuple(one.prompt for one in some) for some in (alone, zero_shot, in_context)]
    places = tuple(map(labels.index, right))
    return Prompts(task.name, prompts[0], answers, prompts[1], prompts[2], own, labels, places)


def _label_tokens(cut: _Cutter, task: FewShotTask) -> Tokens:
    """The first token of each label, after the same tokens; TaskError where two classes have the same."""
    example = (*task.queries, *task.demos)[0]
    cuts = [cut([replace(example, output=label)]) for label in task.labels]
    for label, one in zip(task.labels, cuts, strict=True):
        if one.prompt != cuts[0].prompt:
            raise TaskError(
                f"{task.name}: the tokens before a label depend on it: before {task.labels[0]!r:.40} they end with"
                f" {list(cuts[0].prompt[-3:])}, before {label!r:.40} with {list(one.prompt[-3:])}; the tokenizer merges"
                " label and template; end the template before {output} with a line end, or write labels alike"
            )
    tokens = tuple(one.answers[-1] for one in cuts)
    for (one, first), (other, second) in combinations(zip(task.labels, tokens, strict=True), 2):
        if first == second and not task.free_text:
            raise TaskError(
                f"{task.name}: labels {one!r:.60} and {other!r:.60} both begin with token {first}, and only a label's"
                f" first token is judged; write labels that begin otherwise{_suggestion(cut, example, tokens)}"
            )
    return tokens


def _suggestion(cut: _Cutter, example: Example, taken: Tokens) -> str:
    """Two words that begin neither alike nor as a label does; of token ids, none is suggested."""
    if not isinstance(example.input, str):
        return ""
    begin: dict[int, str] = {}
    for word in _WORDS:
        with suppress(TaskError):  # a tokenizer may lack the word, or merge it
            begin.setdefault(cut([replace(example, output=word)]).answers[-1], word)
    free = [word for token, word in begin.items() if token not in taken][:2]
    return f", {' and '.join(map(repr, free))} say" if free else ""


def _check_same(label: Text, by_itself: int, in_context: int) -> None:
    if by_itself != in_context:
        raise TaskError(
            f"the label {label!r:.60} begins with token {by_itself} in one place and with {in_context} in another: the"
            " tokenizer merges it with what stands around it; end the template with a line end, and put a blank or a"
            " line end before {output}"
        )


def _check_lengths(
    subject: LanguageModel, cut: _Cutter, tasks: Sequence[FewShotTask], found: Sequence[Prompts]
) -> None:
    """TaskError for prompts that are longer than the context, with the largest k that fits."""
    longest, n_ctx = max(map(_longest, found)), subject.shape.n_ctx
    if n_ctx is None or longest <= n_ctx:
        return
    long = [task for task, prompts in zip(tasks, found, strict=True) if _longest(prompts) > n_ctx]
    k = next((k for k in range(long[0].k - 1, 0, -1) if all(_fits(cut, task.fewer(k), n_ctx) for task in long)), None)
    instead = f"the largest k that fits is {k}" if k else "not even k = 1 fits: give shorter examples"
    raise TaskError(
        f"{long[0].name}: with k = {long[0].k} a prompt has {longest} tokens; {subject.source.name} reads at most"
        f" {n_ctx}; {instead}"
    )


def _longest(prompts: Prompts) -> int:
    return max(map(len, (*prompts.in_context, *prompts.alone)))


def _fits(cut: _Cutter, task: FewShotTask, n_ctx: int) -> bool:
    return all(len(cut([*task.demos, query]).prompt) <= n_ctx for query in task.queries)


def _common_end(one: Tokens, other: Tokens) -> int:
    return sum(1 for _ in takewhile(bool, (x == y for x, y in zip(one[::-1], other[::-1], strict=False))))


def _cut_text(subject: LanguageModel, template: Template, begin: Tokens, examples: Sequence[Example]) -> _Cut:
    text, labels = "", []
    for example in examples:
        written, start = template.written(str(example.input), str(example.output))
        labels.append(len(text) + start)
        text += written
    pieces = pieces_of(subject.tokenizer, text)
    first = [_first_of(pieces, text, start) for start in labels]
    ids = tuple(token for token, _, _ in pieces)
    return _Cut((*begin, *ids[: first[-1]]), tuple(ids[place] for place in first))


def _first_of(pieces: Sequence[tuple[int, int, int]], text: str, start: int) -> int:
    """The place of the token with which the label begins that begins at a character. Blanks before it may be a part."""
    place = next((n for n, (_, _, end) in enumerate(pieces) if end > start), None)
    if place is None:
        raise TaskError(f"{text[start:]!r:.60}: the tokenizer has no token for this label")
    ahead = text[pieces[place][1] : start]
    if ahead.strip():
        raise TaskError(
            f"{text[pieces[place][1] : pieces[place][2]]!r:.60} is one token: the tokenizer merges {ahead!r:.40} of the"
            " template with the label; end the template before {output} with a blank or a line end"
        )
    return place


def _cut_tokens(begin: Tokens, examples: Sequence[Example]) -> _Cut:
    parts = [(_ids(example.input), _ids(example.output)) for example in examples]
    before = [token for given, told in parts[:-1] for token in (*given, *told)]
    return _Cut((*begin, *before, *parts[-1][0]), tuple(told[0] for _, told in parts))


def _ids(tokens: Text) -> Tokens:
    assert not isinstance(tokens, str)  # examples are all of one kind
    return tokens
