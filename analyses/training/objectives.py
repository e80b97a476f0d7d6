"""What a training starts from and what it makes smaller: initial weights and losses of each kind of recipe.

All of a seed's parameters lie in one row, in the order of its configuration's `shapes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ...data.batch import generator
from ...data.stream import draw_step
from ...models.own.attention_only import AttentionOnlyConfig, AttentionOnlyTransformer
from ...models.own.merged import predict_seeds
from ...models.own.regression_transformer import RegressionConfig, initialise
from .recipes import BaseRecipe, LanguageRecipe, TrainingRecipe

Config = RegressionConfig | AttentionOnlyConfig


def initial(recipe: BaseRecipe, seed: int) -> dict[str, Tensor]:
    """One seed's initial weights by name."""
    rng = generator(seed, "initial weights")
    if isinstance(recipe, TrainingRecipe):
        return dict(initialise(recipe.config, recipe.init_scale, rng).named_parameters())
    return {
        name: torch.full(shape, float(name.endswith("_scale")))
        if name.startswith(("b_", "ln"))
        else torch.randn(shape, generator=rng) * recipe.init_scale
        for name, shape in recipe.config.shapes.items()
    }


def losses_and_gradient(
    recipe: BaseRecipe, weights: Float[Tensor, "seed parameter"], step: int
) -> tuple[Float[Tensor, " seed"], Float[Tensor, "seed parameter"]]:
    """Each seed's loss on the fresh tasks of a step, and its gradient.

    Of a regression, half the squared error; of a language, the cross-entropy of the next token, in nats.
    """
    with torch.enable_grad():
        if isinstance(recipe, LanguageRecipe):
            return _of_next_tokens(recipe, weights, step)
        assert isinstance(recipe, TrainingRecipe)
        return _of_queries(recipe, weights.detach().requires_grad_(), step)


def _of_queries(
    recipe: TrainingRecipe, weights: Float[Tensor, "seed parameter"], step: int
) -> tuple[Float[Tensor, " seed"], Float[Tensor, "seed parameter"]]:
    inputs, targets = draw_step(recipe.family, recipe.batch_size, recipe.seeds, step)
    predictions = predict_seeds(recipe.config, unflatten(recipe.config, weights), inputs.to(weights.device))
    losses = 0.5 * (predictions - targets.to(weights.device)).square().sum(dim=2).mean(dim=1)
    (gradient,) = torch.autograd.grad(losses.sum(), weights)
    return losses.detach(), gradient


def _of_next_tokens(
    recipe: LanguageRecipe, weights: Float[Tensor, "seed parameter"], step: int
) -> tuple[Float[Tensor, " seed"], Float[Tensor, "seed parameter"]]:
    losses, gradients = [], []
    with _one_thread():
        for i, seed in enumerate(recipe.seeds):
            parameters = {name: rows[i] for name, rows in unflatten(recipe.config, weights).items()}
            module = AttentionOnlyTransformer(recipe.config, parameters).requires_grad_()
            tokens = recipe.family.draw(recipe.batch_size, seed, step).to(weights.device)
            logits = rearrange(module(tokens)[:, :-1], "sequence pos d_vocab -> (sequence pos) d_vocab")
            loss = nn.functional.cross_entropy(logits, rearrange(tokens[:, 1:], "sequence pos -> (sequence pos)"))
            named = dict(module.named_parameters())
            gradient = torch.autograd.grad(loss, list(named.values()))
            losses.append(loss.detach())
            gradients.append(flatten(recipe.config, dict(zip(named, gradient, strict=True))))
    return torch.stack(losses), torch.stack(gradients)


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
