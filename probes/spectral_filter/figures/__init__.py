"""Figures of spectral-filter, by name, and the one that stands for a report."""

from __future__ import annotations

from .layers import layers_figure
from .response import filter_figure
from .rules import rules_figure
from .trajectory import trajectory_figure

__all__ = ["FIGURES"]

FIGURES = {
    "filter": filter_figure,
    "rules": rules_figure,
    "layers": layers_figure,
    "trajectory": trajectory_figure,
}
