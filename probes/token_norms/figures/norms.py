"""Figures of norms: layer by layer, and token by token."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...drawing import marks, panels
from ...drawing.marks import Look
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
    curves = {
        f"residual stream{_growth(measures)}": _stream(measures),
        "written by attention": selected(measures, first_and_later("norm", site="attn_out", statistic="mean")),
        "written by MLPs": selected(measures, first_and_later("norm", site="mlp_out", statistic="mean")),
    }
    drawn, keys = panels.curves_panels(curves, logarithmic=curves)
    if not drawn:
        return None
    elsewhere = selected(measures, ELSEWHERE)
    drawn["elsewhere (mean)"] = partial(_draw_rows, elsewhere), ""
    return panels.panels_figure(drawn, page, [*keys, *marks.null_keys(list(elsewhere.values()))], per_row=2)


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


def headline(findings: Findings, ax: Axes) -> pd.DataFrame:
    """Norm of the residual stream, layer by layer, position 0 apart."""
    found = _stream(marks.last_step(findings.measures))
    table = panels.curves(found, ax, "residual stream", logarithmic=True)
    ax.set_ylabel("norm")
    ax.legend(handles=panels.keys(found, list(found.values())), fontsize="small")
    return table


def tokens_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Norm of single tokens after the last block, position 0 left out, against their position, their frequency, how
    surprising the next token is, and how uncertain the model is of it. ρ: Spearman's correlation [95 % interval].
    """
    norms = findings.arrays.get("token_resid")
    if norms is None or norms.ndim != 2:  # of one checkpoint
        return None
    measures = marks.last_step(findings.measures)
    drawn = {}
    for name, label in PROPERTIES.items():
        values = findings.arrays.get(f"token_{name}")
        if values is not None:
            of_tokens = values if values.ndim == 1 else values[:, 0]
            title = f"{name.replace('_', ' ')}{_rho(measures, name)}"
            drawn[title] = partial(_scatter, of_tokens, norms[:, -1], label), "norm"
    return panels.panels_figure(drawn, page, [], per_row=2)


def _scatter(x: np.ndarray, y: np.ndarray, label: str, ax: Axes, panel: str) -> pd.DataFrame:
    known = np.isfinite(x) & np.isfinite(y)
    ax.plot(x[known], y[known], ls="", marker="o", ms=1.6, mew=0, alpha=0.35, color=LATER.color)
    ax.set_xlabel(label)
    return marks.frame(
        {"panel": panel, "series": "token", "kind": "token", "at": a, "value": v}
        for a, v in zip(x[known], y[known], strict=True)
    )


def _rho(measures: Mapping[str, Measure], covariate: str) -> str:
    wanted: dict[Look, Selection] = {LATER: ("stream_spearman", {"covariate": covariate, "position": "later"})}
    for by_layer in selected(measures, wanted).values():
        last = by_layer.at(layer=-1)
        if marks.has_number(last):
            low, high = (float(bound) for bound in last.interval)
            interval = f" [{marks.decimal(low)}, {marks.decimal(high)}]" if np.isfinite(low) else ""
            return f": ρ = {marks.decimal(last.estimate)}{interval}"
    return ""
