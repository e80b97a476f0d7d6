"""Progress is for somebody who watches."""

from __future__ import annotations

import io
import sys

import pytest
from mesascope.analyses.commands.progress import progress_bar, share_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("quiet", [False, True])
def test_a_bar_is_drawn_on_a_terminal_unless_it_should_be_quiet(monkeypatch: pytest.MonkeyPatch, quiet: bool) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar(quiet) as report:
        report("weighing [bold]\x1b[2J", 0.5)
    text = screen.getvalue()
    assert ("weighing [bold][2J" in text) is not quiet
    assert ("50%" in text) is not quiet


def test_nothing_is_drawn_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as report:
        report("weighing", 0.5)
    assert capsys.readouterr() == ("", "")


def test_parts_add_up() -> None:
    told: list[tuple[str, float]] = []
    share_of(lambda stage, fraction: told.append((stage, fraction)), 1, 4, "second")("nulls", 0.5)
    share_of(lambda stage, fraction: told.append((stage, fraction)), 0, 1, "only")("nulls", 0.5)
    assert told == [("second (2 of 4): nulls", 0.375), ("nulls", 0.5)]
