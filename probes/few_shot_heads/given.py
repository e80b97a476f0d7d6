"""The user's own list of heads: names, or the induction heads of a finished report of induction-heads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import UsageError
from ...data.recipe import file_sha256
from ...models.language_model import LanguageModel
from ..findings import Head, head_from, head_name

INDUCTION = "induction"
_REPORT = "report.json"
_EXPECTED = "expected heads such as L1H0,L1H2, or the folder of a report of induction-heads"


@dataclass(frozen=True)
class GivenHeads:
    """Heads, and where they were named; none, where a report calls no head so.

    weights:  the digest of the weights that a report is about; None where no report names the heads
    """

    heads: tuple[Head, ...]
    source: str
    weights: str | None = None

    def note(self, subject: LanguageModel) -> str:
        """What must be said of them beside this model."""
        own = subject.source.weights_sha256
        if self.weights is None or own is None or self.weights == own:
            return self.source
        return f"{self.source}, which is about other weights than these"

    def check(self, subject: LanguageModel) -> None:
        """Raise UsageError for a head that the model lacks."""
        layers, heads = subject.shape.n_layers, subject.shape.n_heads
        for layer, head in self.heads:
            if layer >= layers or head >= heads:
                raise UsageError(
                    f"given_heads: {subject.source.name} has no head {head_name((layer, head))}; expected L0H0 to"
                    f" {head_name((layers - 1, heads - 1))}"
                )


def given_heads(text: str) -> GivenHeads:
    """From names with commas between them, or from a report. UsageError for anything else."""
    if (report := report_file(text)) is not None:
        return _of_report(report)
    try:
        heads = tuple(dict.fromkeys(head_from(name.strip()) for name in text.split(",")))
    except ValueError as error:
        raise UsageError(f"given_heads = {text!r:.80}: no such file, and {error}; {_EXPECTED}") from None
    return GivenHeads(heads, "named by the user")


def given_digest(text: str) -> dict[str, str]:
    """Of a report, since its path says nothing of what was read."""
    report = report_file(text)
    return {} if report is None else {"given_heads_sha256": file_sha256(str(report))}


def report_file(text: str) -> Path | None:
    """The report that a path leads to; None where nothing is there."""
    path = Path(text).expanduser()
    if path.is_dir():
        return path / _REPORT
    return path if path.is_file() else None


def _of_report(path: Path) -> GivenHeads:
    if not path.is_file():
        raise UsageError(f"given_heads: {path.parent} holds no {_REPORT}; {_EXPECTED}")
    report = _read(path)
    if report.get("probe") != "induction-heads":
        raise UsageError(
            f"given_heads: {path} is no report of induction-heads, but of {report.get('probe')!r:.40}; {_EXPECTED}"
        )
    verdicts, sources = report.get("heads") or {}, report.get("sources") or []
    if not verdicts:
        raise UsageError(
            f"given_heads: {path} names no heads, as reports over several checkpoints do not; give the report of one"
        )
    try:
        heads = tuple(head_from(name) for name, verdict in verdicts.items() if verdict == INDUCTION)
    except (ValueError, TypeError) as error:
        raise UsageError(f"given_heads: {path} is damaged: {error}; {_EXPECTED}") from None
    weights = sources[0].get("weights_sha256") if len(sources) == 1 else None
    return GivenHeads(heads, f"the induction heads of {report.get('label')}", weights)


def _read(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"given_heads: {path} cannot be read as a report: {error}; {_EXPECTED}") from None
    if not isinstance(report, dict):
        raise UsageError(f"given_heads: {path} is no report; {_EXPECTED}")
    return report
