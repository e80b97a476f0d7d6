"""Figures of token-norms: how long representations are, layer by layer and token by token, and what that goes with."""

from __future__ import annotations

from . import attention, comparison, correlations, inner, norms, outliers, trajectory

FIGURES = {
    "norms": norms.norms_figure,
    "untrained": comparison.comparison_figure,
    "tokens": norms.tokens_figure,
    "correlations": correlations.last_layer_figure,
    "correlations_by_layer": correlations.by_layer_figure,
    "vocabulary": correlations.vocabulary_figure,
    "inner": inner.inner_figure,
    "attention": attention.attention_figure,
    "mixing": attention.mixing_figure,
    "maps": attention.maps_figure,
    "sinks": attention.sinks_figure,
    "outliers": outliers.outliers_figure,
    "trajectory": trajectory.norms_figure,
    "trajectory_attention": trajectory.attention_figure,
}
