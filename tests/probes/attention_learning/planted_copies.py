"""Copy models with random, planted and trained weights, and checkpoints of them with their numbers or made-up ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mesascope.analyses.training.objectives import objective, unflatten
from mesascope.analyses.training.recipe_kinds import CopyRecipe
from mesascope.analyses.training.training import step as train_one_step
from mesascope.analyses.training.training_run import TrainingRun
from mesascope.models.copy_models import CopyModel, from_copy_transformer
from mesascope.models.own.copy_transformer import CopyConfig, CopyTransformer
from mesascope.models.subject import Source
from mesascope.probes.attention_learning.copy_measures import CopySettings, copy_findings
from mesascope.probes.findings import Findings
from mesascope.probes.measure import Measure, along, missing
from mesascope.probes.probe import Checkpoint

PERMUTATIONS = {"n_words": 20, "n_tokens": 20}
SOME_OF_ALL = {"n_words": 30, "n_tokens": 20}
"""Tasks of which a hundred steps teach small models what they teach large ones of 40 words, in a second."""
NO_TWIN = "no twin was given"
SEQUENCES = 16

# -- models ------------------------------------------------------------------------------------------------------------


def random_copy(
    seed: int = 0, dtype: torch.dtype = torch.float64, n_words: int = 5, n_places: int = 4, **changed: Any
) -> CopyModel:
    """A copy model with random weights of 2 heads, or as changed."""
    config = CopyConfig(n_words, n_places, **({"d_model": 6, "n_heads": 2, "d_head": 3} | changed))
    rng = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(shape, generator=rng, dtype=torch.float64) for name, shape in config.shapes.items()}
    return from_copy_transformer(CopyTransformer(config, {name: w.to(dtype) for name, w in weights.items()}))


def sourced(module: CopyTransformer, tasks: dict[str, int] | None = None, **source: Any) -> CopyModel:
    """A module as a subject, with a record of its tasks where they are given."""
    made = from_copy_transformer(module, source.pop("name", "planted"))
    record = source.pop("record", {} if tasks is None else {"recipe": {"tasks": tasks}})
    return CopyModel(module, replace(made.source, record=record, **source))


def recipe(tasks: dict[str, int], seeds: Sequence[int], steps: Sequence[int], **changed: Any) -> CopyRecipe:
    """One head of width 32, or as the model's settings say."""
    model = {"d_model": 32, "n_heads": 1, "d_head": 32} | changed.pop("model", {})
    return CopyRecipe("trained", "", model, tuple(steps), tasks, tuple(seeds), **changed)


def trained(of: CopyRecipe) -> list[CopyModel]:
    """Every seed at every step, by step."""
    run = TrainingRun.start(of)
    minimised = objective(of, run.weights)
    while len(run.kept) < len(of.checkpoint_steps):
        train_one_step(of, run, minimised)
    record = {"recipe": of.as_dict()}
    found = []
    for step, rows in zip(of.checkpoint_steps, run.kept, strict=True):
        named = unflatten(of.config, rows)
        for i, seed in enumerate(of.seeds):
            module = CopyTransformer(of.config, {name: weight[i] for name, weight in named.items()})
            found.append(sourced(module, name=of.name, seed=seed, step=step, record=record))
    return found


# -- measured ----------------------------------------------------------------------------------------------------------


def measured(subject: CopyModel, twin: CopyModel | str = NO_TWIN, n: int = SEQUENCES, seed: int = 0) -> Findings:
    return copy_findings(subject, CopySettings(n), twin, seed, batch_size=32)


def checkpoint(subject: CopyModel, twin: CopyModel | str = NO_TWIN) -> Checkpoint:
    found = measured(subject, twin)
    recipes = {split: of.as_dict() for split, of in found.recipes.items()}
    return Checkpoint(subject.source, found.measures, found.arrays, recipes)


# -- made up -----------------------------------------------------------------------------------------------------------


def scalar(value: float, width: float = 0.01, **changed: Any) -> Measure:
    ends = np.array(value - width), np.array(value + width)
    settings: dict[str, Any] = {"unit": "share", "replicate": "sequence", "n": 64, "no_nulls": "none exist"}
    return Measure(np.array(value), interval=ends, **(settings | changed))


def agreed(values: dict[str, float | None], width: float = 0.02, **changed: Any) -> Measure:
    """An agreement along pairs: beside a null from 0.04 to 0.06, and missing where it is None."""
    null = {"shuffled": np.array([0.04, 0.06])}
    parts = {
        name: missing("share", "not applicable", "none")
        if value is None
        else scalar(value, width, nulls=null, no_nulls="", **changed)
        for name, value in values.items()
    }
    return along("pair", parts)


def made_up(
    seed: int | None,
    step: int | None,
    ktiw: float = 0.0,
    attention: float = 0.0,
    task: float = 0.0,
    *,
    map_: np.ndarray | None = None,
    push: np.ndarray | None = None,
    agreement: Measure | None = None,
    sha256: str = "same",
    **source: Any,
) -> Checkpoint:
    """A checkpoint with these accuracies; map_ and push are its arrays, all zeros where they are not given."""
    even = np.full((2, 20, 20), 0.05)
    measures = {f"{n}_accuracy": scalar(v) for n, v in {"ktiw": ktiw, "attention": attention, "task": task}.items()}
    if agreement is not None:
        measures["agreement"] = agreement
    arrays = {"attention": even if map_ is None else map_, "push": 0 * even if push is None else push}
    of = Source(**({"name": "made-up", "layout": "mesascope", "seed": seed, "step": step} | source))
    return Checkpoint(of, measures, arrays, {"evaluation": {"sha256": sha256, "seed": 3}})
