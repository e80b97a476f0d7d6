"""A report's predictor, opened again from the file that the user names: never from one that the report names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...data.errors import UsageError
from ...models.opening.catalogue import PREDICTOR_FILE
from ...models.predictor_code import PredictorCode
from ...models.predictor_file import from_predictor_file
from ...models.regressors import PredictorRegressor
from ...models.token_layout import TokenLayout
from ..reports.command import LAYOUT
from ..reports.record import source_label
from ..reports.report import Report


def predictor_again(report: Report, given: str | None, placed: Mapping[str, Any]) -> PredictorRegressor:
    """The recorded function, of a file with the recorded digest; another file is not run.

    placed:  its device and dtype

    Raises UsageError for a report of something else, and for another file or function.
    """
    source = report.sources[0]
    if all(one["layout"] != PREDICTOR_FILE for one in report.sources):
        raise UsageError(
            f"--predictor {given}: this report is of {source_label(source)}, which is no function in a file; leave"
            " --predictor out"
        )
    if len(report.sources) > 1:
        raise UsageError(
            f"this report is over {len(report.sources)} models; pass them in Python: analyses.verify(folder,"
            " subject=[models.from_predictor_file(…), …])"
        )
    facts = source["facts"]
    name, digest, beside = facts["function"], facts["file_sha256"], facts["beside_sha256"]
    try:
        layout = TokenLayout(**{name: facts[name] for name in LAYOUT if name in facts})
    except (TypeError, ValueError) as error:
        raise UsageError(f"report.json: sources.facts: {error}; expected those of a predictor") from error
    if given is None:
        raise UsageError(
            f"this report is of a predictor, {name!r} of a file with SHA-256 {digest}; give it with --predictor"
            f" FILE.py:{name}. mesascope runs no code because a report names it"
        )
    code = PredictorCode.named(given)
    if code.function != name:
        raise UsageError(f"predictor {given}: the report is of the function {name!r}; expected {code.path}:{name}")
    if code.sha256 != digest:
        raise UsageError(f"predictor {code.path}: {_other(code.sha256, digest)}. It was not run")
    found = from_predictor_file(code, layout, **placed)
    now = found.source.facts["beside_sha256"]
    for module in sorted({*now, *beside}):
        if now.get(module) != beside.get(module):
            raise UsageError(f"{module}, beside {code.path}: {_other(now.get(module), beside.get(module))}")
    return found


def _other(found: str | None, recorded: str | None) -> str:
    return f"SHA-256 {found}; the report was made with {recorded}; give the file as it was"
