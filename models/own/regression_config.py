"""Sizes and settings of the in-context regression transformer, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from ...data.errors import CheckpointRefused
from ...data.settings import check_settings, read_settings
from ..token_layout import Order, TokenLayout

MAX_LAYERS = 10_000
MLP_FACTOR = 4
"""An MLP is so many times as wide as what it reads."""


@dataclass(frozen=True)
class RegressionConfig:
    """The transformer's sizes and settings.

    d_in, d_out:       widths of x and y
    n_layers:          number of layers
    tied:              all layers share one set of weights ("recurrent")
    n_heads, d_head:   number of heads, and width of queries, keys and values
    softmax:           softmax attention scaled by 1/sqrt(d_head); otherwise linear, unscaled
    layer_norm:        pre-attention layer norm (before every layer when tied, before all but the first when not), and
                       one before every MLP
    dampening:         factor on every update
    activation_clip:   element-wise clip after attention and after an MLP; None: no clip
    target_only:       attention updates the y slots only
    query_in_context:  the query token is also a key and a value
    causal:            no token attends to later ones
    mlp:               an MLP follows attention in every layer: "shared", one for all layers, as in the authors' code;
                       "own", one for each; None: no MLP
    linear_from:       of softmax attention, the first layer whose attention is linear; None: all are softmax
    d_position:        width of the position codes that stand behind every token; 0: none
    one_hot_positions: codes are one-hot, for sequences of at most `d_position` tokens; otherwise sinusoidal
    d_embed:           width behind a read-in and an input MLP; None: tokens are read as they are
    token_order:       "joint" tokens [x ; y]; x and y in tokens of their own: "separate" [x ; 0], [0 ; y], or
                       "interleaved", both d_in wide, y in the last numbers
    """

    OPTIONAL: ClassVar[tuple[str, ...]] = (
        "causal", "mlp", "linear_from", "d_position", "one_hot_positions", "d_embed", "token_order",
    )  # fmt: skip
    """Left out of records where they are off: reports and files from before them keep their identity."""

    d_in: Annotated[int, Ge(1)]
    d_out: Annotated[int, Ge(1)] = 1
    n_layers: Annotated[int, Ge(1), Le(MAX_LAYERS)] = 1  # tied layers take no space in a file, but each costs time
    tied: bool = True
    n_heads: Annotated[int, Ge(1)] = 1
    d_head: Annotated[int, Ge(1)] = 11
    softmax: bool = False
    layer_norm: bool = False
    dampening: float = 1.0
    activation_clip: Annotated[float, Gt(0)] | None = None
    target_only: bool = False
    query_in_context: bool = False
    causal: bool = False
    mlp: Literal["shared", "own"] | None = None
    linear_from: Annotated[int, Ge(1)] | None = None
    d_position: Annotated[int, Ge(0)] = 0
    one_hot_positions: bool = False
    d_embed: Annotated[int, Ge(1)] | None = None
    token_order: Order = "joint"

    def __post_init__(self) -> None:
        check_settings(self, "config: ", CheckpointRefused)
        if self.linear_from is not None and not self.softmax:
            raise CheckpointRefused(
                f"config: linear_from = {self.linear_from} without softmax; expected it where the layers before it are"
                " softmax attention"
            )
        if self.d_position % 2 and not self.one_hot_positions:
            raise CheckpointRefused(
                f"config: d_position = {self.d_position}; expected an even number: codes are pairs of sine and cosine"
            )
        if self.token_order == "interleaved" and self.d_out > self.d_in:
            raise CheckpointRefused(
                f"config: interleaved tokens with d_out = {self.d_out} above d_in = {self.d_in}; expected labels that"
                " fit into a token of an input's width"
            )
        if self.mlp == "own" and self.tied:
            raise CheckpointRefused('config: mlp = "own" with tied layers; expected "shared": layers share one MLP')

    @property
    def token_width(self) -> int:
        """Of a token as the model is given it."""
        return self.layout.width

    @property
    def layout(self) -> TokenLayout:
        """How it arranges tokens [x ; y] for itself."""
        slot = self.d_in - self.d_out if self.token_order == "interleaved" else None
        return TokenLayout(self.d_in, self.d_out, self.token_order, slot)

    @property
    def d_model(self) -> int:
        return (self.token_width if self.d_embed is None else self.d_embed) + self.d_position

    @property
    def n_blocks(self) -> int:
        """Distinct sets of attention weights."""
        return 1 if self.tied else self.n_layers

    @property
    def n_mlps(self) -> int:
        """Distinct MLPs after attention."""
        return {None: 0, "shared": 1, "own": self.n_layers}[self.mlp]

    @property
    def order_matters(self) -> bool:
        """Whether a prediction may depend on the order of the context: the query reads it through what masks hid, or
        tokens have positions.
        """
        return (self.causal and self.n_layers > 1) or self.d_position > 0

    @property
    def n_norms(self) -> int:
        """Distinct layer norms before attention: an untied stack has none before its first layer."""
        return self.layer_norm * (1 if self.tied else self.n_layers - 1)

    @property
    def beside_attention(self) -> str | None:
        """What a model has beside attention on tokens [x ; y], in words; None where it has nothing else."""
        if self.token_order != "joint":
            return "x and y in tokens of their own"
        if self.d_embed is not None:
            return "an embedding of its tokens"
        if self.d_position:
            return "position codes"
        return None if self.mlp is None else "MLPs"

    @property
    def as_given(self) -> bool:
        """Whether tokens [x ; y] are the residual stream that the first layer reads."""
        return not (self.token_order != "joint" or self.d_embed is not None or self.d_position)

    @property
    def merges(self) -> bool:
        """Whether the prediction depends on the weights only through KQ = W_Q W_K^T and PV = W_V W_O."""
        return not (self.softmax or self.layer_norm or self.query_in_context or self.beside_attention)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter with its shape."""
        into = (self.n_blocks, self.n_heads, self.d_model, self.d_head)
        out_of = (self.n_blocks, self.n_heads, self.d_head, self.d_model)
        shapes: dict[str, tuple[int, ...]] = {"W_Q": into, "W_K": into, "W_V": into, "W_O": out_of}
        if self.n_norms:
            shapes |= {"ln_scale": (self.n_norms, self.d_model), "ln_offset": (self.n_norms, self.d_model)}
        if self.mlp is not None:
            hidden = MLP_FACTOR * self.d_model
            shapes |= {"W_in": (self.n_mlps, self.d_model, hidden), "W_out": (self.n_mlps, hidden, self.d_model)}
            if self.layer_norm:
                shapes |= {f"mlp_ln_{vector}": (self.n_mlps, self.d_model) for vector in ("scale", "offset")}
        return shapes | self._embedding_shapes

    @property
    def _embedding_shapes(self) -> dict[str, tuple[int, ...]]:
        if self.d_embed is None:
            return {}
        hidden = MLP_FACTOR * self.d_embed
        return {
            "W_E": (self.token_width, self.d_embed),
            "embed_W_in": (self.d_embed, hidden),
            "embed_b_in": (hidden,),
            "embed_W_out": (hidden, self.d_embed),
            "embed_b_out": (self.d_embed,),
        }

    def softmax_in(self, layer: int) -> bool:
        """Whether a layer's attention is softmax."""
        return self.softmax and (self.linear_from is None or layer < self.linear_from)

    def as_dict(self) -> dict[str, Any]:
        """Its settings. Without optional ones that are off."""
        default = {field.name: field.default for field in fields(self)}
        return {
            name: value for name, value in asdict(self).items() if name not in self.OPTIONAL or value != default[name]
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RegressionConfig:
        """A configuration from its settings. Raises CheckpointRefused for unknown keys, wrong types and missing"
        " keys."""
        return read_settings(cls, values, "config: ", refused=CheckpointRefused)
