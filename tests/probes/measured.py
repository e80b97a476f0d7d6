"""What a probe has found in a model, as tests ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mesascope import analyses
from mesascope.models import Subject
from mesascope.probes import Claim, Findings, Probe
from mesascope.probes.measure import Measure, Measures


@dataclass(frozen=True)
class Measured:
    """Findings, of which `[name]` is a measure, and the card."""

    findings: Findings
    claim: Claim

    def __getitem__(self, name: str) -> Measure:
        return Measures(self.findings.measures)[name]


def found_in_family(subjects: Sequence[Subject], probe: Probe) -> Findings:
    """In all checkpoints of a family together."""
    answer = analyses.run_family(subjects, probe)
    assert isinstance(answer, tuple)
    return answer[1].findings
