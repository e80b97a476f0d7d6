"""Sizes and numbers of a Hugging Face model, and short sequences of tokens that fit it."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...data.errors import CheckpointRefused

_LENGTH = 8  # tokens of a short sequence
_SPECIAL = ("pad", "bos", "eos", "unk", "mask", "sep", "cls")  # tokens that some families treat otherwise


def base_of(module: PreTrainedModel) -> PreTrainedModel:
    """The model without its head. Some families (Llama 4) name it otherwise than their classes say."""
    base: Any = module.base_model
    if base is module and module.get_output_embeddings() is not None:
        return next(part for part in module.children() if isinstance(part, PreTrainedModel))
    return base


def d_vocab(module: PreTrainedModel) -> int:
    """The number of embeddings. CheckpointRefused for a model that does not read token ids."""
    try:
        table = getattr(module.get_input_embeddings(), "weight", None)
    except NotImplementedError:  # of families that have none
        table = None
    if not isinstance(table, Tensor) or table.ndim != 2:
        raise CheckpointRefused(f"a {type(module).__name__} reads no token ids; expected a language model")
    return len(table)


def n_ctx(module: PreTrainedModel) -> int | None:
    """The longest context. Where positions begin after the padding token's (RoBERTa), there is room for fewer."""
    config = module.config.get_text_config()
    longest = getattr(config, "max_position_embeddings", None)
    for name, table in module.named_modules():
        if isinstance(table, nn.Embedding) and "position" in name and table.padding_idx is not None:
            return table.num_embeddings - table.padding_idx - 1
    return longest if longest is not None else getattr(config, "max_seq_len", None)


def short_tokens(module: PreTrainedModel) -> Int[Tensor, "two pos"]:
    """Two sequences without special tokens, which differ at every place from the middle on."""
    size, longest = d_vocab(module), n_ctx(module)
    length = min(_LENGTH, longest or _LENGTH)
    usual = torch.ones(size, dtype=torch.bool)
    for name in _SPECIAL:
        given = getattr(module.config.get_text_config(), f"{name}_token_id", None)
        for token in given if isinstance(given, list) else [given]:  # some families have several ends
            if isinstance(token, int) and 0 <= token < size and usual.sum() > 2:
                usual[token] = False
    ids = usual.nonzero()[:, 0]
    shuffled = ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))]
    one, other = (shuffled[(torch.arange(length) + start) % len(ids)] for start in (0, 1))
    changed = length // 2
    return torch.stack([one, torch.cat([one[:changed], other[changed:]])]).to(module.device)


def declared_numbers(config: Any) -> list[float]:
    """The numbers in a configuration that may be factors."""
    values = config.get_text_config().to_dict().values()
    return [float(value) for value in values if isinstance(value, float | int) and not isinstance(value, bool)]
