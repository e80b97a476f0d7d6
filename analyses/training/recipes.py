"""Training recipes: everything that decides a training's weights, as plain values, so that listing them needs no torch.

The settings of the linear regressions are those of von Oswald et al. 2023 (arXiv 2212.07677), read in their notebooks
where text and code disagree: clip at 0.001 (the text says 10), Adam's b2 0.98 (the text says default parameters). Those
of `lsa-causal-layernorm`, which is no model of theirs, are ours. So are those of softmax regression: Li et al. 2023
(arXiv 2304.13276) print none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ...data.errors import UsageError, nearest

if TYPE_CHECKING:
    from ...data.grammar import Grammar
    from ...data.regression import LinearRegression
    from ...data.segments import RepeatedSegments
    from ...data.softmax_regression import SoftmaxRegression
    from ...models.own.attention_only import AttentionOnlyConfig
    from ...models.own.regression_transformer import RegressionConfig
    from ...models.own.softmax_layer import SoftmaxLayerConfig


@dataclass(frozen=True)
class BaseRecipe(ABC):
    """What the recipes of every kind of model have.

    name:              what its checkpoints are called
    summary:           what it trains, in a line
    model:             settings of the model; the widths that the tasks decide are theirs
    tasks:             settings of the tasks; every step draws fresh ones
    checkpoint_steps:  steps whose weights are kept, before that step's update; the last is the end of the training
    init_scale:        of the initial weights
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
            raise UsageError(
                f"checkpoint_steps = {list(steps)}: expected increasing steps, at least one, all 0 or more"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise UsageError(f"seeds = {list(self.seeds)}: expected different seeds, at least one, all 0 or more")
        if self.batch_size < 1:
            raise UsageError(f"batch_size = {self.batch_size}: expected at least 1")
        for name in ("init_scale", "learning_rate", "eps", "clip_norm"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} = {getattr(self, name)}: expected a positive number")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)}: expected 0 or more, and less than 1")

    def __str__(self) -> str:
        return self.summary

    @property
    def steps(self) -> int:
        """How many updates the training makes."""
        return self.checkpoint_steps[-1]

    @cached_property
    @abstractmethod
    def family(self) -> Any:
        """The tasks as a family."""

    @cached_property
    @abstractmethod
    def config(self) -> Any:
        """The model's configuration."""

    @property
    def vocabulary(self) -> dict[str, Any]:
        """What a language model's file says of its tokens: which one sequences begin with, and what each one says."""
        return {}

    def as_dict(self) -> dict[str, Any]:
        """Every setting that decides the weights, defaults of model and tasks included."""
        full = {"model": self.config.as_dict(), "tasks": {**self.tasks, **asdict(self.family)}}
        lists = {"seeds": list(self.seeds), "checkpoint_steps": list(self.checkpoint_steps)}
        settings = {**asdict(self), **full, **lists}
        del settings["summary"]
        return settings


@dataclass(frozen=True)
class TrainingRecipe(BaseRecipe):
    """A training of an in-context regression transformer, several seeds of it.

    model:       settings of `models.RegressionConfig`
    tasks:       settings of `data.LinearRegression`
    init_scale:  variance scale of the initial weights (the authors': 0.002 / n_layers)
    """

    @cached_property
    def family(self) -> LinearRegression:
        from ...data.regression import LinearRegression

        return LinearRegression(**self.tasks)

    @cached_property
    def config(self) -> RegressionConfig:
        """Heads are as wide as tokens unless the recipe says otherwise."""
        from ...models.own.regression_transformer import RegressionConfig

        d_in, d_out = self.family.d_in, self.family.d_out
        return RegressionConfig.from_dict({"d_in": d_in, "d_out": d_out, "d_head": d_in + d_out, **self.model})


@dataclass(frozen=True)
class SoftmaxRecipe(BaseRecipe):
    """A training of one softmax layer on softmax regression; the loss is half the squared error of a task's b.

    model:       settings of `models.SoftmaxLayerConfig`; its output scale decides what is learned
    tasks:       settings of `data.SoftmaxRegression`
    init_scale:  standard deviation of the initial weights
    """

    batch_size: int = 256
    init_scale: float = 0.02
    learning_rate: float = 3e-3
    b2: float = 0.999
    clip_norm: float = 1.0

    @cached_property
    def family(self) -> SoftmaxRegression:
        from ...data.softmax_regression import SoftmaxRegression

        return SoftmaxRegression(**self.tasks)

    @cached_property
    def config(self) -> SoftmaxLayerConfig:
        from ...models.own.softmax_layer import SoftmaxLayerConfig

        return SoftmaxLayerConfig.from_dict({"d_in": self.family.d_in, **self.model})


LANGUAGES: Mapping[str, str] = {
    "grammar": "mesascope.data.grammar:Grammar",
    "repeated-segments": "mesascope.data.segments:RepeatedSegments",
}
"""Families of training sequences by name, `"module:class"`."""


