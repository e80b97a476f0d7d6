"""Figures of implicit-weights, by name, and the one that stands for a report."""

from __future__ import annotations

from .distances import distances_figure, layers_figure
from .entries import weights_figure
from .exchange import exchange_figure
from .trajectory import trajectory_figure

__all__ = ["FIGURES"]

FIGURES = {
    "distances": distances_figure,
    "layers": layers_figure,
    "weights": weights_figure,
    "exchange": exchange_figure,
    "trajectory": trajectory_figure,
}
