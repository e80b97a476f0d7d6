"""Figures of rank correlations: of norms with properties of tokens and predictions, and of vocabulary rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from ...drawing import legends, marks, panels
from .looks import COVARIATES, ESTIMATED, MATRICES, by_covariate, selected

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings

SPEARMAN, PARTIAL = "Spearman", "partial Spearman"
QUANTITIES: dict[str, tuple[str, dict[str, Any]]] = {
    "residual stream": ("stream_spearman", {}),
    "residual stream, partial": ("partial_stream_spearman", {}),
    "written by attention": ("spearman", {"quantity": "attn_out"}),
    "written by MLPs": ("spearman", {"quantity": "mlp_out"}),
    "‖f(x)‖, mean over heads": ("spearman", {"quantity": "write_norm"}),
    "mixing ratio (AttnRes-N)": ("spearman", {"quantity": "mixing_ratio"}),
}
"""What is correlated, layer by layer: title, measure, and its labels."""


def last_layer_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Rank correlation of the norm after the last block with properties of the token and of its prediction, position 0
    left out. Partial: given position and log frequency. Bars: 95 % intervals. Dotted line: no correlation.
    """
    measures = marks.last_step(findings.measures)
    found = {
        title: {look: of.at(layer=-1) for look, of in by_covariate(measures, name, COVARIATES).items()}
        for title, name in ((SPEARMAN, "stream_spearman"), (PARTIAL, "partial_stream_spearman"))
    }
    looks = list(found[SPEARMAN])
    if not looks:
        return None
    shown = page.chosen({title: of_title for title, of_title in found.items() if of_title})
    axes = page.grid(len(shown), 2, 0.5 + 0.2 * len(looks), least=1.6, sharey="row")
    tables = []
    for (title, of_title), ax in zip(shown.items(), axes, strict=True):
        tables.append(marks.rows([(look, of_title.get(look)) for look in looks], ax, title))
        marks.reference(ax, x=0)
        ax.set(title=title, xlabel="rank correlation with the norm")
    page.legend(legends.keys(measure for of_title in shown.values() for measure in of_title.values()))
    return marks.together(tables)


def by_layer_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Rank correlations of norms and of mixing ratios, layer by layer, position 0 left out. Bands: 95 % intervals.
    Partial: given position and log frequency.
    """
    measures = marks.last_step(findings.measures)
    found = {title: by_covariate(measures, name, ESTIMATED, **labels) for title, (name, labels) in QUANTITIES.items()}
    return panels.curves_figure(found, page, columns=2)


def vocabulary_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Median norm of embedding and unembedding rows by decile of the token's frequency, the rarest first. Whitened:
    under the covariance of the unembedding, an estimate of how much a token says about its neighbours. ρ: Spearman's
    correlation with frequency; grey: untrained models.
    """
    measures = marks.last_step(findings.measures)
    found, titles = {}, {}
    for key, look in MATRICES.items():
        panel = look.label.removeprefix("rows of ")
        found[panel] = selected(measures, {look: ("norm_rows_by_decile", {"matrix": key})})
        rho = selected(measures, {look: ("spearman_rows_frequency", {"matrix": key})})
        titles[panel] = panel + "".join(f": ρ = {marks.decimal(measure.estimate)}" for measure in rho.values())
    return panels.curves_figure(found, page, titles=titles)