@dataclass(frozen=True)
class LanguageRecipe(BaseRecipe):
    """A training of an `AttentionOnlyTransformer` on the next token of fresh sequences; the loss is in nats a token.

    model:       settings of `models.AttentionOnlyConfig`
    tasks:       the sequences: "family", a name in `LANGUAGES`, and its settings
    init_scale:  standard deviation of the initial weights; biases start at 0, norms' scales at 1
    """

    seeds: tuple[int, ...] = (0,)
    batch_size: int = 32
    init_scale: float = 0.1
    learning_rate: float = 3e-3
    clip_norm: float = 1.0

    @cached_property
    def family(self) -> RepeatedSegments | Grammar:
        settings = dict(self.tasks)
        name = settings.pop("family", None)
        if name not in LANGUAGES:
            raise UsageError(f"tasks: family {name!r} is not known; {nearest(str(name), LANGUAGES)}")
        module, _, kind = LANGUAGES[name].partition(":")
        family = getattr(import_module(module), kind)
        known = [field.name for field in fields(family)]
        if strangers := sorted(set(settings) - set(known)):
            raise UsageError(f"tasks: {strangers[0]!r} is not a setting of {name}; {nearest(strangers[0], known)}")
        return family(**settings)

    @cached_property
    def config(self) -> AttentionOnlyConfig:
        from ...models.own.attention_only import AttentionOnlyConfig

        return AttentionOnlyConfig.from_dict(
            {"d_vocab": self.family.d_vocab, "n_ctx": self.family.length, **self.model}
        )

    @property
    def vocabulary(self) -> dict[str, Any]:
        return {"bos": self.family.bos, "words": getattr(self.family, "words", None)}


def _table(*recipes: BaseRecipe) -> dict[str, BaseRecipe]:
    return {recipe.name: recipe for recipe in recipes}


_SMALL_ATTENTION = {"d_model": 64, "n_heads": 4, "d_head": 16, "positions": "rotary"}
_ALONG_INDUCTION = (0, 500, 1000, 1300, 1400, 1450, 1500, 1600, 2000, 4000)
_STEPS_5000 = (0, 100, 200, 300, 400, 500, 750, 1000, 1250, 1500, 2000, 2500, 3000, 4000, 5000)
_STEPS_3000 = (0, 100, 300, 1000, 3000)

RECIPES: Mapping[str, BaseRecipe] = _table(
    TrainingRecipe(
        name="lsa-1layer",
        summary="one layer of linear self-attention on linear regression",
        model={"n_layers": 1},
        checkpoint_steps=_STEPS_5000,
    ),
    TrainingRecipe(
        name="lsa-2layer-recurrent",
        summary="one layer of linear self-attention, applied twice, on linear regression",
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
    TrainingRecipe(
        name="lsa-causal-layernorm",
        summary="four layers of causal linear self-attention with layer norms, each with its own weights",
        model={"n_layers": 4, "tied": False, "causal": True, "layer_norm": True},
        checkpoint_steps=(0, 100, 250, 1000, 6000),
        seeds=(0, 1, 2),
        batch_size=256,
        init_scale=0.1,
        learning_rate=3e-3,
        clip_norm=1.0,
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
    *(
        SoftmaxRecipe(
            name=f"softmax-attention-1layer{suffix}",
            summary=f"one softmax layer on softmax regression, output scale {scale:g}",
            model={"output_scale": scale},
            checkpoint_steps=steps,
        )
        for suffix, scale, steps in (
            ("", 1.0, (0, 100, 300, 600, 1000, 2000, 3000, 5000)),
            ("-c4", 4.0, _STEPS_3000),
            ("-c16", 16.0, _STEPS_3000),
        )
    ),
    LanguageRecipe(
        name="induction-2layer",
        summary="two layers of attention on repeated random segments; learns induction heads",
        model={"n_layers": 2, **_SMALL_ATTENTION},
        tasks={"family": "repeated-segments"},
        checkpoint_steps=_ALONG_INDUCTION,
    ),
    LanguageRecipe(
        name="induction-1layer",
        summary="one layer of attention on repeated random segments; cannot have induction heads",
        model={"n_layers": 1, **_SMALL_ATTENTION},
        tasks={"family": "repeated-segments"},
        checkpoint_steps=_ALONG_INDUCTION,
    ),
    LanguageRecipe(
        name="tiny-grammar",
        summary="three layers with MLPs on text from a probabilistic grammar of English with known entropy",
        model={"n_layers": 3, "d_model": 64, "n_heads": 4, "d_head": 16, "d_mlp": 256},
        tasks={"family": "grammar"},
        checkpoint_steps=(0, 100, 300, 800, 2000, 4000),
        learning_rate=1e-3,
    ),
)
"""The recipes by name. Those in `SHIPPED` ship, in `data/checkpoints/` under the same names."""
SHIPPED = (
    "lsa-1layer",
    "lsa-2layer-recurrent",
    "lsa-causal-layernorm",
    "softmax-attention-1layer",
    "softmax-attention-1layer-c4",
    "softmax-attention-1layer-c16",
    "induction-2layer",
    "induction-1layer",
    "tiny-grammar",
)
