"""A folder of made-up reports, and probes that follow their measures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.runs.running import run

from .made_up import MadeUp, parts


@pytest.fixture
def made_up(mean_answer: Any, make_subject: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    monkeypatch.setattr("mesascope.analyses.timelines.series.part", parts)
    return MadeUp(tmp_path / "out", run(make_subject(), mean_answer()))
