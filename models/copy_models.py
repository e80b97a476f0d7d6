"""Copy models as subjects: one layer of attention that answers every target place of a source at once."""

from __future__ import annotations

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from ..data.errors import TaskError
from .in_memory_sources import module_source
from .own.copy_transformer import CopyConfig, CopyTransformer, copy_pattern, copy_values, head_read_outs
from .subject import NotApplicable, Source, Subject


class CopyModel(Subject):
    """A subject that says a sequence of words again.

    It reads token ids, but is no language model: it has no causal prompt, and no target is the next token of anything.
    """

    def __init__(self, module: CopyTransformer, source: Source) -> None:
        self.module = module
        self.source = source

    @property
    def config(self) -> CopyConfig:
        return self.module.config

    @property
    def dtype(self) -> torch.dtype:
        return self.module.get_parameter("W_E").dtype

    @property
    def device(self) -> torch.device:
        return self.module.get_parameter("W_E").device

    def weights(self) -> NotApplicable:
        return NotApplicable(
            "a copy model's queries are learned, one for each target place, and read no residual stream; its weights"
            " are parameters of `module`: W_query, W_Q, W_K, W_V, W_O"
        )

    def check(self, tokens: Int[Tensor, "sequence source"]) -> None:
        """Raise TaskError for tokens that this model cannot read."""
        n, size = tokens.shape[1], self.config.d_vocab
        if not 2 <= n <= self.config.n_ctx:
            raise TaskError(f"sources of {n} words; {self.source.name} reads 2 to {self.config.n_ctx}")
        for token in (int(tokens.min()), int(tokens.max())):
            if not 0 <= token < size:
                raise TaskError(f"word {token} is not one of {self.source.name}; expected 0 to {size - 1}")

    def embedded(self, tokens: Int[Tensor, "sequence source"]) -> Float[Tensor, "sequence source d_model"]:
        """The words' embeddings, without positions."""
        self.check(tokens)
        return self.module.get_parameter("W_E")[tokens.to(self.device)]

    def logits(self, tokens: Int[Tensor, "sequence source"]) -> Float[Tensor, "sequence target d_vocab"]:
        return self.logits_of(self.embedded(tokens))

    def logits_of(self, embedded: Float[Tensor, "sequence source d_model"]) -> Float[Tensor, "sequence target d_vocab"]:
        """The logits, given the words' embeddings; differentiable."""
        return self.module.logits_of(embedded)

    def pattern(self, tokens: Int[Tensor, "sequence source"]) -> Float[Tensor, "sequence head target source"]:
        """The attention of every head."""
        return copy_pattern(self.config, self.module.weights, self.embedded(tokens))

    def read_out(self, tokens: Int[Tensor, "sequence source"]) -> Float[Tensor, "sequence head source d_vocab"]:
        """The logits that each head would give alone if it attended to one source only: its OV circuit, exactly."""
        valued = copy_values(self.config, self.module.weights, self.embedded(tokens))
        circuits = head_read_outs(self.module.weights)
        return einsum(valued, circuits, "sequence source d, head d d_vocab -> sequence head source d_vocab")


def from_copy_transformer(module: CopyTransformer, name: str = "in-memory") -> CopyModel:
    """A copy model built in this process as a subject."""
    return CopyModel(module, module_source(name, module, module.config.as_dict()))
