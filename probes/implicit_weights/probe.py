"""Which linear model does a transformer hold after each layer? (Vladymyrov et al. 2024; Akyürek et al. 2023)

A stack of linear attention answers a query x with y_l = W_l x after every layer, and W_l is in its weights and the
context: no regression, no probe that is trained. Elsewhere W_l is the Jacobian of the layer's answer, and how linear
that is stands beside it. Each W_l is compared with families of algorithms that were fitted to it, so that a stack of
gradient descent reads "1 step, 2 steps, 3 steps". Whether later layers continue from it is tested: another task's model
is put into the context, and what becomes of the answer is compared with what gradient descent makes of it.

The line of a measurement: `judging` (with `held`, what a model holds; `fits`, the nearest rules; `exchange`) ->
`measures`, `exchange_measures`, `setting_measures` -> `standing` -> `claim` and `figures`. The linear models themselves
are in `probes/regression/layer_weights.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable, Regressor, Source, Subject
from ..findings import Findings
from ..measure import Claim, Measure
from ..probe import Cost, Progress, silent
from ..regression.examined import Examined
from ..regression.layer_weights import has_closed_form
from ..regression.nulls import Untrained
from ..regression.probe import RegressionProbe
from ..regression.reading_measures import reading_measures
from ..regression.sign import sign_measure
from .claim import weights_claim
from .exchange_measures import exchange_measures, no_exchange
from .judging import judge_nulls, judge_subject
from .measures import Layers, arrays_of, layer_labels, not_measured, weight_measures
from .memory import cost, memory_in_bytes
from .names import KEPT_TASKS
from .setting_measures import setting_measures


@dataclass(frozen=True)
class ImplicitWeights(RegressionProbe):
    """Settings: those of the tasks and of how the model is read, see `RegressionProbe`."""

    name: ClassVar[str] = "implicit-weights"
    version: ClassVar[str] = "1"
    by_default: ClassVar[bool] = False

    def memory(self, subject: Subject) -> int | None:
        if not isinstance(subject, Regressor):
            return None
        return memory_in_bytes(subject, self._tasks_in_bytes(subject), self._n_context(subject))

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        if not isinstance(subject, Regressor):
            return None
        return cost(subject, self._tasks_in_bytes(subject), self._n_context(subject), batch_size)

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        progress("drawing tasks", 0.0)
        examined = self.examined(subject, seed, batch_size)
        how = examined.sensitivities
        if isinstance(how, NotApplicable):
            nothing = not_measured(how.reason) | no_exchange(how.reason)
            return Findings(nothing | self._read(examined, [], seed), {}, examined.splits.recipes)
        judged = judge_subject(examined, lambda done: progress("fitting rules", 0.05 + 0.6 * done))
        found = judge_nulls(examined, judged.entries, lambda done: progress("untrained models", 0.65 + 0.3 * done))
        layered = isinstance(examined.subject, TransformerRegressor)
        exact = isinstance(examined.subject, TransformerRegressor) and has_closed_form(examined.subject.config)
        layers = Layers(layer_labels(judged, layered), seed, [one.judged for one in found])
        measures = weight_measures(judged, layers, layered, exact) | exchange_measures(judged, layers, layered)
        measures |= setting_measures(judged.entries, layers.labels)
        measures |= self._read(examined, [one.untrained for one in found], seed)
        progress("done", 1.0)
        return Findings(measures, arrays_of(judged, KEPT_TASKS), examined.splits.recipes)

    def _read(self, examined: Examined, untrained: list[Untrained], seed: int) -> dict[str, Measure]:
        """How the subject and its nulls were read."""
        signs = {"untrained": [one.sign for one in untrained]} if untrained else {}
        readings = {"untrained": [one.reading for one in untrained]} if untrained else {}
        sign = sign_measure(examined.sign, signs, given=self.sign is not None)
        return {"readout_sign": sign} | reading_measures(
            examined.reading, readings, examined.requested_layout is not None, seed
        )

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return weights_claim(measures, sources, self.tasks, self.sign)
