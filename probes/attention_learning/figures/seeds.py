"""Figures of several seeds: how each ends, and when each knows words, attends and answers right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...drawing import legends, marks, panels, steps
from ..names import ANTI_ATTENTION, ORDER, OUTCOME, QUANTITY
from .looks import LEAD, LEARNED, ORDERS, OUTCOMES, QUANTITIES, quantities

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

WIDEST, ROW = 4.5, 0.24
"""Inches of a figure, and of a row."""
FIRST, AFTER = "first checkpoint at 1/2 or above", "from KTIW to attention"
NEVER = "not by the last checkpoint"
_SEEDS = (0.15, 0.32)  # of a row, from its middle to its seeds
_SEED: dict[str, Any] = {"ls": "", "marker": "o", "ms": 2.5, "mfc": "none", "mew": 0.6}
_NEVER: dict[str, Any] = {"ls": "", "marker": ">", "ms": 4, "clip_on": False}


# -- outcomes ----------------------------------------------------------------------------------------------------------


def outcomes_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How many of the seeds end how. By attention: the task is learned, the largest attention is on the right source,
    and single words are translated right. Anti-attention: learned, with hardly any of both. Otherwise: learned some
    other way. Bars are exact 95 % intervals (Clopper and Pearson).
    """
    shares = _of_seeds(marks.last_step(findings.measures).get("outcome"))
    if shares is None:
        return None
    (panel,) = page.chosen({"outcome": None})
    (ax,) = page.grid(1, 1, 0.45 + ROW * len(OUTCOMES), width=min(page.style.page, WIDEST))
    entries = [(look, shares.sel(**{OUTCOME: name})) for name, look in OUTCOMES.items()]
    table = marks.rows(entries, ax, panel)
    ax.set(xlim=(-0.02, 1.02), xlabel="share of seeds", title=panel)
    page.legend(legends.keys(share for _, share in entries))
    return table


def trajectory_outcomes_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The share of seeds that have learned the task, over training, and of seeds that have learned it by
    anti-attention: with hardly any attention on the right source, and without translating single words right. Bands are
    exact 95 % intervals (Clopper and Pearson).
    """
    learned, shares = (_of_seeds(findings.measures.get(name)) for name in ("learned", "outcome"))
    if learned is None or shares is None or learned.axes != ("step",):
        return None
    curves = {LEARNED: learned, OUTCOMES[ANTI_ATTENTION]: shares.sel(**{OUTCOME: ANTI_ATTENTION})}
    drawn = {
        look.label: panels.Panel(partial(_shares, {look: measure}), "share of seeds", (look,), (measure,))
        for look, measure in curves.items()
    }
    return panels.panels_figure(drawn, page, columns=2)


def _shares(curves: panels.Curves, ax: Axes, panel: str) -> pd.DataFrame:
    table = panels.curves(curves, ax, panel)
    ax.set_ylim(-0.04, 1.04)
    return table


def _of_seeds(measure: Measure | None) -> Measure | None:
    """A share of several seeds, whose intervals are no t-intervals of 0 and 1; None of one."""
    if measure is None or not measure.has_number or measure.n < 2:
        return None
    return replace(measure, points=None)


# -- crossings ---------------------------------------------------------------------------------------------------------


def crossings_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The first checkpoint at which the share of sources that the model translates right alone (KTIW), of targets with
    the largest attention on the right source, and of right answers is 1/2 or above; and by how many steps attention
    comes after KTIW (dotted: at the same checkpoint). Circles are seeds, bars 95 % intervals of their median; an open
    one reaches to the end of the axis. Arrows: seeds that are not there by the last checkpoint.
    """
    first = findings.measures.get("first_crossing")
    if first is None or QUANTITY not in first.axes or not _held(first):
        return None
    lead = findings.measures.get("ktiw_lead")
    drawn = {FIRST: first} | ({AFTER: lead} if lead is not None and _held(lead) else {})
    shown = page.chosen(drawn)
    heights = [0.5 + 0.3 * (3 if title == FIRST else 1) for title in shown]
    axes = page.grid(len(shown), 1, heights, width=min(page.style.page, WIDEST))
    tables = [
        _plot_first(measure, findings.measures, ax, title) if title == FIRST else _plot_lead(measure, ax, title)
        for (title, measure), ax in zip(shown.items(), axes, strict=True)
    ]
    page.heading(_orders(findings.measures.get("crossing_order")))
    page.legend(_keys(list(shown.values())))
    return marks.together(tables)


