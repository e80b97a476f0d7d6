"""How far what mesascope computes is from what is known about it, and how far it may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

IDENTITY = 1e-10
"""By so much two values of one number may differ in float64, relative to the largest of those that are expected."""
STANDARD_ERRORS = 4
"""By so many a mean over drawn tasks may miss what is expected."""
Numbers = Tensor | np.ndarray | float


@dataclass(frozen=True)
class Agreement:
    """The largest error of one comparison.

    draws:  tasks that a mean is taken over; None: nothing is drawn
    """

    error: float
    tolerance: float = IDENTITY
    draws: int | None = None

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance  # NaN does not

    @property
    def share(self) -> float:
        """Of the tolerance that is used up."""
        return self.error / self.tolerance if np.isfinite(self.error) else np.inf


@dataclass(frozen=True)
class Check:
    """One row of the self-test.

    mesascope:  what mesascope computes
    expected:   what that is compared with, which shares no code with it
    source:     where the closed form comes from
    compare:    the comparisons; models run on the device
    """

    name: str
    mesascope: str
    expected: str
    source: str
    compare: Callable[[torch.device], Iterable[Agreement]]


def same(mesascope: Numbers, expected: Numbers) -> Agreement:
    """Two values of the same numbers: the largest difference, relative to the largest number that is expected."""
    ours, theirs = _array(mesascope), _array(expected)
    if ours.shape != theirs.shape:
        raise ValueError(f"numbers of shape {list(ours.shape)}; expected {list(theirs.shape)}")
    return Agreement(float(np.abs(ours - theirs).max() / np.abs(theirs).max()))


def same_mean(drawn: Tensor, expected: float) -> Agreement:
    """A mean over drawn tasks, and what it is the mean of."""
    values = _array(drawn)
    allowed = STANDARD_ERRORS * float(values.std(ddof=1)) / len(values) ** 0.5
    return Agreement(abs(float(values.mean()) - expected), allowed, len(values))


def _array(values: Numbers) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values, dtype=np.float64)
