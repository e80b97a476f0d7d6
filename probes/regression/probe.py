"""What every probe of regression models asks its user, and how it comes from there to an examined model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from ...data.errors import TaskError, UsageError
from ...data.recipe import file_sha256
from ...models.predictor_check import check_predictor
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable, Regressor, Subject
from ...models.token_layout import Order, TokenLayout
from ..comparing.memo import LastResult
from ..probe import Probe
from .examined import Examined, Sensitivities
from .gradient_check import no_sensitivities
from .reading import Reading
from .sign import readout_sign
from .splits import (
    EVALUATION_TASKS,
    Splits,
    file_splits,
    generated_splits,
    law_of_tasks,
    recorded_law,
    task_file,
    trained_on_sines,
)
from .token_search import read_tokens

CHECKED_TASKS = 16
TOO_FEW = "tasks are too few to fit on and to judge by; expected at least"


@dataclass(frozen=True)
class RegressionProbe(Probe):
    """Settings of the tasks and of how the model is read.

    tasks:               a `.npz` of the user's own tasks; evaluated whole
    limit:               the first so many of them; without a file, how many tasks are generated for each split
    n_context, input_range, weight_scale, noise:  the law of generated tasks, where it differs from the one recorded
    token_order:         of x and y in the model's tokens: "joint" [x ; y], "separate" [x ; 0], [0 ; y], or
                         "interleaved" x, y, all d_in wide
    label_slot:          place of the label's first number in a token
    sensitivities:       of a wrapped predictor: its "gradient", or "differences" of its predictions, which take
                         2 d_in more forward passes
    sign:                of the model's read-out: 1, or -1 for a model that outputs the negative of a prediction
    """

    fewest_tasks: ClassVar[int] = 20  # that rules with free settings can be fitted to, and judged by

    tasks: str | None = None
    limit: Annotated[int, Ge(1)] | None = None
    n_context: Annotated[int, Ge(1)] | None = None
    input_range: float | None = None
    weight_scale: float | None = None
    noise: float | None = None
    token_order: Order | None = None
    label_slot: Annotated[int, Ge(0)] | None = None
    sensitivities: Sensitivities = "gradient"
    sign: Literal[1, -1] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.limit is not None and self.limit < self.fewest_tasks:
            raise UsageError(f"{self.name}: limit = {self.limit} {TOO_FEW} {self.fewest_tasks}")
        if self.tasks is not None and self._law:
            raise UsageError(
                f"{self.name}: {', '.join(self._law)} and tasks are given; a file of tasks leaves nothing to draw"
            )

    @property
    def _law(self) -> dict[str, Any]:
        names = ("n_context", "input_range", "weight_scale", "noise")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def applies(self, subject: Subject) -> NotApplicable | None:
        if isinstance(subject, Regressor):
            if self.tasks is None and not self._law and trained_on_sines(subject.source.record):
                return NotApplicable(
                    "this model was trained on sines, and mesascope would ask it about linear regression; give tasks of"
                    " your own (`--tasks`), or a law (`--n-context`, `--input-range`)"
                )
            return None
        return NotApplicable("this model does not answer linear-regression tasks, so it has no prediction to compare")

    def fingerprint(self) -> dict[str, str]:
        return {} if self.tasks is None else {"tasks_sha256": file_sha256(self.tasks)}

    def examined(self, subject: Subject, seed: int, batch_size: int) -> Examined:
        """The model with its tasks, as its tokens are laid out and with the sign of its read-out."""
        if not isinstance(subject, Regressor):
            raise UsageError(f"{self.name} needs a model of regression tasks; applies() says which subjects are")
        examined = Examined(
            subject=subject,
            splits=self._splits(subject, seed),
            seed=seed,
            batch_size=batch_size,
            reading=Reading(subject.layout, {}),
            requested_layout=self._layout(subject),
            requested_sign=self.sign,
        )
        if (n := len(examined.splits.evaluation)) < self.fewest_tasks:
            raise TaskError(f"{self.tasks}: {n} {TOO_FEW} {self.fewest_tasks}")
        reading = read_tokens(examined, subject)
        if reading.layout != subject.layout:  # a subject that is read so already would be rearranged twice
            subject = subject.read_as(reading.layout)
        examined = replace(examined, subject=subject, reading=reading)
        examined = replace(examined, sensitivities=self._sensitivities(examined))
        return replace(examined, sign=readout_sign(examined, examined.subject))

    def _sensitivities(self, examined: Examined) -> Sensitivities | NotApplicable:
        """How they are taken of this subject. A function that is not ours is asked a few questions first."""
        subject = examined.subject
        if isinstance(subject, TransformerRegressor):
            return "gradient"
        few = examined.inputs(examined.splits.evaluation[:CHECKED_TASKS])
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
            raise UsageError(f"{self.name}: {error}") from error
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

    def _tasks_in_bytes(self, subject: Regressor) -> int:
        """Of the tasks that are evaluated, in float64; of a file, its size."""
        if self.tasks is not None:
            return Path(self.tasks).stat().st_size if Path(self.tasks).is_file() else 0
        return 8 * (self.limit or EVALUATION_TASKS) * (self._n_context(subject) + 1) * (subject.d_in + subject.d_out)

    def _n_context(self, subject: Regressor) -> int:
        return {"n_context": subject.d_in, **recorded_law(subject.source.record), **self._law}["n_context"]
