"""Copy models before training, and what a training of them makes smaller: several seeds in one pass."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ...data.batch import generator
from ...models.own.copy_transformer import copy_logits
from .recipe_kinds import CopyRecipe

_ROWS = ("W_E", "W_pos", "W_query")
_ATTENTION_ALONE = ("W_query", "W_Q", "W_K")
"""What only attention reads; beta depends on all other weights."""


def initial_copy_weights(recipe: CopyRecipe, seed: int) -> dict[str, Tensor]:
    """One seed's initial weights in float32; `CopyRecipe` says how they are distributed.

    What only attention reads is drawn last: a model with uniform attention starts from the same other weights. The name
    of the stream of random numbers was chosen so that the two shipped seeds show both outcomes: within its steps
    `copy-permutations-1head` fails from seed 0 and learns from seed 1.
    """
    rng, drawn = generator(seed, "weights at step 0"), {}
    for name, shape in recipe.config.shapes.items():
        if name in _ROWS:
            scale = 1 / math.sqrt(recipe.config.d_model) if recipe.initialisation == "gaussian" else 1.0
            weight = torch.randn(shape, generator=rng)
        else:
            scale = 1 / math.sqrt(shape[-2])
            uniform = recipe.initialisation == "linear"
            weight = 2 * torch.rand(shape, generator=rng) - 1 if uniform else torch.randn(shape, generator=rng)
        drawn[name] = recipe.init_scale * scale * weight
    return drawn


def copy_losses(
    recipe: CopyRecipe, weights: Mapping[str, Float[Tensor, "seed ..."]], step: int
) -> Float[Tensor, " seed"]:
    """Each seed's cross-entropy of the words of a step's fresh sources, in nats a target place.

    Weights that the recipe does not train have a gradient of 0.
    """
    if recipe.frozen_beta:
        weights = {name: w if name in _ATTENTION_ALONE else w.detach() for name, w in weights.items()}
    W_E = weights["W_E"]
    tokens = torch.stack([recipe.family.draw(recipe.batch_size, seed, step) for seed in recipe.seeds]).to(W_E.device)
    each = torch.arange(len(W_E), device=W_E.device)[:, None, None]
    logits = copy_logits(recipe.config, weights, W_E[each, tokens])
    losses = nn.functional.cross_entropy(
        rearrange(logits, "seed sequence target d_vocab -> seed d_vocab (sequence target)"),
        rearrange(tokens, "seed sequence target -> seed (sequence target)"),
        reduction="none",
    )
    return losses.mean(dim=1)
