"""Sets of attention heads, and random ones like them. NumPy, without torch."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from .findings import Head


def others_like(group: Collection[Head], n_heads: int, rng: np.random.Generator) -> list[Head]:
    """As many random heads of the same layers, none of the group; fewer where a layer has fewer others."""
    chosen: list[Head] = []
    for layer in sorted({layer for layer, _ in group}):
        own = {head for at, head in group if at == layer}
        others = [head for head in range(n_heads) if head not in own]
        order = rng.permutation(len(others))[: len(own)]
        chosen += [(layer, others[index]) for index in sorted(order)]
    return chosen
