"""Two reports side by side in the terminal: heads with another verdict, single numbers, and the numbers along axes that
differ. What is not shown is counted, and said why.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from ...probes.head_columns import NO_VERDICT
from ..reports.record import MOST_HEADS, Record
from ..reports.tidy import OWN_COLUMN
from ..runs.comparing import INTERVALS, ChangedHead, changed_heads, names_of, not_compared
from .terminal import height, interval, number, print_table, printable

Row = Mapping[str, Any]
"""A row of `compare`."""
LEVEL = 0.05
SHORT = {INTERVALS: "intervals combined"}
"""Methods whose words are too long for a column."""
MOST_NAMES = 8
"""Names of measures that fit into a line."""


def print_comparison(reports: Sequence[Record], rows: Sequence[Row]) -> None:
    """Each report beside the first. `rows` are those of `compare`, and come one report after the other."""
    of_each = [list(group) for _, group in groupby(rows, key=lambda row: row["report_b"])]
    names = [group[0]["report_b"] for group in of_each]
    for other, name in zip(reports[1:], names_of(reports)[1:], strict=True):
        found = of_each[names.index(name)] if name in names else []
        print(printable(f"a: {names_of(reports)[0]}\nb: {name}\n"))
        _print_heads(reports[0], other)
        _print_numbers(found)
        for line in (*_on_methods(found), *_on_many(found), *_left_out(not_compared(reports[0], other))):
            print(printable(line))
    print("All numbers: --json, or in Python analyses.compare([a, b]); of one report, report.to_frame()")


def _print_numbers(rows: Sequence[Row]) -> None:
    single = [row for row in rows if not _where(row)]
    along = [row for row in rows if _where(row)]
    if single:
        print_table("Single numbers", [_line(row) for row in single])
    if along:
        _print_along_axes(along)


def _print_heads(a: Record, b: Record) -> None:
    if not (a.heads and b.heads):
        return
    changed = changed_heads(a, b)
    if not changed:
        print(f"No head has another verdict in b: {len(b.heads):,} heads\n")
        return
    print_table(
        f"{len(changed):,} of {len(b.heads):,} heads have another verdict",
        [_head_line(head) for head in changed[:MOST_HEADS]],
    )
    if len(changed) > MOST_HEADS:
        named = sum(head.verdict_b not in NO_VERDICT for head in changed[MOST_HEADS:])
        print(f"{len(changed) - MOST_HEADS:,} more; {named:,} of them have a verdict in b\n")


def _head_line(head: ChangedHead) -> dict[str, str]:
    of = {f"{head.of} in a": head.value_a, f"{head.of} in b": head.value_b} if head.of else {}
    return {"head": head.head, "a": head.verdict_a, "b": head.verdict_b, **of}


def _print_along_axes(rows: Sequence[Row]) -> None:
    """Those that differ, of each measure the largest first, as many as fit on a screen."""
    differing = sorted(filter(_differs, rows), key=_size, reverse=True)
    turn = count_of(row["metric"] for row in differing)
    chosen = sorted(zip(turn, differing, strict=True), key=lambda pair: pair[0])[: height()]
    place = {metric: at for at, metric in enumerate(dict.fromkeys(row["metric"] for _, row in chosen))}
    shown = sorted((row for _, row in chosen), key=lambda row: (place[row["metric"]], -_size(row)))
    if shown:
        title = f"Numbers along axes that differ, of each measure the largest: {len(shown):,} of {len(differing):,}"
        print_table(title, [_line(row) for row in shown])
    without = sum(not _has_interval(row) for row in rows)
    print(
        f"{len(rows):,} numbers along axes: {len(differing):,} differ (their 95 % interval excludes 0),"
        f" {len(rows) - len(differing) - without:,} do not, {without:,} have no interval\n"
        "(nothing was resampled, or a report has no number).\n"
    )


def count_of(names: Iterable[str]) -> list[int]:
    """Of each name, how often it came before."""
    seen: Counter[str] = Counter()
    counts = []
    for name in names:
        counts.append(seen[name])
        seen[name] += 1
    return counts


def _on_methods(rows: Sequence[Row]) -> list[str]:
    combined = any(row["method"] == INTERVALS for row in rows)
    return [f"{SHORT[INTERVALS]}: {INTERVALS}; where the inputs are the same that is too wide."] * combined


def _on_many(rows: Sequence[Row]) -> list[str]:
    """What many comparisons at once mean for their intervals."""
    n, differ = sum(map(_has_interval, rows)), sum(map(_differs, rows))
    stand = sum(_differs(row) and row["p_adjusted"] <= LEVEL for row in rows)
    if n < 2:
        return []
    lines = [
        f"Of {n:,} intervals {differ:,} exclude 0. Each covers 95 % by itself: if nothing differed, about"
        f" {LEVEL * n:,.0f} would, too."
    ]
    corrected = (
        f"Corrected for their number (false discovery rate 5 %, Benjamini-Hochberg), {stand:,} of the {differ:,} stand."
    )
    return lines + [corrected + " The others are marked *." * (stand < differ)] * (differ > 0)


def _left_out(names: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"Not compared, {why}: {', '.join(found[:MOST_NAMES])}"
        + (f", and {len(found) - MOST_NAMES:,} more" if len(found) > MOST_NAMES else "")
        for why, found in names.items()
        if found
    ]


def _has_interval(row: Row) -> bool:
    return not math.isnan(row["ci_low"])


def _differs(row: Row) -> bool:
    return row["ci_low"] > 0 or row["ci_high"] < 0


def _size(row: Row) -> float:
    """How far from 0 a difference that excludes 0 lies, in units of how far its interval reaches towards it."""
    difference = row["difference"]
    reach = difference - row["ci_low"] if difference > 0 else row["ci_high"] - difference
    return abs(difference) / reach if reach > 0 else math.inf


def _where(row: Row) -> str:
    """`layer 1, head 0, offset=3`."""
    own = [f"{axis} {row[axis]}" for axis in OWN_COLUMN if not _is_blank(row[axis])]
    return ", ".join([*own, *([] if _is_blank(row["data"]) else [row["data"].replace(";", ", ")])])


def _line(row: Row) -> dict[str, Any]:
    mark = " *" if _differs(row) and row["p_adjusted"] > LEVEL else ""
    return {
        "measure": f"{row['metric']} {_where(row)}".strip() + mark,
        "a": number(row["estimate_a"]),
        "b": number(row["estimate_b"]),
        "b - a": number(row["difference"]),
        "95 % CI": interval(row["ci_low"], row["ci_high"]),
        "method": SHORT.get(row["method"], row["method"]),
    }


def _is_blank(cell: Any) -> bool:
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))
