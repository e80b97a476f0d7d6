"""Tables of a report for a paper: booktabs, one file a table. Names are escaped; nothing in them is a command."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from ...probes.findings import Examples
from ...probes.measure import Measure, flat, last_step
from .examples import in_words, numeric
from .heads import NOTHING, Column, HeadTable, head_table
from .record import MOST_HEADS, Record
from .tidy import short

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\textasciicircum{}",
    "_": r"\_", "~": r"\textasciitilde{}", "%": r"\%",
    "½": r"$\frac12$", "×": r"$\times$", "Σ": r"$\sum$", "‖": r"$\Vert$",
    "→": r"$\to$", "−": "$-$", "–": "--", "·": r"$\cdot$", "²": "$^2$",
    "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$",
}  # fmt: skip

_GREEK = "GREEK SMALL LETTER "
_LETTERS = {"lamda": "lambda", "omicron": "mathrm{o}"}
"""Where Unicode and LaTeX call one letter by two names."""
MOST_EXAMPLES = 20


def escape(text: object) -> str:
    """Any text as LaTeX text on one line: the ten specials escaped, Greek letters and signs as commands, what cannot be
    printed left out.
    """
    return "".join(map(_escaped, filter(str.isprintable, " ".join(str(text).split()))))


def _escaped(char: str) -> str:
    name = unicodedata.name(char, "")
    if name.startswith(_GREEK) and name.count(" ") == _GREEK.count(" "):
        letter = name.removeprefix(_GREEK).lower()
        return rf"$\{_LETTERS.get(letter, letter)}$"
    return _SPECIAL.get(char, char)


def tables(report: Record) -> dict[str, str]:
    """Every table of a report, by name: its scalar measures, its heads, its examples, and each measure with two axes as
    a matrix.

    Of several steps there is room for the last.
    """
    heads = head_table(report)
    found = {
        name: measure for name, measure in last_step(flat(report.measures)).items() if np.isfinite(measure.values).any()
    }
    scalars = {name: measure for name, measure in found.items() if not measure.axes}
    made = {name: _matrix(report, name, measure) for name, measure in found.items() if len(measure.axes) == 2}
    made |= {"heads": _heads(report, heads)} if heads is not None else {}
    made |= {name: _examples(report, examples) for name, examples in report.examples.items() if examples.rows}
    return {"measures": _measures(report, scalars), **made} if scalars else made


def _measures(report: Record, scalars: dict[str, Measure]) -> str:
    header = ("Measure", "Estimate", r"95\,\% interval", "Null", r"$n$")
    rows = [
        (escape(name), number(m.estimate), _interval(m), _null(m), f"{m.n} {escape(m.replicate)}")
        for name, m in scalars.items()
    ]
    return _table(report, "lrllr", [header, *rows])


def _matrix(report: Record, name: str, measure: Measure) -> str:
    first, second = (measure.labels(axis) for axis in measure.axes)
    header = (escape(name), *(escape(label) for label in second))
    rows = [
        (escape(label), *(number(float(value)) for value in values))
        for label, values in zip(first, measure.values, strict=True)
    ]
    return _table(report, "l" + "r" * len(second), [header, *rows])


def _heads(report: Record, table: HeadTable) -> str:
    """A row a head: those with a verdict first, the strongest first; of many the first, and a note that counts the
    others.
    """
    verdict = [("Verdict", "l", [escape(word) for word in table.verdicts])] if any(table.verdicts) else []
    names = ("Head", "l", [escape(name) for name in table.names])
    cells = [names, *verdict, *(part for one in table.shown for part in _head_column(one))]
    rows = table.by_rank[:MOST_HEADS]
    body = [tuple(title for title, _, _ in cells), *(tuple(column[row] for _, _, column in cells) for row in rows)]
    notes = [f"Null of {escape(c.of.heading)}: {escape(c.null_name)}." for c in table.shown if c.has_null]
    if left := len(table.names) - len(rows):
        notes.append(f"{left:,} more heads stand in measures.csv.")
    width = rf"\multicolumn{{{len(cells)}}}{{p{{0.9\linewidth}}}}"
    return _table(report, "".join(side for _, side, _ in cells), body, f"{width}{{{' '.join(notes)}}}" if notes else "")


def _examples(report: Record, examples: Examples) -> str:
    """The first rows of what there is to look at, and how many more there are."""
    sides = "".join("r" if number else "l" for number in numeric(examples))
    header = tuple(escape(name.capitalize()) for name in examples.columns)
    rows = [tuple(map(escape, row)) for row in in_words(examples, MOST_EXAMPLES)]
    left = len(examples.rows) - len(rows)
    note = rf"\multicolumn{{{len(header)}}}{{l}}{{{left:,} more rows stand in report.json.}}" if left > 0 else ""
    return _table(report, sides, [header, *rows], note)


def _head_column(column: Column) -> Iterator[tuple[str, str, list[str]]]:
    """Title, side and cells of a number, and of the null model beside it where the probe names one."""
    rows = range(len(column.values))
    numbers = [f"{_math(column.estimate(row))} {_math_interval(column.interval(row))}".strip() for row in rows]
    yield escape(column.of.heading), "r", numbers
    if column.has_null:
        yield "Null", "r", [_math(column.text(float(value))) for value in column.null]


def _math(text: str) -> str:
    return "--" if text == NOTHING else f"${text}$"


def _math_interval(text: str) -> str:
    return text and f"[${text[1:-1].replace(', ', '$, $')}$]"


def _table(report: Record, columns: str, rows: Sequence[Sequence[str]], note: str = "") -> str:
    lines = [" & ".join(row) + r" \\" for row in rows]
    last = [r"\midrule", note + r" \\"] if note else []
    body = "\n".join([r"\toprule", lines[0], r"\midrule", *lines[1:], *last, r"\bottomrule"])
    origin = f"% {escape(report.label)}, {escape(report.probe)} {escape(report.probe_version)}, report {report.key}"
    return f"{origin}\n% needs \\usepackage{{booktabs}}\n\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}\n"


def number(value: float) -> str:
    """In math, the exponent as a power of ten."""
    text = short(value)
    if "e" in text:
        mantissa, exponent = text.split("e")
        return rf"${mantissa} \times 10^{{{int(exponent)}}}$"
    return "--" if text == "–" else rf"${text}$".replace("inf", r"\infty")


def _interval(measure: Measure) -> str:
    low, high = (float(bound) for bound in measure.interval)
    return "--" if np.isnan(low) or np.isnan(high) else f"[{number(low)}, {number(high)}]"


def _null(measure: Measure) -> str:
    """Each null as mean ± standard deviation."""
    texts = []
    for name, samples in measure.nulls.items():
        finite = samples[np.isfinite(samples)]
        if len(finite) > 1:
            spread = float(f"{finite.std(ddof=1):.2g}")
            texts.append(rf"{escape(name)}: {number(finite.mean())} $\pm$ {number(spread)}")
    return "; ".join(texts) or "--"


def figure(name: str, caption: str) -> str:
    """A figure environment around `NAME.pdf`, which lies beside it."""
    lines = [
        "% needs \\usepackage{graphicx}", r"\begin{figure}", r"\centering",
        rf"\includegraphics[width=\linewidth]{{{name}.pdf}}", rf"\caption{{{escape(caption)}}}",
        rf"\label{{fig:{name}}}", r"\end{figure}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
