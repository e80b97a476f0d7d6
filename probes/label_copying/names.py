"""What axes and candidates are called, and from where on a layer is said to copy. Without torch: figures read it."""

from __future__ import annotations

TO = "to"
OWN, NEXT, OTHER, WITHOUT_NEXT = "own", "next", "other", "other_without_next"
KINDS = (OWN, NEXT, OTHER, WITHOUT_NEXT)
"""Tokens that a token after the first layer is sensitive to: itself, the next one, the rest as the authors count it,
and the rest."""

GD, ZERO = "gd", "zero"
ABLATED, WITHOUT_COPIES, COPIES_ONLY = "ablated", "without_copies", "copies_only"
EDITS = (ABLATED, WITHOUT_COPIES, COPIES_ONLY)
"""The model with its first layer edited: see `ablation.py`."""

EVEN, UNTRAINED = "even attention", "untrained"

ATTENDS = 0.2
"""A head attends to labels that pays them so much more of its attention than even attention would."""
TIMES = 2.0
"""A token is sensitive to the next one that is so many times as sensitive to it as to others, on average."""
NEEDED = 0.1
"""Copies are needed without which the loss rises by at least this share of the loss of a step of gradient descent."""
SAME = 0.05
"""A loss is that of a step of gradient descent up to this share of it."""
LEARNED = 0.95
"""A loss of at most this share of that of answering zero is less than it."""
