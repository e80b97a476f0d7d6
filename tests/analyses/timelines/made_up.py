"""Made-up reports along trainings, written in milliseconds: one measure whose course is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from mesascope.analyses.reports.digests import ARRAYS, REPORT, TABLE, sealed
from mesascope.analyses.reports.report import Report
from mesascope.analyses.timelines.points import Point
from mesascope.probes.followed import Followed
from mesascope.probes.measure import Measure, missing
from safetensors.numpy import save as safetensors_bytes

FOLLOWED = {
    "alpha": (Followed("score", "the score"), Followed("by_head", "attention")),
    "beta": (Followed("loss", "the loss", above=False),),
}
"""By probe; `gamma` follows nothing."""
STEPS = (0, 10, 20, 50, 100, 200, 500, 1000, 2000)


def parts(probe: str, name: str) -> Any:
    """In the place of `part`: what these probes follow."""
    assert name == "followed"
    return SimpleNamespace(FOLLOWED=FOLLOWED[probe]) if probe in FOLLOWED else None


def number(value: float | None, null: float, half: float = 0.1) -> Measure:
    if value is None:
        return missing("nat", "undefined", "nothing to divide by")
    interval = np.array(value - half), np.array(value + half)
    return Measure(np.array(value), "nat", interval, "task", 9, nulls={"chance": np.array([null, null / 2])})


def heads(value: float) -> Measure:
    """The second head has it."""
    values = np.array([[0.1, value]])
    return Measure(
        values, "probability", (values - 0.05, values + 0.05), "sequence", 9, ("layer", "head"),
        nulls={"even": np.full((3, 1, 2), 0.2)},
    )  # fmt: skip


@dataclass
class MadeUp:
    """Writes reports below a folder.

    out:   the folder
    like:  a report whose other fields are taken
    """

    out: Path
    like: Report
    written: int = 0
    facts: Mapping[str, Any] = field(default_factory=lambda: {"n_layers": 1})

    def report(
        self, probe: str, step: int, measures: Mapping[str, Measure], *, name: str = "toy", seed: int | None = 0,
        weights: str | None = None, **more: Any,
    ) -> Point:  # fmt: skip
        """One report, with weights of its own unless these are named."""
        self.written += 1
        revision = f"step{step}" if seed is None else f"seed{seed}-step{step}"
        source = {
            **self.like.sources[0], "name": name, "revision": revision, "seed": seed, "step": step,
            "facts": self.facts, "weights_sha256": weights or f"{self.written:064x}",
        }  # fmt: skip
        fields = {"settings": {"n": 8}, "heads": {}, "recipes": {}, "arrays": {}, "examples": {}, **more}
        made = replace(
            self.like, probe=probe, sources=(source,), measures=measures, key=f"{self.written:016x}", **fields
        )
        return Point(probe, name, seed, step, self.write(made))

    def write(self, made: Report) -> Path:
        """What is read of a report, without pages and tables."""
        folder = self.out / made.folder
        folder.mkdir(parents=True)
        numbers = {TABLE: b"", ARRAYS: safetensors_bytes(dict(made.arrays))}
        (folder / REPORT).write_text(sealed(made.record(), numbers), encoding="utf-8")
        for file, content in numbers.items():
            (folder / file).write_bytes(content)
        return folder

    def training(
        self, probe: str, values: Sequence[float | None], null: float = 0.3, steps: Sequence[int] = STEPS, **more: Any
    ) -> list[Point]:
        """A report a step; of `alpha` a head does as the score."""
        measure = {"alpha": "score"}.get(probe, "loss")
        return [
            self.report(probe, step, {measure: number(value, null), **_heads(probe, value)}, **more)
            for step, value in zip(steps, values, strict=True)
        ]


def _heads(probe: str, value: float | None) -> dict[str, Measure]:
    return {"by_head": heads(value)} if probe == "alpha" and value is not None else {}


def rising(at: int, steps: Sequence[int] = STEPS) -> list[float]:
    """0 before a step, and 1 from it on."""
    return [float(step >= at) for step in steps]
