"""Measures of behaviour: losses, the paper's comparisons, and how far these tasks tell candidates apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..measure import Measure
from ..statistics.sample_measures import PerTask
from .behaviours import PENALTIES, RATE_FACTORS, Comparison, NearMisses
from .by_candidate import flat_samples, measures_by_candidate
from .names import CANDIDATE, MODEL
from .sensitivity import LOSS, Behaviour, agreement, cosines, half_squared_error, prediction_difference
from .unexplained import share_measures

UNITS = {
    "loss": LOSS,
    "loss_difference": LOSS,
    "cosine": "cosine",
    "norm_ratio": "ratio",
    "model_difference": "label / input",
    "prediction_difference": "label",
}
HIGHER_IS_BETTER = {
    "loss": False,
    "loss_difference": False,
    "cosine": True,
    "norm_ratio": None,
    "model_difference": False,
    "prediction_difference": False,
}
OTHER_CANDIDATE = "other_candidate"
NO_MODEL = "this number does not depend on the model"
ZERO_SENSITIVITY = "this candidate does not look at the query: its sensitivity is zero"
MODEL_INSENSITIVE = "the model does not look at the query: its sensitivity is zero"

Metrics = dict[str, dict[str, Float[Tensor, " task"]]]
"""By metric and candidate."""


def behaviour_findings(
    evaluation: Comparison, nulls: Mapping[str, Sequence[Comparison]], wrong: NearMisses, seed: int
) -> tuple[dict[str, Measure], dict[str, Float[np.ndarray, "task *axes"]]]:
    """Measures of behaviour, and the samples behind those that a reader may want task by task."""
    metrics = _samples(evaluation, nulls)
    measures = measures_by_candidate(metrics, seed, others=_matrices(evaluation) | _near_misses(evaluation, wrong))
    measures["unexplained_share"] = share_measures(evaluation, nulls, seed)
    arrays = {name: held.samples for name, held in flat_samples(metrics).items()}
    arrays["prediction_model"] = evaluation.model.prediction.numpy()
    arrays |= {f"prediction_{name}": other.prediction.numpy() for name, other in evaluation.candidates.items()}
    return measures, arrays


def _samples(evaluation: Comparison, nulls: Mapping[str, Sequence[Comparison]]) -> dict[str, dict[str, PerTask]]:
    """Every metric of every candidate, task by task, beside its means under each null."""
    drawn = {null: [_metrics(comparison) for comparison in comparisons] for null, comparisons in nulls.items()}
    found: dict[str, dict[str, PerTask]] = {}
    for metric, parts in _metrics(evaluation).items():
        found[metric] = {}
        for name, samples in parts.items():
            of_model = metric != "loss" or name == MODEL
            message = _message(metric, evaluation.model, evaluation.candidates.get(name))
            null = {
                null: np.array([float(draw[metric][name].mean()) for draw in draws]) for null, draws in drawn.items()
            }
            found[metric][name] = PerTask(
                np.full(len(samples), np.nan) if message and metric == "cosine" else samples.numpy(),
                UNITS[metric],
                nulls=null if of_model else {},
                no_nulls="" if of_model else NO_MODEL,
                higher_is_better=HIGHER_IS_BETTER[metric],
                message=message,
                absent="not applicable" if evaluation.model.missing else "undefined",
            )
    return found


def _metrics(comparison: Comparison) -> Metrics:
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


def _message(metric: str, model: Behaviour, candidate: Behaviour | None) -> str:
    """Why a comparison of directions or lengths has no number."""
    if candidate is None or metric not in ("cosine", "norm_ratio", "model_difference"):
        return ""
    if model.missing or metric == "model_difference":
        return model.missing
    if not candidate.sensitivity.any():
        return ZERO_SENSITIVITY
    return MODEL_INSENSITIVE if metric == "cosine" and not model.sensitivity.any() else ""


def _matrices(comparison: Comparison) -> dict[str, PerTask]:
    """Candidate against candidate: what these tasks can tell apart, and how much closer one is to the model."""
    names = tuple(comparison.candidates)
    axes, coords = (CANDIDATE, OTHER_CANDIDATE), {CANDIDATE: names, OTHER_CANDIDATE: names}
    behaviours = list(comparison.candidates.values())
    between = [torch.stack([cosines(a, b) for b in behaviours], dim=1) for a in behaviours]
    gaps = torch.stack([prediction_difference(comparison.model.prediction, b.prediction) for b in behaviours], dim=1)
    return {
        "candidate_cosines": PerTask(torch.stack(between, dim=1).numpy(), "cosine", axes, coords, no_nulls=NO_MODEL),
        "closeness_margins": PerTask(
            (gaps[:, None, :] - gaps[:, :, None]).numpy(),
            "label",
            axes,
            coords,
            no_nulls="without a difference between two candidates this margin is 0",
            message="how much closer to the model's predictions the candidate is than the other one",
        ),
    }


def _near_misses(evaluation: Comparison, wrong: NearMisses) -> dict[str, PerTask]:
    """Comparisons with candidates whose setting is wrong on purpose."""
    ridge = _along(evaluation, wrong.penalties, "penalty", PENALTIES)
    rates = _along(evaluation, wrong.rates, "rate_factor", RATE_FACTORS) if wrong.rates else {}
    found = {f"{metric}_by_gd_rate": held for metric, held in rates.items()}
    return found | {f"{metric}_by_ridge_penalty": held for metric, held in ridge.items()}


def _along(
    evaluation: Comparison, others: Sequence[Behaviour], axis: str, labels: tuple[float, ...]
) -> dict[str, PerTask]:
    """Cosine, prediction difference and loss against others that differ in one setting."""
    compared = [agreement(evaluation.model, other) for other in others]
    columns = {metric: [values[metric] for values in compared] for metric in ("cosine", "prediction_difference")}
    columns["loss"] = [half_squared_error(other.prediction, evaluation.targets) for other in others]
    return {
        metric: PerTask(
            torch.stack(values, dim=1).numpy(),
            UNITS[metric],
            (axis,),
            {axis: labels},
            no_nulls="the nulls are compared with the fitted setting",
            message=evaluation.model.missing if metric == "cosine" else "",
            absent="not applicable" if evaluation.model.missing else "undefined",
        )
        for metric, values in columns.items()
    }
