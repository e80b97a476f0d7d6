"""All that is measured of a model on tasks: behaviour, shifts, weights and the candidates' settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float

from ...models.softmax_regressors import LayerSoftmaxRegressor
from ..comparing.agreement_samples import Words, candidate_matrices, samples_by_candidate
from ..comparing.behaviour import Compared, half_squared_error
from ..comparing.by_candidate import flat_samples, measures_by_candidate
from ..comparing.unexplained import share_measures
from ..findings import Findings
from ..measure import Measure, missing, without_interval
from ..probe import Progress
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from .exact import settled, solved
from .names import GD, LOSS
from .nulls import null_comparisons, untrained_layers
from .setting_measures import setting_measures
from .setup import Setup
from .shift_measures import shift_measures
from .weight_measures import weight_measures

WORDS = Words(
    units={
        "loss": LOSS,
        "loss_difference": LOSS,
        "cosine": "cosine",
        "norm_ratio": "ratio",
        "model_difference": "probability / input",
        "prediction_difference": "probability",
    },
    insensitive="does not look at A: its sensitivity is zero",
)


def task_findings(setup: Setup, progress: Progress) -> Findings:
    """Of one subject on softmax-regression tasks."""
    progress("fitting candidates", 0.05)
    fitted = setup.fitted()
    untrained = untrained_layers(setup)
    progress("behaviour", 0.3)
    evaluation = setup.evaluation(fitted)
    measures, arrays = _behaviour(setup, evaluation, null_comparisons(setup, fitted[0], untrained))
    progress("shifts", 0.7)
    shifts, of_shifts = shift_measures(setup, fitted, untrained, evaluation.candidates)
    progress("weights", 0.85)
    weights, of_weights = weight_measures(setup, untrained, fitted[0].settings.rates[GD.name].value)
    settings = setting_measures(fitted) | {"output_scale": _output_scale(setup)}
    progress("done", 1.0)
    return Findings(measures | shifts | weights | settings, arrays | of_shifts | of_weights, setup.splits.recipes())


def _behaviour(
    setup: Setup, evaluation: Compared, nulls: Mapping[str, Sequence[Compared]]
) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
    metrics = samples_by_candidate(evaluation, nulls, WORDS)
    unit = WORDS.units["prediction_difference"]
    measures = measures_by_candidate(metrics, setup.seed, candidate_matrices(evaluation, unit))
    measures["unexplained_share"] = share_measures(evaluation, nulls, setup.seed)
    measures["loss_over_gd"] = loss_over(GD.name, evaluation, nulls, setup.seed)
    measures["exact_settled"] = _settled(setup)
    return measures, {name: held.samples for name, held in flat_samples(metrics).items()}


def loss_over(name: str, evaluation: Compared, nulls: Mapping[str, Sequence[Compared]], seed: int) -> Measure:
    """The model's mean loss over a candidate's on the same tasks."""
    losses = _both_losses(name, evaluation)
    resampled = bootstrap_means(losses, seed)
    return Measure(
        np.array(_ratio(losses.mean(axis=0))),
        "ratio",
        percentile_interval(_ratio(resampled)),
        replicate="task",
        n=len(losses),
        nulls={
            null: np.array([_ratio(_both_losses(name, one).mean(axis=0)) for one in drawn])
            for null, drawn in nulls.items()
        },
        higher_is_better=False,
        message="one task has no interval" if len(losses) == 1 else "",
    )


def _both_losses(name: str, compared: Compared) -> Float[np.ndarray, "task two"]:
    predictions = (compared.model.prediction, compared.candidates[name].prediction)
    return np.stack([half_squared_error(one, compared.targets).numpy() for one in predictions], axis=1)


def _ratio(losses: Float[np.ndarray, "*resample two"]) -> Float[np.ndarray, "*resample"]:
    return np.asarray(losses[..., 0] / losses[..., 1])


def _settled(setup: Setup) -> Measure:
    """How often the search for the exact solution ended where the gradient has vanished."""
    folds = [fold.evaluation for fold in setup.splits.folds]
    found = torch.cat([settled(tasks.inputs, tasks.targets, solved(tasks)) for tasks in folds])
    share = float(found.double().mean())
    words = "at the other tasks the exact solution is where its search stopped"
    return without_interval(
        np.array(share), "share of tasks", message=words if share < 1 else "", no_nulls="no mechanism", n=len(found)
    )


def _output_scale(setup: Setup) -> Measure:
    if not isinstance(setup.subject, LayerSoftmaxRegressor):
        return missing("factor", "not applicable", "a wrapped predictor shows no output scale")
    scale = setup.subject.config.output_scale
    return without_interval(np.array(scale), "factor", message="a setting of the layer", no_nulls="a setting")
