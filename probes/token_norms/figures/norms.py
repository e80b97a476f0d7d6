"""Figures of norms: layer by layer, and token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...drawing import marks, panels
from ...drawing.marks import Look
from ..named_points import named_points
from .looks import LATER, TAILS, Selection, first_and_later, selected

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

ELSEWHERE: dict[Look, Selection] = {
    Look("embedded tokens"): ("norm_outside_blocks", {"site": "embed", "position": "later", "statistic": "mean"}),
    Look("after the final norm"): (
        "norm_outside_blocks", {"site": "final_norm", "position": "later", "statistic": "mean"},
    ),
    Look("rows of $W_E$"): ("norm_rows", {"matrix": "W_E", "statistic": "mean"}),
    Look("rows of $W_U$"): ("norm_rows", {"matrix": "W_U", "statistic": "mean"}),
}  # fmt: skip
PROPERTIES = {
    "position": "position",
    "log_frequency": "log frequency",
    "surprisal": "surprisal (nat)",
    "entropy": "entropy (nat)",
}
"""Of single tokens: what their norms are drawn against, and the label of the axis."""


def norms_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Norm of the residual stream before the first block (layer 0) and after each; of what attention and MLPs write to
    it; of embedded tokens, the output of the final norm, and rows of the embedding and unembedding. Bands: 95 %
    intervals of the mean; grey: rows of untrained models of the same shape.
    """
    measures = marks.last_step(findings.measures)
    stream = "residual stream"
    curves = {
        stream: _stream(measures),
        "written by attention": selected(measures, first_and_later("norm", site="attn_out", statistic="mean")),
        "written by MLPs": selected(measures, first_and_later("norm", site="mlp_out", statistic="mean")),
    }
    drawn = panels.curves_panels(curves, logarithmic=curves)
    if not drawn:
        return None
    elsewhere = selected(measures, ELSEWHERE)
    drawn["elsewhere (mean)"] = panels.Panel(partial(_draw_rows, elsewhere), measures=tuple(elsewhere.values()))
    return panels.panels_figure(drawn, page, columns=2, titles={stream: f"{stream}{_growth(measures)}"})


def _draw_rows(rows: Mapping[Look, Measure], ax: Axes, panel: str) -> pd.DataFrame:
    table = marks.rows(list(rows.items()), ax, panel)
    ax.set(xlabel="norm", xlim=(0, None))
    return table


def _stream(measures: Mapping[str, Measure]) -> dict[Look, Measure]:
    """Means at position 0 and after it, and percentiles after it."""
    tails: dict[Look, Selection] = {
        look: ("stream_norm", {"position": "later", "statistic": name}) for name, look in TAILS.items()
    }
    return selected(measures, first_and_later("stream_norm", statistic="mean") | tails)


def _growth(measures: Mapping[str, Measure]) -> str:
    later: dict[Look, Selection] = {LATER: ("norm_growth", {"position": "later"})}
    fit: dict[Look, Selection] = {LATER: ("norm_growth_r2", {"position": "later"})}
    quality = "".join(f", $R^2$ {marks.decimal(of.estimate)}" for of in selected(measures, fit).values())
    return "".join(f" (× {of.estimate:.4g} a layer{quality})" for of in selected(measures, later).values())


def tokens_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Norm of single tokens after the last block, position 0 left out, against their position, their frequency, how
    surprising the next token is, and how uncertain the model is of it. ρ: Spearman's correlation [95 % interval].
    Named: some of the longest and the shortest tokens.
    """
    norms = findings.arrays.get("token_resid")
    if norms is None or norms.ndim != 2:  # of one checkpoint
        return None
    measures = marks.last_step(findings.measures)
    drawn, titles, names = {}, {}, named_points(findings, norms.shape[1] - 1)
    for name, label in PROPERTIES.items():
        values = findings.arrays.get(f"token_{name}")
        if values is not None:
            of_tokens = values if values.ndim == 1 else values[:, 0]
            title = name.replace("_", " ")
            drawn[title] = panels.Panel(partial(_scatter, of_tokens, norms[:, -1], names, label), "norm")
            titles[title] = f"{title}{_rho(measures, name)}"
    return panels.panels_figure(drawn, page, columns=2, titles=titles)


def _scatter(
    x: np.ndarray, y: np.ndarray, names: Sequence[tuple[int, str]], label: str, ax: Axes, panel: str
) -> pd.DataFrame:
    known = np.isfinite(x) & np.isfinite(y)
    ax.plot(x[known], y[known], ls="", marker="o", ms=1.4, mew=0, alpha=0.75, color=LATER.color)
    ax.margins(y=0.12)  # so that no name lies on the axis
    ax.set_xlabel(label)
    tokens = marks.frame(
        {"panel": panel, "series": "token", "kind": "token", "at": a, "value": v}
        for a, v in zip(x[known], y[known], strict=True)
    )
    named = [(float(x[row]), float(y[row]), name) for row, name in names if known[row]]
    return marks.together([tokens, marks.name_points(ax, named, panel)])


def _rho(measures: Mapping[str, Measure], covariate: str) -> str:
    wanted: dict[Look, Selection] = {LATER: ("stream_spearman", {"covariate": covariate, "position": "later"})}
    for by_layer in selected(measures, wanted).values():
        last = by_layer.at(layer=-1)
        if marks.has_number(last):
            low, high = (float(bound) for bound in last.interval)
            # held together where a title is broken
            interval = f" [{marks.decimal(low)},\N{NO-BREAK SPACE}{marks.decimal(high)}]" if np.isfinite(low) else ""
            return f": ρ = {marks.decimal(last.estimate)}{interval}"
    return ""
