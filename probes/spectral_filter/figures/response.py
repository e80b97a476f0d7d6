"""The figure of the filter: its response by eigenvalue, beside named filters and untrained models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from ...drawing import marks, panels
from ..names import RULES
from .looks import LOOKS, MODEL, at_layer, layers_of, measured, not_all, rules_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

NAMED = 3
"""Named filters that are drawn: the closest ones to the output, and least squares, at 1."""
EIGENVALUE = "eigenvalue"
DENSITY, CELLS, HEIGHT = "#B9C6D2", 40, 0.12
"""Of the eigenvalues under the axis: colour, cells, and share of a panel's height."""


@dataclass(frozen=True)
class Curves:
    """What one panel shows, along eigenvalues."""

    model: Measure
    rules: Mapping[str, Measure]
    eigenvalues: np.ndarray | None

    def draw(self, ax: Axes, panel: str) -> pd.DataFrame:
        tables = [marks.null_bands(self.model, ax, panel, MODEL.label)]
        for name, curve in self.rules.items():
            tables += [marks.null_bands(curve, ax, panel, LOOKS[name].label, drawn=False)]
            tables += [marks.curve(curve, replace(LOOKS[name], marker=""), ax, panel)]
        tables.append(marks.curve(self.model, MODEL, ax, panel))
        shown = [self.model.values, *self.model.interval, np.array([0.0, 1.0])]
        low, high = (float(end(np.concatenate([np.ravel(one) for one in shown]))) for end in (np.nanmin, np.nanmax))
        room = 0.08 * (high - low)
        ax.set_ylim(low - 2.2 * room, high + room)
        ax.set_xlim(left=0)
        if self.eigenvalues is not None:
            tables.append(_density(self.eigenvalues, ax, panel))
        ax.set_xlabel("eigenvalue of $X^T X / N$")
        return marks.together(tables)


def filter_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The model's filter g: how much of the least-squares solution its weights have, along the eigenvectors of a
    context, by eigenvalue (of Xᵀ X / N). Dots are bins with equal numbers of eigenvectors. Lines are the named filters
    closest to the output, and least squares, each fitted to the layer that is shown. Grey: untrained models. Under the
    curves: how the eigenvalues are distributed.
    """
    measures = marks.last_step(findings.measures)
    if not measured(measures):
        return None
    held = findings.arrays.get("eigenvalues")
    layers = layers_of(measures)
    drawn = {title: _curves(measures, layer, held) for title, layer in layers.items()}
    named = dict.fromkeys(name for one in drawn.values() for name in one.rules)
    looks = (MODEL, *(replace(LOOKS[name], marker="") for name in named))
    shown = {title: panels.Panel(one.draw, "response g", looks, (one.model,)) for title, one in drawn.items()}
    keys = [Patch(color=DENSITY, lw=0, label="distribution of eigenvalues")] if held is not None else []
    table = panels.panels_figure(shown, page, keys, columns=min(len(shown), 3))
    page.heading(not_all(measures))
    return table


def _curves(measures: Mapping[str, Measure], layer: int, eigenvalues: np.ndarray | None) -> Curves:
    """Of one layer, with the same named filters in every panel."""
    output = layers_of(measures)["output"]
    shares = rules_of(measures["unexplained_share"], output)
    nearest = sorted(shares, key=lambda name: float(shares[name].values))[:NAMED]
    fitted = rules_of(measures["fitted_response"], layer)
    chosen = [rule.name for rule in RULES if rule.name in (*nearest, RULES[-1].name) and rule.name in fitted]
    places = measures["eigenvalue"].values
    return Curves(
        _along(at_layer(measures["response"], layer), places),
        {name: _along(fitted[name], places) for name in chosen},
        eigenvalues,
    )


def _along(measure: Measure, places: np.ndarray) -> Measure:
    """A measure by bin as one by eigenvalue."""
    return replace(measure, axes=(EIGENVALUE,), coords={EIGENVALUE: tuple(float(place) for place in places)})


def _density(eigenvalues: np.ndarray, ax: Axes, panel: str) -> pd.DataFrame:
    """How the eigenvalues are distributed, in the lowest part of a panel."""
    held = eigenvalues[np.isfinite(eigenvalues)]
    right = ax.get_xlim()[1]
    counts, edges = np.histogram(held, bins=CELLS, range=(0.0, right), density=True)
    top = counts.max() or 1.0
    below = ax.get_xaxis_transform()
    ax.stairs(HEIGHT * counts / top, edges, fill=True, color=DENSITY, lw=0, transform=below, zorder=0.5)
    return marks.frame(
        {"panel": panel, "series": "distribution of eigenvalues", "kind": "density", "at": at, "value": count}
        for at, count in zip((edges[1:] + edges[:-1]) / 2, counts, strict=True)
    )
