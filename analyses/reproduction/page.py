"""A reproduction as one HTML page: self-contained, without network or script, and with every name escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..reports.pages import template
from .papers import Paper

LIMITS = (
    "A figure that is reproduced agrees with our bounds on a few numbers. The paper prints no table, so the bounds on"
    " gaps are ours. They were written down before the full trainings ended; the guide says which were changed since.",
    "Agreement with gradient descent on these tasks does not say that a model performs it: other algorithms may answer"
    " alike.",
    "Models are trained anew, with the authors' settings. The authors' own models are not measured.",
    "Intervals are over trainings with other seeds, never over tasks.",
)
REDUCED = (
    "A figure of reduced size has fewer steps, seeds or tasks than the paper has. Its verdict is of those models alone,"
    " and where their training was cut short, a bound that they do not keep is no evidence against the paper."
)
MARKS = {"reproduced": "✓", "differs": "≈", "cannot tell": "?", "not reproduced": "✗", "not measured": "–"}
"""The sign of each verdict, which says the same as its colour."""
_LARGER = 1.28
"""Times the size that a picture has in print."""


def page(paper: Paper, records: Sequence[Mapping[str, Any]], out: Path) -> str:
    """The page over the records of a folder, whose pictures it shows."""
    return template("reproduction.html.jinja").render(
        paper=paper.title,
        name=paper.name,
        figures=[_figure(paper, record, out) for record in records],
        limits=[*LIMITS, *([REDUCED] if any(record["reduced"] for record in records) else [])],
        counts=_counts(records),
    )


def _figure(paper: Paper, record: Mapping[str, Any], out: Path) -> dict[str, Any]:
    number, outcome = record["number"], record["verdict"]["outcome"]
    claim = paper.claims[number]
    file = out / f"figure-{number:02d}.svg"
    return {
        **record,
        "title": claim.title,
        "claim": claim.claim,
        "note": claim.note,
        "kind": outcome.replace(" ", "-"),
        "mark": MARKS[outcome],
        "stem": file.stem,
        "picture": _picture(file),
        "command": f"mesascope reproduce {paper.name} --figure {number}",
        "made": [{"key": key, **made} for key, made in record["made"].items()],
    }


def _picture(file: Path) -> dict[str, str] | None:
    """A figure as data, and how wide it is shown; None where it has none."""
    if not file.is_file():
        return None
    drawing = file.read_bytes()
    width = re.search(rb'<svg [^>]*?width="([0-9.]+)pt"', drawing)
    assert width is not None, f"{file} is no drawing of ours"
    return {
        "data": base64.b64encode(drawing).decode("ascii"),
        "width": f"{_LARGER * float(width[1]):.0f}pt",
    }


def _counts(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """How many figures have each verdict, the best first."""
    outcomes = [record["verdict"]["outcome"] for record in records]
    return [(outcome, outcomes.count(outcome)) for outcome in MARKS if outcome in outcomes]
