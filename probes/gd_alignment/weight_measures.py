"""Measures of weights: distance to the constructed weights, the loss along the way, and the controls of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ...data.batch import Batch, generator
from ...models.own.regression_transformer import RegressionTransformer
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable, Regressor
from ..measure import Measure, Status, missing
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from ..statistics.sample_measures import PerTask, task_measures
from .constructed import TwinShape
from .nulls import untrained_models
from .sensitivity import LOSS, half_squared_error, predictions
from .weights import (
    PATH,
    WeightProducts,
    align,
    barrier,
    live_entries,
    matched_blocks,
    of_module,
    path,
    products,
    rates_in_weights,
    relative_distance,
    rotated,
    tensor_distance,
)

DISTANCE = "relative Frobenius distance"
WRONG_RATE = 0.5
NO_INTERVAL = "a function of the weights alone: nothing was resampled"
CONTROLS_BESIDE = "its controls stand beside it: unaligned, wrong_rate, rotated"


def weight_findings(
    subject: Regressor,
    shape: TwinShape,
    twins: Mapping[str, RegressionTransformer],
    tasks: Batch,
    seed: int,
    batch_size: int,
) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
    """Everything that sets trained beside constructed weights; measures say why where it does not apply."""
    trained = products(subject)
    if isinstance(trained, NotApplicable):
        return _not_applicable(twins, trained.reason), {}
    assert isinstance(subject, TransformerRegressor)  # nothing else has products
    if shape.n_layers != subject.config.n_layers:
        reason = f"the twins take {shape.n_layers} steps, but the model has {subject.config.n_layers} layers"
        return _not_applicable(twins, reason), {}
    arrays = {"KQ": trained.KQ.numpy(), "PV": trained.PV.numpy()}
    measures: dict[str, Measure] = {}
    aligned = align(trained)
    if not isinstance(aligned, NotApplicable):
        arrays |= {"KQ_aligned": aligned.KQ.numpy(), "PV_aligned": aligned.PV.numpy()}
        if aligned.single_head:
            rates = rates_in_weights(aligned, shape.n_context)
            units = {"weights_learning_rate": "learning rate", "weights_gamma": "1 / squared input"}
            measures |= {name: _of_weights(value, units[name], ("layer",)) for name, value in rates.items()}
    for name, twin in twins.items():
        constructed = matched_blocks(of_module(twin), trained.config)
        arrays |= {f"KQ_{name}": constructed.KQ.numpy(), f"PV_{name}": constructed.PV.numpy()}
        measures |= _distances(name, subject, trained, aligned, constructed, tasks, seed)
        measures |= _paths(name, subject, trained, aligned, constructed, tasks, seed, batch_size)
    interpolation_twin = "gdpp" if "gdpp" in twins and shape.n_layers > 1 else "gd"
    measures["loss_interpolated"] = _midpoint(measures.get(f"loss_path_{interpolation_twin}"), interpolation_twin)
    return measures, arrays


def _not_applicable(twins: Mapping[str, RegressionTransformer], reason: str) -> dict[str, Measure]:
    measures = {"loss_interpolated": missing(LOSS, "not applicable", reason)}
    for name in twins:
        measures |= {f"{metric}_{name}": missing(LOSS, "not applicable", reason) for metric in ("barrier", "loss_path")}
        measures[f"weight_distance_{name}"] = missing(DISTANCE, "not applicable", reason)
    return measures


def _of_weights(
    values: Float[np.ndarray, "*axes"] | float,
    unit: str,
    axes: tuple[str, ...] = (),
    nulls: Mapping[str, np.ndarray] | None = None,
    higher_is_better: bool | None = None,
) -> Measure:
    nan = np.full(np.shape(values), np.nan)
    return Measure(
        np.asarray(values),
        unit,
        (nan, nan),
        replicate="none",
        n=1,
        axes=axes,
        nulls=nulls or {},
        no_nulls=CONTROLS_BESIDE,
        higher_is_better=higher_is_better,
        message=NO_INTERVAL,
    )


def _wrong_rate(constructed: WeightProducts) -> WeightProducts:
    return replace(constructed, PV=constructed.PV * WRONG_RATE)


def _distances(
    name: str,
    subject: TransformerRegressor,
    trained: WeightProducts,
    aligned: WeightProducts | NotApplicable,
    constructed: WeightProducts,
    tasks: Batch,
    seed: int,
) -> dict[str, Measure]:
    """Distances of the summed tensor (free of the gauge), and of aligned KQ and PV, live and dead entries apart."""
    live = live_entries(trained.config, query_label_set=bool(tasks.inputs[:, -1, subject.d_in :].any()))
    untrained = [tensor_distance(of_module(m), constructed, live) for m in untrained_models(subject, seed)]
    turned = rotated(trained, generator(seed, "rotation"))
    measures = {
        f"weight_distance_{name}": _of_weights(
            tensor_distance(trained, constructed, live),
            DISTANCE,
            nulls={"untrained": np.array(untrained)},
            higher_is_better=False,
        ),
        f"weight_distance_{name}_wrong_rate": _of_weights(
            tensor_distance(trained, _wrong_rate(constructed), live), DISTANCE
        ),
        f"weight_distance_{name}_rotated": _of_weights(tensor_distance(turned, constructed, live), DISTANCE),
    }
    if isinstance(aligned, NotApplicable):
        reason = aligned.reason
    elif not aligned.single_head:
        reason = "several heads: only the summed tensor has a distance"
    else:
        for product in ("KQ", "PV"):
            ours, theirs, mask = (getattr(w, product) for w in (aligned, constructed, live))
            for kind, chosen in (("", mask), ("_dead", ~mask)):
                distance = relative_distance(ours, theirs, chosen)
                measures[f"weight_distance_{product.lower()}{kind}_{name}"] = _of_weights(
                    distance, DISTANCE, ("layer",), higher_is_better=None if kind else False
                )
        return measures
    status: Status = "undefined" if trained.single_head else "not applicable"
    names = (f"weight_distance_{product}{kind}_{name}" for product in ("kq", "pv") for kind in ("", "_dead"))
    return measures | {metric: missing(DISTANCE, status, reason) for metric in names}


def path_losses(
    start: WeightProducts, end: WeightProducts, subject: TransformerRegressor, tasks: Batch, batch_size: int
) -> Float[np.ndarray, "task t"]:
    """Loss at the 21 positions between two sets of products, task by task, on the same tasks."""
    inputs = tasks.inputs.to(subject.device, subject.dtype)
    models = (model.to(subject.device) for model in path(start, end, subject.dtype))
    losses = [half_squared_error(predictions(m, inputs, batch_size), tasks.targets).numpy() for m in models]
    return np.stack(losses, axis=1)


def path_measures(name: str, losses: Float[np.ndarray, "task t"], seed: int, no_nulls: str) -> dict[str, Measure]:
    """`loss_path_<name>` and `barrier_<name>` from one path; the barrier's interval resamples tasks, not points."""
    curve = PerTask(losses, LOSS, ("t",), {"t": PATH}, no_nulls=no_nulls)
    measures = task_measures({f"loss_path_{name}": curve}, seed)
    estimate = barrier(losses.mean(axis=0))
    if not np.isfinite(estimate):
        return measures | {f"barrier_{name}": missing(LOSS, "undefined", "the loss along the path is not finite")}
    interval = percentile_interval(barrier(bootstrap_means(losses, seed)))
    measures[f"barrier_{name}"] = Measure(
        estimate, LOSS, interval, replicate="task", n=len(losses), no_nulls=no_nulls, higher_is_better=False
    )
    return measures


