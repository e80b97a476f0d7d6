"""A report as one HTML page: self-contained, without network or script, and with every name escaped.

A figure's caption is the docstring of the function that builds it.
"""

from __future__ import annotations

import base64
import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ...probes.drawing.marks import last_step
from ...probes.measure import Measure, flat
from .figures import figures_of
from .record import Record, by_verdict, source_label
from .records import dumps
from .tidy import compared_with_null, short

MOST_IMAGES = 3_500_000  # bytes before base64: the page stays under 5 MB
MOST_ROWS = 60
STATUS = {"ok": "", "not applicable": "Not applicable", "undefined": "Undefined"}


def page(report: Record, images: Sequence[Path]) -> str:
    """The whole report. `images` are PNG files, in the order of the page."""
    shown, left_out = _figures(report.probe, images)
    measures = last_step(flat(report.measures))
    scalars = {name: measure for name, measure in measures.items() if not measure.axes}
    return _template().render(
        notebook=False,
        report=report,
        title=f"{report.label} · {report.probe}",
        subtitle=_subtitle(report),
        figures=shown,
        left_out=left_out,
        groups=_groups(scalars),
        heads=by_verdict(report),
        absent=[_absent(name, measure) for name, measure in scalars.items() if measure.status != "ok"],
        at_step=_last_step(report),
        curves=[_cells(name, measure) for name, measure in flat(report.measures).items() if measure.axes],
        sources=[{**source, "label": source_label(source)} for source in report.sources],
        configuration=dumps(report.sources[0]["facts"]),
        record=dumps(report.sources[0]["record"]),
        settings=report.settings,
        provenance=_flat({n: v for n, v in report.provenance.items() if n not in ("command", "python")}),
        recipes={split: dumps(recipe) for split, recipe in report.recipes.items()},
    )


def fragment(report: Record) -> str:
    """The claim and the scalar measures, for a notebook."""
    scalars = {name: measure for name, measure in last_step(flat(report.measures)).items() if not measure.axes}
    return _template().render(notebook=True, report=report, groups=_groups(scalars))


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.jinja")


def _subtitle(report: Record) -> str:
    words = [f"probe version {report.probe_version}", f"seed {report.seed}", f"key {report.key}"]
    if len(report.sources) > 1:
        words.insert(0, f"{len(report.sources)} checkpoints")
    return ", ".join(words)


def _last_step(report: Record) -> Any:
    stepped = [measure for measure in report.measures.values() if measure.axes[:1] == ("step",)]
    return stepped[0].labels("step")[-1] if stepped else None


# -- figures ----------------------------------------------------------------------------------------------------------


def _figures(probe: str, images: Sequence[Path]) -> tuple[list[dict[str, str]], list[str]]:
    """Figures as data, as many as there is room for, and the names of the others."""
    room = MOST_IMAGES
    shown, left_out = [], []
    builders = figures_of(probe)
    for image in images:
        content = image.read_bytes()
        room -= len(content)
        if room < 0:
            left_out.append(image.stem)
            continue
        caption = inspect.getdoc(builders[image.stem]) or ""
        data = base64.b64encode(content).decode("ascii")
        shown.append({"name": image.stem, "caption": " ".join(caption.split()), "data": data})
    return shown, left_out


# -- measures ---------------------------------------------------------------------------------------------------------


def _groups(scalars: Mapping[str, Measure]) -> list[dict[str, Any]]:
    """Measures that have a number, under their units."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, measure in scalars.items():
        if measure.status == "ok":
            groups.setdefault(measure.unit, []).append(_row(name, measure))
    return [{"unit": unit, "rows": rows} for unit, rows in groups.items()]


def _row(name: str, measure: Measure) -> dict[str, Any]:
    low, high = (float(bound) for bound in measure.interval)
    return {
        "name": name,
        "estimate": _number(measure.estimate),
        "interval": _interval(low, high),
        "resampled": _resampled(measure),
        "nulls": [_null(null, compared_with_null(measure, samples)) for null, samples in measure.nulls.items()],
        "no_nulls": measure.no_nulls,
        "message": measure.message,
    }


def _interval(low: float, high: float) -> str:
    return "–" if np.isnan(low) or np.isnan(high) else f"[{_number(low)}, {_number(high)}]"


def _resampled(measure: Measure) -> str:
    return "nothing" if measure.replicate == "none" else f"{measure.n:,} × {measure.replicate}"


def _null(name: str, compared: Mapping[str, np.ndarray]) -> dict[str, str]:
    mean, sd, p = (float(compared[column]) for column in ("null_mean", "null_sd", "p"))
    if np.isnan(sd):  # a single sample has no spread, and no p that says anything
        return {"name": name, "value": _number(mean), "p": ""}
    return {"name": name, "value": f"{_number(mean)} ± {sd:.2g}", "p": f"p = {p:.2g}" if np.isfinite(p) else ""}


def _absent(name: str, measure: Measure) -> dict[str, str]:
    return {"name": name, "status": STATUS[measure.status], "message": measure.message}


def _cells(name: str, measure: Measure) -> dict[str, Any]:
    """A measure with axes as a table: one axis as a list, two as a matrix, more are left to the CSV file."""
    base = {"name": name, "unit": measure.unit, "axes": " × ".join(measure.axes), "message": measure.message}
    if len(measure.axes) > 2 or len(measure.values) > MOST_ROWS:
        return {**base, "kind": "large"}
    labels = [[_label(label) for label in measure.labels(axis)] for axis in measure.axes]
    if len(measure.axes) == 2:
        rows = [(label, [_number(v) for v in row]) for label, row in zip(labels[0], measure.values, strict=True)]
        return {**base, "kind": "matrix", "columns": labels[1], "rows": rows}
    bounds = zip(*measure.interval, strict=True)
    intervals = [_interval(float(low), float(high)) for low, high in bounds]
    values = [_number(float(value)) for value in measure.values]
    return {**base, "kind": "curve", "rows": list(zip(labels[0], values, intervals, strict=True))}


def _number(value: float) -> str:
    return short(value).replace("-", "−")


def _label(label: Any) -> str:
    return _number(label) if isinstance(label, float) else str(label)


def _flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested records as lines `a.b: value`."""
    lines: list[tuple[str, Any]] = []
    for name, value in record.items():
        nested = isinstance(value, Mapping)
        lines += _flat(value, f"{prefix}{name}.") if nested else [(prefix + name, value)]
    return lines
