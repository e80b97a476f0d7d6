"""Kinds of training recipes: all that decides a training's weights, as plain values, so that listing needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

from ...data.errors import UsageError, nearest

if TYPE_CHECKING:
    from ...data.copying import CopyTask
    from ...data.grammar import Grammar
    from ...data.mapping import LabelMapping
    from ...data.regression import LinearRegression
    from ...data.segments import RepeatedSegments
    from ...data.sine import SineRegression
    from ...data.softmax_regression import SoftmaxRegression
    from ...models.own.attention_only import AttentionOnlyConfig
    from ...models.own.copy_transformer import CopyConfig
    from ...models.own.regression_config import RegressionConfig
    from ...models.own.softmax_layer import SoftmaxLayerConfig


@dataclass(frozen=True)
class BaseRecipe(ABC):
    """What the recipes of every kind of model have.

    name:              what its checkpoints are called
    summary:           what it trains, in a line
    model:             settings of the model; the widths that the tasks decide are theirs
    tasks:             settings of the tasks
    checkpoint_steps:  steps whose weights are kept, before that step's update; the last is the end of the training
    init_scale:        of the initial weights
    learning_rate:     without a schedule
    """

    name: str
    summary: str
    model: Mapping[str, Any]
    checkpoint_steps: tuple[int, ...]
    tasks: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    init_scale: float = 0.002
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        steps = self.checkpoint_steps
        if not steps or steps[0] < 0 or any(a >= b for a, b in pairwise(steps)):
            raise UsageError(
                f"checkpoint_steps = {list(steps)}: expected increasing steps, at least one, all 0 or more"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise UsageError(f"seeds = {list(self.seeds)}: expected different seeds, at least one, all 0 or more")
        self._refuse_unless_positive("init_scale", "learning_rate")

    def _refuse_unless_positive(self, *names: str) -> None:
        for name in names:
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} = {getattr(self, name)}: expected a positive number")

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
        tasks = {**self.tasks, **asdict(self.family)}
        tasks = {name: list(value) if isinstance(value, tuple) else value for name, value in tasks.items()}
        full = {"model": self.config.as_dict(), "tasks": tasks}
        lists = {"seeds": list(self.seeds), "checkpoint_steps": list(self.checkpoint_steps)}
        settings = {**asdict(self), **full, **lists}
        del settings["summary"]
        return settings


@dataclass(frozen=True)
class AdamRecipe(BaseRecipe):
    """A training by Adam, without weight decay, on fresh tasks of every step.

    batch_size:   tasks of a step
    b1, b2, eps:  Adam's
    clip_norm:    bound on the global norm of each seed's gradient, applied before Adam
    """

    batch_size: int = 2048
    b1: float = 0.9
    b2: float = 0.98
    eps: float = 1e-8
    clip_norm: float = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 1:
            raise UsageError(f"batch_size = {self.batch_size}: expected at least 1")
        self._refuse_unless_positive("eps", "clip_norm")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)}: expected 0 or more, and less than 1")


@dataclass(frozen=True)
class RegressionRecipe(BaseRecipe):
    """A training of an in-context regression transformer.

    model:       settings of `models.RegressionConfig`
    tasks:       settings of `data.LinearRegression`, `data.GaussianRegression` or `data.SineRegression`
    init_scale:  variance scale of the initial weights (the authors': 0.002 / n_layers)
    """

    @cached_property
    def family(self) -> LinearRegression | SineRegression:
        from ...data.sine import regression_tasks

        return regression_tasks(self.tasks)

    @cached_property
    def config(self) -> RegressionConfig:
        """Heads are as wide as the residual stream unless the recipe says otherwise."""
        from ...models.own.regression_config import RegressionConfig

        config = RegressionConfig.from_dict({"d_in": self.family.d_in, "d_out": self.family.d_out, **self.model})
        return config if "d_head" in self.model else replace(config, d_head=config.d_model)


@dataclass(frozen=True)
class TrainingRecipe(AdamRecipe, RegressionRecipe):
    """A training of an in-context regression transformer by Adam; the loss is half the squared error of fresh tasks."""

    def tasks_of(self, step: int) -> int:
        """The number of the batch that a step learns from."""
        return step


@dataclass(frozen=True)
class RepeatedTasksRecipe(TrainingRecipe):
    """The same on a few batches that come again and again (the authors' `cycle_data`).

    n_batches:  how many
    """

    n_batches: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_batches < 1:
            raise UsageError(f"n_batches = {self.n_batches}: expected at least 1")

    def tasks_of(self, step: int) -> int:
        return step % self.n_batches


@dataclass(frozen=True)
class EmbeddingRecipe(TrainingRecipe):
    """A training of an embedding alone: attention is written down as one step of gradient descent on what the
    embedding gives, and does not learn (the authors' twin of a model of sines).

    Initial weights are normal: of variance `init_scale` for W_E and the first matrix of its MLP, and `init_scale` over
    the width of the embedding for the second. Biases start at 0.

    rate:  of the step, η
    """

    b2: float = 0.999
    init_scale: float = 0.001
    batch_size: int = 512
    rate: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model.get("d_embed") is None:
            raise UsageError(f"{self.name}: expected a model with an embedding, d_embed")


@dataclass(frozen=True)
class PopulationRecipe(RegressionRecipe):
    """A training of one layer of linear self-attention by plain gradient descent, as theories of training have it
    (Zhang, Singh, Latham & Saxe 2025, arXiv 2501.16265).

    The loss is the mean squared error over all tasks, without a factor 1/2: exact for Gaussian inputs, so nothing is
    drawn but the initial weights. W_O does not learn: its heads write their values into the last entries of a token.

    model:   settings of `models.RegressionConfig`: one layer, without anything that is not linear
    merged:  W_Q does not learn either, and is the identity. So W_K is the product of query and key, of full rank
    """

    learning_rate: float = 0.3
    merged: bool = False

    @property
    def fixed(self) -> tuple[str, ...]:
        """The matrices that are part of an identity and do not learn."""
        return ("W_Q", "W_O") if self.merged else ("W_O",)

    @cached_property
    def family(self) -> LinearRegression:
        from ...data.regression import GaussianRegression

        family = super().family
        if not isinstance(family, GaussianRegression) or family.n_corrupted or family.d_out > 1:
            raise UsageError(
                f"{self.name}: the loss over all tasks is known for Gaussian inputs with one label and none replaced;"
                " expected tasks with input_variances, d_out = 1 and n_corrupted = 0"
            )
        return family

    @cached_property
    def config(self) -> RegressionConfig:
        from .one_layer import has_closed_form

        config = super().config
        if not has_closed_form(config):
            raise UsageError(f"{self.name}: expected a model of one layer of plain linear attention")
        if config.d_head > config.d_model or (self.merged and config.d_head < config.d_model):
            wanted = "exactly" if self.merged else "at most"
            raise UsageError(f"{self.name}: d_head = {config.d_head}; expected {wanted} d_model = {config.d_model}")
        return config


@dataclass(frozen=True)
class SoftmaxRecipe(AdamRecipe):
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
    "label-mapping": "mesascope.data.mapping:LabelMapping",
    "repeated-segments": "mesascope.data.segments:RepeatedSegments",
}
"""Families of training sequences by name, `"module:class"`."""


@dataclass(frozen=True)
class LanguageRecipe(AdamRecipe):
    """A training of an `AttentionOnlyTransformer` on the next token of fresh sequences; the loss is in nats a token.

    Of every token, unless the family has `targets`: then of those that it names.

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
    def family(self) -> RepeatedSegments | Grammar | LabelMapping:
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


Initialisation = Literal["gaussian", "unit", "linear"]


@dataclass(frozen=True)
class CopyRecipe(AdamRecipe):
    """A training of a `CopyTransformer` to say sequences of words again; the loss is in nats a target place.

    model:           settings of `models.CopyConfig`
    tasks:           settings of `data.CopyTask`
    initialisation:  the distribution of the initial weights. "gaussian": N(0, 1 / d_model) for embeddings, positions
                     and queries, N(0, 1 / fan-in) for matrices. "unit": N(0, 1) for the former. "linear": so, and
                     matrices uniform on ± 1 / sqrt(fan-in)
    frozen_beta:     embeddings, positions and W_V, W_O, W_U keep their initial values: what a head reads of each word,
                     and so beta, stays as it is, and only attention learns
    init_scale:      factor on every initial weight
    """

    batch_size: int = 64
    init_scale: float = 1.0
    learning_rate: float = 5e-3
    b2: float = 0.999
    clip_norm: float = 1.0
    initialisation: Initialisation = "gaussian"
    frozen_beta: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        known = get_args(Initialisation)
        if self.initialisation not in known:
            raise UsageError(
                f"initialisation = {self.initialisation!r}: expected {', '.join(known)};"
                f" {nearest(str(self.initialisation), known)}"
            )
        if self.frozen_beta and self.model.get("uniform_attention"):
            raise UsageError(
                "frozen_beta and uniform_attention leave nothing to train: the one fixes all weights but those of"
                " attention, the other has none of those; leave out one of them"
            )

    @cached_property
    def family(self) -> CopyTask:
        from ...data.copying import CopyTask

        return CopyTask(**self.tasks)

    @cached_property
    def config(self) -> CopyConfig:
        from ...models.own.copy_transformer import CopyConfig

        return CopyConfig.from_dict({"d_vocab": self.family.n_words, "n_ctx": self.family.n_tokens, **self.model})
