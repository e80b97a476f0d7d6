"""Figures of shift-battery, by name, and the one that stands for a report."""

from __future__ import annotations

from .matrix import unexplained_figure
from .shifts import losses_figure, responses_figure
from .trajectory import trajectory_figure

__all__ = ["FIGURES"]

FIGURES = {
    "responses": responses_figure,
    "losses": losses_figure,
    "unexplained": unexplained_figure,
    "trajectory": trajectory_figure,
}
