"""Is attention one step of gradient descent on deep features? Von Oswald et al. 2023, section 4 and Figure 4

A transformer with an embedding in front of attention learns tasks that are not linear in x, sines for one. The paper's
reading: the embedding makes features, and attention takes a step of gradient descent of a linear model on them. It
trains another model whose attention *is* that step (the twin), and finds that both answer alike. Here the claim is put
to the model itself: the step is taken on the features of its own embedding. Beside it stand ridge regression on the
same features, the answer that is read before attention, and the twin.

The line of a measurement: `features` (both rules) -> `fits` (their settings) -> `reading` (the model beside them, and
nulls), `read_out`, `functions` -> `measures` -> `standing` -> `claim` and `figures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...data.errors import UsageError
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable, Regressor, Source, Subject
from ..comparing.behaviour import Compared
from ..comparing.by_candidate import flat_samples
from ..findings import Findings
from ..measure import Claim, Measure
from ..probe import Progress, silent
from ..regression.reading_measures import reading_measures
from ..regression.sign import sign_measure
from ..regression.splits import EVALUATION_TASKS, Splits, generated_splits, sines_of_tasks, trained_on_sines
from ..regression.transformer_probe import TransformerProbe
from . import memory
from .claim import features_claim
from .fits import FITTED_TASKS
from .functions import functions
from .measures import comparison_measures, per_task, rate_measure, read_out_measure, setting_measure
from .names import FEATURE_RIDGE, UNTRAINED
from .read_out import ReadOut, read_out
from .reading import candidates, drawn_nulls, fitted_rules, module_of
from .twin import twin_digest, twin_of


@dataclass(frozen=True)
class DeepFeatures(TransformerProbe):
    """Settings of the tasks and of how the model is read: those of `RegressionProbe`. And

    twin:  another model of the same tasks, say one whose attention is a written step: a shipped name, a file or a
           directory; its seed of the same number, else its first
    """

    name: ClassVar[str] = "deep-features"
    version: ClassVar[str] = "1"
    by_default: ClassVar[bool] = False
    batch_size: ClassVar[int] = 1024  # an embedding's MLP is wide
    memory_in_bytes = staticmethod(memory.memory_in_bytes)
    work = staticmethod(memory.cost)

    twin: str | None = None

    def applies(self, subject: Subject) -> NotApplicable | None:
        return _lacking(subject)

    def fingerprint(self) -> dict[str, str]:
        return super().fingerprint() | twin_digest(self.twin)

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        progress("drawing tasks", 0.0)
        examined = self.examined(subject, seed, batch_size)
        twin, module, splits = twin_of(examined, self.twin), module_of(examined), examined.splits
        rules = [
            (fitted_rules(examined, module, examined.sign, fold.tuning[:FITTED_TASKS]), fold) for fold in splits.folds
        ]
        progress("the model beside its candidates", 0.1)
        held = [(one, fold.evaluation) for one, fold in rules]
        beside = candidates(examined, held, twin, splits.evaluation)
        found = Compared(examined.subject_behaviour(splits.evaluation), beside, splits.evaluation.targets)
        read = ReadOut.joined([read_out(examined, module, fold.tuning, fold.evaluation) for fold in splits.folds])
        fits = [one for one, _ in rules]
        nulls = drawn_nulls(examined, fits[0], twin, lambda done: progress("null models", 0.4 + 0.5 * done))
        progress("resampling", 0.9)
        samples = per_task(found, nulls.compared)
        measures = (
            comparison_measures(samples, found, nulls.compared, seed, None if twin is None else twin.label)
            | {
                "learning_rate": rate_measure(fits),
                "ridge_penalty": setting_measure(fits, FEATURE_RIDGE, "penalty"),
                "linear_readout": read_out_measure(read, nulls.read_outs, seed),
                "readout_sign": sign_measure(examined.sign, {UNTRAINED: nulls.signs}, given=self.sign is not None),
            }
            | reading_measures(examined.reading, {}, examined.requested_layout is not None, seed)
        )
        arrays = {name: held.samples for name, held in flat_samples(samples).items()}
        progress("done", 1.0)
        return Findings(measures, arrays | functions(examined, fits[0], twin), splits.recipes)

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return features_claim(measures, sources, self.tasks, self.sign)

    def _splits(self, subject: Regressor, seed: int) -> Splits:
        if self.tasks is not None or not trained_on_sines(subject.source.record):
            return super()._splits(subject, seed)
        if self.noise is not None:
            raise UsageError(
                f"{self.name}: noise = {self.noise} for a model of sines, whose tasks have none; leave out --noise"
            )
        return self._drawn(generated_splits, sines_of_tasks(subject, self._law), self.limit or EVALUATION_TASKS, seed)


def _lacking(subject: Subject) -> NotApplicable | None:
    """What the probe needs that a subject does not have."""
    if not isinstance(subject, Regressor):
        return NotApplicable(
            "this model does not answer linear-regression tasks or sines, so it has no features of inputs"
        )
    if not isinstance(subject, TransformerRegressor):
        return NotApplicable(
            "mesascope cannot see what this subject's attention reads, and deep-features is about that"
        )
    config = subject.config
    if config.d_embed is None:
        return NotApplicable(
            "this model's attention reads tokens as they are given, so its features are the inputs; gd-alignment asks"
            " the same of them"
        )
    if config.token_order != "joint":
        return NotApplicable(
            "this model's x and y are tokens of their own, so no token's features come with a label's slot"
        )
    if config.d_position:
        return NotApplicable("this model has position codes behind its features, where a label's slot would be")
    return None
