"""The tasks of the battery: the same teachers, inputs and noise under every strength of every shift.

With x of training, w the teacher and e standard normal,

    x <- c √λ ∘ x,   y = w·x + σ e,   x_q <- c q √λ ∘ x_q,   w <- w + m

where a shift moves one of c, M (how many pairs), σ, λ (the eigenvalues of the covariance), q and m. A user's own tasks
have no known teacher: their x and y are scaled together, and noise is added to what stands there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.batch import Batch, generator, tensors_sha256
from ...data.recipe import Recipe
from ...data.regression import LinearRegression
from ..algorithms.contexts import Contexts
from .names import COVARIANCE, LENGTH, NOISE, PRIOR_MEAN, QUERY, SCALE, SHIFTS, SPECTRUM, Shift

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
ADDED = (0.0, 0.5, 1.0, 2.0)
STRENGTHS = {
    COVARIANCE: (1.0, 4.0, 16.0, 64.0),
    SPECTRUM: (0.0, 0.5, 1.0),
    PRIOR_MEAN: (0.0, 1.0, 2.0, 4.0),
    SCALE: FACTORS,
    QUERY: FACTORS,
}


@dataclass(frozen=True)
class Change:
    """What is not as in training; None: as it is there.

    label_noise, teacher_mean:  in standard deviations of the labels, and of one entry of a teacher
    """

    input_scale: float = 1.0
    n_context: float | None = None
    label_noise: float | None = None
    condition_number: float = 1.0
    eigenvalue_spread: float = 0.0
    query_scale: float = 1.0
    teacher_mean: float = 0.0


UNCHANGED = Change()


@dataclass(frozen=True)
class Tasks:
    """contexts: with their queries; targets: the queries' labels."""

    contexts: Contexts
    targets: Float[Tensor, "task d_out"]


class Drawn(ABC):
    """Tasks as they are in training, and how each strength of a shift makes others of them.

    n_context:  N, that of training
    training:   the strength of each shift that changes nothing
    """

    n_context: int
    recipe: Recipe

    @abstractmethod
    def tasks(self, change: Change = UNCHANGED) -> Tasks: ...

    @abstractmethod
    def first(self, n: int) -> Drawn:
        """The first so many tasks."""

    @abstractmethod
    def strengths(self, shift: Shift) -> tuple[float, ...]:
        """Those of a shift, least first; none where these tasks cannot be shifted so."""

    def training(self, shift: Shift) -> float:
        """The strength that changes nothing."""
        return float(self.n_context) if shift == LENGTH else float(getattr(UNCHANGED, shift.axis) or 0.0)

    def changed(self, shift: Shift, strength: float) -> Change:
        """At one strength; at that of training always the same, so that it need not be answered again."""
        return UNCHANGED if strength == self.training(shift) else replace(UNCHANGED, **{shift.axis: strength})

    def _lengths(self, longest: float) -> tuple[float, ...]:
        counts = {max(round(self.n_context * factor), 1) for factor in FACTORS if factor <= longest}
        return tuple(float(count) for count in sorted(counts))


