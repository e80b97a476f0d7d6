"""Figure 13: what GD++ does to the inputs."""

from __future__ import annotations

from functools import partial

from ...reports.record import Record
from ..figure_numbers import FigureNumbers
from ..judging import Statistic
from ..panels import Curve, CurvePanel, Role
from ..von_oswald_needs import CONTEXTS
from .curves import at_the_end, drawn
from .reading import Lacking, Reports, collected, per_seed

PUBLISHED_GAMMA = {10: 0.179, 25: 0.099, 50: 0.056, 100: 0.029}
"""γ by N, von Oswald et al. 2023, appendix A.10."""
SHOWN: tuple[tuple[str, str | int, str, Role], ...] = (
    ("gdpp", "inputs", "as given", "other"),
    ("gdpp", 0, "after GD++", "gdpp"),
    ("model", 0, "after a trained layer", "model"),
)
"""Candidate and layer of each spectrum, its label and its role."""


def curvature(reports: Reports) -> FigureNumbers:
    """Figure 13. GD++ is fitted to tasks, and no trained model has a part in it."""
    of = {n: reports[f"lsa-2layer-recurrent N={n}"] for n in CONTEXTS}
    found, lacking = collected(
        {**{f"gamma_{n}": partial(_gamma, report) for n, report in of.items()}, "spread_ratio": partial(_ratio, of[10])}
    )
    ours = {n: found[f"gamma_{n}"].value for n in CONTEXTS if f"gamma_{n}" in found}
    return FigureNumbers(found, (*(_spectra(of[n], n) for n in CONTEXTS), _gamma_panel(ours)), lacking)


def _gamma(report: Record) -> Statistic:
    gammas = per_seed(report, "learned_gamma").ravel()
    if (gammas != gammas[0]).any():
        raise Lacking("learned_gamma differs between layers or seeds; expected one fit for tied layers")
    return Statistic.of_none(float(gammas[0]))


def _ratio(report: Record) -> Statistic:
    before, after = (
        per_seed(report, "curvature_spread", candidate="gdpp", layer=layer).mean() for layer in ("inputs", 0)
    )
    return Statistic.of_none(float(after / before))


def _spectra(report: Record, n_context: int) -> CurvePanel:
    """Mean eigenvalues, largest first, as given and after a layer."""
    curves = drawn(
        *(
            at_the_end(report, "curvature_eigenvalues", label, role, candidate=candidate, layer=layer)
            for candidate, layer, label, role in SHOWN
            if candidate != "model" or n_context == _TRAINED_CONTEXT
        )
    )
    return CurvePanel(f"N = {n_context}", "rank", "eigenvalue", curves)


_TRAINED_CONTEXT = 10
"""Of the model. At other lengths it is not what it was trained to be."""


def _gamma_panel(ours: dict[int, float]) -> CurvePanel:
    published = Curve("published", tuple(map(float, CONTEXTS)), tuple(PUBLISHED_GAMMA.values()), role="null")
    fitted = [Curve("fitted here", tuple(map(float, ours)), tuple(ours.values()), role="gdpp")] if ours else []
    return CurvePanel("γ of GD++", "N", "γ", (*fitted, published), log_x=True, log_y=True)
