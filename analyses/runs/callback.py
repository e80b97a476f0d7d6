"""Probes on a model while it trains: `Callback`, for a plain loop and for Hugging Face's Trainer."""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, SupportsIndex

from annotated_types import Ge, Gt, Le

from ...data.errors import UsageError
from ...data.settings import check_settings
from ...models.opening.as_subject import as_subject
from ...models.subject import NotApplicable, Subject
from .asking import Answer, Asked, probe_of
from .trajectory import Trajectory
from .untouched import untouched


@dataclass(frozen=True)
class Plan:
    """The plain settings of a `Callback`."""

    every: Annotated[int, Ge(1)]
    share: Annotated[float, Gt(0), Le(1)]
    name: str
    seed: Annotated[int, Ge(0)]

    def __post_init__(self) -> None:
        check_settings(self, "Callback: ")


class Callback:
    """Measures a model at chosen steps of its training, and leaves a report at each and one over all of them.

        callback = Callback(["induction-heads"], every=500, out="reports")
        for step in range(1, 10_001):
            ...
            callback(model, step)  # after the optimiser's step
        (report,) = callback.finish(model)

    or, with Hugging Face's Trainer, `trainer.add_callback(callback)`.

    Weights, gradients, random states, hooks and modes of the model are the same after a measurement as before it.

    probes:     names, classes or instances. Those that do not apply to the model answer why; one has to apply
    every:      steps that are multiples of it are due
    out:        the folder for the reports
    share:      measuring takes at most this share of the time since the first call: a due step is left out where the
                last measurement's time would exceed it, and the report says which. The first due step and the step
                that `finish` is given are always measured
    name:       what the model is called in reports
    seed:       of everything that a probe draws
    tokenizer:  of a transformers model; without it the model reads token ids only
    subject:    opens a model that is neither of transformers nor ours, e.g. `lambda model: from_predictor(model, …)`
    """

    def __init__(
        self,
        probes: Asked | Sequence[Asked],
        every: int = 100,
        out: str | Path = "reports",
        share: float = 0.05,
        name: str = "training",
        seed: int = 0,
        tokenizer: Any | None = None,
        subject: Callable[[Any], Subject] | None = None,
    ) -> None:
        asked = probes if isinstance(probes, Sequence) and not isinstance(probes, str) else [probes]
        if not asked:
            raise UsageError("Callback: probes is empty; expected at least one, such as 'token-norms'")
        if tokenizer is not None and subject is not None:
            raise UsageError("Callback: tokenizer and subject are both given; let subject open the model with it")
        self._probes = [probe_of(one) for one in asked]
        self._plan = Plan(every, share, name, seed)
        self._out = Path(out)
        self._tokenizer = tokenizer
        self._subject = subject
        self._budget = Budget(self._plan.share)
        self._tracks: list[Trajectory | NotApplicable] = []
        self._opened: Subject | None = None
        self._last: int | None = None
        self._measured: int | None = None
        self._answers: list[Answer] | None = None

    def step(self, model: Any, step: SupportsIndex) -> None:
        """Call it after each step of the optimiser. The first call opens the model, also where the step is not due."""
        step = self._checked(step)
        due = step % self._plan.every == 0
        if due and not self._budget.allows():
            for track in self._trajectories:
                track.miss(step, f"measuring may take {100 * self._plan.share:.3g} % of the time (share)")
        elif due or self._last is None:
            self._look(model, step, due)
        self._last = step

    __call__ = step

    def finish(self, model: Any | None = None) -> list[Answer]:
        """Save the reports over all measured steps, with their figures, and return them in the order of the probes.

        model:  as it is after the last step, which is then measured unless it has been
        """
        if self._answers is None:
            if self._last is None:
                raise UsageError("Callback: finish before any step; call callback(model, step) while training")
            if model is not None:
                self._measure_last(model, self._last)
            if self._measured is None:
                raise UsageError(
                    f"Callback: no step was measured: none up to {self._last} is a multiple of every ="
                    f" {self._plan.every}; give a smaller number, or finish(model) to measure the last step"
                )
            self._answers = [track.finish() if isinstance(track, Trajectory) else track for track in self._tracks]
            self._tracks, self._opened = [], None  # they hold the model's weights
        return self._answers

    # -- measuring ----------------------------------------------------------------------------------------------------

    @property
    def _trajectories(self) -> list[Trajectory]:
        return [track for track in self._tracks if isinstance(track, Trajectory)]

    def _checked(self, asked: SupportsIndex) -> int:
        try:
            step = operator.index(asked)
        except TypeError as error:
            raise UsageError(f"Callback: step = {asked!r:.80}; expected a whole number") from error
        if self._answers is not None:
            raise UsageError(f"Callback: step {step} after finish; make a new Callback for another training")
        if step < 0 or (self._last is not None and step <= self._last):
            above = "of at least 0" if self._last is None else f"above {self._last}, the step before"
            raise UsageError(f"Callback: step = {step}; expected one {above}")
        return step

    def _measure_last(self, model: Any, step: int) -> None:
        if self._measured != step:
            self._look(model, step, True)

    def _look(self, model: Any, step: int, due: bool) -> None:
        """Open the model, the first time choose the probes that apply, and measure where it is due."""
        with self._budget.spending(due), untouched(model):
            try:
                subject = self._open(model, step)
            except Exception as error:
                if not self._tracks:
                    raise
                for track in self._trajectories:
                    track.fail(step, error)
                return
            self._tracks = self._tracks or self._applying(subject)
            for track in self._trajectories if due else []:
                track.measure(subject, step)
            self._measured = step if due else self._measured

    def _open(self, model: Any, step: int) -> Subject:
        """A new subject each time: its digest is that of the weights now."""
        if self._subject is not None:
            subject = self._subject(model)
        elif isinstance(model, Subject | str | Path):
            raise UsageError(f"Callback: given {model!r:.80}; expected the module that trains, whose weights change")
        elif self._tokenizer is not None:
            from ...models.opening.in_memory import from_module  # transformers takes seconds to import

            subject = from_module(model, self._tokenizer)
        else:
            subject = as_subject(model)
        if not isinstance(subject, Subject):
            found = type(subject).__name__
            raise UsageError(f"Callback: subject(model) returned a {found}; expected a subject of mesascope.models")
        if subject is self._opened:
            raise UsageError("Callback: subject(model) returned the same object again; expected the model opened anew")
        self._opened = subject
        named = copy.copy(subject)  # the caller's own keeps its name
        named.source = replace(subject.source, name=self._plan.name, revision=f"step{step}", step=step)
        return named

    def _applying(self, subject: Subject) -> list[Trajectory | NotApplicable]:
        refused = [probe.applies(subject) for probe in self._probes]
        pairs = list(zip(self._probes, refused, strict=True))
        if None not in refused:
            reasons = "; ".join(f"{probe.name}: {refusal.reason}" for probe, refusal in pairs if refusal is not None)
            raise UsageError(f"Callback: no probe applies to this model. {reasons}")
        return [refusal or Trajectory(probe, self._plan.seed, self._out) for probe, refusal in pairs]

    # -- Hugging Face's Trainer ----------------------------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        if state.is_world_process_zero:
            self.step(model, state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        if state.is_world_process_zero:
            self.step(model, state.global_step)
            if state.global_step >= state.max_steps:  # now: a Trainer may load its best checkpoint before it ends
                self._measure_last(model, state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        """The model may be that of another step by now. What goes wrong here must not cost the trained weights."""
        if state.is_world_process_zero:
            try:
                self.finish(None if args.load_best_model_at_end else model)
            except Exception as error:
                warnings.warn(f"the reports are not complete: {error}", RuntimeWarning, stacklevel=2)

    def __getattr__(self, name: str) -> Callable[..., None]:
        """A Trainer calls every one of its callbacks at every event: nothing happens at the others."""
        if name.startswith("on_"):
            return _nothing
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _nothing(*args: Any, **others: Any) -> None:
    return None


@dataclass
class Budget:
    """The time that measuring takes, of all the time since the first look at a model.

    last:  seconds of the last measurement; 0: there was none, so nobody knows
    """

    share: float
    begun: float | None = None
    spent: float = 0.0
    last: float = 0.0

    def allows(self) -> bool:
        """Whether one more measurement, as long as the last, keeps within the share."""
        if self.begun is None or not self.last:
            return True
        elapsed = perf_counter() - self.begun
        return self.spent + self.last <= self.share * (elapsed + self.last)

    @contextmanager
    def spending(self, measuring: bool) -> Iterator[None]:
        begun = perf_counter()
        self.begun = begun if self.begun is None else self.begun
        try:
            yield
        finally:
            took = perf_counter() - begun
            self.spent += took
            self.last = took if measuring else self.last
