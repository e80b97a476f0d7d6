"""Looks of heads in figures, from the verdicts of a saved report."""

from __future__ import annotations

from mesascope.probes.findings import Findings
from mesascope.probes.induction_heads.figures.looks import LOOKS, marked_heads
from mesascope.probes.induction_heads.names import Verdict


def test_heads_are_read_back_verdict_by_verdict() -> None:
    verdicts = {"L1H3": "induction", "L10H2": "first-token", "L0H1": "none", "L0H0": "induction", "L2H2": "new"}
    marked = marked_heads(Findings({}, {}, {}, verdicts))
    assert {head: look.label for head, look in marked.items()} == {
        (0, 0): "induction", (1, 3): "induction", (10, 2): "first-token",
    }  # fmt: skip
    assert list(marked) == [(0, 0), (1, 3), (10, 2)]
    assert set(LOOKS) == set(Verdict) - {Verdict.NONE}
