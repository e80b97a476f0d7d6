"""What a training starts from and what it makes smaller: initial weights and losses of each kind of recipe.

All of a seed's parameters lie in one row, in the order of its configuration's `shapes`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...data.batch import generator
from ...data.stream import draw_into
from ...models.own.attention_only import AttentionOnlyConfig, AttentionOnlyTransformer
from ...models.own.copy_transformer import CopyConfig
from ...models.own.memory_orders import Order, quickest_order
from ...models.own.regression_config import RegressionConfig
from ...models.own.regression_transformer import initialise
from ...models.own.softmax_layer import SoftmaxLayerConfig, initialise_softmax_layer, layer_scores
from ...models.own.training_pass import TrainingPass, merge, tasks_at_once
from .copying import copy_losses, initial_copy_weights
from .embedding import EMBEDDING, initial_embedding
from .expected_loss import Moments, expected_loss_and_gradient
from .one_layer import Matrices, has_closed_form, loss_and_gradient
from .recipe_kinds import (
    BaseRecipe,
    CopyRecipe,
    EmbeddingRecipe,
    LanguageRecipe,
    PopulationRecipe,
    SoftmaxRecipe,
    TrainingRecipe,
)

Config = RegressionConfig | AttentionOnlyConfig | SoftmaxLayerConfig | CopyConfig
LossesAndGradient = tuple[Float[Tensor, " seed"], Float[Tensor, "seed parameter"]]
Objective = Callable[[int], LossesAndGradient]
OfTasks = Callable[[Float[np.ndarray, "feature token task"], Float[np.ndarray, "d_out task"]], float]
"""One seed's loss; its gradient is written into its row."""


def initial(recipe: BaseRecipe, seed: int) -> dict[str, Tensor]:
    """One seed's initial weights by name."""
    rng = generator(seed, "initial weights")
    if isinstance(recipe, EmbeddingRecipe):
        return initial_embedding(recipe, rng)
    if isinstance(recipe, TrainingRecipe):
        return dict(initialise(recipe.config, recipe.init_scale, rng).named_parameters())
    if isinstance(recipe, PopulationRecipe):
        return dict(initialise(recipe.config, recipe.init_scale, rng).named_parameters()) | _identities(recipe)
    if isinstance(recipe, SoftmaxRecipe):
        return dict(initialise_softmax_layer(recipe.config, recipe.init_scale, rng).named_parameters())
    if isinstance(recipe, CopyRecipe):
        return initial_copy_weights(recipe, seed)
    return {
        name: torch.full(shape, float(name.endswith("_scale")))
        if name.startswith(("b_", "ln"))
        else torch.randn(shape, generator=rng) * recipe.init_scale
        for name, shape in recipe.config.shapes.items()
    }


def _identities(recipe: PopulationRecipe) -> dict[str, Tensor]:
    """The matrices that do not learn. Heads narrower than a token write its last entries, and so its label."""
    n_heads, d_model, d_head = recipe.config.n_heads, recipe.config.d_model, recipe.config.d_head
    into = torch.eye(d_model, dtype=torch.float64)[-d_head:].expand(1, n_heads, -1, -1)
    return {name: into if name == "W_O" else into.mT for name in recipe.fixed}


def objective(recipe: BaseRecipe, weights: Float[Tensor, "seed parameter"]) -> Objective:
    """Each seed's loss on the fresh tasks of a step, and its gradient, as a function of the step.

    Of regressions, half the squared error; of a population, the whole one, of all tasks; of a language, the
    cross-entropy of the next token, in nats; of copies, that of the words. Weights may change in place between calls,
    and a call may overwrite the gradient of the last one.
    """
    if isinstance(recipe, SoftmaxRecipe):
        return partial(_of_documents, recipe, weights)
    if isinstance(recipe, CopyRecipe):
        return partial(_of_copies, recipe, weights)
    if isinstance(recipe, LanguageRecipe):
        return partial(_of_next_tokens, recipe, weights)
    if isinstance(recipe, PopulationRecipe):
        return partial(_of_population, recipe, Moments.of(recipe.family), weights)
    assert isinstance(recipe, TrainingRecipe)
    return _of_queries(recipe, weights)


