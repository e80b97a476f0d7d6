"""Figure of the heads of softmax layers: what each compares and writes, and what they do together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from einops import einsum

from ...drawing import marks
from .weights import LEAST_MAP, PRODUCTS, plot_product

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings

TOGETHER = "sum"
AXES = {**PRODUCTS, TOGETHER: PRODUCTS["KQ"]}
MOST_HEADS, MOST_LAYERS, COLUMNS = 4, 4, 5
"""More heads or layers than fit on a page are not drawn."""

Maps = dict[tuple[str, str], np.ndarray]


def heads_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """KQ = W_Q W_K^T and PV = W_V W_O of each softmax head, as they are. Sum: over heads, KQ times what the head writes
    into the label (PV at y, y), after von Oswald et al. 2023, figure 11. Maps of one kind share their colours: red is
    above 0, blue below, the largest size is in the heading.
    """
    held = marks.last_step(findings.measures).get("heads_cancel")
    if held is None or held.status == "not applicable":
        return None
    KQ, PV = (_of_one_seed(findings.arrays[product]) for product in PRODUCTS)
    maps = {
        place: matrix for layer in range(min(len(KQ), MOST_LAYERS)) for place, matrix in _maps(KQ, PV, layer).items()
    }
    shown = page.chosen({f"{kind}{place}": (kind, matrix) for (kind, place), matrix in maps.items()})
    side = min(page.style.page / min(COLUMNS, len(shown)), 1.3)
    axes = page.grid(len(shown), COLUMNS, side + 1.2, least=LEAST_MAP, square=len(shown) <= COLUMNS)
    tables = []
    for (panel, (kind, matrix)), ax in zip(shown.items(), axes, strict=True):
        table = plot_product(matrix, _limit(maps, kind), ax, panel)
        rows, columns = AXES[kind]
        ax.set(title="\n".join(panel.rsplit(", ", 1)), xlabel=columns, ylabel=rows)
        tables.append(marks.together([table, marks.no_nulls_here(panel, "these are single weights")]))
    sizes = ", ".join(f"{kind} {_limit(maps, kind):.2g}" for kind in AXES)
    page.heading(", ".join([f"largest: {sizes}", *_not_drawn(findings.arrays["KQ"], *KQ.shape[:2])]))
    return marks.together(tables)


def _of_one_seed(stack: np.ndarray) -> np.ndarray:
    """[layer head d_model d_model]; a family's report has a leading axis of seeds."""
    return stack[0] if stack.ndim == 5 else stack


def _maps(KQ: np.ndarray, PV: np.ndarray, layer: int) -> Maps:
    """The maps of one layer, by product and what they are called."""
    where = f", layer {layer + 1}" if len(KQ) > 1 else ""
    n_heads = min(KQ.shape[1], MOST_HEADS)
    found = {
        (product, f"{where}, head {head + 1}"): stack[layer, head]
        for product, stack in {"KQ": KQ, "PV": PV}.items()
        for head in range(n_heads)
    }
    written = PV[layer, :, -1, -1]
    return found | {(TOGETHER, where): einsum(written, KQ[layer], "head, head row column -> row column")}


def _limit(maps: Mapping[tuple[str, str], np.ndarray], kind: str) -> float:
    """Maps of one kind share their colours."""
    return max(np.nanmax(np.abs(matrix), initial=0.0) for (of, _), matrix in maps.items() if of == kind) or 1.0


def _not_drawn(arrays: np.ndarray, n_layers: int, n_heads: int) -> list[str]:
    notes = [f"the first {MOST_LAYERS} of {n_layers} layers"] if n_layers > MOST_LAYERS else []
    notes += [f"the first {MOST_HEADS} of {n_heads} heads, the sum of all"] if n_heads > MOST_HEADS else []
    return notes + ([f"the first of {len(arrays)} seeds"] if arrays.ndim == 5 else [])
