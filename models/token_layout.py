"""Where the inputs and the labels of a regression task stand in the tokens that a model reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

Order = Literal["joint", "separate", "interleaved"]


@dataclass(frozen=True)
class TokenLayout:
    """How a model's tokens hold the pairs (x, y) of a task and its query, which comes last.

    "joint":        [x ; y] in one token; the query's y slot is 0 (von Oswald et al. 2023)
    "separate":     [x ; 0], [0 ; y], …, [x_q ; 0]: x and y in tokens of their own, each with its own slots
    "interleaved":  x, y, …, x_q, all d_in wide, y in slots that belong to x in the other tokens (Garg et al. 2022,
                    arXiv 2208.01066: the first slot; von Oswald et al.: the last)

    d_in, d_out:  widths of x and y
    order:        None: not declared; "joint" is then the first that is tried
    label_slot:   place of y's first number in a token. None: behind x; in interleaved tokens the first
    """

    d_in: int
    d_out: int = 1
    order: Order | None = None
    label_slot: int | None = None

    def __post_init__(self) -> None:
        if self.order == "interleaved" and self.d_out > self.d_in:
            raise ValueError(
                f"d_out = {self.d_out}; expected at most d_in = {self.d_in}: interleaved labels are padded to d_in"
            )
        if not 0 <= self.slot <= self.width - self.d_out:
            raise ValueError(
                f"label_slot = {self.slot}; expected 0 to {self.width - self.d_out}: a token is {self.width} wide, and"
                f" a label {self.d_out}"
            )

    @property
    def declared(self) -> bool:
        """Whether anything was said of the order or the slot."""
        return self.order is not None or self.label_slot is not None

    @property
    def width(self) -> int:
        """Of a token."""
        return self.d_in if self.order == "interleaved" else self.d_in + self.d_out

    @property
    def slot(self) -> int:
        """The place of y's first number."""
        if self.label_slot is not None:
            return self.label_slot
        return 0 if self.order == "interleaved" else self.d_in

    @property
    def name(self) -> str:
        """ "joint-10": the order, and the slot of the label."""
        return f"{self.order or 'joint'}-{self.slot}"

    def arrange(self, inputs: Float[Tensor, "task token feature"]) -> Float[Tensor, "task position width"]:
        """Tokens [x ; y] as this layout has them. The query's own y slot is lost where x and y are apart."""
        if inputs.shape[-1] != self.d_in + self.d_out:
            raise ValueError(
                f"tokens are {inputs.shape[-1]} wide; expected {self.d_in + self.d_out}, the sum of d_in = {self.d_in}"
                f" and d_out = {self.d_out}"
            )
        x, y = inputs[..., : self.d_in], inputs[..., self.d_in :]
        if self.order == "interleaved":
            return _in_turn(x, self._beside(torch.zeros_like(x[..., self.d_out :]), y))
        if self.order == "separate":
            return _in_turn(self._beside(x, torch.zeros_like(y)), self._beside(torch.zeros_like(x), y))
        return inputs if self.slot == self.d_in else self._beside(x, y)

    def _beside(self, x: Tensor, y: Tensor) -> Tensor:
        """y at its slot, and the numbers of x around it."""
        return torch.cat([x[..., : self.slot], y, x[..., self.slot :]], dim=-1)


def _in_turn(x: Tensor, y: Tensor) -> Tensor:
    """x_1, y_1, x_2, y_2, …, without the query's label, which is to be predicted."""
    return rearrange([x, y], "two task token width -> task (token two) width")[:, :-1]


def joint_layouts(d_in: int, d_out: int) -> tuple[TokenLayout, ...]:
    """The label behind x, and at every other slot of the same token."""
    return tuple(TokenLayout(d_in, d_out, "joint", slot) for slot in (d_in, *range(d_in)))


def layouts_apart(d_in: int, d_out: int) -> tuple[TokenLayout, ...]:
    """x and y in tokens of their own, the label in the first slots or in the last."""
    shared = dict.fromkeys((0, d_in - d_out)) if d_out <= d_in else ()
    interleaved = (TokenLayout(d_in, d_out, "interleaved", slot) for slot in shared)
    separate = (TokenLayout(d_in, d_out, "separate", slot) for slot in (d_in, 0))
    return (*interleaved, *separate)
