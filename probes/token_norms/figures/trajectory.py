"""Figures of token-norms over training: every statistic against the step."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import head_marks, marks, panels
from .looks import ESTIMATED, FIRST, MATRICES, by_covariate, by_layer, first_and_later, selected

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

HEADS = {"attention_to_first": "attention to position 0", "value_drain": "value norm at position 0"}


def norms_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: norm of the residual stream and its growth per layer; loss of the model; loss and step cosine of
    reading the stream out early, position 0 left out (a falling loss forces a positive step cosine: it is no evidence
    of an inner optimizer), in grey its controls; rank correlations of the last layer's norm, and of embedding rows with
    frequency, in grey those of untrained models. Bands: 95 % intervals.
    """
    measures = _over_steps(findings)
    later = {"position": "later"}
    logarithmic = {
        "norm after position 0": by_layer(measures, "stream_norm", statistic="mean", **later),
        "norm at position 0": by_layer(measures, "stream_norm", statistic="mean", position="first"),
    }
    found = logarithmic | {
        "growth of the norm": selected(measures, first_and_later("norm_growth")),
        "loss": selected(measures, first_and_later("next_token_loss")),
        "inner loss": by_layer(measures, "inner_loss", **later),
        "step cosine": by_layer(measures, "step_cosine", **later),
        "Spearman with the norm": by_covariate(_last_layer(measures), "stream_spearman", ESTIMATED),
        "partial Spearman": by_covariate(_last_layer(measures), "partial_stream_spearman", ESTIMATED),
        "Spearman with frequency": selected(
            measures, {look: ("spearman_rows_frequency", {"matrix": key}) for key, look in MATRICES.items()}
        ),
    }
    return panels.curves_figure(found, page, logarithmic=logarithmic)


def attention_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: mixing ratio; attention sinks (percentage of heads and windows) and mean attention to position 0;
    norm of the state and of the value at position 0 over the mean norm after it; largest |entry| of a state over the
    median one; anisotropy (mean cosine of two tokens' states), and the share of its largest dimension. Bands: 95 %
    intervals.
    """
    measures = _over_steps(findings)
    ratio = "largest / median |entry|"
    found = {
        "mixing ratio (AttnRes-N)": by_layer(measures, "mixing_ratio", ratio="AttnRes-N", position="later"),
        "attention sinks": selected(measures, {FIRST: ("sink_metric", {})}),
        "mean attention to position 0": selected(measures, {FIRST: ("bos_attention_mean", {})}),
        "state norm at position 0": by_layer(measures, "state_peak"),
        ratio: selected(_last_layer(measures), first_and_later("massive_ratio")),
        "anisotropy": by_layer(measures, "anisotropy", dimensions="all dimensions", position="later"),
        "its largest dimension": by_layer(measures, "rogue_share", rank=0),
    }
    drawn = panels.curves_panels(found, logarithmic=[ratio])
    for name, title in HEADS.items():
        if name in measures and "layer" in measures[name].axes:
            draw = partial(head_marks.called_curves, measures[name], chosen={}, others="heads")
            drawn[title] = panels.Panel(draw, marks.unit_label(measures[name]), training=(measures[name],))
    return panels.panels_figure(drawn, page, [head_marks.others_key("heads")])


def _over_steps(findings: Findings) -> dict[str, Measure]:
    return {name: m for name, m in findings.measures.items() if m.axes[:1] == ("step",) and marks.has_number(m)}


def _last_layer(measures: Mapping[str, Measure]) -> dict[str, Measure]:
    return {name: measure.at(layer=-1) for name, measure in measures.items() if "layer" in measure.axes}
