"""Panels are found by their titles: two of one figure that shared one would be one."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from mesascope.probes.gd_alignment.figures.behaviour import ALIGNMENT
from mesascope.probes.gd_alignment.figures.shifts import SHIFTS
from mesascope.probes.gd_alignment.figures.trajectory import PANELS
from mesascope.probes.induction_heads.figures import looks, maps
from mesascope.probes.token_norms.figures import attention
from mesascope.probes.token_norms.figures.looks import MATRICES

TITLES: dict[str, Iterable[str]] = {
    "alignment": (title for title, _ in ALIGNMENT.values()),
    "ood": (shift.title for shift in SHIFTS.values()),
    "gd-alignment's trajectory": (title for title, _ in PANELS.values()),
    "evidence, and the trajectory of heads": looks.SCORES.values(),
    **{
        name: (drawn.title for drawn in held.values())
        for name, held in {"heads": maps.SCORES, "attention": maps.ATTENTION, "text": maps.TEXT}.items()
    },
    "token-norms' attention": (head_map.title for head_map in attention.ATTENTION),
    "sinks": (head_map.title for head_map in attention.SINKS),
    "vocabulary": (look.label for look in MATRICES.values()),
}


@pytest.mark.parametrize("figure", TITLES)
def test_no_two_panels_share_a_title(figure: str) -> None:
    titles = list(TITLES[figure])
    assert len(titles) > 1
    assert len(set(titles)) == len(titles)
