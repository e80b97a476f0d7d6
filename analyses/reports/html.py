"""A report as one HTML page: self-contained, without network, and with every name escaped.

Its scripts show heads and attention, and the page's policy allows each by its digest; without them the table of heads
and the tokens are whole, too.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...probes.measure import Measure, flat, last_step
from ...probes.statistics.null_p import p_words
from . import examples, page_attention, page_heads
from .definitions import definitions, links, reference
from .figures import caption
from .headline import badge, covers
from .heads import head_table
from .pages import data_block, script, template
from .record import Record, by_verdict, code_digests, source_label
from .records import dumps
from .tidy import compared_with_null, short

MOST_BYTES = 3_000_000
"""Of a page. Figures are left out where they do not fit beside the rest."""
MOST_CELLS = 400
"""Numbers of a measure up to which the page prints them."""
MOST_INTERVALS = 150
"""Numbers up to which a matrix has the interval below each."""
STATUS = {"ok": "", "not applicable": "Not applicable", "undefined": "Undefined"}


def page(report: Record, images: Sequence[Path]) -> str:
    """The whole report. `images` are PNG files, in the order of the page."""
    context = _context(report)
    without = template("report.html.jinja").render(**context, figures=[], left_out=[image.stem for image in images])
    shown, left_out = _figures(report, images, MOST_BYTES - len(without.encode()))
    return template("report.html.jinja").render(**context, figures=shown, left_out=left_out)


def fragment(report: Record) -> str:
    """The claim and the scalar measures, for a notebook."""
    scalars = {name: measure for name, measure in last_step(flat(report.measures)).items() if not measure.axes}
    return template("report.html.jinja").render(notebook=True, report=report, groups=_groups(scalars, {}))


def _context(report: Record) -> dict[str, Any]:
    """All that the page says beside its figures."""
    defined = definitions(report)
    places = links(report, defined)
    measures = last_step(flat(report.measures))
    scalars = {name: measure for name, measure in measures.items() if not measure.axes}
    table, attention = head_table(report), page_attention.context(report)
    seen = {"report_script.js.jinja": table, "attention_script.js.jinja": attention and attention["view"]}
    return {
        "notebook": False,
        "report": report,
        "title": f"{report.label} · {report.probe}",
        "subtitle": f"probe version {report.probe_version}, seed {report.seed}, key {report.key}",
        "badge": badge(report),
        "covers": covers(report),
        "heads": None if table is None else page_heads.table_context(table),
        "heads_data": None if table is None else data_block(page_heads.parts(report, table, places)),
        "by_verdict": by_verdict(report),
        "examples": examples.for_page(report),
        "attention": attention,
        "scripts": [script(name) for name, what in seen.items() if what is not None],
        "links": places,
        "definitions": defined,
        "references": [(reference(n), citation) for n, citation in enumerate(report.claim.citations)],
        "groups": _groups(scalars, places),
        "absent": [_absent(name, measure) for name, measure in scalars.items() if measure.status != "ok"],
        "at_step": _last_step(report),
        "curves": [
            {**_printed(measure), "name": name, "link": places.get(name, "")}
            for name, measure in flat(report.measures).items()
            if measure.axes
        ],
        "sources": [
            {**source, "label": source_label(source), "code": code_digests(source)} for source in report.sources
        ],
        "configuration": dumps(report.sources[0]["facts"]),
        "record": dumps(report.sources[0]["record"]),
        "settings": report.settings,
        "provenance": _flat({n: v for n, v in report.provenance.items() if n not in ("command", "python")}),
        "recipes": {split: dumps(recipe) for split, recipe in report.recipes.items()},
    }


def _last_step(report: Record) -> Any:
    stepped = [measure for measure in report.measures.values() if measure.axes[:1] == ("step",)]
    return stepped[0].labels("step")[-1] if stepped else None


# -- figures ----------------------------------------------------------------------------------------------------------


def _figures(report: Record, images: Sequence[Path], room: int) -> tuple[list[dict[str, str]], list[str]]:
    """Figures as data, as many as there is room for, and the names of the others."""
    shown, left_out = [], []
    for image in images:
        figure = {
            "name": image.stem,
            "title": image.stem.replace("_", " ").capitalize(),
            "caption": caption(report, image.stem),
            "data": base64.b64encode(image.read_bytes()).decode("ascii"),
        }
        room -= len(template("figure.html.jinja").render(figure=figure).encode())
        if room < 0:
            left_out.append(image.stem)
        else:
            shown.append(figure)
    return shown, left_out


# -- measures ---------------------------------------------------------------------------------------------------------


def _groups(scalars: Mapping[str, Measure], places: Mapping[str, str]) -> list[dict[str, Any]]:
    """Measures that have a number, under their units; with the places of their definitions."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, measure in scalars.items():
        if measure.status == "ok":
            groups.setdefault(measure.unit, []).append({**_row(name, measure), "link": places.get(name, "")})
    return [{"unit": unit, "rows": rows} for unit, rows in groups.items()]


