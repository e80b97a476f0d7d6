"""What several checkpoints show together: which seeds learn, what comes first, and where attention is pushed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..measure import Measure, missing
from ..probe import Checkpoint, OverTraining
from .names import ATTENTION, ATTENTION_ARRAY, INPUTS, map_name
from .over_words import badge_of, limits_of, sentences_of
from .push_measures import push_measures
from .run_measures import crossing_measures, outcome_measures, similarity_measures
from .training_runs import Run, runs_of

_UNKNOWN = "which token a head should attend to is not known of a language model: no accuracy of that passes one half"
_NOTHING_CROSSES = {
    name: missing(unit, "not applicable", _UNKNOWN)
    for name, unit in {"first_crossing": "training step", "ktiw_lead": "training steps"}.items()
}
MAPPED_RUNS, MAPPED_STEPS = 3, 12
"""Runs and steps whose mean attention is kept, at most."""


def over_checkpoints(checkpoints: Sequence[Checkpoint], learned: float) -> OverTraining:
    """Measures, sentences and mean attention of the runs among them."""
    runs = runs_of(checkpoints)
    measures = push_measures(runs, int(checkpoints[0].recipes.get(INPUTS, {}).get("seed") or 0))
    several_steps = any(len(run.steps) > 1 for run in runs)
    if not all(_copies(checkpoint) for checkpoint in checkpoints):
        measures |= _NOTHING_CROSSES if several_steps else {}
        return OverTraining(measures, " ".join(sentences_of(runs, measures)))
    if several_steps:
        measures |= crossing_measures(runs)
    if len(runs) > 1:
        measures |= {**outcome_measures(runs, learned), **similarity_measures(runs)}
    return OverTraining(
        measures,
        sentence=" ".join(sentences_of(runs, measures)),
        badge=badge_of(runs, measures),
        limits=tuple(limits_of(runs, measures)),
        arrays=_maps(runs),
    )


def _copies(checkpoint: Checkpoint) -> bool:
    """Whether it is a copy model: of a language model nobody knows the right place to attend to."""
    accuracy: Measure | None = checkpoint.measures.get(f"{ATTENTION}_accuracy")
    return accuracy is not None and accuracy.status == "ok"


def _maps(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """Mean attention [target, source] of the first runs, at steps from the first to the last."""
    found: dict[str, np.ndarray] = {}
    for run in runs[:MAPPED_RUNS]:
        places = np.unique(np.linspace(0, len(run.steps) - 1, MAPPED_STEPS).round().astype(int))
        for place in places:
            attention = run.checkpoints[place].arrays[ATTENTION_ARRAY]
            found[map_name(run.seed, run.steps[place])] = attention.mean(axis=0)
    return found
