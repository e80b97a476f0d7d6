"""Figures of icl-algorithm, by name, and the one that stands for a report."""

from __future__ import annotations

from .contest import comparisons_figure, contest_figure
from .matrix import rules_figure
from .trajectory import trajectory_figure

__all__ = ["FIGURES"]

FIGURES = {
    "contest": contest_figure,
    "comparisons": comparisons_figure,
    "rules": rules_figure,
    "trajectory": trajectory_figure,
}
