"""Figures 9 and 11: KQ and PV of trained layers, and softmax heads that cancel."""

from __future__ import annotations

from functools import partial

import numpy as np
from jaxtyping import Float

from ...reports.record import Record
from ..figure_numbers import FigureNumbers
from ..panels import MatrixPanel, Panel
from .curves import of_first_seed
from .reading import Lacking, Reports, collected, per_seed

SEED_NOTE = "Matrices are of the first seed."


def matrices(reports: Reports) -> FigureNumbers:
    """Figure 9."""
    one, three = reports["lsa-1layer"], reports["lsa-3layer-recurrent"]
    found, lacking = collected(
        {
            "one_layer_off_KQ": partial(per_seed, one, "outside_pattern", product="KQ", pattern="gd", layer=0),
            "one_layer_off_PV": partial(per_seed, one, "outside_pattern", product="PV", pattern="gd", layer=0),
            "three_layers_off_PV": partial(per_seed, three, "outside_pattern", product="PV", pattern="gdpp", layer=0),
            "three_layers_spread": partial(per_seed, three, "diagonal_spread", product="PV", layer=0),
        }
    )
    panels = _products(one, "one layer") + _products(three, "three layers")
    return FigureNumbers(found, panels, lacking, (SEED_NOTE,))


def _products(report: Record, of: str) -> tuple[Panel, ...]:
    """KQ and PV, scaled as in the paper: the inputs' diagonal of KQ has mean 1."""
    panels = []
    for product in ("KQ", "PV"):
        try:
            matrix = of_first_seed(report, f"{product}_aligned", 4)[0, 0]
        except Lacking:
            continue
        panels.append(MatrixPanel(f"{product}, {of}", matrix, "column", "row", scale=f"{product}, {of}"))
    return tuple(panels)


def two_heads(reports: Reports) -> FigureNumbers:
    """Figure 11."""
    report = reports["softmax-1layer-2heads"]
    found, lacking = collected(
        {
            "heads_cancel": partial(per_seed, report, "heads_cancel", layer=0),
            "heads_off_identity": partial(per_seed, report, "heads_off_identity", layer=0),
        }
    )
    return FigureNumbers(found, _written(report), lacking, (SEED_NOTE,))


def _written(report: Record) -> tuple[Panel, ...]:
    """KQ of each head times the entry of PV by which it writes a label that it reads, and their sum."""
    try:
        KQ, PV = (of_first_seed(report, name, 4)[0] for name in ("KQ", "PV"))
    except Lacking:
        return ()
    of_heads: Float[np.ndarray, "head row column"] = KQ * PV[:, -1:, -1:]
    shown = {**{f"head {head}": product for head, product in enumerate(of_heads)}, "sum": of_heads.sum(axis=0)}
    return tuple(MatrixPanel(title, matrix, "column", "row") for title, matrix in shown.items())
