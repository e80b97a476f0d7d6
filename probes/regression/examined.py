"""One regression model on its tasks, and what else travels with it through a measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch
from ...models.own.merged import merged
from ...models.own.regression_transformer import RegressionTransformer
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable, Regressor
from ...models.token_layout import TokenLayout
from ..algorithms.spectrum import Spectrum, decompose
from ..comparing.behaviour import Behaviour, Compared
from ..comparing.memo import once_per_batch
from .gradient_check import finite_differences, without_sensitivities
from .reading import Reading
from .sensitivity import behaviour
from .splits import Splits

Sensitivities = Literal["gradient", "differences"]
Predict = Callable[[Tensor], Tensor]
"""[task, token, feature] -> [task, d_out]"""


@dataclass(frozen=True)
class Comparison(Compared):
    """And how the model was read.

    reading:  of the model's tokens
    sign:     of the model's read-out; its behaviour here is that of the model turned by it
    """

    reading: Reading
    sign: int


@dataclass(frozen=True, kw_only=True)
class Examined:
    """One subject's measurement.

    subject:           with the token layout that it has been found to read, or was given
    seed:              of nulls and resamples
    batch_size:        tasks in one forward pass
    reading:           of the subject's tokens
    requested_layout:  of tokens, for the subject and every null; None: each has the one that is found
    requested_sign:    of the read-out, likewise
    sign:              of the subject's read-out
    sensitivities:     of the subject: its gradient, differences of its predictions, or why there are none
    """

    subject: Regressor
    splits: Splits
    seed: int
    batch_size: int
    reading: Reading
    requested_layout: TokenLayout | None = None
    requested_sign: int | None = None
    sign: int = 1
    sensitivities: Sensitivities | NotApplicable = "gradient"

    @property
    def query_label_set(self) -> bool:
        """Whether the evaluation tasks put something into the query's y slot."""
        return bool(self.splits.evaluation.inputs[:, -1, self.subject.d_in :].any())

    def inputs(self, tasks: Batch) -> Float[Tensor, "task token feature"]:
        """Tokens at the subject's own device and precision."""
        return tasks.inputs.to(self.subject.device, self.subject.dtype)

    def at_precision(self, module: RegressionTransformer) -> RegressionTransformer:
        """Another transformer moved to the subject's device and precision."""
        return module.to(device=self.subject.device, dtype=self.subject.dtype)

    def behaviour(self, predict: Predict, tasks: Batch) -> Behaviour:
        """Predictions and sensitivities on a batch."""
        return behaviour(predict, self.inputs(tasks), self.subject.d_in, self.batch_size)

    def subject_behaviour(self, tasks: Batch, read: Regressor | None = None, sign: int | None = None) -> Behaviour:
        """The same of the subject, as it is examined or read and turned in another way."""
        subject, sign = read or self.subject, sign or self.sign
        predict = subject.module if isinstance(subject, TransformerRegressor) else subject.predict
        inputs, d_in, how = self.inputs(tasks), subject.d_in, self.sensitivities
        if isinstance(how, NotApplicable):
            return without_sensitivities(predict, inputs, d_in, self.batch_size, how.reason).turned(sign)
        measured = behaviour if how == "gradient" else finite_differences
        return measured(predict, inputs, d_in, self.batch_size).turned(sign)

    def spectrum(self, tasks: Batch) -> Spectrum:
        """A batch decomposed for all algorithms."""
        return _spectrum(tasks, self.subject.d_in)


def quick_predict(model: Regressor) -> Predict:
    """A model's predictions up to rounding, for what does not depend on their last digits."""
    return merged(model.module) if isinstance(model, TransformerRegressor) else model.predict


@once_per_batch
def _spectrum(tasks: Batch, d_in: int) -> Spectrum:
    return decompose(tasks.inputs, d_in)
