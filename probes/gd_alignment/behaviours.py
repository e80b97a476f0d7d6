"""What the model and every candidate answer on the same tasks, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from ...data.batch import Batch
from ..algorithms.named import RIDGE
from ..comparing.behaviour import Behaviour
from ..regression.examined import Comparison
from ..regression.nulls import Untrained, shuffles
from ..regression.reading import Reading
from ..regression.sign import readout_sign
from ..regression.token_search import read_tokens
from .constructed import constructed_gd
from .settings import FittedSettings, Settings
from .setup import Setup

RATE_FACTORS = (0.25, 0.5, 1.0, 2.0)
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def model_behaviours(setup: Setup) -> dict[Batch, Behaviour]:
    """The subject, with the sign of its read-out, on the tuning and the evaluation tasks of every fold."""
    batches = dict.fromkeys(batch for fold in setup.splits.folds for batch in (fold.tuning, fold.evaluation))
    return {batch: setup.subject_behaviour(batch) for batch in batches}


def candidate_behaviours(setup: Setup, settings: Settings, tasks: Batch) -> dict[str, Behaviour]:
    """Constructed models (at the subject's precision, as the authors run theirs) and algorithms (in float64)."""
    constructed = {
        name: setup.behaviour(setup.at_precision(model), tasks)
        for name, model in settings.constructed(setup.shape).items()
    }
    spectrum, found = setup.spectrum(tasks), {}
    for algorithm in setup.algorithms:
        setting = settings.algorithms[algorithm.name].value if algorithm.setting else float("nan")
        found[algorithm.name] = Behaviour(
            algorithm.predictions(spectrum, setting), algorithm.weights(spectrum, setting)
        )
    return constructed | found


def evaluation_comparison(setup: Setup, settings: FittedSettings, model: Mapping[Batch, Behaviour]) -> Comparison:
    """All evaluation tasks, in their order; a fold's are answered with what was fitted on its tuning tasks."""
    folds = [fold.evaluation for fold in setup.splits.folds]
    candidates = [
        candidate_behaviours(setup, fitted, tasks) for fitted, tasks in zip(settings.folds, folds, strict=True)
    ]
    return Comparison(
        _concatenate([model[tasks] for tasks in folds]),
        {name: _concatenate([fold[name] for fold in candidates]) for name in candidates[0]},
        setup.splits.evaluation.targets,
        setup.reading,
        setup.sign,
    )


def _concatenate(folds: Sequence[Behaviour]) -> Behaviour:
    prediction = torch.cat([f.prediction for f in folds])
    return Behaviour(prediction, torch.cat([f.sensitivity for f in folds]), folds[0].missing)


def null_comparisons(setup: Setup, settings: Settings, untrained: Iterable[Untrained]) -> dict[str, list[Comparison]]:
    """By null, models without the mechanism beside the candidates, one comparison a draw.

    Untrained: only where the architecture is known. Shuffled labels: the model alone sees them.
    """
    tasks = setup.splits.nulls
    candidates = candidate_behaviours(setup, settings, tasks)

    def beside(model: Behaviour, reading: Reading, sign: int) -> Comparison:
        return Comparison(model, candidates, tasks.targets, reading, sign)

    def before_training(model: Untrained) -> Comparison:
        return beside(setup.behaviour(model.module, tasks).turned(model.sign), model.reading, model.sign)

    def misled(shuffled: Callable[[Batch], Batch]) -> Comparison:
        reading = read_tokens(setup, setup.subject, setup.reading.layout, shuffled)
        read = setup.subject.read_as(reading.layout)
        sign = readout_sign(setup, read, shuffled, start=setup.sign)
        return beside(setup.subject_behaviour(shuffled(tasks), read, sign), reading, sign)

    drawn = {
        "untrained": [before_training(model) for model in untrained],
        "shuffled labels": [misled(shuffled) for shuffled in shuffles(setup)],
    }
    return {null: comparisons for null, comparisons in drawn.items() if comparisons}


@dataclass(frozen=True)
class NearMisses:
    """Candidates with settings that are wrong on purpose.

    rates:      constructed gradient descent at each of `RATE_FACTORS` times its rate; none where it was not asked for
    penalties:  ridge regression at each of `PENALTIES`
    """

    rates: tuple[Behaviour, ...]
    penalties: tuple[Behaviour, ...]


def near_misses(setup: Setup, settings: Settings) -> NearMisses:
    """Near-misses on the evaluation tasks."""
    tasks, at_wrong_rates = setup.splits.evaluation, ()
    if settings.gd is not None:
        rates = [fit.value for fit in settings.gd]
        wrong = (constructed_gd(setup.shape, [factor * rate for rate in rates]) for factor in RATE_FACTORS)
        at_wrong_rates = tuple(setup.behaviour(setup.at_precision(model), tasks) for model in wrong)
    spectrum = setup.spectrum(tasks)
    ridge = (Behaviour(RIDGE.predictions(spectrum, p), RIDGE.weights(spectrum, p)) for p in PENALTIES)
    return NearMisses(at_wrong_rates, tuple(ridge))
