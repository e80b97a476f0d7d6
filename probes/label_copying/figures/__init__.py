"""Figures of label-copying, by name, and the one that stands for a report."""

from __future__ import annotations

from .copying import copying_figure
from .maps import maps_figure
from .trajectory import trajectory_figure

__all__ = ["FIGURES"]

FIGURES = {"copying": copying_figure, "maps": maps_figure, "trajectory": trajectory_figure}
