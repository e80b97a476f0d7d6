"""Few-shot tasks without a file, of token ids: a label for each class of inputs, or pairs to recall.

label-mapping  inputs in classes; a task shows some classes, each with a label of its own, and asks for other inputs
               of these classes. The law of `LabelMapping`, on tokens of the vocabulary at random, or on the very
               ids of a model that was trained on such a law
recall         pairs of different tokens at random, and some of them are asked again
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

import numpy as np

from ..errors import TaskError
from ..mapping import LabelMapping
from ..recipe import named_seed
from .examples import Example
from .tasks import FewShotTask, FewShotTasks

Kind = Literal["label-mapping", "recall"]


def generated_tasks(
    kind: Kind | None, vocabulary: Sequence[int], n: int, k: int, queries: int, seed: int, own: LabelMapping | None
) -> FewShotTasks:
    """`n` tasks, each of a rule of its own; a larger `n` only adds tasks.

    kind:        None: label mappings for a model that was trained on them, else recall
    vocabulary:  the token ids to draw from
    k:           demonstrations of each class; of recall, 2 k pairs
    queries:     of each class, or as many as it has left; of recall, twice as many, or all pairs
    own:         the law that the model's record names

    Raises TaskError where the vocabulary, or a class, is too small.
    """
    if kind == "label-mapping" or (kind is None and own is not None):
        law = own or LabelMapping()
        ids = np.arange(law.d_vocab) if own else _some(vocabulary, law.bos, named_seed(seed, "few-shot vocabulary"))
        if k >= law.n_members:
            raise TaskError(f"k = {k} of {law.n_members} inputs of a class; expected at most {law.n_members - 1}")
        tasks = [_mapping(law, ids, number, k, queries, seed) for number in range(n)]
        settings = {name: value for name, value in asdict(law).items() if name not in ("labels", "n_pairs")}
        return FewShotTasks.of(tasks, "label-mapping", settings | {"k": k, "queries": queries}, seed)
    tasks = [_recall(vocabulary, number, k, queries, seed) for number in range(n)]
    return FewShotTasks.of(tasks, "recall", {"pairs": 2 * k, "queries": min(queries, k) * 2}, seed)


def _mapping(law: LabelMapping, ids: np.ndarray, number: int, k: int, queries: int, seed: int) -> FewShotTask:
    rng = np.random.default_rng(named_seed(seed, "few-shot label-mapping", number))
    classes = rng.permutation(law.n_classes)[: law.n_shown]
    labels = [(int(ids[law.n_inputs + label]),) for label in rng.permutation(law.n_labels)[: law.n_shown]]
    demos, asked = [], []
    for of_class, label in zip(classes, labels, strict=True):
        members = of_class * law.n_members + rng.permutation(law.n_members)
        examples = [Example((int(ids[member]),), label) for member in members]
        demos += examples[:k]
        asked += examples[k : k + queries]
    mixed = tuple(demos[place] for place in rng.permutation(len(demos)))
    name = f"label-mapping {number}"
    return FewShotTask(name, mixed, tuple(asked), tuple(labels), name)


def _recall(vocabulary: Sequence[int], number: int, k: int, queries: int, seed: int) -> FewShotTask:
    tokens = [(int(token),) for token in _some(vocabulary, 4 * k, named_seed(seed, "few-shot recall", number))]
    pairs = tuple(Example(given, told) for given, told in zip(tokens[::2], tokens[1::2], strict=True))
    rng = np.random.default_rng(named_seed(seed, "few-shot recall queries", number))
    asked = tuple(pairs[place] for place in sorted(rng.permutation(2 * k)[: 2 * queries]))
    name = f"recall {number}"
    return FewShotTask(name, pairs, asked, tuple(pair.output for pair in pairs), name, recall=True)


def _some(vocabulary: Sequence[int], size: int, seed: int) -> np.ndarray:
    """So many different tokens at random."""
    if len(vocabulary) < size:
        raise TaskError(f"{len(vocabulary)} tokens to draw from; the tasks need {size} different ones; give a file")
    return np.random.default_rng(seed).permutation(vocabulary)[:size]
