"""All checks, run on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from . import algorithms, attention, one_layer, shifts, transformers
from .agreement import Check

CHECKS = (*one_layer.CHECKS, *shifts.CHECKS, *algorithms.CHECKS, *transformers.CHECKS, *attention.CHECKS)


@dataclass(frozen=True)
class Row:
    """One check with its outcome.

    check:      its name
    mesascope:  what mesascope computes
    expected:   what that is compared with
    source:     where the closed form comes from
    error:      of all comparisons the one that uses up most of its tolerance; NaN where there is none
    tolerance:  of that comparison: 1e-10 relative, or 4 standard errors of a mean over drawn tasks
    draws:      tasks behind that mean; None: nothing is drawn
    passed:     whether no comparison is beyond its tolerance
    problem:    what stopped the check
    """

    check: str
    mesascope: str
    expected: str
    source: str
    error: float
    tolerance: float
    draws: int | None
    passed: bool
    problem: str | None = None


def run_checks(device: torch.device, progress: Callable[[str, float], None]) -> list[Row]:
    """Every check in float64, models on this device. A check that cannot run has failed, and the next one runs."""
    rows = []
    for index, check in enumerate(CHECKS):
        progress(check.name, index / len(CHECKS))
        rows.append(_row(check, device))
    return rows


def _row(check: Check, device: torch.device) -> Row:
    said = (check.name, check.mesascope, check.expected, check.source)
    try:
        worst = max(check.compare(device), key=lambda one: one.share)
    except Exception as error:  # a machine on which a library breaks is what the self-test is for
        return Row(*said, torch.nan, torch.nan, None, False, f"{type(error).__name__}: {error}")
    return Row(*said, worst.error, worst.tolerance, worst.draws, worst.passed)
