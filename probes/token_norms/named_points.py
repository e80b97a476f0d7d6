"""Names for points of a scatter over tokens. Without torch, since figures are drawn from saved reports."""

from __future__ import annotations

import numpy as np

from ..findings import Findings
from .names import LONGEST, SHORTEST


def named_points(findings: Findings, layer: int) -> list[tuple[int, str]]:
    """Of the kept tokens those that are worth a name where norms of a layer of the stream are drawn: the row in the
    arrays `token_…`, and the name. They are the tokens of the vocabulary that the report names as the longest and the
    shortest of that layer, each at its longest or shortest kept occurrence. Empty where no text is known.
    """
    arrays = findings.arrays
    if "token_id" not in arrays or "token_resid" not in arrays:
        return []
    norms, found = arrays["token_resid"][:, layer], {}
    for kind, farthest in ((LONGEST, np.argmax), (SHORTEST, np.argmin)):
        for token, name in _tokens(findings, kind, layer):
            rows = np.flatnonzero(arrays["token_id"] == token)
            if len(rows):
                found.setdefault(int(rows[farthest(norms[rows])]), name)
    return list(found.items())


def _tokens(findings: Findings, kind: str, layer: int) -> list[tuple[int, str]]:
    """Id and text of the tokens of a kind in one layer, the most extreme first."""
    if kind not in findings.examples:
        return []
    examples = findings.examples[kind]
    rows = (dict(zip(examples.columns, row, strict=True)) for row in examples.rows)
    of_layer = [(row["id"], row["token"]) for row in rows if row["layer"] == layer]
    return [(token, name) for token, name in of_layer if isinstance(token, int) and isinstance(name, str)]
