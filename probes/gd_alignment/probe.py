"""Does this model learn in context by gradient descent? (von Oswald et al. 2023, arXiv 2212.07677)

The paper sets a trained transformer beside one constructed to take gradient steps and compares predictions,
sensitivities and interpolated weights. A cosine near 1 and differences near 0 say that the two agree on these tasks.
They do not say that the model performs gradient descent: beside a trained two-layer model plain ridge regression has a
cosine of .988. So rivals and nulls stand beside every number, and the strongest verdict is "closest of these rivals,
by …".

The formulas are in `sensitivity.py` (behaviour), `gd_weights.py` (weights) and `rivals.py`, for tensors from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from ...data.batch import Batch
from ...data.errors import UsageError
from ...data.recipe import Recipe, file_sha256
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable, Regressor, Source, Subject
from ..findings import Findings
from ..measure import Claim, Measure, missing
from ..probe import Probe, Progress, silent
from ..statistics.sample_measures import PerTask, task_measures
from .behaviour_measures import behaviour_findings, setting_measures
from .between_seeds import between_seeds
from .claim import gd_claim
from .comparison import Comparison, GivenSettings, build_twins, compare, other_behaviours
from .constructed import TwinShape
from .distribution_shift import CURVES, families_along, losses_along, rollout_losses
from .sensitivity import LOSS, half_squared_error
from .splits import EVALUATION_TASKS, Splits, file_splits, generated_splits, recorded_law
from .weight_measures import weight_findings

ROLLOUT_TASKS = 2_000
TWINS = {"auto": (), "gd": ("gd",), "gdpp": ("gdpp",), "gd+gdpp": ("gd", "gdpp")}


@dataclass(frozen=True)
class GDAlignment(Probe):
    """Settings of the probe; None means: from the checkpoint's own record, or fitted.

    tasks:               a `.npz` of the user's own tasks; evaluated whole
    limit:               the first so many of them; without a file, how many tasks are generated for each split
    n_context, input_range, weight_scale, noise:  the law of generated tasks, where it differs from the one recorded
    twins:               "gd", "gdpp", "gd+gdpp"; "auto": GD, and GD++ for more than one layer
    steps:               gradient steps of the twins; by default the model's layers (1 for a wrapped predictor)
    learning_rate:       η of the GD twin, of the mean loss (the authors print η/N)
    gdpp_learning_rate, gdpp_gamma:  settings of the GD++ twin, for every layer; both or neither
    """

    name: ClassVar[str] = "gd-alignment"
    version: ClassVar[str] = "1"

    tasks: str | None = None
    limit: Annotated[int, Ge(1)] | None = None
    n_context: Annotated[int, Ge(1)] | None = None
    input_range: float | None = None
    weight_scale: float | None = None
    noise: float | None = None
    twins: Literal["auto", "gd", "gdpp", "gd+gdpp"] = "auto"
    steps: Annotated[int, Ge(1)] | None = None
    learning_rate: float | None = None
    gdpp_learning_rate: float | None = None
    gdpp_gamma: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.gdpp_learning_rate is None) != (self.gdpp_gamma is None):
            raise UsageError("gd-alignment: of gdpp_learning_rate and gdpp_gamma one is given; expected both or none")
        if self.tasks is not None and self._law:
            raise UsageError(
                f"gd-alignment: {', '.join(self._law)} and tasks are given; a file of tasks leaves nothing to draw"
            )

    @property
    def _law(self) -> dict[str, Any]:
        names = ("n_context", "input_range", "weight_scale", "noise")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def applies(self, subject: Subject) -> NotApplicable | None:
        if isinstance(subject, Regressor):
            return None
        return NotApplicable("no regression read-out and no constructed weights exist for this model")

    def fingerprint(self) -> dict[str, str]:
        return {} if self.tasks is None else {"tasks_sha256": file_sha256(self.tasks)}

    def memory(self, subject: Subject) -> int | None:
        if not isinstance(subject, Regressor):
            return None
        if self.tasks is not None:
            tasks = Path(self.tasks).stat().st_size if Path(self.tasks).is_file() else 0
        else:
            n_context = {"n_context": subject.d_in, **recorded_law(subject.source.record), **self._law}["n_context"]
            tasks = 8 * (self.limit or EVALUATION_TASKS) * (n_context + 1) * (subject.d_in + subject.d_out)
        # measured: so many copies of the tasks are alive at the peak
        return tasks * (6 + 3 * self._steps(subject))

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        if not isinstance(subject, Regressor):
            raise UsageError("gd-alignment needs a regressor; ask applies() first")
        progress("drawing tasks", 0.0)
        splits = self._splits(subject, seed)
        shape, twins = self._shape(subject, splits), self._twins(subject)
        progress("fitting twins and rivals", 0.05)
        comparison = compare(subject, shape, twins, self._given, splits, batch_size)
        progress("nulls", 0.3)
        null_behaviours = other_behaviours(subject, shape, comparison.settings, splits.nulls, batch_size)
        measures, arrays = behaviour_findings(subject, shape, comparison, null_behaviours, splits, seed, batch_size)
        measures |= setting_measures(comparison, layers=shape.n_layers > 1)
        progress("weights", 0.5)
        models = build_twins(shape, comparison.settings)
        found, matrices = weight_findings(subject, shape, models, splits.evaluation, seed, batch_size)
        measures, arrays = measures | found, arrays | matrices
        progress("shifted tasks", 0.75)
        measures |= _layer_losses(subject, shape, comparison, splits.evaluation, seed)
        measures |= self._shifted(subject, shape, comparison, splits, seed, batch_size)
        measures |= _rollout(subject, comparison, splits.evaluation[:ROLLOUT_TASKS], seed)
        progress("done", 1.0)
        return Findings(measures, arrays, _recipes(splits))

    def between(self, subjects: tuple[Subject, ...], seed: int, batch_size: int) -> dict[str, Measure]:
        """Ceilings and controls that need several seeds of one recipe at the same step."""
        regressors = [subject for subject in subjects if isinstance(subject, Regressor)]
        if len(regressors) < 2:
            return {}
        return between_seeds(regressors, self._splits(regressors[0], seed).evaluation, batch_size)

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return gd_claim(measures, sources, self.tasks, self._law)

    @property
    def _given(self) -> GivenSettings:
        return GivenSettings(self.learning_rate, self.gdpp_learning_rate, self.gdpp_gamma)

    def _splits(self, subject: Regressor, seed: int) -> Splits:
        if self.tasks is not None:
            return file_splits(subject, self.tasks, self.limit)
        return generated_splits(subject, self._law, self.limit or EVALUATION_TASKS, seed)

    def _steps(self, subject: Regressor) -> int:
        return self.steps or (subject.config.n_layers if isinstance(subject, TransformerRegressor) else 1)

    def _twins(self, subject: Regressor) -> tuple[str, ...]:
        return TWINS[self.twins] or (("gd", "gdpp") if self._steps(subject) > 1 else ("gd",))

    def _shape(self, subject: Regressor, splits: Splits) -> TwinShape:
        steps = self._steps(subject)
        if not isinstance(subject, TransformerRegressor):
            return TwinShape(splits.n_context, subject.d_in, subject.d_out, steps)
        config = subject.config
        tied = config.tied or steps != config.n_layers
        return TwinShape(
            splits.n_context, config.d_in, config.d_out, steps, tied, config.dampening, config.activation_clip
        )

    def _shifted(
        self, subject: Regressor, shape: TwinShape, comparison: Comparison, splits: Splits, seed: int, batch_size: int
    ) -> dict[str, Measure]:
        """Losses of the model and its twins away from the training tasks."""
        like = splits.evaluation.inputs[:1].to(subject.device, subject.dtype)
        twins = {name: twin.to(like) for name, twin in build_twins(shape, comparison.settings).items()}
        names = ("model", *twins)
        if splits.law is None:
            reason = "the tasks came from a file: the law that they would be shifted along is not known"
            absent = missing(LOSS, "not applicable", reason)
            return {f"loss_{curve.name}_{name}": absent for curve in CURVES for name in names}
        measures: dict[str, Measure] = {}
        most = self.limit or EVALUATION_TASKS
        for curve in CURVES:
            losses = losses_along(curve, splits.law, {"model": subject.predict, **twins}, like, most, seed, batch_size)
            coords = {curve.axis: tuple(families_along(curve, splits.law))}
            reason = "the curve of the untrained model is that of the zero predictor"
            measures |= task_measures(
                {
                    f"loss_{curve.name}_{name}": PerTask(losses[name], LOSS, (curve.axis,), coords, no_nulls=reason)
                    for name in names
                },
                seed,
            )
        return measures


def _layer_losses(
    subject: Regressor, shape: TwinShape, comparison: Comparison, tasks: Batch, seed: int
) -> dict[str, Measure]:
    """Loss read out after each layer. Only for GD is a read-out before the last layer meant to be a prediction."""
    if not isinstance(subject, TransformerRegressor):
        reason = "a wrapped predictor has no layers to read out"
        return {"loss_by_layer_model": missing(LOSS, "not applicable", reason)}
    inputs = tasks.inputs.to(subject.device, subject.dtype)
    modules = {"model": subject.module}
    modules |= {name: twin.to(inputs) for name, twin in build_twins(shape, comparison.settings).items()}
    metrics = {}
    for name, module in modules.items():
        losses = half_squared_error(module.predict_layers(inputs).detach().cpu().double(), tasks.targets)
        metrics[f"loss_by_layer_{name}"] = PerTask(
            losses.T.numpy(),
            LOSS,
            ("layer",),
            no_nulls="the nulls stand at the last layer, with loss_model",
            message="" if name == "gd" else "read-outs before the last layer are not trained to be predictions",
        )
    return task_measures(metrics, seed)


def _rollout(subject: Regressor, comparison: Comparison, tasks: Batch, seed: int) -> dict[str, Measure]:
    """Fifty dampened applications of a single trained block, beside gradient descent at the fitted rate."""
    names = ("loss_rollout_model", "loss_rollout_gd")
    reason = ""
    if not isinstance(subject, TransformerRegressor):
        reason = "a wrapped predictor has no block to apply again"
    elif subject.config.n_layers > 1 or subject.config.layer_norm:
        reason = "the roll-out applies the one block of a single-layer model without layer norm again and again"
    elif "learning_rate_gd" not in comparison.settings:
        reason = "the roll-out stands beside the GD twin, which was not asked for"
    if reason or not isinstance(subject, TransformerRegressor):
        return {name: missing(LOSS, "not applicable", reason) for name in names}
    rate = comparison.settings["learning_rate_gd"][0].value
    steps = {"rollout_step": tuple(range(1, 51))}
    return task_measures(
        {
            f"loss_rollout_{name}": PerTask(
                losses, LOSS, ("rollout_step",), steps, no_nulls="the loss before the first step is its null"
            )
            for name, losses in rollout_losses(subject.module, rate, tasks).items()
        },
        seed,
    )


def _recipes(splits: Splits) -> dict[str, Recipe]:
    if splits.law is None:
        return {"evaluation": splits.evaluation.recipe}
    tuning = splits.folds[0].tuning.recipe
    return {"tuning": tuning, "nulls": splits.nulls.recipe, "evaluation": splits.evaluation.recipe}
