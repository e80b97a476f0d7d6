"""Figures of gd-certificate, by name, and the one that stands for a report."""

from __future__ import annotations

from .forms import forms_figure, rates_figure
from .matrices import matrices_figure
from .plateaus import plateaus_figure
from .trajectory import trajectory_figure

__all__ = ["FIGURES"]

FIGURES = {
    "forms": forms_figure,
    "rates": rates_figure,
    "matrices": matrices_figure,
    "trajectory": trajectory_figure,
    "plateaus": plateaus_figure,
}
