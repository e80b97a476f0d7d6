"""Figures of few-shot-heads: which heads have an effect, what sets of them do and cost, how queries are answered."""

from __future__ import annotations

from .answers import answers_figure
from .heads import heads_figure, trajectory_heads_figure
from .sets import ablation_figure, sets_figure
from .trajectory import trajectory_figure

FIGURES = {
    "heads": heads_figure,
    "ablation": ablation_figure,
    "sets": sets_figure,
    "answers": answers_figure,
    "trajectory": trajectory_figure,
    "trajectory_heads": trajectory_heads_figure,
}

__all__ = ["FIGURES"]
