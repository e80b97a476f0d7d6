"""Training recipes: everything that decides a training's weights, as plain values, so that listing them needs no torch.

The settings are those of von Oswald et al. 2023 (arXiv 2212.07677), read in their notebooks where text and code
disagree: clip at 0.001 (the text says 10), Adam's b2 0.98 (the text says default parameters).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..data.errors import UsageError

if TYPE_CHECKING:
    from ..data.regression import LinearRegression
    from ..models.regression_transformer import RegressionConfig


@dataclass(frozen=True)
class TrainingRecipe:
    """A training of an in-context regression transformer, several seeds of it.

    name:              what its checkpoints are called
    summary:           what it trains, in a line
    model:             settings of `models.RegressionConfig`; d_in and d_out are the tasks'
    tasks:             settings of `data.LinearRegression`; every step draws fresh tasks
    checkpoint_steps:  steps whose weights are kept, before that step's update; the last is the end of the training
    init_scale:        variance scale of the initial weights (the authors': 0.002 / n_layers)
    clip_norm:         bound on the global norm of each seed's gradient, applied before Adam
    learning_rate, b1, b2, eps:  Adam's, without weight decay or schedule
    """

    name: str
    summary: str
    model: Mapping[str, Any]
    checkpoint_steps: tuple[int, ...]
    tasks: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    batch_size: int = 2048
    init_scale: float = 0.002
    learning_rate: float = 1e-3
    b1: float = 0.9
    b2: float = 0.98
    eps: float = 1e-8
    clip_norm: float = 0.001

    def __post_init__(self) -> None:
        steps = self.checkpoint_steps
        if not steps or steps[0] < 0 or any(a >= b for a, b in pairwise(steps)):
            raise UsageError(f"checkpoint_steps = {list(steps)}: expected rising steps, at least one, none negative")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise UsageError(f"seeds = {list(self.seeds)}: expected different seeds, at least one, none negative")
        if self.batch_size < 1:
            raise UsageError(f"batch_size = {self.batch_size}: expected at least 1")
        for name in ("init_scale", "learning_rate", "eps", "clip_norm"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} = {getattr(self, name)}: expected a positive number")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)}: expected at least 0 and below 1")

    def __str__(self) -> str:
        return self.summary

    @property
    def steps(self) -> int:
        """How many updates the training makes."""
        return self.checkpoint_steps[-1]

    @cached_property
    def family(self) -> LinearRegression:
        """The tasks as a family."""
        from ..data.regression import LinearRegression

        return LinearRegression(**self.tasks)

    @cached_property
    def config(self) -> RegressionConfig:
        """The model's configuration. Heads are as wide as tokens unless the recipe says otherwise."""
        from ..models.regression_transformer import RegressionConfig

        d_in, d_out = self.family.d_in, self.family.d_out
        return RegressionConfig.from_dict({"d_in": d_in, "d_out": d_out, "d_head": d_in + d_out, **self.model})

    def as_dict(self) -> dict[str, Any]:
        """Every setting that decides the weights, defaults of model and tasks included."""
        full = {"model": self.config.as_dict(), "tasks": asdict(self.family)}
        lists = {"seeds": list(self.seeds), "checkpoint_steps": list(self.checkpoint_steps)}
        settings = {**asdict(self), **full, **lists}
        del settings["summary"]
        return settings


def _table(*recipes: TrainingRecipe) -> dict[str, TrainingRecipe]:
    return {recipe.name: recipe for recipe in recipes}


_STEPS_5000 = (0, 100, 200, 300, 400, 500, 750, 1000, 1250, 1500, 2000, 2500, 3000, 4000, 5000)

RECIPES: Mapping[str, TrainingRecipe] = _table(
    TrainingRecipe(
        name="lsa-1layer",
        summary="one layer of linear self-attention on linear regression: one step of gradient descent?",
        model={"n_layers": 1},
        checkpoint_steps=_STEPS_5000,
    ),
    TrainingRecipe(
        name="lsa-2layer-recurrent",
        summary="one layer of linear self-attention applied twice: two steps of GD++?",
        model={"n_layers": 2},
        checkpoint_steps=_STEPS_5000,
        init_scale=0.001,
    ),
    TrainingRecipe(
        name="lsa-5layers",
        summary="five layers of linear self-attention, each with its own weights (50,000 steps: hours)",
        model={"n_layers": 5, "tied": False, "activation_clip": 10.0},
        checkpoint_steps=(0, 1000, 2500, 5000, 10000, 20000, 30000, 40000, 50000),
        init_scale=0.0004,
        learning_rate=5e-4,
        clip_norm=10.0,
    ),
    *(
        TrainingRecipe(
            name=f"softmax-1layer-{n_heads}head{'s' * (n_heads > 1)}",
            summary=f"one layer of softmax self-attention with {n_heads} head{'s' * (n_heads > 1)}",
            model={"n_layers": 1, "n_heads": n_heads, "softmax": True},
            checkpoint_steps=(*_STEPS_5000, 7500, 10000),
        )
        for n_heads in (1, 2)
    ),
)
"""The recipes by name. The first two ship, in `data/checkpoints/` under the same names."""
