"""Attention to look at: the data and the text of a view in which a token shows what it attends to, and who reads it.

The view stands in a report's page and in a notebook; its script finds it by its class. Of each pattern the causal half
is there, row by row, as whole numbers from 0 to 65,535: what is shown equals what is kept to 7.7e-6.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from ...probes.head_columns import NO_VERDICT
from ...probes.kept_attention import PATTERN, RECIPE, KeptAttention
from .escaping import visible
from .pages import data_block
from .record import Record

STEPS = 65_535
"""Into which an attention of 1 is parted: the largest number of two bytes."""
_DIGITS = 7  # of a value norm


def context(report: Record) -> dict[str, Any] | None:
    """What a page says of attention; None where its probe keeps none."""
    if RECIPE not in report.recipes:
        return None
    kept = KeptAttention.of(report.findings)
    if kept is None:
        why = "Heads of different checkpoints do not correspond." if PATTERN in report.arrays else ""
        return {"view": None, "words": f"{why} The page of each checkpoint shows the attention of its heads.".strip()}
    return {"view": view(kept), "words": _others(report, kept)}


def view(kept: KeptAttention) -> Mapping[str, Any]:
    """What the template of the view needs."""
    return {
        "sequence": kept.sequence,
        "tokens": [shown_text(text) for text in kept.texts],
        "not_weighted": kept.not_weighted,
        "data": data_block(data(kept)),
    }


def shown_text(text: str) -> str:
    """A token's text, with signs for what nobody sees."""
    return visible(text) or "∅"


def data(kept: KeptAttention) -> dict[str, Any]:
    """For the script: heads with their verdicts, patterns, and lengths of what keys send, or none."""
    norms = kept.value_norms
    return {
        "heads": list(kept.names),
        "verdicts": ["" if verdict in NO_VERDICT else verdict for verdict in kept.verdicts],
        "pattern": packed(kept.pattern),
        "norms": None if norms is None else [[float(f"{norm:.{_DIGITS}g}") for norm in row] for row in norms.tolist()],
    }


def packed(pattern: Float[np.ndarray, "head query key"]) -> str:
    """The causal half of each pattern, row by row, two bytes a number, the lower first; in base64."""
    half = pattern[:, np.tri(pattern.shape[1], dtype=bool)]
    return base64.b64encode(np.round(half * STEPS).clip(0, STEPS).astype("<u2").tobytes()).decode("ascii")


def _others(report: Record, kept: KeptAttention) -> str:
    """How many heads with a verdict are not there."""
    called = [head for head, verdict in report.heads.items() if verdict not in NO_VERDICT and head not in kept.names]
    if not called:
        return ""
    n = f"{len(called)} more heads have" if len(called) > 1 else "1 more head has"
    return f"{n} a verdict. To see others, run the probe again with --attention {','.join(called[:2])}."
