"""Rules with free settings are fitted and judged on enough tasks, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope import models, probes
from mesascope.data import LinearRegression
from mesascope.data.errors import TaskError, UsageError

FEW = "19 tasks are too few to fit on and to judge by; expected at least 20"
NAMES = ("icl-algorithm", "implicit-weights", "shift-battery", "spectral-filter")


@pytest.mark.parametrize("name", NAMES)
def test_too_few_tasks_are_refused(name: str, tmp_path: Path) -> None:
    kind: Any = probes.probe_class(name)
    with pytest.raises(UsageError, match=f"{name}: limit = {FEW}"):
        kind(limit=19)
    tasks = LinearRegression(5, 3).sample(19, seed=0)
    np.savez(tmp_path / "few.npz", inputs=tasks.inputs.numpy(), targets=tasks.targets.numpy())
    subject = models.from_transformer(models.gd_transformer(5, 1.0, 3))
    with pytest.raises(TaskError, match=f"few.npz: {FEW}"):
        kind(tasks=str(tmp_path / "few.npz")).measure(subject, 0, 64)


def test_a_probe_may_need_fewer() -> None:
    assert probes.GDAlignment(limit=1).limit == 1
