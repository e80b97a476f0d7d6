"""The columns of softmax-regression's table of heads, of a language model. Without torch, since tables are made from
saved reports.
"""

from __future__ import annotations

from ..head_columns import HeadColumn
from .head_names import ALL, RANDOM

COLUMNS = tuple(
    HeadColumn(name, name, {"keys": ALL}, words=words, null=RANDOM)
    for name, words in {
        "shift_A": "Shift by new keys",
        "shift_x": "Shift by new query",
        "shift_cosine": "Cosine of both shifts",
        "shift_cosine_unscaled": "Cosine without scale",
        "share_of_bound_A": "New keys, share of bound",
        "share_of_bound_x": "New query, share of bound",
    }.items()
)