def _of_queries(recipe: TrainingRecipe, weights: Float[Tensor, "seed parameter"]) -> Objective:
    """A thread takes one seed after the other, so that its tasks are still in the cache when its gradient is formed.

    As many seeds at once as torch has threads. None shares a sum with another, so how many there are changes nothing.
    """
    _keep_freed_memory()
    gradient = torch.empty_like(weights)
    in_closed_form = has_closed_form(recipe.config) and weights.device.type == "cpu"
    of_seeds = (_closed_forms if in_closed_form else _passes)(recipe, weights, gradient)
    memory = _TaskMemory(recipe)
    n_threads = min(torch.get_num_threads(), len(of_seeds))
    threads = ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) if n_threads > 1 else None

    def of_seed(step: int, seed: int, of_tasks: OfTasks) -> float:
        with np.errstate(all="ignore"):  # the loss tells what is not finite
            return of_tasks(*memory.drawn(seed, step))

    def of_step(step: int) -> LossesAndGradient:
        with _one_thread():
            losses = (threads.map if threads else map)(partial(of_seed, step), recipe.seeds, of_seeds)
            return torch.tensor(list(losses), dtype=weights.dtype), gradient

    return of_step


def _keep_freed_memory() -> None:
    """Make a step find the memory that the last one has freed; fresh pages would cost it a fifth of its time.

    glibc returns what is free to the system from twice the largest block on that was freed so far, up to 32 MiB.
    """
    np.empty(31 << 20, dtype=np.uint8)


class _TaskMemory(threading.local):
    """Where a thread's tasks lie, one step's after the other's."""

    def __init__(self, recipe: TrainingRecipe) -> None:
        tasks, n = recipe.family, recipe.batch_size
        self.recipe = recipe
        self.tokens = np.empty((tasks.d_in + tasks.d_out, tasks.n_context + 1, n), dtype=np.float32)
        self.targets = np.empty((tasks.d_out, n), dtype=np.float32)

    def drawn(
        self, seed: int, step: int
    ) -> tuple[Float[np.ndarray, "feature token task"], Float[np.ndarray, "d_out task"]]:
        draw_into(self.tokens, self.targets, self.recipe.family, seed, self.recipe.tasks_of(step))
        return self.tokens, self.targets


def _closed_forms(
    recipe: TrainingRecipe, weights: Float[Tensor, "seed parameter"], gradient: Float[Tensor, "seed parameter"]
) -> list[OfTasks]:
    config = recipe.config
    pairs = zip(_matrices(config, weights), _matrices(config, gradient), strict=True)
    return [partial(loss_and_gradient, config, *pair) for pair in pairs]


def _passes(
    recipe: TrainingRecipe, weights: Float[Tensor, "seed parameter"], gradient: Float[Tensor, "seed parameter"]
) -> list[OfTasks]:
    order = quickest_order(recipe.config, weights.device)
    return [partial(_of_pass, recipe, order, *pair) for pair in zip(weights, gradient, strict=True)]


@torch.enable_grad()
def _of_pass(
    recipe: TrainingRecipe,
    order: Order,
    weights: Float[Tensor, " parameter"],
    gradient: Float[Tensor, " parameter"],
    tokens: Float[np.ndarray, "feature token task"],
    targets: Float[np.ndarray, "d_out task"],
) -> float:
    """By autograd, some tasks at a time: first to the merged weights, and from there, once, to the parameters."""
    config, leaf = recipe.config, weights.detach().requires_grad_()
    learned = EMBEDDING if isinstance(recipe, EmbeddingRecipe) else config.shapes  # what is written does not learn
    named = {name: rows[0] for name, rows in unflatten(config, leaf[None]).items()}
    merged = merge(config, {name: weight if name in learned else weight.detach() for name, weight in named.items()})
    held = {name: weight.detach().requires_grad_(weight.requires_grad) for name, weight in merged.items()}
    forward, size = TrainingPass(config, held, order), tasks_at_once(config, recipe.family.n_context)
    loss = 0.0
    parts = zip(*(torch.from_numpy(x).to(leaf.device).split(size, dim=-1) for x in (tokens, targets)), strict=True)
    for some_tokens, some_targets in parts:
        error = forward.predict(some_tokens) - some_targets
        part = error.square().sum() / (2 * targets.shape[1])
        part.backward()
        loss += part.item()
    moved = [name for name, weight in held.items() if weight.requires_grad]
    (of_leaf,) = torch.autograd.grad([merged[name] for name in moved], leaf, [held[name].grad for name in moved])
    gradient.copy_(of_leaf)
    return loss


def _matrices(config: RegressionConfig, rows: Float[Tensor, "seed parameter"]) -> list[Matrices]:
    """Each seed's matrices, in the memory of `rows`."""
    named = {name: matrices.detach().numpy() for name, matrices in unflatten(config, rows).items()}
    return [{name: matrices[i, 0] for name, matrices in named.items()} for i in range(len(rows))]


