"""In-context linear regression: the tasks of von Oswald et al. 2023 (arXiv 2212.07677, section 4 and appendix A), and
those with Gaussian inputs, for which theories of training have closed forms.

Each task draws its own teacher w. A token is [x ; y]; the last token is the query, whose y slot is 0.
The paper's text says x ~ U(-1, 1); its code, its loss levels and its figures use U(-1/2, 1/2), as here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from .batch import Batch, generator, tensors_sha256
from .errors import TaskError
from .recipe import Recipe

Draws = tuple[Float[Tensor, "task d_in d_out"], Float[Tensor, "task token d_in"]]
"""Teachers and inputs at scale 1."""
Tasks = tuple[Float[Tensor, "task token feature"], Float[Tensor, "task d_out"]]
"""Tokens, and the query's labels."""


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
            if not all(map(math.isfinite, value if isinstance(value, tuple) else (value,))):
                raise TaskError(f"{name} = {value}; expected a finite number")

    @abstractmethod
    def draw_inputs(self, n: int, rng: torch.Generator) -> Float[Tensor, "task token d_in"]:
        """x of the N context pairs and, last, of the query, before they are scaled; float64."""

    @abstractmethod
    def scale_inputs(self, x: Float[Tensor, "task token d_in"]) -> Float[Tensor, "task token d_in"]:
        """Inputs that were drawn, at `input_range`."""

    def corrupt_labels(self, y: Float[Tensor, "task token d_out"], rng: torch.Generator) -> None:  # noqa: B027
        """Change context labels in place. The default leaves the teacher's labels unchanged."""

    def sample(self, n: int, seed: int) -> Batch:
        """`n` tasks in float64 on the CPU. The same `seed` gives the same tasks on every device.

        inputs  [task, n_context + 1, d_in + d_out], targets [task, d_out] (the query's true label).
        """
        inputs, targets = next(sample_alike([self], n, seed))
        recipe = Recipe(self.family, asdict(self), seed, n, tensors_sha256(inputs, targets))
        return Batch(inputs, targets, recipe)

    def draw(self, n: int, rng: torch.Generator) -> Draws:
        """Teachers first, then inputs."""
        w = torch.randn(n, self.d_in, self.d_out, generator=rng, dtype=torch.float64)
        return w, self.draw_inputs(n, rng)

    def assemble(self, drawn: Draws, rng: torch.Generator) -> Tasks:
        """Tokens and query labels. Corruption is drawn last."""
        w, x = drawn[0] * self.weight_scale, self.scale_inputs(drawn[1])
        y = x @ w
        targets = y[:, -1].clone()
        self.corrupt_labels(y[:, :-1], rng)
        y[:, -1] = 0.0
        return torch.cat([x, y], dim=-1), targets


def sample_alike(families: Sequence[RegressionTasks], n: int, seed: int) -> Iterator[Tasks]:
    """What each of these families samples with one seed. They differ in scales or in corruption only: teachers and
    inputs are drawn once.
    """
    if n < 1:
        raise TaskError(f"n = {n} tasks; expected at least 1")
    rng = generator(seed, "regression")
    drawn = families[0].draw(n, rng)
    state = rng.get_state()
    for family in families:
        rng.set_state(state)
        yield family.assemble(drawn, rng)


@dataclass(frozen=True)
class LinearRegression(RegressionTasks):
    """x ~ U(-input_range/2, input_range/2), y = x.w (+ noise).

    noise:        standard deviation of N(0, noise²) added to every context label
    n_corrupted:  number of context labels, at random places, replaced by N(0, 1) draws (the paper's noisy-data test)
    """

    family: ClassVar[str] = "linear-regression"
    excess_kurtosis: ClassVar[float] = -1.2
    """Of each coordinate of x."""

    noise: float = 0.0
    n_corrupted: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.n_corrupted <= self.n_context:
            raise TaskError(f"n_corrupted = {self.n_corrupted}; expected 0 to n_context = {self.n_context}")

    def draw_inputs(self, n: int, rng: torch.Generator) -> Float[Tensor, "task token d_in"]:
        return torch.rand(n, self.n_context + 1, self.d_in, generator=rng, dtype=torch.float64)

    def scale_inputs(self, x: Float[Tensor, "task token d_in"]) -> Float[Tensor, "task token d_in"]:
        return (x - 0.5) * self.input_range

    @property
    def variances(self) -> tuple[float, ...]:
        """Of the coordinates of x, which are independent."""
        return (self.input_range**2 / 12,) * self.d_in

    @property
    def corrupts_labels(self) -> bool:
        """Whether `corrupt_labels` changes anything."""
        return bool(self.noise or self.n_corrupted)

    def corrupt_labels(self, y: Float[Tensor, "task token d_out"], rng: torch.Generator) -> None:
        if self.noise:
            y += self.noise * torch.randn(y.shape, generator=rng, dtype=y.dtype)
        if self.n_corrupted:
            places = torch.rand(y.shape[:2], generator=rng, dtype=y.dtype).argsort(dim=1)[:, : self.n_corrupted]
            wrong = torch.randn(len(y), self.n_corrupted, y.shape[2], generator=rng, dtype=y.dtype)
            y.scatter_(1, places[..., None].expand_as(wrong), wrong)


@dataclass(frozen=True)
class GaussianRegression(LinearRegression):
    """x ~ N(0, diag(input_variances)) * input_range, y = x.w (+ noise).

    input_variances:  one for each coordinate of x
    """

    family: ClassVar[str] = "gaussian-regression"
    excess_kurtosis: ClassVar[float] = 0.0

    input_variances: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.input_variances) != self.d_in or min(self.input_variances) < 0:
            raise TaskError(
                f"input_variances = {list(self.input_variances)}; expected d_in = {self.d_in} numbers, none below 0"
            )

    def draw_inputs(self, n: int, rng: torch.Generator) -> Float[Tensor, "task token d_in"]:
        return torch.randn(n, self.n_context + 1, self.d_in, generator=rng, dtype=torch.float64)

    def scale_inputs(self, x: Float[Tensor, "task token d_in"]) -> Float[Tensor, "task token d_in"]:
        return x * torch.tensor(self.variances, dtype=x.dtype).sqrt()

    @property
    def variances(self) -> tuple[float, ...]:
        return tuple(self.input_range**2 * variance for variance in self.input_variances)


def linear_regression(settings: Mapping[str, Any]) -> LinearRegression:
    """The family that these settings, of a record or of Python, belong to: with `input_variances` it is Gaussian."""
    if "input_variances" not in settings:
        return LinearRegression(**settings)
    return GaussianRegression(**{**settings, "input_variances": tuple(settings["input_variances"])})


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
        return torch.where(law == 0, exponential, torch.where(law == 1, normal, exponential * sign))

    def scale_inputs(self, x: Float[Tensor, "task token d_in"]) -> Float[Tensor, "task token d_in"]:
        return x * (self.input_range / torch.linalg.vector_norm(x[:, :-1], dim=(1, 2), keepdim=True))
