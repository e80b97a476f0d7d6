"""Figures of gd-alignment's weights: the trained products beside the constructed ones, and the path between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...comparing.by_candidate import CANDIDATE
from ...drawing import legends, marks, panels, scales
from ...drawing.marks import Look
from ..names import GD, GDPP, PATH_TASKS
from ..weight_comparison import ALIGNED
from .looks import CONSTRUCTED, CONTROLS, LOSS, OTHER_SEED, at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

PRODUCTS = {"KQ": ("query entry", "key entry"), "PV": ("value entry", "output entry")}
"""The two products of an attention head, and what their rows and columns are."""

DIVERGING = "RdBu_r"
_LABELS = 0.52
_BELOW = 0.85
"""Inches: of a map's title, and of what stands below the last row."""
LEAST_MAP = 0.9
"""Inches that a heat map takes with its labels."""
MOST_ROWS = 8
"""More heat maps below each other than fit on a page are not drawn."""


# -- weights -----------------------------------------------------------------------------------------------------------


def plot_product(
    matrix: np.ndarray, limit: float, ax: Axes, panel: str = "", *, relative: bool = False
) -> pd.DataFrame:
    """One product as a heat map, white at 0, from -limit to limit; if `relative`, colours are shares of the limit."""
    if np.isnan(matrix).all():
        return marks.write_words(ax, "alignment undefined", panel)
    end, colored = (1.0, matrix / limit) if relative else (limit, matrix)
    ax.imshow(colored, cmap=DIVERGING, vmin=-end, vmax=end, interpolation="nearest")
    last = len(matrix) - 1
    ax.set_xticks([(last - 1) / 2, last], ["x", "y"])
    ax.set_yticks([(last - 1) / 2, last], ["x", "y"])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(True)
    return marks.frame(
        {"panel": panel, "series": f"row {i}", "kind": "estimate", "at": j, "value": value}
        for (i, j), value in np.ndenumerate(matrix)
    )


