"""Figures 3, 6, 7 and 8: several layers, several steps and GD++."""

from __future__ import annotations

from functools import partial

from ...reports.record import Record
from ..figure_numbers import FigureNumbers
from ..panels import Panel
from .curves import alignment_panel, loss_panel
from .reading import PerSeed, Reports, Wanted, collected, loss_gap, loss_over, per_seed
from .shifts import ELSEWHERE, largest_ratio, shift_panel

BOTH = ("gd", "gdpp")


def _loss_off(report: Record, candidate: str) -> PerSeed:
    return per_seed(report, "loss", candidate="model") - per_seed(report, "loss", candidate=candidate)


def _cosine(report: Record, candidate: str) -> PerSeed:
    return per_seed(report, "cosine", candidate=candidate)


def _trained_panels(report: Record, of: str) -> tuple[Panel, ...]:
    """Loss, cosine and predictions of one model over training."""
    return (
        loss_panel(report, f"{of}: loss", BOTH),
        alignment_panel(report, "cosine", BOTH, of),
        alignment_panel(report, "prediction_difference", BOTH, of),
    )


def several_steps(reports: Reports) -> FigureNumbers:
    """Figure 3."""
    two, five = reports["lsa-2layer-recurrent"], reports["lsa-5layers"]
    found, lacking = collected(
        {
            "two_layers_over_gd": partial(loss_over, two, "gd"),
            "two_layers_gap_gdpp": partial(loss_gap, two, "gdpp"),
            "two_layers_cosine_gdpp": partial(_cosine, two, "gdpp"),
            "two_layers_cosine_ahead": lambda: _cosine(two, "gdpp") - _cosine(two, "gd"),
            "five_layers_over_gd": partial(loss_over, five, "gd"),
            "five_layers_off_gdpp": partial(_loss_off, five, "gdpp"),
            "five_layers_cosine_gdpp": partial(_cosine, five, "gdpp"),
        }
    )
    panels = (*_trained_panels(two, "two layers"), *_trained_panels(five, "five layers"))
    return FigureNumbers(found, panels, lacking)


def elsewhere(reports: Reports) -> FigureNumbers:
    """Figure 6."""
    models = {"1": ("lsa-1layer", "gd"), "2": ("lsa-2layer-recurrent", "gdpp"), "5": ("lsa-5layers", "gdpp")}
    wanted: Wanted = {
        f"shift_ratio_{layers}": partial(largest_ratio, reports[key], candidate, ELSEWHERE)
        for layers, (key, candidate) in models.items()
    }
    found, lacking = collected(wanted)
    panels = tuple(
        shift_panel(reports[key], name, candidate, f"{layers} layer{'s' * (layers != '1')}, ")
        for layers, (key, candidate) in models.items()
        for name in ELSEWHERE
    )
    return FigureNumbers(found, panels, lacking)


def ten_layers(reports: Reports) -> FigureNumbers:
    """Figure 7."""
    report = reports["lsa-10layer-recurrent"]
    found, lacking = collected(
        {
            "ten_layers_over_gd": partial(loss_over, report, "gd"),
            "ten_layers_off_gdpp": partial(_loss_off, report, "gdpp"),
            "ten_layers_cosine_gdpp": partial(_cosine, report, "gdpp"),
        }
    )
    return FigureNumbers(found, _trained_panels(report, "ten layers"), lacking)


def blocks(reports: Reports) -> FigureNumbers:
    """Figure 8."""
    shared, own = reports["blocks-12-mlp"], reports["blocks-12-mlp-own"]
    found, lacking = collected(
        {
            "blocks_over_gd": partial(loss_over, shared, "gd"),
            "blocks_cosine_gdpp": partial(_cosine, shared, "gdpp"),
            "blocks_off_gdpp": partial(_loss_off, shared, "gdpp"),
            "own_mlps_over_gd": partial(loss_over, own, "gd"),
            "own_mlps_cosine_gdpp": partial(_cosine, own, "gdpp"),
            "own_mlps_off_gdpp": partial(_loss_off, own, "gdpp"),
        }
    )
    panels = (*_trained_panels(shared, "shared MLP"), *_trained_panels(own, "own MLPs"))
    return FigureNumbers(found, panels, lacking)
