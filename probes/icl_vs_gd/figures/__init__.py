"""Figures of icl-vs-gd, by name, and the one that stands for a report."""

from __future__ import annotations

from .behaviour import behaviour_figure, order_figure
from .by_layer import contrast_figure, patch_figure, similarity_figure
from .trajectory import trajectory_figure

__all__ = ["FIGURES"]

FIGURES = {
    "behaviour": behaviour_figure,
    "order": order_figure,
    "contrast": contrast_figure,
    "similarity": similarity_figure,
    "patch": patch_figure,
    "trajectory": trajectory_figure,
}
