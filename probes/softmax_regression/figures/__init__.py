"""Figures of softmax-regression, by name, and the one that stands for a report. Tasks and heads have their own."""

from __future__ import annotations

from . import heads
from .candidates import candidates_figure
from .shifts import shifts_figure, trajectory_shifts_figure
from .tradeoff import tradeoff_figure
from .trajectory import trajectory_figure, trajectory_weights_figure
from .weights import KQ_figure, path_figure

__all__ = ["FIGURES"]

FIGURES = {
    "candidates": candidates_figure,
    "shifts": shifts_figure,
    "tradeoff": tradeoff_figure,
    "KQ": KQ_figure,
    "path": path_figure,
    "heads_shifts": heads.heads_figure,
    "layers_shifts": heads.layers_figure,
    "trajectory": trajectory_figure,
    "trajectory_shifts": trajectory_shifts_figure,
    "trajectory_weights": trajectory_weights_figure,
    "trajectory_heads": heads.trajectory_figure,
}
