"""Figures that tests draw, on a page and in a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from mesascope.probes import Findings
from mesascope.probes.drawing import page

WIDE, NARROW = page.STYLES["neurips"], page.style_of("icml", 3.25)
each_width = pytest.mark.parametrize("style", [WIDE, NARROW], ids=["5.5", "3.25"])


def drawn_of(figures: Mapping[str, page.Build], name: str, findings: Findings, style: page.Style = WIDE) -> Any:
    """The figure and its table, which there must be."""
    made = page.render(figures[name], findings, style)
    assert made is not None
    return made
