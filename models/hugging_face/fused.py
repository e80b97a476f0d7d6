"""How q, k and v lie side by side in the output of one projection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Fused:
    """The output is [group, head, d_head]; a group has some heads of q, then its heads of k, then those of v.

        GPT-2, Phi-3       one group: all heads of q, all of k, all of v
        GPT-NeoX, BLOOM    a group for each head
        Falcon             a group for each key-value head, with the heads of q that share it
        CodeGen            four groups, in the order q, v, k

    groups:  of how many groups
    heads:   heads of q, k and v, over all groups
    order:   in which order they lie in a group
    """

    groups: int
    heads: tuple[int, int, int]
    order: str = "qkv"

    def split(self, fused: Float[Tensor, "*batch width"]) -> list[Float[Tensor, "*batch head d_head"]]:
        """q, k and v; views where the layout allows it."""
        sizes = [self.heads["qkv".index(role)] // self.groups for role in self.order]
        parts = fused.unflatten(-1, (self.groups, sum(sizes), -1)).split(sizes, dim=-2)
        return [parts[self.order.index(role)].flatten(-3, -2) for role in "qkv"]

    def fuse(self, parts: list[Float[Tensor, "*batch head d_head"]]) -> Float[Tensor, "*batch width"]:
        """The inverse of `split`."""
        grouped = [parts["qkv".index(role)].unflatten(-2, (self.groups, -1)) for role in self.order]
        return torch.cat(grouped, dim=-2).flatten(-3)


def layouts(n_heads: int, n_kv_heads: int) -> Iterator[Fused]:
    """Every layout with so many heads."""
    groups = [groups for groups in range(1, n_kv_heads + 1) if n_kv_heads % groups == 0]
    for order, number in product(("qkv", "qvk"), groups):
        yield Fused(number, (n_heads, n_kv_heads, n_kv_heads), order)
