"""Whether a wrapped function answers as a model does: a finite number for each task, whoever asks and beside whom."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.errors import UsageError

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Of the largest answer: other batches add up numbers in another order."""


def check_predictor(
    predict: Callable[[Tensor], Tensor], inputs: Float[Tensor, "task token feature"], name: str
) -> None:
    """Ask a predictor about a few tasks: twice, in another order, and about half of them.

    Raises UsageError for answers that are not finite, or that differ by more than rounding.
    """
    with torch.no_grad():
        first = predict(inputs)
        if not torch.isfinite(first).all():
            task = int((~torch.isfinite(first)).any(dim=1).nonzero()[0])
            raise UsageError(
                f"{name}: the predictor returned {first[task].tolist()} for task {task} of {len(inputs)}; expected"
                " finite numbers"
            )
        _same(first, predict(inputs), name, "differently when asked twice", "its dropout (try .eval()) or random draws")
        others = (predict(inputs.flip(0)).flip(0), predict(inputs[: len(inputs) // 2]))
    for answers in others:
        _same(
            first[: len(answers)],
            answers,
            name,
            "a task differently beside other tasks",
            "a batch norm (try .eval()) or a mean over the batch",
        )


def _same(first: Tensor, again: Tensor, name: str, how: str, cause: str) -> None:
    if not len(again):
        return
    difference, largest = float((first - again).abs().max()), float(first.abs().max())
    if difference > TOLERANCE.get(first.dtype, 1e-4) * largest:
        raise UsageError(
            f"{name}: the predictor answers {how}, by up to {difference:.2g} where its largest answer is"
            f" {largest:.2g}; expected one answer for each task; look for {cause}"
        )
