"""Names, units and words of the measures of heads, of their nulls and of the axis `keys`. Without torch."""

from __future__ import annotations

HEADS = ("layer", "head")
ALL, LATER = KEYS = ("all", "later")
"""Labels of the axis `keys`: which keys are in A. Later: without position 0, so that f is over the others alone."""
UNTRAINED, RANDOM = "untrained", "random directions"
_A = "A' are the keys that the head would form of the stream after its layer's own attention write"
_X = "x' is the query that the head would form of the stream after its layer's own attention write"
WORDS = {
    "shift_A": ("attention", _A),
    "shift_x": ("attention", _X),
    "shift_ratio_A": ("attention / key", f"per spectral norm of A' - A; {_A}"),
    "shift_ratio_x": ("attention / query", f"per length of x' - x; {_X}"),
    "bound_A": ("attention / key", "|x|/2, which no ratio of a shift of A exceeds"),
    "bound_x": ("attention / query", "|A|/2, which no ratio of a shift of x exceeds"),
    "share_of_bound_A": ("share of bound", f"ratio of the shift of A over |x|/2; {_A}"),
    "share_of_bound_x": ("share of bound", f"ratio of the shift of x over |A|/2; {_X}"),
    "premise_A": ("share of queries", f"those at which (A' - A) x changes no entry of A x by 0.01; {_A}"),
    "premise_x": ("share of queries", f"those at which A (x' - x) changes no entry of A x by 0.01; {_X}"),
    "shift_cosine": ("cosine", "between the shift of x and the shift of A, both by the layer's own attention write"),
    "shift_cosine_unscaled": (
        "cosine",
        "between both shifts by moves without their part along A and along x, which only scales the scores",
    ),
}
"""Unit and message of each measure of single heads."""
AVERAGED = (
    "shift_A", "shift_x", "share_of_bound_A", "share_of_bound_x", "premise_A", "premise_x", "shift_cosine",
    "shift_cosine_unscaled",
)  # fmt: skip
"""Those of which there are means over the heads of a layer and over all heads, which seeds have in common."""
MEANS = {
    "layer": (("layer",), "mean over the layer's heads that have a number in every sequence"),
    "mean": ((), "mean over all heads that have a number in every sequence"),
}
"""Axes and words of these means, by how their names begin."""
UNITS = {name: unit for name, (unit, _) in WORDS.items()} | {
    f"{of}_{name}": WORDS[name][0] for of in MEANS for name in AVERAGED
}
"""Of every measure of heads."""
