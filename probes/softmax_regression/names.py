"""Candidates: every algorithm of softmax regression that a model is compared with, and the title and label of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LOSS = "half squared probability"  # the unit of 1/2 |f - b|^2


@dataclass(frozen=True)
class Candidate:
    """name: in measures; title: in sentences; label: in figures."""

    name: str
    title: str
    label: str


GD = Candidate("gd", "one gradient step", "1 gradient step")
STEPS: Mapping[str, int] = {GD.name: 1, "gd_2": 2, "gd_3": 3, "gd_4": 4, "gd_8": 8}
"""Steps of gradient descent from x = 0, by candidate. One learning rate serves all steps of a candidate."""
GAUSS_NEWTON = Candidate("gauss_newton", "one Gauss-Newton step", "Gauss-Newton")
EXACT = Candidate("exact", "the exact solution", "exact solution")
SMOOTHER = Candidate("smoother", "kernel smoothing", "kernel smoothing")
COPY = Candidate("copy", "copying b", "copy of b")
ZERO = Candidate("zero", "no step", "no step")
FLOOR = (COPY.name, ZERO.name)
"""Candidates that do not look at A."""

CANDIDATES: Mapping[str, Candidate] = {
    candidate.name: candidate
    for candidate in (
        GD,
        *(Candidate(name, f"{n} gradient steps", f"{n} gradient steps") for name, n in STEPS.items() if n > 1),
        GAUSS_NEWTON,
        EXACT,
        SMOOTHER,
        COPY,
        ZERO,
    )
}
"""In the order of figures."""
