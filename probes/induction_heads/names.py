"""What the measures of induction-heads are called: verdicts, nulls, axes and their labels. Each name stands here once.

Without torch, since figures are drawn from saved reports.
"""

from __future__ import annotations

from enum import StrEnum

HEADS = ("layer", "head")
PAIRS = ("earlier_layer", "earlier_head", *HEADS)
"""Axes of measures: one number a head, and one for each pair of heads."""


class Verdict(StrEnum):
    """What a head is called; of several that fit, the first of those by content, or the strongest by position."""

    INDUCTION = "induction"
    ANTI_INDUCTION = "anti-induction"
    DUPLICATE_TOKEN = "duplicate-token"
    PREVIOUS_TOKEN = "previous-token"
    CURRENT_TOKEN = "current-token"
    FIRST_TOKEN = "first-token"
    FIXED_OFFSET = "fixed-offset"
    NONE = "none"


BY_CONTENT = (Verdict.INDUCTION, Verdict.ANTI_INDUCTION, Verdict.DUPLICATE_TOKEN)
BY_POSITION = (Verdict.PREVIOUS_TOKEN, Verdict.CURRENT_TOKEN, Verdict.FIRST_TOKEN, Verdict.FIXED_OFFSET)
MATCHING = (Verdict.INDUCTION, Verdict.ANTI_INDUCTION)
"""Heads that find what followed an earlier occurrence of the current token."""
GROUPS = (Verdict.INDUCTION, Verdict.PREVIOUS_TOKEN)
"""Heads of these verdicts are ablated together, too."""
UNNAMED = "strongest unnamed"
"""The group of heads with the largest excess, ablated where the model uses the order of tokens and no head is named."""

DRAWN, LEFT_OUT = "drawn from", "left out"
"""Labels of token ids."""
REPLACEMENTS = ("zero", "mean")
"""What the output of an ablated head is replaced by."""
QUERIES, KEYS, VALUES = READ_BY = ("queries", "keys", "values")
"""The part of a later head that reads what an earlier one writes: Q-, K- and V-composition."""

PERMUTED, PERMUTED_OV = "W_Q and W_K permuted", "W_V and W_O permuted"
NO_REPEATS, SHUFFLED_REPEAT, EVEN = "no repeats", "shuffled repeat", "even attention"
SHUFFLED_IDS = "shuffled ids"
ROTATED, RANDOM_HEADS = "random rotation", "random heads of the same layers"
"""The nulls of measures."""
ONSET = "induction_onset"
"""The measure of when induction heads appear in training: the steps between which they do."""
