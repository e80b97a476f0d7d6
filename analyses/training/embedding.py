"""A transformer whose attention is one step of gradient descent on what its embedding gives, written down."""

from __future__ import annotations

import torch
from torch import Tensor

from ...models.constructed.gradient_descent import gd_transformer
from .recipe_kinds import EmbeddingRecipe

EMBEDDING = ("W_E", "embed_W_in", "embed_b_in", "embed_W_out", "embed_b_out")
"""What learns."""


def initial_embedding(recipe: EmbeddingRecipe, rng: torch.Generator) -> dict[str, Tensor]:
    """All parameters, in float64. The label is the last number of what the embedding gives, and all others are x."""
    config = recipe.config
    d_embed, d_out = config.d_model, config.d_out
    written = gd_transformer(recipe.family.n_context, recipe.rate, d_embed - d_out, d_out)
    found = {name: weight.detach() for name, weight in written.named_parameters()}
    for name in EMBEDDING:
        shape = config.shapes[name]
        variance = recipe.init_scale / (d_embed if name == "embed_W_out" else 1)
        weight = torch.zeros(shape, dtype=torch.float64)
        found[name] = weight if "_b_" in name else weight.normal_(0, variance**0.5, generator=rng)
    return found
