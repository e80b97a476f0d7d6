"""Figures along depth: read-outs after each layer, and the inputs that each layer reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from ...comparing.by_candidate import CANDIDATE, MODEL
from ...drawing import marks, panels, scales
from ...drawing.marks import BLACK, ORANGE, SKY, Look
from ..names import GDPP
from .looks import CONSTRUCTED, TRAINED, at, looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

BY_LAYER = {
    "loss_by_layer": "loss",
    "cosine_by_layer": "sensitivity",
    "model_difference_by_layer": "model difference",
    "prediction_difference_by_layer": "prediction difference",
}
"""Measures of the read-out after each layer, with the titles of their panels."""
INPUTS = Look("inputs", BLACK, "o", "-")
FIRST, LAST = Look("after the first layer", SKY, "s", "--"), Look("before the last layer", ORANGE, "^", "-.")
SO_FAR = "layers so far"


def depth_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Trained model and constructed ones, read out after each layer: their losses, and how far they agree after as many
    layers. Only the last read-out was trained. Bands are 95 % intervals.
    """
    measures = marks.last_step(findings.measures)
    drawn = {title: _by_candidate(measures.get(name)) for name, title in BY_LAYER.items()}
    if all(measure.values.size < 2 for found in drawn.values() for measure in found.values()):
        return None
    shown = panels.curves_panels(drawn, logarithmic=_of_decades(drawn))
    if cosine := shown.get(BY_LAYER["cosine_by_layer"]):
        shown[BY_LAYER["cosine_by_layer"]] = replace(cosine, draw=partial(_on_cosine_scale, cosine.draw))
    return panels.panels_figure(shown, page, columns=2)


def _by_candidate(measure: Measure | None) -> dict[Look, Measure]:
    return {} if measure is None else {look: measure.sel(**{CANDIDATE: name}) for name, look in looks(measure).items()}


def _of_decades(drawn: Mapping[str, Mapping[Look, Measure]]) -> list[str]:
    """Titles of panels whose numbers need a logarithmic axis."""
    numbers = {title: [value for held in found.values() for value in held.values] for title, found in drawn.items()}
    return [title for title, values in numbers.items() if scales.spans_decades(values)]


def _on_cosine_scale(draw: Callable[..., pd.DataFrame], ax: Axes, panel: str) -> pd.DataFrame:
    table = draw(ax=ax, panel=panel)
    scales.cosine_scale(ax, "y")
    return table


def curvature_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Left: spread (standard deviation over mean) of the eigenvalues of Σ x xᵀ over the context, x as it stands after
    so many layers. Right: the eigenvalues themselves, largest first, of the trained model and of constructed GD++.
    Bands are 95 % intervals.
    """
    measures = marks.last_step(findings.measures)
    spread, spectrum = measures.get("curvature_spread"), measures.get("curvature_eigenvalues")
    if spread is None or spectrum is None or not marks.has_number(spread):
        return None
    drawn = {"spread": {look: _so_far(held) for look, held in _by_candidate(spread).items()}}
    for name, look in {MODEL: TRAINED, GDPP.name: CONSTRUCTED[GDPP.name]}.items():
        if (held := at(measures, "curvature_eigenvalues", **{CANDIDATE: name})) is not None:
            drawn[look.label] = _spectra(held)
    return panels.curves_figure(drawn, page)


def _so_far(measure: Measure) -> Measure:
    """Along the number of layers that have moved the inputs, which are 0 at the inputs themselves."""
    return replace(measure, axes=(SO_FAR,), coords={SO_FAR: tuple(range(len(measure.values)))})


def _spectra(measure: Measure) -> dict[Look, Measure]:
    """The spectrum of the inputs, after the first layer, and as the last layer reads it."""
    shown = {INPUTS: measure.at(layer=0)}
    n_read = len(measure.labels("layer"))
    shown |= {FIRST: measure.at(layer=1)} if n_read > 1 else {}
    return shown | ({LAST: measure.at(layer=n_read - 1)} if n_read > 2 else {})
