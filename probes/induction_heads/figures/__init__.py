"""Figures of induction-heads: where the heads are, where they look, how they connect, and what the loss does."""

from __future__ import annotations

from ...drawing.attention_maps import patterns_figure, value_weighted_figure
from .ablation import ablation_figure
from .composition import composition_figure
from .evidence import evidence_figure, offsets_figure
from .losses import loss_figure
from .maps import attention_figure, heads_figure, text_figure
from .trajectory import losses_figure, trajectory_figure

FIGURES = {
    "heads": heads_figure,
    "attention": attention_figure,
    "patterns": patterns_figure,
    "value_weighted": value_weighted_figure,
    "evidence": evidence_figure,
    "offsets": offsets_figure,
    "composition": composition_figure,
    "loss": loss_figure,
    "ablation": ablation_figure,
    "text": text_figure,
    "trajectory": trajectory_figure,
    "trajectory_losses": losses_figure,
}

__all__ = ["FIGURES"]
