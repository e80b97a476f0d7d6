"""Figures of attention-learning, by name, and the one that stands for a report."""

from __future__ import annotations

from .heads import heads_figure, trajectory_heads_figure
from .maps import attention_figure, trajectory_attention_figure
from .scores import accuracies_figure, agreement_figure
from .seeds import crossings_figure, outcomes_figure, trajectory_outcomes_figure
from .trajectory import trajectory_agreement_figure, trajectory_figure

__all__ = ["FIGURES"]

FIGURES = {
    "accuracies": accuracies_figure,
    "heads": heads_figure,
    "agreement": agreement_figure,
    "attention": attention_figure,
    "outcomes": outcomes_figure,
    "crossings": crossings_figure,
    "trajectory": trajectory_figure,
    "trajectory_agreement": trajectory_agreement_figure,
    "trajectory_attention": trajectory_attention_figure,
    "trajectory_outcomes": trajectory_outcomes_figure,
    "trajectory_heads": trajectory_heads_figure,
}
