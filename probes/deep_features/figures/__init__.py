"""Figures of deep-features, by name, and the one that stands for a report."""

from __future__ import annotations

from .alignment import alignment_figure
from .functions import functions_figure
from .trajectory import trajectory_figure

__all__ = ["FIGURES"]

FIGURES = {"alignment": alignment_figure, "functions": functions_figure, "trajectory": trajectory_figure}
