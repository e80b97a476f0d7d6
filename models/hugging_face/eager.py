"""Hugging Face's own eager pass, made without mesascope's hooks and attention function: what every opened model has to
agree with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from .survey import attention

_CAPTURE = "_output_capturing_hooks_installed"  # set by transformers on models whose attentions it records


@dataclass(frozen=True, eq=False)
class EagerPass:
    """The model's own answer.

    logits:    None for a model without a head
    state:     after the final norm; None where transformers returns logits alone
    patterns:  one a layer; empty if the family returns none
    """

    logits: Float[Tensor, "batch pos d_vocab"] | None
    state: Float[Tensor, "batch pos d_model"] | None
    patterns: tuple[Float[Tensor, "batch head pos pos"], ...]

    @property
    def output(self) -> Float[Tensor, "batch pos width"]:
        """The logits, or the states of a model without a head."""
        output = self.state if self.logits is None else self.logits
        assert output is not None, "transformers returned neither logits nor states"
        return output


@torch.no_grad()
def eager_pass(module: PreTrainedModel, tokens: Int[Tensor, "batch pos"]) -> EagerPass:
    """One pass of the model with the attention that its family defines as "eager"."""
    with attention(module, "eager"), _without_new_hooks(module):
        output: Any = module(input_ids=tokens, output_attentions=True, use_cache=False, return_dict=True)
    patterns = output.get("attentions") or ()
    return EagerPass(
        output.get("logits"),
        output.get("last_hidden_state"),
        tuple(pattern for pattern in patterns if isinstance(pattern, Tensor) and pattern.ndim == 4),
    )


@contextmanager
def _without_new_hooks(module: PreTrainedModel) -> Iterator[None]:
    """Take off the hooks that transformers leaves on a model whose attentions it has recorded."""
    before = {part: set(part._forward_hooks) for part in module.modules()}
    marked = {part for part in before if _CAPTURE in vars(part)}
    try:
        yield
    finally:
        for part, known in before.items():
            for key in set(part._forward_hooks) - known:
                del part._forward_hooks[key]
            if part not in marked:
                vars(part).pop(_CAPTURE, None)
