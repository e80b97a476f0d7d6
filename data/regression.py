"""In-context linear regression: the tasks of von Oswald et al. 2023 (arXiv 2212.07677, section 4 and appendix A).

Each task draws its own teacher w. A token is [x ; y]; the last token is the query, whose y slot is 0.
The paper's text says x ~ U(-1, 1); its code, its loss levels and its figures use U(-1/2, 1/2), as here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from .batch import Batch, generator, tensors_sha256
from .errors import TaskError
from .recipe import Recipe


@dataclass(frozen=True)
class RegressionTasks(ABC):
    """A family of linear regression tasks. Its fields are recorded in the recipe.

    n_context:     labelled pairs in the context, N
    d_in:          width of x
    d_out:         width of y
    input_range:   scale of x; each family defines what it scales
    weight_scale:  teachers are w ~ N(0, 1) * weight_scale
    """

    family: ClassVar[str]

    n_context: int = 10
    d_in: int = 10
    d_out: int = 1
    input_range: float = 1.0
    weight_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("n_context", "d_in", "d_out"):
            if getattr(self, name) < 1:
                raise TaskError(f"{name} = {getattr(self, name)}; expected at least 1")
        for name, value in vars(self).items():
            if not math.isfinite(value):
                raise TaskError(f"{name} = {value}; expected a finite number")

    @abstractmethod
    def draw_inputs(self, n: int, rng: torch.Generator) -> Float[Tensor, "task token d_in"]:
        """x of the N context pairs and, last, of the query; float64."""

    def corrupt_labels(self, y: Float[Tensor, "task token d_out"], rng: torch.Generator) -> None:  # noqa: B027
        """Change context labels in place. The default leaves the teacher's labels unchanged."""

    def sample(self, n: int, seed: int) -> Batch:
        """`n` tasks in float64 on the CPU. The same `seed` gives the same tasks on every device.

        inputs  [task, n_context + 1, d_in + d_out], targets [task, d_out] (the query's true label).
        """
        if n < 1:
            raise TaskError(f"n = {n} tasks; expected at least 1")
        inputs, targets = self.assemble(n, generator(seed, "regression"))
        recipe = Recipe(self.family, asdict(self), seed, n, tensors_sha256(inputs, targets))
        return Batch(inputs, targets, recipe)

    def assemble(
        self, n: int, rng: torch.Generator
    ) -> tuple[Float[Tensor, "task token feature"], Float[Tensor, "task d_out"]]:
        """Tokens and query labels from one generator: teachers first, then inputs, then corruption."""
        w = torch.randn(n, self.d_in, self.d_out, generator=rng, dtype=torch.float64) * self.weight_scale
        x = self.draw_inputs(n, rng)
        y = x @ w
        targets = y[:, -1].clone()
        self.corrupt_labels(y[:, :-1], rng)
        y[:, -1] = 0.0
        return torch.cat([x, y], dim=-1), targets


@dataclass(frozen=True)
class LinearRegression(RegressionTasks):
    """x ~ U(-input_range/2, input_range/2), y = x.w (+ noise).

    noise:        standard deviation of N(0, noise²) added to every context label
    n_corrupted:  number of context labels, at random places, replaced by N(0, 1) draws (the paper's noisy-data test)
    """

    family: ClassVar[str] = "linear-regression"

    noise: float = 0.0
    n_corrupted: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.n_corrupted <= self.n_context:
            raise TaskError(f"n_corrupted = {self.n_corrupted}; expected 0 to n_context = {self.n_context}")

    def draw_inputs(self, n: int, rng: torch.Generator) -> Float[Tensor, "task token d_in"]:
        x = torch.rand(n, self.n_context + 1, self.d_in, generator=rng, dtype=torch.float64)
        return (x - 0.5) * self.input_range

    def corrupt_labels(self, y: Float[Tensor, "task token d_out"], rng: torch.Generator) -> None:
        if self.noise:
            y += self.noise * torch.randn(y.shape, generator=rng, dtype=y.dtype)
        if self.n_corrupted:
            places = torch.rand(y.shape[:2], generator=rng, dtype=y.dtype).argsort(dim=1)[:, : self.n_corrupted]
            wrong = torch.randn(len(y), self.n_corrupted, y.shape[2], generator=rng, dtype=y.dtype)
            y.scatter_(1, places[..., None].expand_as(wrong), wrong)


@dataclass(frozen=True)
class OtherDistributions(RegressionTasks):
    """Other input distributions: each task is exponential, normal or Laplace with probability 1/3.

    The context's x are divided by their Frobenius norm and scaled by `input_range`; the query's x by the same factor
    (the authors divide the query by the *context's* norm). The paper's docstring says Poisson; its code is Laplace.
    """

    family: ClassVar[str] = "other-distributions"

    def draw_inputs(self, n: int, rng: torch.Generator) -> Float[Tensor, "task token d_in"]:
        shape = (n, self.n_context + 1, self.d_in)
        exponential = torch.empty(shape, dtype=torch.float64).exponential_(generator=rng)
        normal = torch.randn(shape, generator=rng, dtype=torch.float64)
        sign = torch.randint(0, 2, shape, generator=rng).to(torch.float64) * 2 - 1
        law = torch.randint(0, 3, (n, 1, 1), generator=rng)
        # a Laplace draw is an exponential one with a random sign
        x = torch.where(law == 0, exponential, torch.where(law == 1, normal, exponential * sign))
        return x * (self.input_range / torch.linalg.vector_norm(x[:, :-1], dim=(1, 2), keepdim=True))