@dataclass(frozen=True)
class FromLaw(Drawn):
    """Of the law of training.

    w, x, query, noise:   at scale 1: teachers, four times N inputs, the query, standard normal noise
    places, exponential:  which eigenvalue of the covariance each coordinate of a task gets; draws from Exp(1)
    direction:            of the mean teacher, of length 1 for each output
    """

    law: LinearRegression
    recipe: Recipe
    w: Float[Tensor, "task d_in d_out"]
    x: Float[Tensor, "task pair d_in"]
    query: Float[Tensor, "task d_in"]
    noise: Float[Tensor, "task pair d_out"]
    places: Int[Tensor, "task d_in"]
    exponential: Float[Tensor, "task d_in"]
    direction: Float[Tensor, "d_in d_out"]

    @classmethod
    def draw(cls, law: LinearRegression, n: int, seed: int) -> FromLaw:
        """Noise of the law stays; labels that it replaces do not."""
        law = replace(law, n_corrupted=0)
        rng = generator(seed, "shifts")
        long = replace(law, n_context=int(FACTORS[-1]) * law.n_context)
        w, x = long.draw(n, rng)
        noise = torch.randn(n, long.n_context, law.d_out, generator=rng, dtype=torch.float64)
        places = torch.rand(n, law.d_in, generator=rng).argsort(dim=1)
        exponential = torch.empty(n, law.d_in, dtype=torch.float64).exponential_(generator=rng)
        direction = torch.randn(law.d_in, law.d_out, generator=rng, dtype=torch.float64)
        scaled = law.scale_inputs(x)
        drawn = cls(
            law, Recipe("", {}, seed, n, ""), w * law.weight_scale, scaled[:, :-1], scaled[:, -1], noise, places,
            exponential, direction / direction.norm(dim=0),
        )  # fmt: skip
        held = {shift.axis: drawn.strengths(shift) for shift in SHIFTS}
        digest = tensors_sha256(drawn.w, drawn.x, drawn.query, drawn.noise, drawn.places, exponential, direction)
        training = {shift.axis: drawn.training(shift) for shift in SHIFTS}
        settings = {**asdict(law), "strengths": held, "training": training}
        recipe = Recipe("shifted-linear-regression", settings, seed, n, digest)
        return replace(drawn, recipe=recipe)

    @property
    def n_context(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] - that of the law
        return self.law.n_context

    def first(self, n: int) -> FromLaw:
        each = ("w", "x", "query", "noise", "places", "exponential")
        return replace(self, **{name: getattr(self, name)[:n] for name in each})

    @property
    def label_sd(self) -> float:
        """Of labels without noise; 1 where all of them are 0."""
        return self.law.weight_scale * sum(self.law.variances) ** 0.5 or 1.0

    def strengths(self, shift: Shift) -> tuple[float, ...]:
        if shift == LENGTH:
            return self._lengths(FACTORS[-1])
        if shift != NOISE:
            return STRENGTHS[shift]
        training = self.training(NOISE)
        return tuple(factor * training for factor in (0.0, *FACTORS[1:])) if training else ADDED

    def training(self, shift: Shift) -> float:
        return self.law.noise / self.label_sd if shift == NOISE else super().training(shift)

    def tasks(self, change: Change = UNCHANGED) -> Tasks:
        n_context = self.n_context if change.n_context is None else int(change.n_context)
        sd = self.law.noise if change.label_noise is None else change.label_noise * self.label_sd
        spread = change.input_scale * self._eigenvalues(change).sqrt()
        x = self.x[:, :n_context] * spread[:, None]
        query = self.query * spread * change.query_scale
        w = self.w + change.teacher_mean * self.law.weight_scale * self.direction
        y = x @ w + sd * self.noise[:, :n_context]
        targets = (query[:, None] @ w)[:, 0]
        return Tasks(Contexts(_tokens(x, y, query), self.law.d_in), targets)

    def _eigenvalues(self, change: Change) -> Float[Tensor, "task d_in"]:
        """Of each task's covariance, relative to that of training; their mean is 1, that of random ones in expectation.

        Those of a condition number are spaced evenly on a logarithmic scale, in an order of the task's own.
        """
        d_in = self.law.d_in
        even = change.condition_number ** -torch.linspace(0, 1, d_in, dtype=torch.float64)
        fixed = (even / even.mean())[self.places]
        return (1 - change.eigenvalue_spread) * fixed + change.eigenvalue_spread * self.exponential


@dataclass(frozen=True)
class FromFile(Drawn):
    """A user's own tasks, with standard normal noise for their context labels."""

    batch: Batch
    d_in: int
    noise: Float[Tensor, "task pair d_out"]

    @classmethod
    def of(cls, batch: Batch, d_in: int, seed: int, part: int) -> FromFile:
        n, tokens, width = batch.inputs.shape
        rng = generator(seed, "shifts", part)
        return cls(batch, d_in, torch.randn(n, tokens - 1, width - d_in, generator=rng, dtype=torch.float64))

    def first(self, n: int) -> FromFile:
        return replace(self, batch=self.batch[:n], noise=self.noise[:n])

    @property
    def n_context(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] - that of the file
        return self.batch.inputs.shape[1] - 1

    @property
    def recipe(self) -> Recipe:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.batch.recipe

    def strengths(self, shift: Shift) -> tuple[float, ...]:
        if shift.of_law:
            return ()
        return {LENGTH: self._lengths(1.0), NOISE: ADDED}.get(shift, FACTORS)

    def tasks(self, change: Change = UNCHANGED) -> Tasks:
        n_context = self.n_context if change.n_context is None else int(change.n_context)
        inputs = change.input_scale * self.batch.inputs.double().cpu()
        query = change.query_scale * inputs[:, -1]
        context = inputs[:, :n_context].clone()
        size = float(self.batch.inputs[:, :-1, self.d_in :].double().square().mean().sqrt())
        context[..., self.d_in :] += (change.label_noise or 0.0) * size * self.noise[:, :n_context]
        targets = change.input_scale * change.query_scale * self.batch.targets.double().cpu()
        return Tasks(Contexts(torch.cat([context, query[:, None]], dim=1), self.d_in), targets)


def _tokens(
    x: Float[Tensor, "task pair d_in"],
    y: Float[Tensor, "task pair d_out"],
    query: Float[Tensor, "task d_in"],
) -> Float[Tensor, "task token feature"]:
    """[x ; y] of every pair, and the query, whose y slot is 0."""
    last = torch.cat([query, torch.zeros_like(y[:, 0])], dim=1)
    return torch.cat([torch.cat([x, y], dim=2), last[:, None]], dim=1)