def weights_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Products of the trained weights after gauge alignment (KQ = W_Q W_K^T, PV = W_V W_O) beside the constructed ones;
    layers that share their weights are shown once. Where maps name a layer or a head, colours are shares of the largest
    entry of that product in its layer.
    """
    products = _products(findings.arrays)
    if products is None:
        return None
    places = _places(products)
    rows = min(len(places), MOST_ROWS)
    shown = page.chosen({
        " ".join([f"{product}, {version}", place[2]]).strip(): (product, version, place)
        for place in places[:rows]
        for product, version in products
    })  # fmt: skip
    one_row = page.style.page >= LEAST_MAP * len(products)
    columns = len(products) if one_row else len(products) // len(PRODUCTS)
    side = min(page.style.page / min(columns, len(shown)), 1.3)
    around = _LABELS + _BELOW * columns / len(shown)
    axes = page.grid(len(shown), columns, side + around, least=LEAST_MAP, square=len(shown) <= columns)
    tables = [_draw(products, *what, ax, panel) for (panel, what), ax in zip(shown.items(), axes, strict=True)]
    if len(places) > 1:
        page.color_bar(axes, "weight / largest of its layer")
    else:
        for product in PRODUCTS:
            page.color_bar([ax for (of, *_), ax in zip(shown.values(), axes, strict=True) if of == product], "weight")
    notes = [f"the first {rows} of {len(places)} heads"] if len(places) > rows else []
    if findings.arrays["KQ_aligned"].ndim == 5:
        notes.append(f"the first of {len(findings.arrays['KQ_aligned'])} seeds")
    page.heading(", ".join(notes))
    return marks.together(tables)


def _draw(
    products: Mapping[tuple[str, str], np.ndarray],
    product: str,
    version: str,
    place: tuple[int, int, str],
    ax: Axes,
    panel: str,
) -> pd.DataFrame:
    """One product of one head, trained or constructed, in the same colours as all others of that product.

    Of several layers colours are shares of the layer's largest entry: they may differ by orders of size (GD++'s do).
    """
    layer, head, called = place
    same = [stack[layer] for (of, _), stack in products.items() if of == product]
    limit = max(np.nanmax(np.abs(stack), initial=0.0) for stack in same) or 1.0
    table = plot_product(products[product, version][layer, head], limit, ax, panel, relative=bool(called))
    row_label, column_label = PRODUCTS[product]
    ax.set(title=f"{product}, {version}\n{called}".strip(), xlabel=column_label, ylabel=row_label)
    ax.label_outer(remove_inner_ticks=True)
    return marks.together([table, marks.no_nulls_here(panel, "these are single weights")])


def _products(arrays: Mapping[str, np.ndarray]) -> dict[tuple[str, str], np.ndarray] | None:
    """(product, version) -> [layer head d_model d_model], of the first seed; None where none is aligned."""
    versions = {"aligned": "trained", GD.name: "GD", GDPP.name: "GD++"}
    held = [key for key in versions if all(f"{product}_{key}" in arrays for product in PRODUCTS)]
    if "aligned" not in held or np.isnan(arrays["KQ_aligned"]).all():
        return None
    found = {(product, versions[key]): arrays[f"{product}_{key}"] for product in PRODUCTS for key in held}
    # a family's report has a leading axis of seeds
    return {place: stack[0] if stack.ndim == 5 else stack for place, stack in found.items()}


def _places(products: Mapping[tuple[str, str], np.ndarray]) -> list[tuple[int, int, str]]:
    """Layer, head and what to call them; a layer that is the first one again, as in tied models, is left out."""
    n_layers, n_heads = (min(stack.shape[axis] for stack in products.values()) for axis in (0, 1))
    layers = [
        layer
        for layer in range(n_layers)
        if layer == 0 or not all(np.array_equal(stack[layer], stack[0]) for stack in products.values())
    ]
    if len(layers) * n_heads == 1:
        return [(0, 0, "")]
    heads = [f", head {head + 1}" if n_heads > 1 else "" for head in range(n_heads)]
    return [(layer, head, f"layer {layer + 1}{called}") for layer in layers for head, called in enumerate(heads)]


# -- the path between trained and constructed weights ------------------------------------------------------------------


def plot_path(candidate: str, measures: Mapping[str, Measure], ax: Axes, name: str) -> pd.DataFrame:
    """Loss along the straight line from the trained weights (t = 0) to the constructed ones (t = 1), and along each
    control.
    """
    ax.set(title=name, ylabel=LOSS)
    aligned = at(measures, "loss_path", candidate=candidate, path=ALIGNED)
    if aligned is None or not marks.has_number(aligned):
        return marks.write_words(ax, "not measured" if aligned is None else aligned.message, name)
    paths = [drawn for drawn in _paths(candidate, measures) if marks.has_number(drawn.losses)]
    tables, handles = [], []
    for drawn in paths:
        assert drawn.losses is not None  # it has a number
        tables.append(panels.null_curves({drawn.look: drawn.losses}, ax, name))
        tables.append(marks.curve(drawn.losses, drawn.look, ax, panel=name, every=len(drawn.losses.values) - 1))
        on_fewer = not np.isclose(drawn.losses.values[0], aligned.values[0], rtol=1e-6)
        tasks = f", on {PATH_TASKS:,} tasks" if drawn.look == OTHER_SEED and on_fewer else ""
        labelled = replace(drawn.look, label=f"{drawn.look.label}{tasks}: {_number(drawn.barrier)}")
        handles.append(legends.line_key(labelled))
    if scales.spans_decades(np.concatenate([drawn.losses.values for drawn in paths if drawn.losses is not None])):
        scales.log_scale(ax, "y")
    if words := legends.evidence([aligned]):
        handles.append(legends.band_key(words))
    _path_ticks(ax, CONSTRUCTED[candidate].label)
    legends.legend_under(ax, handles, "barrier [95 % interval] of each path")
    return marks.together(tables)


def _path_ticks(ax: Axes, end: str) -> None:
    ax.set_xticks([0, 0.5, 1], ["$t$ = 0\ntrained", "$t$ = 0.5", f"$t$ = 1\n{end}"], linespacing=0.9)
    first, *_, last = ax.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")


@dataclass(frozen=True)
class _Path:
    look: Look
    losses: Measure | None
    barrier: Measure | None


def _paths(candidate: str, measures: Mapping[str, Measure]) -> list[_Path]:
    """The aligned path, its controls, and the path between two seeds."""
    drawn = {ALIGNED: replace(CONSTRUCTED[candidate], label="aligned"), **CONTROLS}
    return [
        _Path(
            look,
            at(measures, "loss_path", candidate=candidate, path=label),
            at(measures, "barrier", candidate=candidate, path=label),
        )
        for label, look in drawn.items()
    ] + [_Path(OTHER_SEED, measures.get("loss_path_between_seeds"), measures.get("barrier_between_seeds"))]


def _number(measure: Measure | None) -> str:
    if measure is None or not marks.has_number(measure):
        return "undefined"
    low, high = (float(bound) for bound in measure.interval)
    interval = f" [{low:.2g}, {high:.2g}]" if np.isfinite(low) else ""
    return f"{measure.estimate:.2g}{interval}"


def path_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Loss along the straight line from the trained to the constructed weights after gauge alignment, and along its
    controls. The barrier is the most by which a path exceeds the straight line between the losses at its ends. Bands
    are 95 % intervals.
    """
    measures = marks.last_step(findings.measures)
    if "loss_path" not in measures:
        return None
    held = measures["loss_path"].labels(CANDIDATE)
    defined = [name for name in held if marks.has_number(at(measures, "loss_path", candidate=name, path=ALIGNED))]
    shown = defined or held[:1]
    chosen = page.chosen({f"to {CONSTRUCTED[name].label}": name for name in shown})
    axes = page.grid(len(chosen), 2, 3.1, least=2.4)
    tables = [plot_path(name, measures, ax, panel) for (panel, name), ax in zip(chosen.items(), axes, strict=True)]
    return marks.together(tables)
