"""Maps of attention that a probe kept: queries by keys, one head a panel, with tokens for ticks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..head_columns import NO_VERDICT
from ..kept_attention import KeptAttention, Weighting
from . import head_marks, marks
from .page import LEAST_PANEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..findings import Findings
    from .page import Page

_UNITS: dict[Weighting, str] = {"attention": "attention", "value-weighted": r"attention × ‖$v\,W_O$‖"}
_MOST_COLUMNS = 3
_HIGHEST, _MOST_HEIGHT = 1.1, 8.4  # inches of a map whose tokens are not all named, and of all panels
_BESIDE, _BELOW = 0.9, 1.6  # inches that texts and the bar of colours take beside a map, and above and below it
_PITCH = 0.105  # inches from one tick to the next
_LETTERS = 8  # of a token's text
_SIZE = 7.0
_FIRST_COLOR = 1 / 256
"""Of the range of colours: from here on a cell has another one than 0 has."""


def patterns_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Attention pattern of the heads that the report keeps, on one sequence: how much of its attention a query (row)
    pays each key (column). Grey: keys after the query, which it does not see.
    """
    kept = KeptAttention.of(findings)
    return None if kept is None else _maps(kept, page, "attention")


def value_weighted_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Attention pattern of the heads that the report keeps, each number times the length of what that key sends, ‖v
    W_O‖ (Kobayashi et al. 2020). Every head has colours of its own. Grey: keys after the query, which it does not see.
    """
    kept = KeptAttention.of(findings)
    return None if kept is None or kept.value_norms is None else _maps(kept, page, "value-weighted")


def _maps(kept: KeptAttention, page: Page, weighting: Weighting) -> pd.DataFrame:
    """One map a head."""
    titles = [
        name if verdict in NO_VERDICT else f"{name} {verdict}"
        for name, verdict in zip(kept.names, kept.verdicts, strict=True)
    ]
    shown = page.chosen(dict(zip(titles, kept.values(weighting), strict=True)))
    n = len(kept.texts)
    columns, height, room = _sizes(len(shown), n, page)
    axes = page.grid(len(shown), columns, height)
    tables = []
    for (title, values), ax in zip(shown.items(), axes, strict=True):
        tables.append(_map(values, ax, title, 1.0 if weighting == "attention" else None))
        _name_tokens(ax, kept.texts, -(-n // room), keys=page.ax is None)
        ax.set_title(title)
        tables.append(marks.no_nulls_here(title, "this is the attention on a single sequence"))
        page.color_bar([ax], _UNITS[weighting])
    return marks.together(tables)


def _sizes(panels: int, tokens: int, page: Page) -> tuple[int, float, int]:
    """Columns, inches of a panel, and how many tokens have room beside its map: all of them, where the page is large
    enough, else as many as possible.
    """
    wide, side = page.style.column if panels == 1 else page.style.page, _PITCH * tokens
    found = []
    for columns in range(min(_MOST_COLUMNS, panels, max(int(wide / LEAST_PANEL), 1)), 0, -1):
        across, down = wide / columns - _BESIDE, _MOST_HEIGHT / -(-panels // columns) - _BELOW
        if side <= min(across, down):
            return columns, side + _BELOW, tokens
        height = min(down, _HIGHEST)
        found.append((max(int(min(across, height) / _PITCH), 2), columns, height))
    room, columns, height = max(found)
    return columns, height + _BELOW, room


def _map(values: np.ndarray, ax: Axes, panel: str, limit: float | None) -> pd.DataFrame:
    """Cells that have the colour of 0 are left out of the table."""
    past = np.where(np.tri(len(values), dtype=bool), values, np.nan)
    head_marks.image(past, ax, limit)
    _, top = ax.images[0].get_clim()
    query, key = np.nonzero(past >= top * _FIRST_COLOR)
    table = pd.DataFrame({"panel": panel, "series": [f"query {i}" for i in query], "kind": "estimate", "at": key})
    return table.assign(value=past[query, key]).reindex(columns=list(marks.COLUMNS))


def _name_tokens(ax: Axes, texts: tuple[str, ...], every: int, keys: bool) -> None:
    """One of so many tokens beside the map.

    keys:  below it, too: in somebody's own figure a bar of colours may need that place
    """
    named = range(0, len(texts), every)
    names = [_short(texts[at]) or "–" if every == 1 else f"{at}: {_short(texts[at])}".strip(": ") for at in named]
    ax.set(xlabel="key" if keys else "position of the key", ylabel="query")
    ax.set_yticks(named, names, fontsize=_SIZE, parse_math=False)
    if keys:
        ax.set_xticks(named, names, fontsize=_SIZE, parse_math=False, rotation=90)


def _short(text: str) -> str:
    """A token's text in a few letters; "" where the font cannot show it."""
    name = text.replace("\n", "⏎").strip(" ") or text.replace(" ", "␣")
    plain = name.replace("⏎", "").replace("␣", "")
    legible = (plain == "" or plain.isprintable()) and max(map(ord, plain), default=0) < 256
    return (name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…") if legible else ""
