"""What candidates and axes are called, and from where on something is said. Without torch: figures read it."""

from __future__ import annotations

ZERO, EMBEDDING = "zero", "embedding"
FEATURE_GD, ATTENDED_GD, FEATURE_RIDGE = "feature_gd", "attended_gd", "feature_ridge"
TWIN = "twin"

UNTRAINED, SHUFFLED = "untrained", "shuffled labels"

LEARNED = 0.95
"""A loss of at most this share of that of answering zero is less than it."""

# of arrays of answers over a grid of queries
TARGET, GRID, CONTEXT_X, CONTEXT_Y = "target", "grid", "context_x", "context_y"


def function_of(name: str) -> str:
    """The name of an array of answers over a grid."""
    return f"function_{name}"
