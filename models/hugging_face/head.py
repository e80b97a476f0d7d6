"""Logits of given states: everything that a model does after its last layer, in its own code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..vocabulary_product import vocabulary_product


def logits_of(
    module: PreTrainedModel, bodies: set[nn.Module], states: Float[Tensor, "batch pos d_model"]
) -> Float[Tensor, "batch pos d_vocab"]:
    """The model's logits as if its layers had ended with these states; differentiable.

    bodies:  the modules that the head may ask for states: the base model, or the owner of the layers (OPT)
    """
    with _ending_with(states, bodies), _product_in_blocks(module.get_output_embeddings()):
        nothing = torch.zeros(states.shape[:2], dtype=torch.long, device=states.device)
        return module(input_ids=nothing, use_cache=False, return_dict=True).logits


class _Output:
    """What a base model returns, with states only; whatever else a head may ask for is None."""

    def __init__(self, states: Tensor) -> None:
        self.last_hidden_state = states

    def __getitem__(self, item: Any) -> Any:
        return (self.last_hidden_state,)[item]

    def __getattr__(self, name: str) -> None:
        return None


@contextmanager
def _ending_with(states: Tensor, parts: set[Any]) -> Iterator[None]:
    for part in parts:
        part.forward = lambda *args, **kwargs: _Output(states)
    try:
        yield
    finally:
        for part in parts:
            del part.forward


@contextmanager
def _product_in_blocks(unembedding: Any) -> Iterator[None]:
    """The head's product with the vocabulary, where it is nothing else."""
    kind = type(unembedding)
    plain = kind is nn.Linear and "forward" not in vars(unembedding)
    if plain:
        unembedding.forward = lambda states: vocabulary_product(states, unembedding.weight, unembedding.bias)
    try:
        yield
    finally:
        if plain:
            del unembedding.forward
