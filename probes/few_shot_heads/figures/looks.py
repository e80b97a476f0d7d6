"""Colours, markers and lines of heads, sets of heads and prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...drawing.marks import BLACK, BLUE, GREEN, OLIVE, ORANGE, PURPLE, SKY, VERMILION, Look
from ...findings import head_from
from .. import names

if TYPE_CHECKING:
    from ...drawing.head_marks import Marked
    from ...findings import Findings

GROUPS = {
    names.FUNCTION_VECTOR: Look("function-vector heads", VERMILION, "o", "-"),
    names.ANSWER: Look("answer heads", BLUE, "s", "--"),
    names.TOP_TASK: Look("strongest, task mean", SKY, "^", "-."),
    names.TOP_OWN: Look("strongest, own prompt", GREEN, "D", ":"),
    names.GIVEN: Look("given heads", PURPLE, "v", "-"),
}
VERDICTS = {
    names.FUNCTION_VECTOR: Look("function-vector", VERMILION, "o", "-"),
    names.ANSWER: Look("answer", BLUE, "s", "--"),
}
WAYS = {
    names.IN_CONTEXT: Look("in context", BLACK, "P", "-"),
    names.SHUFFLED: Look("shuffled labels", ORANGE, "X", "--"),
    names.ZERO_SHOT: Look("zero-shot", OLIVE, "h", "-."),
}
PATCHES = {names.TASK_MEAN: "from the task mean", names.OWN_PROMPT: "from the own prompt"}
"""Titles of panels: where the output comes from that is put in."""


def marked_heads(findings: Findings) -> Marked:
    """The heads that are called, verdict by verdict."""
    return {
        head: look
        for verdict, look in VERDICTS.items()
        for head in sorted(head_from(name) for name, found in findings.heads.items() if found == verdict)
    }
