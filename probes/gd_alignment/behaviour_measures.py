"""Measures of behaviour: losses, the paper's comparisons, and the margins between rivals."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from ...models.subject import Regressor
from ..measure import Measure, missing
from ..statistics.sample_measures import PerTask, task_measures
from .comparison import Comparison, spectrum
from .constructed import TwinShape, gd_twin
from .nulls import null_samples
from .rivals import ridge_filter, rivals
from .sensitivity import LOSS, Behaviour, agreement, behaviour, cosine, half_squared_error, prediction_difference
from .splits import Splits

UNITS = {
    "cosine": "cosine",
    "norm_ratio": "ratio",
    "model_difference": "label / input",
    "prediction_difference": "label",
}
HIGHER_IS_BETTER = {"cosine": True, "norm_ratio": None, "model_difference": False, "prediction_difference": False}
RATE_FACTORS = (0.25, 0.5, 1.0, 2.0)
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
NO_MODEL = "the model has no part in this number"
ZERO_SENSITIVITY = "this rival does not depend on the query's input: its sensitivity is zero"


def behaviour_metrics(comparison: Comparison, nulls: dict[str, dict[str, np.ndarray]]) -> dict[str, PerTask]:
    """Losses, paired loss differences and the four comparisons with every twin and rival, task by task."""

    def null(name: str) -> dict[str, np.ndarray]:
        return {kind: samples[name] for kind, samples in nulls.items() if name in samples}

    loss = half_squared_error(comparison.model.prediction, comparison.targets)
    metrics = {"loss_model": PerTask(loss.numpy(), LOSS, nulls=null("loss_model"), higher_is_better=False)}
    for name, other in comparison.others.items():
        other_loss = half_squared_error(other.prediction, comparison.targets)
        metrics[f"loss_{name}"] = PerTask(other_loss.numpy(), LOSS, no_nulls=NO_MODEL, higher_is_better=False)
        metrics[f"loss_difference_{name}"] = PerTask(
            (loss - other_loss).numpy(), LOSS, nulls=null(f"loss_difference_{name}"), higher_is_better=False
        )
        constant = not bool(other.sensitivity.any())
        for key, samples in agreement(comparison.model, other).items():
            metrics[f"{key}_{name}"] = PerTask(
                samples.numpy(),
                UNITS[key],
                nulls=null(f"{key}_{name}"),
                higher_is_better=HIGHER_IS_BETTER[key],
                message=ZERO_SENSITIVITY if constant and key in {"cosine", "norm_ratio"} else "",
            )
    return metrics


def matrix_metrics(comparison: Comparison) -> dict[str, PerTask]:
    """Rival against rival: which of them these tasks can tell apart, and by how much one is closer to the model."""
    names = tuple(comparison.others)
    axes, coords = ("rival", "rival_2"), {"rival": names, "rival_2": names}
    behaviours = list(comparison.others.values())
    cosines = [[cosine(a.sensitivity, b.sensitivity) for b in behaviours] for a in behaviours]
    gaps = torch.stack([prediction_difference(comparison.model.prediction, b.prediction) for b in behaviours], dim=1)
    return {
        "rival_cosines": PerTask(
            torch.stack([torch.stack(row, dim=1) for row in cosines], dim=1).numpy(),
            "cosine",
            axes,
            coords,
            no_nulls=NO_MODEL,
        ),
        "closeness_margins": PerTask(
            (gaps[:, None, :] - gaps[:, :, None]).numpy(),
            "label",
            axes,
            coords,
            no_nulls="a margin of zero is its own null",
            message="how much closer to the model's predictions the rival is than rival_2",
        ),
    }


def rate_metrics(
    subject: Regressor, shape: TwinShape, comparison: Comparison, splits: Splits, batch_size: int
) -> dict[str, PerTask]:
    """Near-misses on purpose: twins at the wrong rate, and ridge at penalties that were not fitted."""
    found: dict[str, PerTask] = {}
    coords = {"rate_factor": RATE_FACTORS}
    if "learning_rate_gd" in comparison.settings:
        inputs = splits.evaluation.inputs.to(subject.device, subject.dtype)
        rate = comparison.settings["learning_rate_gd"][0].value
        twins = [gd_twin(shape, rate * factor).to(inputs) for factor in RATE_FACTORS]
        found |= _along(
            comparison,
            [behaviour(t, inputs, subject.d_in, batch_size) for t in twins],
            "rate_factor",
            coords,
            "gd_rate",
        )
    tasks = spectrum(splits.evaluation, subject.d_in)
    ridge = next(rival for rival in rivals(1) if rival.g is ridge_filter)
    coords = {"penalty": PENALTIES}
    found |= _along(comparison, [ridge.behaviour(tasks, p) for p in PENALTIES], "penalty", coords, "ridge_penalty")
    return found


def _along(
    comparison: Comparison, others: list[Behaviour], axis: str, coords: dict[str, tuple[float, ...]], suffix: str
) -> dict[str, PerTask]:
    """Cosine, prediction difference and loss against others that differ in one setting."""
    compared = [agreement(comparison.model, other) for other in others]
    losses = [half_squared_error(other.prediction, comparison.targets) for other in others]
    columns = {key: [c[key] for c in compared] for key in ("cosine", "prediction_difference")} | {"loss": losses}
    reason = "the nulls stand at the fitted setting"
    return {
        f"{key}_by_{suffix}": PerTask(
            torch.stack(values, dim=1).numpy(), UNITS.get(key, LOSS), (axis,), coords, no_nulls=reason
        )
        for key, values in columns.items()
    }


def behaviour_findings(
    subject: Regressor,
    shape: TwinShape,
    comparison: Comparison,
    null_behaviours: dict[str, Behaviour],
    splits: Splits,
    seed: int,
    batch_size: int,
) -> tuple[dict[str, Measure], dict[str, Float[np.ndarray, "task *axes"]]]:
    """Measures of behaviour, and the samples behind those that a reader may want task by task."""
    nulls = null_samples(subject, null_behaviours, splits.nulls, seed, batch_size)
    metrics = behaviour_metrics(comparison, nulls)
    matrices = matrix_metrics(comparison) | rate_metrics(subject, shape, comparison, splits, batch_size)
    measures = task_measures(metrics | matrices, seed)
    arrays = {name: metric.samples for name, metric in metrics.items()}
    arrays["prediction_model"] = comparison.model.prediction.numpy()
    arrays |= {f"prediction_{name}": other.prediction.numpy() for name, other in comparison.others.items()}
    return measures, arrays


def setting_measures(comparison: Comparison, layers: bool) -> dict[str, Measure]:
    """Fitted learning rates, gammas and penalties, with the interval they would move in on other tuning tasks."""
    measures = {}
    for name, fits in comparison.settings.items():
        by_layer = name.startswith("learned_")
        values, low, high = (np.array([getattr(fit, end) for fit in fits]) for end in ("value", "low", "high"))
        if not by_layer:
            values, low, high = (ends.reshape(()) for ends in (values, low, high))
        was_given = fits[0].n == 0
        unit = "penalty" if "penalty" in name else "learning rate" if "rate" in name else "1 / squared input"
        if np.isnan(values).any():
            measures[name] = missing(unit, "undefined", "no setting is closest: the model's predictions are not finite")
            continue
        measures[name] = Measure(
            values,
            unit,
            (low, high),
            replicate="none" if was_given else "task",
            n=fits[0].n,
            axes=("layer",) if by_layer else (),
            no_nulls="a setting of a twin or rival, not a property of the model",
            message="given, not fitted" if was_given else "",
        )
    if not layers:
        reason = "with one layer GD++ is plain gradient descent: its gamma reaches no prediction"
        for name, unit in (("learned_learning_rate", "learning rate"), ("learned_gamma", "1 / squared input")):
            measures.setdefault(name, missing(unit, "not applicable", reason))
    return measures
