"""A small probe and subjects to run it on, so that reports are made in milliseconds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from mesascope import models, probes
from mesascope.data.regression import LinearRegression
from mesascope.models.regressors import TransformerRegressor
from mesascope.models.subject import NotApplicable, Source, Subject
from mesascope.probes.findings import Findings
from mesascope.probes.measure import Claim, Measure, missing
from mesascope.probes.probe import Probe, Progress, silent


@dataclass(frozen=True)
class MeanAnswer(Probe):
    """What a regressor answers on average, after an offset."""

    name: ClassVar[str] = "mean-answer"
    version: ClassVar[str] = "1"

    n_tasks: int = 64
    offset: float = 0.0
    scales: tuple[float, ...] = (0.5, 1.0)
    refuse: str = ""

    def applies(self, subject: Subject) -> NotApplicable | None:
        return NotApplicable(self.refuse) if self.refuse else None

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        assert isinstance(subject, models.Regressor)
        progress("answering", 0.0)
        law = LinearRegression(d_in=subject.d_in, n_context=4)
        tasks = law.sample(self.n_tasks, seed)
        answers = subject.predict(tasks.inputs.to(subject.device, subject.dtype)).detach().double().numpy()[:, 0]
        losses = 0.5 * (answers - tasks.targets.numpy()[:, 0]) ** 2
        null = np.random.default_rng(seed).normal(size=20)
        mean, loss = np.asarray(answers.mean() + self.offset), np.asarray(losses.mean())
        by_scale = np.array([mean * scale for scale in self.scales])
        none = "a deterministic function of the answers"
        measures = {
            "answer": Measure(
                mean, "label", (np.asarray(mean - 0.1), np.asarray(mean + 0.1)), "task", self.n_tasks,
                nulls={"normal": null, "wide": 3 * null},
            ),
            "loss": Measure(
                loss, "loss", (np.zeros(()), np.asarray(2 * loss)), "task", self.n_tasks, no_nulls=none,
                higher_is_better=False,
            ),
            "by_scale": Measure(
                by_scale, "label", (by_scale - 1, by_scale + 1), "task", self.n_tasks, axes=("scale",),
                coords={"scale": self.scales}, nulls={"normal": null[:, None] * np.array(self.scales)},
                higher_is_better=True,
            ),
            "by_head": Measure(
                np.array([[mean, np.nan], [1.0, 2.0]]), "label", (np.zeros((2, 2)), np.ones((2, 2))), "none", 0,
                axes=("layer", "head"), no_nulls=none, message="head 1 of layer 0 is silent",
            ),
            "absent": missing("label", "undefined", "nothing to divide by"),
        }  # fmt: skip
        arrays = {"answer": answers, "loss": losses, "weights": np.eye(3)}
        progress("done", 1.0)
        return Findings(measures, arrays, {"evaluation": tasks.recipe})

    def heads(self, measures: Mapping[str, Measure]) -> dict[str, str]:
        values = measures["by_head"].values
        return {f"L{i}H{j}": "loud" if values[i, j] > 1.5 else "none" for i, j in np.ndindex(values.shape)}

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        answer = measures["answer"].estimate
        return Claim(
            f"The mean answer is {answer:.3g}.",
            "The strongest null is normal.",
            f"{measures['answer'].n} replicates.",
            ("Anything else.",),
            "We averaged answers.",
            ("Nobody. Nowhere. 2026.",),
        )


@pytest.fixture
def mean_answer(monkeypatch: pytest.MonkeyPatch) -> type[MeanAnswer]:
    """The probe class, registered under its name as an installed package would register it."""
    monkeypatch.setitem(sys.modules, "mean_answer_probe", sys.modules[__name__])
    monkeypatch.setitem(probes.PROBES, "mean-answer", "mean_answer_probe:MeanAnswer")
    return MeanAnswer


def subject(rate: float = 1.0, name: str = "built", **source: Any) -> TransformerRegressor:
    """A constructed step of gradient descent with this rate, in memory."""
    made = models.from_transformer(models.gd_transformer(4, rate, 3), name)
    made.source = replace(made.source, **source)
    return made


@pytest.fixture
def make_subject() -> Any:
    return subject


@pytest.fixture
def seeds() -> list[TransformerRegressor]:
    """Three seeds of one family, each at two steps."""
    return [
        subject(0.5 + seed + step / 100, seed=seed, step=step, revision=f"seed{seed}-step{step}")
        for seed in range(3)
        for step in (10, 20)
    ]
