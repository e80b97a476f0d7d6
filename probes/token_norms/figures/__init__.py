"""Figures of token-norms: how long representations are, layer by layer and token by token, and what that goes with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...drawing import marks, panels
from ...drawing.marks import BLACK, PURPLE, Look
from . import attention as norm_attention_figures
from . import trajectory as norm_trajectory
from .looks import COVARIATES, ESTIMATED, LATER, MATRICES, TAILS, by_covariate, by_place, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

# -- norms, layer by layer ---------------------------------------------------------------------------------------------


def norms_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Norm of the residual stream before the first block (0) and after each, of what attention and MLPs write, and of
    what is embedded and read out. Bands: 95 % intervals of the mean; grey: untrained models of the same shape.
    """
    measures = marks.last_step(findings.measures)
    found = {
        f"residual stream{_growth(measures)}": _stream(measures),
        "written by attention": series(measures, by_place("norm_attn_out", statistic="mean")),
        "written by MLPs": series(measures, by_place("norm_mlp_out", statistic="mean")),
    }
    drawn, keys = panels.curves_panels(found, logarithmic=found)
    if not drawn:
        return None
    rows = [
        (Look(label, BLACK), of)
        for label, name, at in (
            ("embedded tokens", "norm_embed", {"position": "later"}),
            ("after the final norm", "norm_final_norm", {"position": "later"}),
            ("rows of $W_E$", "norm_embedding_rows", {}),
            ("rows of $W_U$", "norm_unembedding_rows", {}),
        )
        for of in series(measures, {LATER: (name, {"statistic": "mean", **at})}).values()
    ]
    drawn["elsewhere (mean)"] = partial(_rows, rows), ""
    return panels.panels_figure(drawn, page, keys, per_row=2)


def _rows(rows: list[tuple[Look, Measure]], ax: Axes, panel: str) -> pd.DataFrame:
    table = marks.rows(rows, ax, panel)
    ax.set(xlabel="norm", xlim=(0, None))
    return table


def _stream(measures: Mapping[str, Measure]) -> dict[Look, Measure]:
    wanted = by_place("norm_resid", statistic="mean")
    tails = {look: ("norm_resid", {"position": "later", "statistic": name}) for name, look in TAILS.items()}
    without = {
        look: replace(tail, nulls={}, no_nulls="the mean's are shown") for look, tail in series(measures, tails).items()
    }
    return series(measures, wanted) | without


def _growth(measures: Mapping[str, Measure]) -> str:
    factor, fit = (measures.get(name) for name in ("norm_growth", "norm_growth_r2"))
    if factor is None or not marks.has_number(factor):
        return ""
    quality = f", $R^2$ {marks.decimal(fit.estimate)}" if fit is not None and marks.has_number(fit) else ""
    return f" (× {factor.estimate:.4g} a layer{quality})"


def headline(findings: Findings, ax: Axes) -> pd.DataFrame:
    """Norm of the residual stream, layer by layer, position 0 apart."""
    found = _stream(marks.last_step(findings.measures))
    table = panels.curves(found, ax, "residual stream", logarithmic=True)
    ax.set_ylabel("norm")
    ax.legend(handles=panels.keys(found, list(found.values())), fontsize="small")
    return table


# -- norms, token by token ---------------------------------------------------------------------------------------------

_AGAINST = {
    "position": "position",
    "log_frequency": "log frequency",
    "surprisal": "surprisal (nat)",
    "entropy": "entropy (nat)",
}


