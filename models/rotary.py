"""Rotary positions: q and k rotated by angles proportional to their position (Su et al. 2021, arXiv 2104.09864)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rotary:
    """Pair n of a head's dimensions is rotated by position * frequencies[n]; dimensions beyond the pairs are not.

    interleaved:  pairs are (0, 1), (2, 3), … as in GPT-J; otherwise (0, half), (1, half + 1), … as in GPT-NeoX, Llama
    factor:       multiplies the rotated dimensions (YaRN, Peng et al. 2023, arXiv 2309.00071), of q and of k
    """

    frequencies: Float[Tensor, "pair"]
    interleaved: bool = False
    factor: float = 1.0

    def same_as(self, other: Rotary | None) -> bool:
        """Whether the two rotate alike."""
        return (
            other is not None
            and (self.interleaved, self.factor) == (other.interleaved, other.factor)
            and torch.equal(self.frequencies, other.frequencies)
        )

    @classmethod
    def of_base(cls, base: float, width: int) -> Rotary:
        """The usual geometric frequencies base^(-2n / width) over `width` dimensions, in float64."""
        return cls(base ** -(torch.arange(0, width, 2, dtype=torch.float64) / width))

    def rotate(
        self, x: Float[Tensor, "*batch pos d_head"], positions: Int[Tensor, "pos"]
    ) -> Float[Tensor, "*batch pos d_head"]:
        """`x` rotated. Angles are computed in float64: at position 100,000 float32 keeps only two digits."""
        angles = positions.to(torch.float64)[:, None] * self.frequencies.to(positions.device, torch.float64)
        cos, sin = ((self.factor * part).to(x.device, x.dtype) for part in (angles.cos(), angles.sin()))
        n, width = len(self.frequencies), 2 * len(self.frequencies)
        if self.interleaved:
            first, second = x[..., :width:2], x[..., 1:width:2]
        else:
            first, second = x[..., :n], x[..., n:width]
        turned = (first * cos - second * sin, second * cos + first * sin)
        pairs = torch.stack(turned, dim=-1).flatten(-2) if self.interleaved else torch.cat(turned, dim=-1)
        return torch.cat([pairs, x[..., width:]], dim=-1)
