"""What the model and every family, each at its best, answer on tasks that nothing was fitted on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from ...data.batch import Batch
from ..algorithms.contexts import Contexts
from ..algorithms.families import Family, Fitted, Predictions
from ..comparing.behaviour import Behaviour, Compared
from ..comparing.memo import once_per_batch
from ..regression.examined import Comparison, Examined
from ..regression.nulls import shuffles, untrained_models
from ..regression.reading import Reading
from ..regression.sign import readout_sign
from ..regression.token_search import read_tokens
from .names import FEW_NULL_TASKS, NULL_TASKS
from .search import Entry, enter

UNTRAINED = 10
SHUFFLES = 5
"""Null models: fewer than other probes draw, because every family is fitted to each of them again."""


@dataclass(frozen=True)
class Contest:
    """evaluation: the model beside every family, by name; nulls: models without the mechanism, likewise, each beside
    families that were fitted to it.
    """

    entries: Mapping[str, Entry]
    evaluation: Compared
    nulls: Mapping[str, Sequence[Comparison]]


def hold(examined: Examined, families: Sequence[Family], progress: Callable[[float], None]) -> Contest:
    """Fit every family to the model, and compare."""
    folds = examined.splits.folds
    shown = [(_contexts(fold.tuning, examined.subject.d_in), _predictions(examined, fold.tuning)) for fold in folds]
    entries: dict[str, Entry] = {}
    for number, family in enumerate(families):
        entries[family.name] = enter(family, shown)
        progress((number + 1) / len(families))
    parts = [
        {name: answers(entry.family, tasks, entry.fits[number]) for name, entry in entries.items()}
        for number, tasks in enumerate(_contexts(fold.evaluation, examined.subject.d_in) for fold in folds)
    ]
    model = [examined.subject_behaviour(fold.evaluation) for fold in folds]
    candidates = {name: _concatenated([part[name] for part in parts]) for name in entries}
    return Contest(
        entries,
        Compared(_concatenated(model), candidates, examined.splits.evaluation.targets),
        _nulls(examined, entries),
    )


def answers(family: Family, contexts: Contexts, fitted: Fitted) -> Behaviour:
    """Predictions and sensitivities of a member of a family."""
    return Behaviour(family.predict(contexts, fitted).detach(), family.weights(contexts, fitted).detach())


def _predictions(examined: Examined, tasks: Batch) -> Predictions:
    return examined.subject_behaviour(tasks).prediction


def _concatenated(folds: Sequence[Behaviour]) -> Behaviour:
    if len(folds) == 1:
        return folds[0]
    prediction = torch.cat([fold.prediction for fold in folds])
    return Behaviour(prediction, torch.cat([fold.sensitivity for fold in folds]), folds[0].missing)


@once_per_batch
def _contexts(tasks: Batch, d_in: int) -> Contexts:
    return Contexts.of(tasks.inputs, d_in)


def _nulls(examined: Examined, entries: Mapping[str, Entry]) -> dict[str, list[Comparison]]:
    """Untrained models, where the architecture is known, and the model on shuffled labels, which it alone sees."""
    tasks = examined.splits.nulls[: 2 * NULL_TASKS]

    def beside(model: Behaviour, reading: Reading, sign: int) -> Comparison:
        return _refitted(model, tasks, examined.subject.d_in, entries, reading, sign)

    untrained = untrained_models(examined, UNTRAINED)
    drawn = {
        "untrained": [
            beside(examined.behaviour(one.module, tasks).turned(one.sign), one.reading, one.sign) for one in untrained
        ],
        "shuffled labels": [beside(*misled) for misled in _misled(examined, tasks)],
    }
    return {null: found for null, found in drawn.items() if found}


def _misled(examined: Examined, tasks: Batch) -> Iterable[tuple[Behaviour, Reading, int]]:
    """What the model answers on shuffled labels, and how it is then read."""
    for shuffled in shuffles(examined, SHUFFLES):
        reading = read_tokens(examined, examined.subject, examined.reading.layout, shuffled)
        read = examined.subject.read_as(reading.layout)
        sign = readout_sign(examined, read, shuffled, start=examined.sign)
        yield examined.subject_behaviour(shuffled(tasks), read, sign), reading, sign


def _refitted(
    model: Behaviour, tasks: Batch, d_in: int, entries: Mapping[str, Entry], reading: Reading, sign: int
) -> Comparison:
    """A null model beside families that were fitted to its own predictions, at the numbers of steps of the contest."""
    contexts = _contexts(tasks, d_in)
    half = len(contexts.inputs) // 2
    tuning, judged = contexts.first(half), Contexts(contexts.inputs[half:], d_in)
    candidates = {}
    for name, entry in entries.items():
        n = FEW_NULL_TASKS if entry.family.free > 1 else half
        fitted = entry.family.fit(tuning.first(n), model.prediction[:half][:n], entry.steps[0])
        candidates[name] = answers(entry.family, judged, fitted)
    behaviour = Behaviour(model.prediction[half:], model.sensitivity[half:], model.missing)
    return Comparison(behaviour, candidates, tasks.targets[half:], reading, sign)
