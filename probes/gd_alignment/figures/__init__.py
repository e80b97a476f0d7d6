"""Figures of gd-alignment, by name, and the one that stands for a report."""

from __future__ import annotations

from .behaviour import alignment_figure, candidates_figure, losses_figure
from .depth import curvature_figure, depth_figure
from .heads import heads_figure
from .shifts import ood_figure, rollout_figure
from .trajectory import trajectory_figure
from .weights import path_figure, weights_figure

__all__ = ["FIGURES"]

FIGURES = {
    "alignment": alignment_figure,
    "loss": losses_figure,
    "candidates": candidates_figure,
    "weights": weights_figure,
    "heads": heads_figure,
    "path": path_figure,
    "depth": depth_figure,
    "curvature": curvature_figure,
    "ood": ood_figure,
    "rollout": rollout_figure,
    "trajectory": trajectory_figure,
}