def _plot_first(first: Measure, measures: Mapping[str, Measure], ax: Axes, panel: str) -> pd.DataFrame:
    over = [measure for measure in quantities(measures).values() if measure.axes == ("step",)]
    if over:
        at = over[0].labels("step")
        room = 0.03 * (at[-1] - at[0])
        ax.set_xlim(at[0] - room, at[-1] + room)
        steps.set_axis(ax, at, steps.kind_of(over))
    ax.set(title=panel)
    held = first.labels(QUANTITY)
    return _rows({look: first.sel(**{QUANTITY: name}) for name, look in QUANTITIES.items() if name in held}, ax, panel)


def _plot_lead(lead: Measure, ax: Axes, panel: str) -> pd.DataFrame:
    marks.reference(ax, 0.0)
    ax.set(title=panel, xlabel="training steps")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return _rows({LEAD: lead}, ax, panel)


def _rows(rows: Mapping[Look, Measure], ax: Axes, panel: str) -> pd.DataFrame:
    """A row each: the median, and seeds below it; at the right end those without a number; and intervals."""
    tables = []
    for y, (look, measure) in enumerate(rows.items()):
        known = {"panel": panel, "series": look.label, "at": look.label, "replicate": measure.replicate}
        low, high = (float(bound) for bound in measure.interval)
        _draw_seeds(_points(measure), y, look, ax)
        ax.plot([measure.estimate], [y], ls="", marker=look.marker, color=look.color, ms=4)
        tables.append(marks.frame([
            *(known | {"kind": "replicate", "value": step, "n": 1, "message": "" if np.isfinite(step) else NEVER}
              for step in _points(measure).tolist()),
            known | {"kind": "words", "message": f"no null: {measure.no_nulls}"},
            known | {"kind": "estimate", "value": measure.estimate, "low": low, "high": high, "n": measure.n},
        ]))  # fmt: skip
    _draw_intervals(rows, ax)
    ax.set_yticks(range(len(rows)), [look.label for look in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    return marks.together(tables)


def _draw_seeds(points: Float[np.ndarray, " seed"], y: int, look: Look, ax: Axes) -> None:
    several, never = len(points) > 1, int(np.isnan(points).sum())
    if several:
        ax.plot(points, y + np.linspace(*_SEEDS, len(points)), mec=look.color, **_SEED)
    if never:
        place = ax.get_yaxis_transform()
        ax.plot([1.0], [y], transform=place, color=look.color, **_NEVER)
        ax.text(1.03, y, f"{never} of {len(points)}" if several else "", transform=place, va="center")


def _draw_intervals(rows: Mapping[Look, Measure], ax: Axes) -> None:
    """From end to end; one that is open reaches to the end of the axis."""
    ends = ax.get_xlim()
    for y, (look, measure) in enumerate(rows.items()):
        known = [float(bound) for bound in measure.interval]
        if np.isfinite(known).any():
            drawn = [bound if np.isfinite(bound) else end for bound, end in zip(known, ends, strict=True)]
            ax.plot(drawn, [y, y], color=look.color, lw=1.2, solid_capstyle="butt")
    ax.set_xlim(ends)


def _points(measure: Measure) -> Float[np.ndarray, "seed *axes"]:
    """Of every seed; of a single one its own number."""
    return measure.values[None] if measure.points is None else measure.points


def _held(measure: Measure) -> bool:
    """Whether any seed has a number, be there a median or not."""
    return bool(np.isfinite(_points(measure)).any())


def _orders(shares: Measure | None) -> str:
    """How many seeds have which order."""
    if shares is None or not shares.has_number or shares.n < 2:
        return ""
    counts = {name: round(shares.sel(**{ORDER: name}).estimate * shares.n) for name in ORDERS}
    told = [f"{words} in\N{NO-BREAK SPACE}{counts[name]}" for name, words in ORDERS.items() if counts[name]]
    return f"Of {shares.n} seeds: {', '.join(told)}"


def _keys(shown: Sequence[Measure]) -> list[Artist]:
    """Of the medians and their intervals, where there are any, and of seeds."""
    seeds, black = len(_points(shown[0])), marks.BLACK
    middles = any(measure.has_number for measure in shown)
    intervals = any(np.isfinite(measure.interval).any() for measure in shown)
    keys: list[Artist] = []
    if middles or intervals:
        of = f" of {seeds} seeds" if seeds > 1 else ""
        label = ("median" if seeds > 1 else "seed") + of + ", 95 % interval" * intervals
        if not middles:
            label = f"95 % interval of the median{of}"
        keys.append(Line2D([], [], color=black, marker="o" * middles, ms=4, lw=1.2 * intervals, label=label))
    if seeds > 1:
        keys.append(Line2D([], [], mec=black, label="one seed", **_SEED))
    if any(np.isnan(_points(measure)).any() for measure in shown):
        keys.append(Line2D([], [], color=black, label=NEVER, **_NEVER))
    return keys
