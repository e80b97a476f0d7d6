"""How right answers are in context and after fine-tuning, and how far they are from each other; one number a task.

Distances are total variations over the whole vocabulary, beside those of planted gradient descent. Accuracy is among a
task's labels; beside it stand top-1 accuracy among all tokens, and confidence: the largest probability of all tokens,
and of the labels. Numbers are means over a task's queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...models.attention import in_float32
from ..few_shot.behaviour import Recovered, accuracy_among, chosen_probability, confidence, recovered, top_accuracy
from ..few_shot.distributions import SHARE, check_top, divergence, overlap, overlap_cosine, total_variation
from .asked import Asked
from .names import (
    ACCURACY,
    CONFIDENCE,
    DISTANCE,
    DIVERGENCE,
    IN_CONTEXT,
    LABEL_CONFIDENCE,
    MATCHED,
    OVERLAP,
    OVERLAP_COSINE,
    OVERLAP_INSIDE,
    PLANTED,
    SHUFFLED,
    TOP_ACCURACY,
    ZERO_SHOT,
    Rule,
    Way,
)
from .runs import Runs
from .seen import Seen

PerTask = Float[np.ndarray, "task"]
Numbers = dict[str, PerTask]
Counts = Int[np.ndarray, "task 2"]
"""How many, and of how many."""
Said = Float[Tensor, "*order query d_vocab"]
"""Distributions over the vocabulary."""
ITSELF: tuple[Way, ...] = ("half run", *PLANTED)
"""Other runs of the same descent."""
COMPARED = 10
"""Most probable tokens that overlaps compare, unless the user says otherwise."""


def compared_tokens(top: int | None, d_vocab: int) -> int | None:
    """How many most probable tokens overlaps compare: `top`, by default 10 or an eighth of the vocabulary; None where
    the vocabulary is too small for one. TaskError for more than an eighth.
    """
    if top is None:
        return min(COMPARED, d_vocab // SHARE) or None
    check_top(top, d_vocab)
    return top


def alikeness(top: int | None) -> dict[str, Callable[[Said, Said], Tensor]]:
    """Formulas of two distributions that compare this many most probable tokens; None: there are none."""
    if top is None:
        return {}
    return {
        OVERLAP: lambda p, q: overlap(p, q, top),
        OVERLAP_COSINE: lambda p, q: overlap_cosine(p, q, top),
        OVERLAP_INSIDE: lambda p, q: overlap_cosine(p, q, top, inside=True),
    }


def distances(runs: Iterable[Runs], rule: Rule) -> Numbers:
    """Of all tasks: of what is named, from tuned parameters; in context also from another task's, and from those that
    were fitted to attention.
    """
    return _joined([_distances(some, rule) for some in runs])


def accuracies(runs: Iterable[Runs], tasks: Sequence[Asked]) -> Numbers:
    """Of all tasks, by what answers."""
    return _joined([of_ways(some, tasks[some.first : some.first + len(some)])[ACCURACY] for some in runs])


def of_ways(runs: Runs, tasks: Sequence[Asked]) -> dict[str, Numbers]:
    """Of the tasks of these runs: accuracies and confidence, by what answers."""
    by = {who: _pairs(seen, tasks) for who, seen in _answering(runs).items()}
    formulas = {
        ACCURACY: _share_right,
        TOP_ACCURACY: lambda p, task: top_accuracy(p, torch.tensor([query.label for query in task.queries])),
        CONFIDENCE: lambda p, task: confidence(p),
        LABEL_CONFIDENCE: lambda p, task: chosen_probability(p, torch.tensor(task.labels)),
    }
    return {
        name: {who: np.array([float(formula(*pair).mean()) for pair in pairs]) for who, pairs in by.items()}
        for name, formula in formulas.items()
    }


def of_rule(runs: Runs, rule: Rule, top: int | None) -> dict[str, Numbers]:
    """Distances, KL(in context | tuned), and what the most probable tokens have in common with answers in context:
    those of tuned parameters, and zero-shot ones.
    """
    icl, tuned = runs.in_context["true"], runs.fine_tuned[rule]["tuned", "true"]
    ends = {IN_CONTEXT: tuned, ZERO_SHOT: runs.zero_shot}
    found = {DISTANCE: _distances(runs, rule), DIVERGENCE: {IN_CONTEXT: _between(divergence, icl, tuned)}}
    return found | {
        name: {what: _between(formula, icl, other) for what, other in ends.items()}
        for name, formula in alikeness(top).items()
    }


def recoveries(runs: Runs, tasks: Sequence[Asked]) -> tuple[dict[str, Counts], Counts]:
    """Of the queries that zero-shot gets wrong, how many context gets right: of those that a rule gets right, by rule,
    and of all.
    """
    right = {who: [_right(*pair) for pair in _pairs(seen, tasks)] for who, seen in _answering(runs).items()}

    def counted(who: str) -> list[Recovered]:
        return [recovered(*own) for own in zip(right[ZERO_SHOT], right[who], right[IN_CONTEXT], strict=True)]

    by_rule = {rule: np.array([[one.n, one.of] for one in counted(rule)]) for rule in runs.fine_tuned}
    return by_rule, np.array([[one.null_n, one.null_of] for one in counted(IN_CONTEXT)])


def said(seen: Seen) -> Said:
    """The distributions of a task's queries, on the CPU, where there is float64."""
    return in_float32(seen.logits).softmax(dim=-1).cpu()


def accuracy_of(p: Said, task: Asked) -> float:
    """Among the task's labels, the mean over its queries."""
    return float(_share_right(p, task).mean())


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> Numbers:
    return {what: np.concatenate([part[what] for part in parts]) for what in parts[0]}


def _answering(runs: Runs) -> dict[str, Sequence[Seen]]:
    by = {ZERO_SHOT: runs.zero_shot, IN_CONTEXT: runs.in_context["true"], SHUFFLED: runs.in_context["shuffled"]}
    by |= {rule: ways["tuned", "true"] for rule, ways in runs.fine_tuned.items()}
    return by | ({MATCHED: runs.matched["true"]} if runs.matched else {})


def _pairs(seen: Sequence[Seen], tasks: Sequence[Asked]) -> list[tuple[Said, Asked]]:
    return [(said(own), task) for own, task in zip(seen, tasks, strict=True)]


def _distances(runs: Runs, rule: Rule) -> Numbers:
    tuned, icl = runs.fine_tuned[rule], runs.in_context["true"]
    found = {IN_CONTEXT: _apart(icl, tuned["tuned", "true"])}
    for way in ITSELF:
        if (way, "true") in tuned:
            found[way] = _apart(tuned[way, "true"], tuned["tuned", "true"])
    if ("other", "true") in tuned:
        found["other"] = _apart(icl, tuned["other", "true"])
    return found | ({MATCHED: _apart(icl, runs.matched["true"])} if runs.matched else {})


def _share_right(p: Said, task: Asked) -> Float[Tensor, "query"]:
    right = torch.tensor([task.labels.index(query.label) for query in task.queries])
    return accuracy_among(p, torch.tensor(task.labels), right)


def _right(p: Said, task: Asked) -> Bool[Tensor, "query"]:
    """Whether the right label alone is the most probable one."""
    return _share_right(p, task) == 1


def _apart(one: Sequence[Seen], other: Sequence[Seen]) -> PerTask:
    return _between(total_variation, one, other)


def _between(formula: Callable[[Said, Said], Tensor], one: Sequence[Seen], other: Sequence[Seen]) -> PerTask:
    """The mean over each task's queries."""
    return np.array([float(formula(said(a), said(b)).mean()) for a, b in zip(one, other, strict=True)])