def _of_population(
    recipe: PopulationRecipe, moments: Moments, weights: Float[Tensor, "seed parameter"], step: int
) -> LossesAndGradient:
    """The same at every step: nothing is drawn."""
    named = {name: rows[:, 0].double().cpu().numpy() for name, rows in unflatten(recipe.config, weights).items()}
    with np.errstate(all="ignore"):  # the loss tells what is not finite
        losses, gradient = expected_loss_and_gradient(recipe.config, moments, named)
    for name in recipe.fixed:
        gradient[name][:] = 0.0
    rows = np.concatenate([gradient[name].reshape(len(losses), -1) for name in recipe.config.shapes], axis=1)
    return torch.from_numpy(losses).to(weights), torch.from_numpy(rows).to(weights)


@torch.enable_grad()
def _of_documents(recipe: SoftmaxRecipe, weights: Float[Tensor, "seed parameter"], step: int) -> LossesAndGradient:
    with _one_thread():
        draws = (generator(seed, "training tasks", step) for seed in recipe.seeds)
        tasks = (recipe.family.draw(recipe.batch_size, rng, torch.float32) for rng in draws)
        A, b = (torch.stack(parts).to(weights.device) for parts in zip(*tasks, strict=True))
        weights = weights.detach().requires_grad_()
        named = unflatten(recipe.config, weights)
        predictions = layer_scores(recipe.config, named["W_KQ"], named["w_V"], A, b).softmax(dim=-1)
        losses = 0.5 * (predictions - b).square().sum(dim=2).mean(dim=1)
        (gradient,) = torch.autograd.grad(losses.sum(), weights)
    return losses.detach(), gradient


@torch.enable_grad()
def _of_next_tokens(recipe: LanguageRecipe, weights: Float[Tensor, "seed parameter"], step: int) -> LossesAndGradient:
    losses, gradients = [], []
    with _one_thread():
        for i, seed in enumerate(recipe.seeds):
            parameters = {name: rows[i] for name, rows in unflatten(recipe.config, weights).items()}
            module = AttentionOnlyTransformer(recipe.config, parameters).requires_grad_()
            tokens = recipe.family.draw(recipe.batch_size, seed, step).to(weights.device)
            logits = rearrange(module(tokens)[:, :-1], "sequence pos d_vocab -> (sequence pos) d_vocab")
            asked = _asked(recipe, tokens)[:, 1:]
            loss = nn.functional.cross_entropy(logits, rearrange(asked, "sequence pos -> (sequence pos)"))
            named = dict(module.named_parameters())
            gradient = torch.autograd.grad(loss, list(named.values()))
            losses.append(loss.detach())
            gradients.append(flatten(recipe.config, dict(zip(named, gradient, strict=True))))
    return torch.stack(losses), torch.stack(gradients)


def _asked(recipe: LanguageRecipe, tokens: Int[Tensor, "sequence pos"]) -> Int[Tensor, "sequence pos"]:
    """The tokens, with -100, which the cross-entropy leaves out, where the family does not ask for them."""
    targets = getattr(recipe.family, "targets", None)
    return tokens if targets is None else tokens.masked_fill(~targets(tokens), -100)


@torch.enable_grad()
def _of_copies(recipe: CopyRecipe, weights: Float[Tensor, "seed parameter"], step: int) -> LossesAndGradient:
    with _one_thread():
        weights = weights.detach().requires_grad_()
        losses = copy_losses(recipe, unflatten(recipe.config, weights), step)
        (gradient,) = torch.autograd.grad(losses.sum(), weights)
    return losses.detach(), gradient


@contextmanager
def _one_thread() -> Iterator[None]:
    """Threads that share a sum change its last bits, and so every weight: on one, the number of cores is no matter."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def flatten(config: Config, named: Mapping[str, Tensor]) -> Float[Tensor, " parameter"]:
    """Named parameters as one row in float32."""
    return torch.cat([named[name].detach().flatten() for name in config.shapes]).float()


def unflatten(config: Config, rows: Float[Tensor, "seed parameter"]) -> dict[str, Float[Tensor, "seed ..."]]:
    """Rows as named parameters with a leading seed dimension."""
    shapes = {name: torch.Size(shape) for name, shape in config.shapes.items()}
    parts = rows.split([shape.numel() for shape in shapes.values()], dim=1)
    return {name: part.reshape(len(rows), *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