def tokens_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Norm of single tokens after the last block, position 0 left out, against where they stand, how frequent they are,
    how surprising the next token is, and how uncertain the model is of it. ρ: Spearman's correlation [95 % interval].
    """
    norms = findings.arrays.get("token_resid")
    if norms is None or norms.ndim != 2:  # of one checkpoint
        return None
    measures = marks.last_step(findings.measures)
    found = {name: _column(findings.arrays[f"token_{name}"]) for name in _AGAINST if f"token_{name}" in findings.arrays}
    drawn = {
        f"{name.replace('_', ' ')}{_rho(measures, name)}": (
            partial(_scatter, values, norms[:, -1], _AGAINST[name]),
            "norm",
        )
        for name, values in found.items()
    }
    return panels.panels_figure(drawn, page, [], per_row=2)


def _column(array: np.ndarray) -> np.ndarray:
    return array if array.ndim == 1 else array[:, 0]


def _scatter(x: np.ndarray, y: np.ndarray, label: str, ax: Axes, panel: str) -> pd.DataFrame:
    held = np.isfinite(x) & np.isfinite(y)
    ax.plot(x[held], y[held], ls="", marker="o", ms=1.6, mew=0, alpha=0.35, color=LATER.color)
    ax.set_xlabel(label)
    return marks.frame(
        {"panel": panel, "series": "token", "kind": "token", "at": a, "value": v}
        for a, v in zip(x[held], y[held], strict=True)
    )


def _rho(measures: Mapping[str, Measure], covariate: str) -> str:
    wanted = {LATER: ("spearman_resid", {"covariate": covariate, "position": "later"})}
    for found in series(measures, wanted).values():
        last = found.at(layer=-1)
        if marks.has_number(last):
            low, high = (float(bound) for bound in last.interval)
            interval = f" [{marks.decimal(low)}, {marks.decimal(high)}]" if np.isfinite(low) else ""
            return f": ρ = {marks.decimal(last.estimate)}{interval}"
    return ""


# -- rank correlations -------------------------------------------------------------------------------------------------

_PLAIN, _PARTIAL = "Spearman", "partial Spearman"
_SITES = {
    "spearman_resid": "residual stream",
    "partial_spearman_resid": "residual stream, partial",
    "spearman_attn_out": "written by attention",
    "spearman_mlp_out": "written by MLPs",
    "spearman_write_norm": "‖f(x)‖, mean over heads",
    "spearman_mixing_ratio": "mixing ratio (AttnRes-N)",
}


def correlations_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Rank correlation of the norm after the last block with properties of the token and of its prediction, position 0
    left out; right, with position and log frequency held fixed. Bars: 95 % intervals; grey: untrained models.
    """
    measures = marks.last_step(findings.measures)
    found = {
        title: {look: of.at(layer=-1) for look, of in by_covariate(measures, name, COVARIATES).items()}
        for title, name in ((_PLAIN, "spearman_resid"), (_PARTIAL, "partial_spearman_resid"))
    }
    looks = list(found[_PLAIN])
    if not looks:
        return None
    axes = page.grid(1, 2, 1.1 + 0.2 * len(looks), sharey=True)
    tables = []
    for (title, of), ax in zip(found.items(), axes, strict=True):
        tables.append(marks.rows([(look, of.get(look)) for look in looks], ax, title))
        marks.reference(ax, x=0)
        ax.set(title=title, xlabel="rank correlation with the norm")
    page.legend(marks.keys(measure for of in found.values() for measure in of.values()))
    return marks.together(tables)


def correlations_by_layer_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Rank correlations of norms, and of mixing ratios, layer by layer, position 0 left out. Bands: 95 % intervals.
    Partial: position and log frequency held fixed.
    """
    measures = marks.last_step(findings.measures)
    found = {
        title: {
            look: replace(of, nulls={}, no_nulls="shown at the last layer")
            for look, of in by_covariate(measures, name, ESTIMATED).items()
        }
        for name, title in _SITES.items()
    }
    return panels.curves_figure(found, page, per_row=2)


def vocabulary_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Median norm of embedding and unembedding rows by decile of the token's frequency, the rarest first. Whitened:
    under the covariance of the unembedding, an estimate of how much a token says about its neighbours. ρ: Spearman's
    correlation with frequency; grey: untrained models.
    """
    measures = marks.last_step(findings.measures)
    found = {}
    for key, look in MATRICES.items():
        deciles = series(measures, {look: ("norm_rows_by_decile", {"matrix": key})})
        rho = series(measures, {look: ("spearman_rows_frequency", {"matrix": key})})
        found[
            look.label.removeprefix("rows of ") + "".join(f": ρ = {marks.decimal(of.estimate)}" for of in rho.values())
        ] = deciles
    return panels.curves_figure(found, page)


# -- inner optimization ------------------------------------------------------------------------------------------------

_GAIN = {
    Look("gain", BLACK, "o", "-"): ("step_gain", {"position": "later"}),
    Look("first-order prediction", PURPLE, "D", ":"): ("step_first_order", {"position": "later"}),
}


def inner_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Reading the stream out after every block: its loss; how the block's write lies to the negative gradient of that
    loss (positive step cosine follows from falling loss; it is no evidence of an inner optimizer); the loss it saves
    beside the first-order prediction; and the part of the gradient that would lengthen the state. Bands: 95 %
    intervals.
    """
    measures = marks.last_step(findings.measures)
    found = {
        "inner loss": series(measures, by_place("inner_loss")),
        "step cosine": series(measures, by_place("step_cosine")),
        "gain of a block's write": series(measures, _GAIN),
        "radial push": series(measures, by_place("radial_push")),
    }
    return panels.curves_figure(found, page, per_row=2)


FIGURES = {
    "norms": norms_figure,
    "tokens": tokens_figure,
    "correlations": correlations_figure,
    "correlations_by_layer": correlations_by_layer_figure,
    "vocabulary": vocabulary_figure,
    "inner": inner_figure,
    "attention": norm_attention_figures.attention_figure,
    "mixing": norm_attention_figures.mixing_figure,
    "maps": norm_attention_figures.maps_figure,
    "sinks": norm_attention_figures.sinks_figure,
    "outliers": norm_attention_figures.outliers_figure,
    "trajectory": norm_trajectory.norms_figure,
    "trajectory_attention": norm_trajectory.attention_figure,
}
