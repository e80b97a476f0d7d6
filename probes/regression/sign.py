"""The sign of a read-out: whether a model's predictions are to be turned before anything is compared.

Some code reads the prediction off the query's y slot, some its negative. A model of gradient descent whose output is
the negative has cosine -1, and nothing in its weights says so. The labels of tuning tasks decide, before any candidate
is compared: one sign for all candidates, so none gains from it. Every null model gets the same search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from ...data.batch import Batch
from ...models.subject import Regressor
from ..measure import Measure, without_interval
from ..statistics.bootstrap import LEVEL
from .examined import Examined, Predict, quick_predict
from .sensitivity import predictions

SIGN_TASKS = 2_000
"""Tuning tasks of each fold that decide; so few, because each of 70 null models is asked, too."""
SearchedOn = Callable[[Batch], Batch]
Answered = tuple[Float[Tensor, "task d_out"], Float[Tensor, "task d_out"]]
"""Predictions and labels of the same tasks."""


def found_sign(folds: Sequence[Answered]) -> int:
    """-1 where predictions go against the labels on the tuning tasks of every fold, otherwise 1.

    "Against": the 95 % interval of the mean of <prediction, label> lies below 0. (The sign of that mean is the sign at
    which a scaled prediction has the lower squared error.) What the tasks leave open is not turned.
    """
    return -1 if all(_upper_end((p * y).sum(dim=1).numpy()) < 0 for p, y in folds) else 1


def _upper_end(products: Float[np.ndarray, " task"]) -> float:
    """Of the 95 % interval of a mean; NaN, which is below nothing, for one task and for what is not finite."""
    if len(products) < 2 or not np.isfinite(products).all():
        return float("nan")
    return float(products.mean() + stats.norm.ppf((1 + LEVEL) / 2) * products.std(ddof=1) / np.sqrt(len(products)))


def readout_sign(examined: Examined, model: Regressor, shown: SearchedOn = lambda tasks: tasks, start: int = 1) -> int:
    """The sign that was asked for, or the one found on tuning tasks.

    shown:  what the model sees in the place of these tasks; the labels that decide stay those of the tasks
    start:  the sign that is kept where the tasks leave it open
    """
    if examined.requested_sign is not None:
        return examined.requested_sign
    tuning = [fold.tuning[:SIGN_TASKS] for fold in examined.splits.folds]
    predict = quick_predict(model)
    answered = (start * predictions(predict, examined.inputs(shown(tasks)), examined.batch_size) for tasks in tuning)
    return start * found_sign([(p, tasks.targets.cpu().double()) for p, tasks in zip(answered, tuning, strict=True)])


def turned(predict: Predict, sign: int) -> Predict:
    """The predictor with its sign turned, where the sign is -1."""

    def negative(inputs: Tensor) -> Tensor:
        return -predict(inputs)

    return negative if sign < 0 else predict


def sign_measure(sign: int, nulls: Mapping[str, Sequence[int]], given: bool) -> Measure:
    """`readout_sign`: 1, or -1 where predictions were turned; the nulls' own signs beside it."""
    found = f"found on up to {SIGN_TASKS:,} tuning tasks, for each null model, too"
    return without_interval(
        np.array(float(sign)),
        "sign",
        message=f"{'given, not found' if given else found}; one of two values has no interval",
        nulls={null: np.array(signs, dtype=np.float64) for null, signs in nulls.items()},
        no_nulls="no null model was drawn: an architecture that is not known has no untrained models",
    )


def turned_seeds(sign: Measure) -> tuple[int, int]:
    """In how many seeds the sign was turned, and how many there are."""
    signs = np.atleast_1d(sign.values if sign.points is None else sign.points)
    return int((signs < 0).sum()), len(signs)


def turned_words(measures: Mapping[str, Measure]) -> str:
    """ "Sign turned in 2 of 5 seeds. ", which a card begins with; "" where it is as it was."""
    sign = measures["readout_sign"]
    turned, seeds = turned_seeds(sign)
    some = f" in {turned} of {seeds} {sign.replicate}s" * (turned < seeds)
    return f"Sign turned{some}. " * bool(turned)
