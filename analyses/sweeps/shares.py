"""Which share of a sweep a checkpoint belongs to. Needs no torch."""

from __future__ import annotations

import hashlib

from .items import Item


def in_share(item: Item, i: int, n: int) -> bool:
    """Whether an item belongs to share i of n, which its name alone decides."""
    return int(hashlib.sha256(item.name.encode()).hexdigest(), 16) % n == i