def _row(name: str, measure: Measure) -> dict[str, Any]:
    low, high = (float(bound) for bound in measure.interval)
    return {
        "name": name,
        "estimate": _number(measure.estimate),
        "interval": _interval(low, high),
        "resampled": _resampled(measure),
        "nulls": [_null(null, measure, samples) for null, samples in measure.nulls.items()],
        "no_nulls": measure.no_nulls,
        "message": measure.message,
    }


def _interval(low: float, high: float) -> str:
    return "–" if np.isnan(low) or np.isnan(high) else f"[{_number(low)}, {_number(high)}]"


def _resampled(measure: Measure) -> str:
    return "nothing" if measure.replicate == "none" else f"{measure.n:,} × {measure.replicate}"


def _null(name: str, measure: Measure, samples: np.ndarray) -> dict[str, str]:
    compared = compared_with_null(measure, samples)
    mean, sd, p = (float(compared[column]) for column in ("null_mean", "null_sd", "p"))
    if np.isnan(sd):  # a single sample has no spread, and no p that says anything
        return {"name": name, "value": _number(mean), "p": ""}
    return {"name": name, "value": f"{_number(mean)} ± {sd:.2g}", "p": _chance(p, int(np.isfinite(samples).sum()))}


def _chance(p: float, draws: int) -> str:
    """p; where no draw is as extreme, what so few draws can show."""
    if np.isnan(p):
        return ""
    words = p_words(p, draws)
    return f"{words} ({draws:,} draws)" if "≤" in words else words


def _absent(name: str, measure: Measure) -> dict[str, str]:
    return {"name": name, "status": STATUS[measure.status], "message": measure.message}


def _printed(measure: Measure) -> dict[str, Any]:
    """A measure with axes as tables: along one axis a list; along more, a matrix of the last two for each place along
    the others. What is larger is left to the CSV file.
    """
    base = {"unit": measure.unit, "axes": " × ".join(_axis(axis) for axis in measure.axes), "message": measure.message}
    if measure.values.size > MOST_CELLS:
        return {
            **base,
            "kind": "large",
            "n": f"{measure.values.size:,}",
            "of_heads": {"layer", "head"} <= set(measure.axes),
        }
    if len(measure.axes) == 1:
        return {**base, "kind": "curve", "rows": list(_list(measure))}
    return {**base, "kind": "matrices", "matrices": list(_matrices(measure))}


def _list(measure: Measure) -> Iterator[tuple[str, str, str]]:
    """Label, number and interval along one axis."""
    for label, value, low, high in zip(measure.labels(measure.axes[0]), measure.values, *measure.interval, strict=True):
        yield _label(label), _number(float(value)), _interval(float(low), float(high))


def _matrices(measure: Measure) -> Iterator[dict[str, Any]]:
    """The matrices of the last two axes that have a number, each with its place along the others."""
    *others, down, across = measure.axes
    for place in np.ndindex(measure.values.shape[:-2]):
        part = measure.at(**dict(zip(others, place, strict=True)))
        if not part.has_number:
            continue
        labels = (_label(measure.labels(axis)[index]) for axis, index in zip(others, place, strict=True))
        yield {
            "title": ", ".join(f"{_axis(axis)} {label}" for axis, label in zip(others, labels, strict=True)),
            "corner": f"{_axis(down)} ↓ {_axis(across)} →",
            "columns": [_label(label) for label in measure.labels(across)],
            "rows": [
                (_label(label), [_cell(part, row, column) for column in range(part.values.shape[1])])
                for row, label in enumerate(part.labels(down))
            ],
        }


def _cell(matrix: Measure, row: int, column: int) -> tuple[str, str]:
    """A number, and its interval where the matrix is small."""
    low, high = (float(bound[row, column]) for bound in matrix.interval)
    shown = not np.isnan(low) and matrix.values.size <= MOST_INTERVALS
    return _number(float(matrix.values[row, column])), _interval(low, high) if shown else ""


def _axis(name: str) -> str:
    return name.replace("_", " ")


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
