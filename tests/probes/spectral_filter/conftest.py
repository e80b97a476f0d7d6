"""Models whose filter is known, written without the library, and what the probe says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from mesascope.models import Regressor, TokenLayout, from_predictor
from mesascope.probes.spectral_filter import learned
from mesascope.probes.spectral_filter.probe import SpectralFilter
from mesascope.probes.spectral_filter.standing import Standing, standings
from torch import Tensor

from ..measured import Measured

D, N = 4, 12
Answer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""X [task, N, d], Y [task, N, d_out], query [task, d] -> [task, d_out], in float64"""


@dataclass(frozen=True)
class Filtered(Measured):
    """A measured filter."""

    def share(self, rule: str, layer: int = -1) -> float:
        return float(self["unexplained_share"].sel(candidate=rule).values[layer])

    @property
    def off(self) -> np.ndarray:
        return self["off_filter_share"].values

    @property
    def layers(self) -> list[Standing]:
        return standings(self.findings.measures)


@pytest.fixture(scope="session")
def planted() -> Callable[..., Regressor]:
    """(answer, d, d_out) -> a subject that reads [x ; y] and answers so."""

    def made(answer: Answer, d: int = D, d_out: int = 1) -> Regressor:
        def predict(tokens: Tensor) -> Tensor:
            held = tokens.double()
            return answer(held[:, :-1, :d], held[:, :-1, d:], held[:, -1, :d]).to(tokens.dtype)

        return from_predictor(predict, TokenLayout(d, d_out, order="joint", label_slot=d), "planted")

    return made


@pytest.fixture(scope="session")
def filtered() -> Callable[..., Filtered]:
    """(subject, tasks, untrained models, seed, batch size, settings) -> what the probe finds and says."""

    def found(
        subject: Regressor, n: int = 150, untrained: int = 1, seed: int = 0, batch_size: int = 64, **settings: Any
    ) -> Filtered:
        law = {} if "tasks" in settings else {"n_context": N}
        probe = SpectralFilter(limit=n, **(law | settings))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(learned, "UNTRAINED_MODELS", untrained)
            findings = probe.measure(subject, seed, batch_size)
        return Filtered(findings, probe.claim(findings.measures, (subject.source,)))

    return found
