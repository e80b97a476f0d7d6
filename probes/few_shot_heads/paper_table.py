"""The measures of a table for a paper: what is learned in context, how many heads carry it, and what they cost."""

from __future__ import annotations

MEASURES = (
    "accuracy_in context",
    "accuracy_gain_by_labels",
    "total_effect",
    "group_size_function-vector",
    "group_size_answer",
    "accuracy_drop_function-vector",
    "accuracy_drop_answer",
    "accuracy_drop_given",
    "given_rank_task mean",
    "given_rank_own prompt",
)
