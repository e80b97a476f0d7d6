"""Measures of behaviour: losses, the paper's comparisons, and how far these tasks tell candidates apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float

from ..comparing.agreement_samples import candidate_matrices, samples_by_candidate
from ..comparing.behaviour import Behaviour, agreement, half_squared_error
from ..comparing.by_candidate import flat_samples, measures_by_candidate
from ..comparing.unexplained import share_measures
from ..measure import Measure
from ..regression.sensitivity import WORDS
from ..statistics.sample_measures import PerTask
from .behaviours import PENALTIES, RATE_FACTORS, Comparison, NearMisses


def behaviour_findings(
    evaluation: Comparison, nulls: Mapping[str, Sequence[Comparison]], wrong: NearMisses, seed: int
) -> tuple[dict[str, Measure], dict[str, Float[np.ndarray, "task *axes"]]]:
    """Measures of behaviour, and the samples behind those that a reader may want task by task."""
    metrics = samples_by_candidate(evaluation, nulls, WORDS)
    others = candidate_matrices(evaluation, WORDS.units["prediction_difference"]) | _near_misses(evaluation, wrong)
    measures = measures_by_candidate(metrics, seed, others)
    measures["unexplained_share"] = share_measures(evaluation, nulls, seed)
    arrays = {name: held.samples for name, held in flat_samples(metrics).items()}
    arrays["prediction_model"] = evaluation.model.prediction.numpy()
    arrays |= {f"prediction_{name}": other.prediction.numpy() for name, other in evaluation.candidates.items()}
    return measures, arrays


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
            WORDS.units[metric],
            (axis,),
            {axis: labels},
            no_nulls="the nulls are compared with the fitted setting",
            message=evaluation.model.missing if metric == "cosine" else "",
            absent="not applicable" if evaluation.model.missing else "undefined",
        )
        for metric, values in columns.items()
    }
