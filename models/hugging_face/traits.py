"""What mesascope measures of a model as it opens it, because a configuration or a module's name does not tell it."""

from __future__ import annotations

from dataclasses import dataclass

from ..rotary import Rotary
from ..subject import Site

_OF_HEADS: tuple[Site, ...] = ("q", "k", "v", "attention", "pattern", "z")
_ADDED: tuple[Site, ...] = ("attn_out", "resid_mid", "mlp_out")


@dataclass(frozen=True)
class Traits:
    """An untrained model of the same configuration has the same traits.

    causal:        no query attends to a later key
    rotary:        for each layer, how q and k are rotated; None: not at all
    alibi:         whether scores fall with the distance of the key (ALiBi)
    embed_factor:  multiplies the embeddings outside their module (Granite)
    logit_factor:  multiplies the logits outside the output matrix (Cohere, Granite)
    added:         whether something is added to the embeddings before the first block: positions
    no_embed:      why embeddings are not what enters the first block, positions apart; None: they are
    no_unembedding:  why no one matrix gives the logits, biases and caps apart; None: one does
    no_write:      why attn_out is not the sum of z W_O and b_O; None: it is
    no_qk:         why no product of weights gives the scores; None: `AttentionWeights.qk` does
    no_heads:      why what heads attend to and move is not shown; None: it is
    no_stream:     why what attention and MLP add to the residual stream is not shown; None: it is
    """

    causal: bool
    rotary: tuple[Rotary | None, ...]
    alibi: bool = False
    embed_factor: float = 1.0
    logit_factor: float = 1.0
    added: bool = True
    no_embed: str | None = None
    no_unembedding: str | None = None
    no_write: str | None = None
    no_qk: str | None = None
    no_heads: str | None = None
    no_stream: str | None = None

    @property
    def not_shown(self) -> dict[Site, str]:
        """The sites that a model does not show, with the reason."""
        heads = {} if self.no_heads is None else dict.fromkeys(_OF_HEADS, self.no_heads)
        return heads if self.no_stream is None else heads | dict.fromkeys(_ADDED, self.no_stream)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not measured of a model, for its reports."""
        heads = (
            () if self.no_heads is None else (f"what its heads attend to and move is not measured: {self.no_heads}",)
        )
        if self.no_stream is None:
            return heads
        return (*heads, f"what attention and MLPs write is not measured: {self.no_stream}")
