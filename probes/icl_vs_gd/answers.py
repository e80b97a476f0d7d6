"""How right answers are in context and after fine-tuning, and how far they are from each other; one number a task.

Distances are total variations over the whole vocabulary, beside those of planted gradient descent. Accuracy is among a
task's labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...models.attention import in_float32
from ..few_shot.behaviour import accuracy_among
from ..few_shot.distributions import total_variation
from .asked import Asked
from .names import IN_CONTEXT, MATCHED, PLANTED, SHUFFLED, ZERO_SHOT, Rule
from .runs import Runs
from .seen import Seen

PerTask = Float[np.ndarray, "task"]
Numbers = dict[str, PerTask]


def distances(runs: Iterable[Runs], rule: Rule) -> Numbers:
    """Of all tasks: of what is named, from tuned parameters; in context also from another task's, and from those that
    were fitted to attention.
    """
    return _joined([_distances(some, rule) for some in runs])


def accuracies(runs: Iterable[Runs], tasks: Sequence[Asked]) -> Numbers:
    """Of all tasks, by what answers."""
    return _joined([_accuracies(some, tasks[some.first : some.first + len(some)]) for some in runs])


def _distances(runs: Runs, rule: Rule) -> Numbers:
    tuned, icl = runs.fine_tuned[rule], runs.in_context["true"]
    found = {IN_CONTEXT: _apart(icl, tuned["tuned", "true"])}
    found |= {way: _apart(tuned[way, "true"], tuned["tuned", "true"]) for way in ("half run", *PLANTED)}
    if ("other", "true") in tuned:
        found["other"] = _apart(icl, tuned["other", "true"])
    return found | ({MATCHED: _apart(icl, runs.matched["true"])} if runs.matched else {})


def _accuracies(runs: Runs, tasks: Sequence[Asked]) -> Numbers:
    by = {ZERO_SHOT: runs.zero_shot, IN_CONTEXT: runs.in_context["true"], SHUFFLED: runs.in_context["shuffled"]}
    by |= {rule: ways["tuned", "true"] for rule, ways in runs.fine_tuned.items()}
    by |= {MATCHED: runs.matched["true"]} if runs.matched else {}
    return {who: np.array([_right(*own) for own in zip(seen, tasks, strict=True)]) for who, seen in by.items()}


def _right(seen: Seen, task: Asked) -> float:
    right = torch.tensor([task.labels.index(query.label) for query in task.queries])
    return float(accuracy_among(_said(seen), torch.tensor(task.labels), right).mean())


def _apart(one: Sequence[Seen], other: Sequence[Seen]) -> PerTask:
    """The mean over each task's queries."""
    pairs = zip(one, other, strict=True)
    return np.array([float(total_variation(*(_said(seen) for seen in pair)).mean()) for pair in pairs])


def _said(seen: Seen) -> Float[Tensor, "query d_vocab"]:
    return in_float32(seen.logits).softmax(dim=-1)


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> Numbers:
    return {what: np.concatenate([part[what] for part in parts]) for what in parts[0]}
