"""Does this model learn in context by gradient descent? (von Oswald et al. 2023, arXiv 2212.07677)

The paper compares a trained transformer with one constructed to take gradient steps: predictions, sensitivities and
interpolated weights. A cosine near 1 and differences near 0 say that the two agree on these tasks. They do not say that
the model performs gradient descent: with a trained two-layer model plain ridge regression has a cosine of .988. So
every number is compared with other candidates and with nulls, and the strongest verdict is "agrees with".

The line of a measurement, one file each: `splits` -> `token_search` -> `sign` -> `steps` -> `settings` ->
`behaviours` -> `behaviour_measures` and `unexplained` -> `claim` and `figures`; beside it `weights` and
`weight_comparison`, `distribution_shift`, `readouts`. The formulas, for tensors from anywhere, are in `sensitivity.py`
(behaviour), `weights.py` (weights) and the room `probes/algorithms`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt

from ...data.errors import UsageError
from ...data.recipe import Recipe, file_sha256
from ...models.predictor_check import check_predictor
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable, Regressor, Source, Subject
from ...models.token_layout import Order, TokenLayout
from ..comparing.by_candidate import MODEL
from ..comparing.memo import LastResult
from ..findings import Findings
from ..measure import Claim, Measure
from ..probe import Cost, Probe, Progress, silent
from .behaviour_measures import behaviour_findings
from .behaviours import evaluation_comparison, model_behaviours, near_misses, null_comparisons
from .between_seeds import between_seeds
from .claim import gd_claim
from .constructed import ConstructedShape
from .distribution_shift import shifts
from .gradient_check import no_sensitivities
from .memory import cost, memory_in_bytes
from .names import GD, GDPP, SEARCHED
from .nulls import Untrained, untrained_models
from .path_measures import path_measures
from .reading import Reading
from .reading_measures import reading_measures
from .readout_measures import layer_measures, rollout_measures
from .readouts import layer_losses, rollout_losses
from .setting_measures import setting_measures
from .settings import Requested, Settings, fit_settings
from .setup import Sensitivities, Setup
from .shift_measures import no_shift_measures, shift_measures
from .sign import readout_sign, sign_measure
from .splits import EVALUATION_TASKS, Splits, file_splits, generated_splits, law_of_tasks, recorded_law, task_file
from .steps import PREDICTOR_STEPS, StepSearch, steps_measure
from .token_search import read_tokens
from .weight_comparison import all_path_losses, compare_weights
from .weight_measures import no_weight_measures, weight_arrays, weight_measures

CHECKED_TASKS = 16
TWINS = {"auto": (), "gd": ("gd",), "gdpp": ("gdpp",), "gd+gdpp": ("gd", "gdpp")}


@dataclass(frozen=True)
class GDAlignment(Probe):
    """Settings of the probe; None means: from the checkpoint's own record, or fitted.

    tasks:               a `.npz` of the user's own tasks; evaluated whole
    limit:               the first so many of them; without a file, how many tasks are generated for each split
    n_context, input_range, weight_scale, noise:  the law of generated tasks, where it differs from the one recorded
    twins:               constructed models: "gd", "gdpp", "gd+gdpp"; "auto": GD, and GD++ for more than one layer
    steps:               gradient steps of constructed models; by default the model's layers, or for a wrapped predictor
                         the number that comes closest to it
    learning_rate:       η of constructed GD, of the mean loss (the authors print η/N); or a list, one for each layer
    gdpp_learning_rate, gdpp_gamma:  settings of constructed GD++, for every layer; both or neither
    dampening:           factor on every update of constructed models; by default the model's own
    token_order:         of x and y in the model's tokens: "joint" [x ; y], "separate" [x ; 0], [0 ; y], or
                         "interleaved" x, y, all d_in wide
    label_slot:          place of the label's first number in a token
    sensitivities:       of a wrapped predictor: its "gradient", or "differences" of its predictions, which take
                         2 d_in more forward passes
    sign:                of the model's read-out: 1, or -1 for a model that outputs the negative of a prediction
    """

    name: ClassVar[str] = "gd-alignment"
    version: ClassVar[str] = "2"

    tasks: str | None = None
    limit: Annotated[int, Ge(1)] | None = None
    n_context: Annotated[int, Ge(1)] | None = None
    input_range: float | None = None
    weight_scale: float | None = None
    noise: float | None = None
    twins: Literal["auto", "gd", "gdpp", "gd+gdpp"] = "auto"
    steps: Annotated[int, Ge(1)] | None = None
    learning_rate: float | tuple[float, ...] | None = None
    gdpp_learning_rate: float | None = None
    gdpp_gamma: float | None = None
    dampening: Annotated[float, Gt(0)] | None = None
    token_order: Order | None = None
    label_slot: Annotated[int, Ge(0)] | None = None
    sensitivities: Sensitivities = "gradient"
    sign: Literal[1, -1] | None = None

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
        return NotApplicable("this model does not answer linear-regression tasks, so it has no prediction to compare")

    def fingerprint(self) -> dict[str, str]:
        return {} if self.tasks is None else {"tasks_sha256": file_sha256(self.tasks)}

    def memory(self, subject: Subject) -> int | None:
        if not isinstance(subject, Regressor):
            return None
        return memory_in_bytes(self._tasks_in_bytes(subject), self._steps(subject) or PREDICTOR_STEPS)

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        if not isinstance(subject, Regressor):
            return None
        tasks, steps = self._tasks_in_bytes(subject), self._steps(subject) or PREDICTOR_STEPS
        return cost(subject, tasks, steps, self._n_context(subject), batch_size)

    def _tasks_in_bytes(self, subject: Regressor) -> int:
        """Of the tasks that are evaluated, in float64; of a file, its size."""
        if self.tasks is not None:
            return Path(self.tasks).stat().st_size if Path(self.tasks).is_file() else 0
        return 8 * (self.limit or EVALUATION_TASKS) * (self._n_context(subject) + 1) * (subject.d_in + subject.d_out)

    def _n_context(self, subject: Regressor) -> int:
        return {"n_context": subject.d_in, **recorded_law(subject.source.record), **self._law}["n_context"]

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        if not isinstance(subject, Regressor):
            raise UsageError("gd-alignment needs a model of regression tasks; applies() says which subjects are")
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
        measures["constructed_steps"] = steps_measure(setup.shape.n_layers, self._decided_by(subject))
        measures |= setting_measures(setup, settings.mean)
        progress("weights", 0.5)
        found, matrices = _weights(setup, settings.mean, untrained)
        progress("shifted tasks", 0.75)
        elsewhere = _away_from_training(setup, settings.mean)
        progress("done", 1.0)
        return Findings(measures | found | elsewhere, arrays | matrices, _recipes(setup.splits))

    def between(self, subjects: tuple[Subject, ...], seed: int, batch_size: int) -> dict[str, Measure]:
        """Ceilings that need several seeds of one recipe at the same step."""
        regressors = [subject for subject in subjects if isinstance(subject, Regressor)]
        if len(regressors) < 2:
            return {}
        return between_seeds([self._setup(regressor, seed, batch_size) for regressor in regressors])

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return gd_claim(measures, sources, self.tasks, self._law, self.sign)

    def _setup(self, subject: Regressor, seed: int, batch_size: int) -> Setup:
        splits, layout = self._splits(subject, seed), self._layout(subject)
        unread, shape = Reading(subject.layout, {}), self._shape(subject, splits)
        setup = Setup(subject, splits, shape, seed, batch_size, unread, layout, self.sign)
        reading = read_tokens(setup, subject)
        setup = replace(setup, subject=subject.read_as(reading.layout), reading=reading)
        setup = replace(setup, sensitivities=self._sensitivities(setup))
        return replace(setup, sign=readout_sign(setup, setup.subject))

    def _sensitivities(self, setup: Setup) -> Sensitivities | NotApplicable:
        """How they are taken of this subject. A function that is not ours is asked a few questions first."""
        subject = setup.subject
        if isinstance(subject, TransformerRegressor):
            return "gradient"
        few = setup.inputs(setup.splits.evaluation[:CHECKED_TASKS])
        check_predictor(subject.predict, few, subject.source.label)
        if self.sensitivities == "differences":
            return "differences"
        reason = no_sensitivities(subject.predict, few, subject.d_in)
        return NotApplicable(f"{reason}; --sensitivities differences takes them without one") if reason else "gradient"

    def _layout(self, subject: Regressor) -> TokenLayout | None:
        """The token layout that was given, here or with the model."""
        if self.token_order is None and self.label_slot is None:
            return subject.layout if subject.layout.declared else None
        try:
            layout = TokenLayout(subject.d_in, subject.d_out, self.token_order, self.label_slot)
            subject.read_as(layout)
        except ValueError as error:
            raise UsageError(f"gd-alignment: {error}") from error
        return layout

    def _splits(self, subject: Regressor, seed: int) -> Splits:
        if self.tasks is not None:
            return self._drawn(file_splits, task_file(self.tasks, self.limit, subject))
        law = law_of_tasks(subject, self._law)
        return self._drawn(generated_splits, law, self.limit or EVALUATION_TASKS, seed)

    @cached_property
    def _drawn(self) -> LastResult:
        """The tasks drawn last. The seeds of a family share them, and all that is fitted on them; they are gone when
        this probe is."""
        return LastResult()

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
    """Losses after other layers than the last, on other tasks than those of training, and after many more steps."""
    constructed = {name: setup.at_precision(model) for name, model in settings.constructed(setup.shape).items()}
    measures = layer_measures(layer_losses(setup, constructed), setup.seed)
    if setup.splits.law is None:
        measures |= no_shift_measures([MODEL, *constructed])
    else:
        measures |= shift_measures(shifts(setup, setup.splits.law, settings), setup.seed)
    return measures | rollout_measures(rollout_losses(setup, settings), setup.seed)


def _recipes(splits: Splits) -> dict[str, Recipe]:
    if splits.law is None:
        return {"evaluation": splits.evaluation.recipe}
    tuning = splits.folds[0].tuning.recipe
    return {"tuning": tuning, "nulls": splits.nulls.recipe, "evaluation": splits.evaluation.recipe}
