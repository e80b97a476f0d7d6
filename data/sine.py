"""In-context regression of sines: the non-linear tasks of von Oswald et al. 2023 (arXiv 2212.07677, section 4).

    u ~ U(0, 1),  amplitude a = low + (high - low) u,  phase = pi u,  y = a sin(x + phase) * weight_scale

One number decides both: in the authors' code amplitude and phase come from one random key. Its amplitudes are .1 to
.5, and its inputs uniform on ±5; the paper's text says amplitudes up to 5, and does not say that phases go along.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import TaskError
from .regression import Draws, LinearRegression, RegressionTasks, Tasks, linear_regression


def regression_tasks(settings: Mapping[str, Any]) -> LinearRegression | SineRegression:
    """The family that these settings, of a record or of Python, belong to: with `amplitudes` its labels are sines."""
    if "amplitudes" not in settings:
        return linear_regression(settings)
    return SineRegression(**{**settings, "amplitudes": tuple(settings["amplitudes"])})


@dataclass(frozen=True)
class SineRegression(RegressionTasks):
    """x ~ U(-input_range/2, input_range/2), y a sine of x.

    amplitudes:  the smallest and the largest
    """

    family: ClassVar[str] = "sine-regression"

    n_context: int = 10
    d_in: int = 1
    d_out: int = 1
    input_range: float = 10.0
    weight_scale: float = 1.0
    amplitudes: tuple[float, float] = (0.1, 0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.d_in, self.d_out) != (1, 1):
            raise TaskError(f"d_in = {self.d_in}, d_out = {self.d_out}; expected 1 and 1: a sine of one number")
        if len(self.amplitudes) != 2 or self.amplitudes[0] > self.amplitudes[1]:
            raise TaskError(f"amplitudes = {list(self.amplitudes)}; expected the smallest and the largest")

    def draw(self, n: int, rng: torch.Generator) -> Draws:
        """u first, then inputs."""
        return torch.rand(n, 1, 1, generator=rng, dtype=torch.float64), self.draw_inputs(n, rng)

    def draw_inputs(self, n: int, rng: torch.Generator) -> Float[Tensor, "task token d_in"]:
        return torch.rand(n, self.n_context + 1, 1, generator=rng, dtype=torch.float64)

    def scale_inputs(self, x: Float[Tensor, "task token d_in"]) -> Float[Tensor, "task token d_in"]:
        return (x - 0.5) * self.input_range

    def assemble(self, drawn: Draws, rng: torch.Generator) -> Tasks:
        u, x = drawn[0], self.scale_inputs(drawn[1])
        y = self.labels(x, u)
        targets = y[:, -1].clone()
        self.corrupt_labels(y[:, :-1], rng)
        y[:, -1] = 0.0
        return torch.cat([x, y], dim=-1), targets

    def labels(self, x: Float[Tensor, "..."], u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Of inputs, by the number that decides a task; whatever the order of their axes."""
        low, high = self.amplitudes
        return self.weight_scale * (low + (high - low) * u) * torch.sin(x + math.pi * u)
