"""Tables of a report for a paper: booktabs, one file a table. Names are escaped; nothing in them is a command."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...probes.drawing.marks import last_step
from ...probes.measure import Measure, flat
from .record import Record
from .tidy import short

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\textasciicircum{}",
    "_": r"\_", "~": r"\textasciitilde{}", "%": r"\%",
}  # fmt: skip


def escape(text: object) -> str:
    """Any text as LaTeX text on one line: the ten specials escaped, what cannot be printed left out."""
    return "".join(_SPECIAL.get(char, char) for char in " ".join(str(text).split()) if char.isprintable())


def tables(report: Record) -> dict[str, str]:
    """Every table of a report, by name: its scalar measures, and each measure with two axes as a matrix.

    Of several steps there is room for the last.
    """
    found = {
        name: measure for name, measure in last_step(flat(report.measures)).items() if np.isfinite(measure.values).any()
    }
    scalars = {name: measure for name, measure in found.items() if not measure.axes}
    made = {name: _matrix(report, name, measure) for name, measure in found.items() if len(measure.axes) == 2}
    return {"measures": _measures(report, scalars), **made} if scalars else made


def _measures(report: Record, scalars: dict[str, Measure]) -> str:
    header = ("Measure", "Estimate", r"95\,\% interval", "Null", r"$n$")
    rows = [
        (escape(name), _number(m.estimate), _interval(m), _null(m), f"{m.n} {escape(m.replicate)}")
        for name, m in scalars.items()
    ]
    return _table(report, "lrllr", [header, *rows])


def _matrix(report: Record, name: str, measure: Measure) -> str:
    first, second = (measure.labels(axis) for axis in measure.axes)
    header = (escape(name), *(escape(label) for label in second))
    rows = [
        (escape(label), *(_number(float(value)) for value in values))
        for label, values in zip(first, measure.values, strict=True)
    ]
    return _table(report, "l" + "r" * len(second), [header, *rows])


def _table(report: Record, columns: str, rows: Sequence[Sequence[str]]) -> str:
    lines = [" & ".join(row) + r" \\" for row in rows]
    body = "\n".join([r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"])
    origin = f"% {escape(report.label)}, {escape(report.probe)} {escape(report.probe_version)}, report {report.key}"
    return f"{origin}\n% needs \\usepackage{{booktabs}}\n\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}\n"


def _number(value: float) -> str:
    text = short(value)
    if "e" in text:
        mantissa, exponent = text.split("e")
        return rf"${mantissa} \times 10^{{{int(exponent)}}}$"
    return "--" if text == "–" else rf"${text}$".replace("inf", r"\infty")


def _interval(measure: Measure) -> str:
    low, high = (float(bound) for bound in measure.interval)
    return "--" if np.isnan(low) or np.isnan(high) else f"[{_number(low)}, {_number(high)}]"


def _null(measure: Measure) -> str:
    """Each null as mean ± standard deviation."""
    texts = []
    for name, samples in measure.nulls.items():
        finite = samples[np.isfinite(samples)]
        if len(finite) > 1:
            spread = float(f"{finite.std(ddof=1):.2g}")
            texts.append(rf"{escape(name)}: {_number(finite.mean())} $\pm$ {_number(spread)}")
    return "; ".join(texts) or "--"