def _paths(
    name: str,
    subject: TransformerRegressor,
    trained: WeightProducts,
    aligned: WeightProducts | NotApplicable,
    constructed: WeightProducts,
    tasks: Batch,
    seed: int,
    batch_size: int,
) -> dict[str, Measure]:
    controls = {"unaligned": (trained, constructed)}
    if isinstance(aligned, NotApplicable):
        absent = missing(LOSS, "undefined", aligned.reason)
        measures = {f"{metric}_{name}": absent for metric in ("loss_path", "barrier")}
    else:
        losses = path_losses(aligned, constructed, subject, tasks, batch_size)
        measures = path_measures(name, losses, seed, CONTROLS_BESIDE)
        controls["wrong_rate"] = (aligned, _wrong_rate(constructed))
        controls["rotated"] = (rotated(aligned, generator(seed, "rotation")), constructed)
    for control, (start, end) in controls.items():
        losses = path_losses(start, end, subject, tasks, batch_size)
        measures |= path_measures(f"{name}_{control}", losses, seed, f"a control of loss_path_{name}")
    return measures


def _midpoint(path_measure: Measure | None, twin: str) -> Measure:
    """The paper's interpolated model: the path at t = 1/2."""
    if path_measure is None or path_measure.status != "ok":
        reason = path_measure.message if path_measure else "no twin to interpolate to was asked for"
        return missing(LOSS, path_measure.status if path_measure else "not applicable", reason)
    middle = PATH.index(0.5)
    middle_of = (np.asarray(curve[middle]) for curve in (path_measure.values, *path_measure.interval))
    value, low, high = middle_of
    return replace(
        path_measure,
        values=value,
        interval=(low, high),
        axes=(),
        coords={},
        higher_is_better=False,
        message=f"half way to {'GD++' if twin == 'gdpp' else 'GD'}",
    )
