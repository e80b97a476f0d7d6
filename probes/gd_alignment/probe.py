"""Does this model learn in context by gradient descent? (von Oswald et al. 2023, arXiv 2212.07677)

The paper compares a trained transformer with one constructed to take gradient steps: predictions, sensitivities and
interpolated weights. A cosine near 1 and differences near 0 say that the two agree on these tasks. They do not say that
the model performs gradient descent: with a trained two-layer model plain ridge regression has a cosine of .988. So
every number is compared with other candidates and with nulls, and the strongest verdict is "agrees with".

The line of a measurement, one file each: in `probes/regression` `splits` -> `token_search` -> `sign`; here `steps` ->
`settings` -> `behaviours` -> `behaviour_measures` and `unexplained` -> `claim` and `figures`; beside it `weights` and
`weight_comparison`, `distribution_shift`, `depth`, `curvature`, `readouts`. The formulas, for tensors from anywhere,
are in `weights.py` and in the rooms `probes/regression` (`sensitivity.py`) and `probes/algorithms`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt

from ...data.errors import UsageError
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable, Regressor, Source, Subject
from ..comparing.by_candidate import MODEL
from ..findings import Findings
from ..measure import Claim, Measure
from ..probe import Cost, Progress, silent
from ..regression.nulls import Untrained, untrained_models
from ..regression.probe import RegressionProbe
from ..regression.reading_measures import reading_measures
from ..regression.sign import sign_measure
from .behaviour_measures import behaviour_findings
from .behaviours import evaluation_comparison, model_behaviours, near_misses, null_comparisons
from .between_seeds import between_seeds
from .claim import gd_claim
from .constructed import ConstructedShape
from .curvature import spectra_by_layer
from .curvature_measures import curvature_measures
from .depth import answers_by_layer
from .depth_measures import depth_measures
from .distribution_shift import shifts
from .memory import cost, memory_in_bytes
from .names import GD, GDPP, SEARCHED
from .path_measures import path_measures
from .readout_measures import rollout_measures
from .readouts import rollout_losses
from .setting_measures import setting_measures
from .settings import Requested, Settings, fit_settings
from .setup import Setup
from .shift_measures import no_shift_measures, shift_measures
from .steps import PREDICTOR_STEPS, StepSearch, steps_measure
from .structure_measures import structure_measures
from .weight_comparison import all_path_losses, compare_weights
from .weight_measures import no_weight_measures, weight_arrays, weight_measures

TWINS = {"auto": (), "gd": ("gd",), "gdpp": ("gdpp",), "gd+gdpp": ("gd", "gdpp")}


@dataclass(frozen=True)
class GDAlignment(RegressionProbe):
    """Settings of the probe; None means: from the checkpoint's own record, or fitted.

    twins:               constructed models: "gd", "gdpp", "gd+gdpp"; "auto": GD, and GD++ for more than one layer
    steps:               gradient steps of constructed models; by default the model's layers, or for a wrapped predictor
                         the number that comes closest to it
    learning_rate:       η of constructed GD, of the mean loss (the authors print η/N); or a list, one for each layer
    gdpp_learning_rate, gdpp_gamma:  settings of constructed GD++, for every layer; both or neither
    dampening:           factor on every update of constructed models; by default the model's own
    """

    name: ClassVar[str] = "gd-alignment"
    version: ClassVar[str] = "3"
    fewest_tasks: ClassVar[int] = 1

    twins: Literal["auto", "gd", "gdpp", "gd+gdpp"] = "auto"
    steps: Annotated[int, Ge(1)] | None = None
    learning_rate: float | tuple[float, ...] | None = None
    gdpp_learning_rate: float | None = None
    gdpp_gamma: float | None = None
    dampening: Annotated[float, Gt(0)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.gdpp_learning_rate is None) != (self.gdpp_gamma is None):
            raise UsageError("gd-alignment: of gdpp_learning_rate and gdpp_gamma one is given; expected both or none")

    def memory(self, subject: Subject) -> int | None:
        if not isinstance(subject, Regressor):
            return None
        return memory_in_bytes(self._tasks_in_bytes(subject), self._steps(subject) or PREDICTOR_STEPS)

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        if not isinstance(subject, Regressor):
            return None
        tasks, steps = self._tasks_in_bytes(subject), self._steps(subject) or PREDICTOR_STEPS
        return cost(subject, tasks, steps, self._n_context(subject), batch_size)

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        progress("drawing tasks", 0.0)
        setup = self._setup(subject, seed, batch_size)
        progress("fitting candidates", 0.05)
        model = model_behaviours(setup)
        search = StepSearch(setup, model)
        setup = self._with_steps(setup, search)
        settings = fit_settings(setup, self._requested(setup), search.fits)
        progress("behaviour", 0.3)
        untrained = untrained_models(setup)
        evaluation = evaluation_comparison(setup, settings, model)
        nulls = null_comparisons(setup, settings.mean, untrained)
        measures, arrays = behaviour_findings(evaluation, nulls, near_misses(setup, settings.mean), seed)
        signs = {null: [comparison.sign for comparison in drawn] for null, drawn in nulls.items()}
        measures["readout_sign"] = sign_measure(setup.sign, signs, given=self.sign is not None)
        readings = {null: [comparison.reading for comparison in drawn] for null, drawn in nulls.items()}
        measures |= reading_measures(setup.reading, readings, setup.requested_layout is not None, seed)
        measures["constructed_steps"] = steps_measure(setup.shape.n_layers, self._decided_by(setup.subject))
        measures |= setting_measures(setup, settings.mean)
        progress("weights", 0.5)
        found, matrices = _weights(setup, settings.mean, untrained)
        structure, of_heads = structure_measures(setup, untrained)
        progress("shifted tasks", 0.75)
        elsewhere = _away_from_training(setup, settings.mean)
        progress("done", 1.0)
        return Findings(measures | found | structure | elsewhere, arrays | matrices | of_heads, setup.splits.recipes)

    def between(self, subjects: tuple[Subject, ...], seed: int, batch_size: int) -> dict[str, Measure]:
        """Ceilings that need several seeds of one recipe at the same step."""
        regressors = [subject for subject in subjects if isinstance(subject, Regressor)]
        if len(regressors) < 2:
            return {}
        return between_seeds([self._setup(regressor, seed, batch_size) for regressor in regressors])

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return gd_claim(measures, sources, self.tasks, self._law, self.sign)

    def _setup(self, subject: Subject, seed: int, batch_size: int) -> Setup:
        examined = self.examined(subject, seed, batch_size)
        return Setup(**vars(examined), shape=self._shape(examined.subject, examined.splits))

    def _requested(self, setup: Setup) -> Requested:
        auto = (GD.name, GDPP.name) if setup.shape.n_layers > 1 else (GD.name,)
        constructed = TWINS[self.twins] or auto
        return Requested(constructed, self.learning_rate, self.gdpp_learning_rate, self.gdpp_gamma)

    def _steps(self, subject: Regressor) -> int | None:
        """Of constructed models, where nothing has to be searched."""
        if self.steps is not None:
            return self.steps
        if isinstance(subject, TransformerRegressor):
            return subject.config.n_layers
        return len(self.learning_rate) if isinstance(self.learning_rate, tuple) else None

    def _decided_by(self, subject: Regressor) -> str:
        if self.steps is not None or not isinstance(subject, TransformerRegressor):
            return "given" if self._steps(subject) else SEARCHED
        return "the model's layers"

    def _with_steps(self, setup: Setup, search: StepSearch) -> Setup:
        """The setup with the numbers of steps that the subject is compared with."""
        known = self._steps(setup.subject)
        compared = search.run(2 * known if known else PREDICTOR_STEPS)
        shape = setup.shape if known else replace(setup.shape, n_layers=search.layers(of_gdpp=self.twins != "gd"))
        return replace(setup, shape=shape, steps=compared)

    def _shape(self, subject: Regressor, splits: Splits) -> ConstructedShape:
        steps = self._steps(subject) or 1  # of a predictor, until they have been searched
        if not isinstance(subject, TransformerRegressor):
            dampening = 1.0 if self.dampening is None else self.dampening
            return ConstructedShape(splits.n_context, subject.d_in, subject.d_out, steps, dampening=dampening)
        config = subject.config
        return ConstructedShape(
            splits.n_context,
            config.d_in,
            config.d_out,
            steps,
            tied=config.tied or steps != config.n_layers,
            dampening=config.dampening if self.dampening is None else self.dampening,
            activation_clip=config.activation_clip,
        )


def _weights(
    setup: Setup, settings: Settings, untrained: Sequence[Untrained]
) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
    """Measures of weights and the matrices behind them; where they do not apply, why."""
    constructed = settings.constructed(setup.shape)
    weights = compare_weights(setup, constructed, untrained)
    if isinstance(weights, NotApplicable):
        return no_weight_measures(constructed, weights.reason), {}
    measures = weight_measures(weights, setup.shape.n_context)
    measures |= path_measures(all_path_losses(setup, weights), setup.shape.n_layers, setup.seed)
    return measures, weight_arrays(weights)


def _away_from_training(setup: Setup, settings: Settings) -> dict[str, Measure]:
    """After other layers than the last, on other tasks than those of training, and after many more steps."""
    constructed = {name: setup.at_precision(model) for name, model in settings.constructed(setup.shape).items()}
    targets = setup.splits.evaluation.targets
    measures = depth_measures(answers_by_layer(setup, constructed), targets, setup.seed)
    measures |= curvature_measures(spectra_by_layer(setup, constructed), setup.seed)
    if setup.splits.law is None:
        measures |= no_shift_measures([MODEL, *constructed])
    else:
        measures |= shift_measures(shifts(setup, setup.splits.law, settings), setup.seed)
    return measures | rollout_measures(rollout_losses(setup, settings), setup.seed)
