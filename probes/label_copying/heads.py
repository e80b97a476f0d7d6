"""The columns of label-copying's table of heads. Without torch, since tables are made from saved reports."""

from __future__ import annotations

from ..head_columns import HeadColumn
from .names import EVEN

COLUMNS = (
    HeadColumn("prefix_matching_score", "prefix_matching_score", words="Prefix matching", null=EVEN),
    HeadColumn("next_attention", "next_attention", words="Attention to the label"),
)
