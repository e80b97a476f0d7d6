"""A probe that takes no time, and small checkpoints, for commands from end to end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from annotated_types import Ge
from mesascope import probes
from mesascope.data.errors import TaskError
from mesascope.models import gd_transformer, save_checkpoint
from mesascope.models.subject import NotApplicable, Source, Subject
from mesascope.probes import Claim, Findings, Measure, Probe


@dataclass(frozen=True)
class Toy(Probe):
    """A probe that takes no time."""

    name: ClassVar[str] = "toy"
    version: ClassVar[str] = "1"
    runs: ClassVar[list[str]] = []

    limit: Annotated[int, Ge(1)] | None = None
    scale: float = 1.0
    word: str = "found"
    refuse: bool = False

    def applies(self, subject: Subject) -> NotApplicable | None:
        return NotApplicable("it was told to refuse") if self.refuse else None

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Any = None) -> Findings:
        self.runs.append(subject.source.label)
        if self.word == "tasks":
            raise TaskError("these tasks do not fit")
        if self.word == "bug":
            raise ZeroDivisionError("nobody expected this")
        value, low, high = (np.array(self.scale + seed + shift) for shift in (0, -1, 1))
        measure = Measure(value, "unit", (low, high), "task", 3, no_nulls="a toy")
        return Findings({"toy_measure": measure}, {"toy_array": np.arange(3.0)}, {})

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return Claim(f"the toy {self.word} it", "no rival", "nothing", ("nothing at all",), "none", ())


@dataclass(frozen=True)
class SlowToy(Toy):
    """A probe that runs only when it is named, and refuses nothing."""

    name: ClassVar[str] = "slow-toy"
    by_default: ClassVar[bool] = False

    def applies(self, subject: Subject) -> NotApplicable | None:
        return None


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Toy]]:
    """The toy is the only probe, the sources are clean, and everything happens in an empty folder."""
    monkeypatch.setitem(sys.modules, "toy_module", sys.modules[__name__])
    monkeypatch.setattr(probes, "PROBES", {"toy": "toy_module:Toy"})
    for place in ("reports.provenance", "runs.running"):
        monkeypatch.setattr(f"mesascope.analyses.{place}.source_state", lambda: {"commit": "c" * 40, "dirty": False})
    monkeypatch.chdir(tmp_path)
    Toy.runs.clear()
    yield Toy
    Toy.runs.clear()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., str]:
    """Write a small checkpoint and return its name."""

    def write(name: str = "model", rate: float = 1.0, spoil: float | None = None, d_in: int = 2) -> str:
        module = gd_transformer(n_context=3, learning_rate=rate, d_in=d_in)
        parameters = {role: tensor.clone() for role, tensor in module.state_dict().items()}
        if spoil is not None:
            parameters["W_Q"].view(-1)[0] = spoil
        save_checkpoint(tmp_path / f"{name}.safetensors", module.config, parameters)
        return f"{name}.safetensors"

    return write
