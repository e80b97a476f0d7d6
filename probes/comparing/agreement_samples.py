"""Every comparison of a model with its candidates as samples, one a task, beside its nulls and with its unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..statistics.sample_measures import PerTask
from .behaviour import Behaviour, Compared, agreement, cosines, half_squared_error, prediction_difference
from .by_candidate import CANDIDATE, MODEL, OTHER_CANDIDATE

HIGHER_IS_BETTER = {
    "loss": False,
    "loss_difference": False,
    "cosine": True,
    "norm_ratio": None,
    "model_difference": False,
    "prediction_difference": False,
}
NO_MODEL = "this number does not depend on the model"

Metrics = dict[str, dict[str, Float[Tensor, " task"]]]
"""By metric and candidate."""


@dataclass(frozen=True)
class Words:
    """What a probe calls its numbers.

    units:        by metric
    insensitive:  why a candidate or a model whose sensitivity is zero has no cosine
    """

    units: Mapping[str, str]
    insensitive: str

    def of_candidate(self) -> str:
        return f"this candidate {self.insensitive}"

    def of_model(self) -> str:
        return f"the model {self.insensitive}"


def samples_by_candidate(
    evaluation: Compared, nulls: Mapping[str, Sequence[Compared]], words: Words
) -> dict[str, dict[str, PerTask]]:
    """Every metric of every candidate, task by task, beside its means under each null."""
    drawn = {null: [_metrics(comparison) for comparison in comparisons] for null, comparisons in nulls.items()}
    found: dict[str, dict[str, PerTask]] = {}
    for metric, parts in _metrics(evaluation).items():
        found[metric] = {}
        for name, samples in parts.items():
            of_model = metric != "loss" or name == MODEL
            message = _message(metric, evaluation.model, evaluation.candidates.get(name), words)
            null = {
                null: np.array([float(draw[metric][name].mean()) for draw in draws]) for null, draws in drawn.items()
            }
            found[metric][name] = PerTask(
                np.full(len(samples), np.nan) if message and metric == "cosine" else samples.numpy(),
                words.units[metric],
                nulls=null if of_model else {},
                no_nulls="" if of_model else NO_MODEL,
                higher_is_better=HIGHER_IS_BETTER[metric],
                message=message,
                absent="not applicable" if evaluation.model.missing else "undefined",
            )
    return found


def _metrics(comparison: Compared) -> Metrics:
    """Losses, paired loss differences and the four comparisons of the model with every candidate."""
    losses = {MODEL: half_squared_error(comparison.model.prediction, comparison.targets)}
    losses |= {
        name: half_squared_error(other.prediction, comparison.targets) for name, other in comparison.candidates.items()
    }
    differences = {name: losses[MODEL] - losses[name] for name in comparison.candidates}
    compared = {name: agreement(comparison.model, other) for name, other in comparison.candidates.items()}
    return {"loss": losses, "loss_difference": differences} | {
        metric: {name: values[metric] for name, values in compared.items()}
        for metric in ("cosine", "norm_ratio", "model_difference", "prediction_difference")
    }


def _message(metric: str, model: Behaviour, candidate: Behaviour | None, words: Words) -> str:
    """Why a comparison of directions or lengths has no number."""
    if candidate is None or metric not in ("cosine", "norm_ratio", "model_difference"):
        return ""
    if model.missing or metric == "model_difference":
        return model.missing
    if not candidate.sensitivity.any():
        return words.of_candidate()
    return words.of_model() if metric == "cosine" and not model.sensitivity.any() else ""


def candidate_matrices(comparison: Compared, unit: str) -> dict[str, PerTask]:
    """Candidate against candidate: what these tasks can tell apart, and how much closer one is to the model.

    unit:  of predictions
    """
    names = tuple(comparison.candidates)
    axes, coords = (CANDIDATE, OTHER_CANDIDATE), {CANDIDATE: names, OTHER_CANDIDATE: names}
    behaviours = list(comparison.candidates.values())
    between = [torch.stack([cosines(a, b) for b in behaviours], dim=1) for a in behaviours]
    gaps = torch.stack([prediction_difference(comparison.model.prediction, b.prediction) for b in behaviours], dim=1)
    return {
        "candidate_cosines": PerTask(torch.stack(between, dim=1).numpy(), "cosine", axes, coords, no_nulls=NO_MODEL),
        "closeness_margins": PerTask(
            (gaps[:, None, :] - gaps[:, :, None]).numpy(),
            unit,
            axes,
            coords,
            no_nulls="without a difference between two candidates this margin is 0",
            message="how much closer to the model's predictions the candidate is than the other one",
        ),
    }
