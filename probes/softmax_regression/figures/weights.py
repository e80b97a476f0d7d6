"""Figures of the weights: the block of W_KQ that compares tokens, and the loss on the way to one gradient step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from ...drawing import legends, marks, panels
from ...drawing.marks import Look
from .looks import TRAINED

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

Block = Float[np.ndarray, "d_in d_in"]
LEAST_MAP = 1.3
"""Inches that a map takes with its labels."""
MOST_SEEDS = 10
PATH = "loss on the way to one gradient step"
_DIVERGING = "RdBu_r"


# -- the block of W_KQ -------------------------------------------------------------------------------------------------


def plot_block(block: Block, ax: Axes, panel: str) -> pd.DataFrame:
    """The block over its largest entry as a heat map, white at 0: models may differ in size, and yet have one shape."""
    shares = block / (np.abs(block).max() or 1.0)
    ax.imshow(shares, cmap=_DIVERGING, vmin=-1, vmax=1, interpolation="nearest")
    ax.set(title=panel, xlabel="key's a", ylabel="query's a", xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    ax.label_outer(remove_inner_ticks=True)
    table = marks.frame(
        {"panel": panel, "series": f"row {i}", "kind": "estimate", "at": j, "value": value}
        for (i, j), value in np.ndenumerate(shares)
    )
    return marks.together([table, marks.no_nulls_here(panel, "these are single weights")])


def KQ_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The block of W_KQ that compares the a of a query with the a of a key, over its largest entry; s is the mean of
    its diagonal. In the construction of one gradient step the block is s times the identity, which is drawn beside a
    single model. With a positive s a token attends to similar tokens, with a negative one to unlike ones.
    """
    blocks = findings.arrays.get("KQ_block")
    if "loss" not in findings.measures or blocks is None:
        return None
    found = _blocks(blocks)
    drawn = dict(list(found.items())[:MOST_SEEDS])
    shown = page.chosen(drawn)
    columns = min(len(shown), 5)
    side, width = min(page.style.page / columns, 1.5), page.style.column if columns < 3 else None
    axes = page.grid(len(shown), columns, side + 0.45, width=width, least=LEAST_MAP, square=len(shown) <= columns)
    tables = [plot_block(block, ax, title) for (title, block), ax in zip(shown.items(), axes, strict=True)]
    page.color_bar(axes, "weight over the largest")
    page.heading(f"the first {len(drawn)} of {len(found)} seeds" if len(found) > len(drawn) else "")
    return marks.together(tables)


def _blocks(blocks: Float[np.ndarray, "*seed d_in d_in"]) -> dict[str, Block]:
    """By title: of each seed, or of the only model and the multiple of the identity that is nearest to it."""
    if blocks.ndim == 3:
        return {f"{n} of {len(blocks)}: {_mean(one)}": one for n, one in enumerate(blocks, 1)}
    multiple = np.diagonal(blocks).mean() * np.eye(len(blocks))
    return {f"model: {_mean(blocks)}": blocks, "$s$ times the identity": multiple}


def _mean(block: Block) -> str:
    return f"$s$ = {np.diagonal(block).mean():.2g}".replace("-", "−")


# -- the path to the construction --------------------------------------------------------------------------------------


def plot_path(losses: Measure, ax: Axes, panel: str) -> pd.DataFrame:
    """The loss between the model's weights (t = 0) and the construction of one gradient step (t = 1)."""
    ax.set(title=panel, ylabel="loss (½ squared probability)")
    if not marks.has_number(losses):
        return marks.write_words(ax, losses.message, panel)
    tables = [panels.null_curves({TRAINED: losses}, ax, panel), marks.curve(losses, TRAINED, ax, panel, every=5)]
    ax.set_ylim(bottom=0)
    ax.set_xticks([0, 0.5, 1], ["$t$ = 0\nmodel", "$t$ = 0.5", "$t$ = 1\nconstruction"], linespacing=0.9)
    first, *_, last = ax.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    return marks.together(tables)


def path_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Loss on the straight line from the model's weights to the construction of one gradient step that has the model's
    own sharpness. The barrier is the most by which it exceeds the straight line between the losses at its ends. Bands
    are 95 % intervals, thin lines single seeds.
    """
    measures = marks.last_step(findings.measures)
    if "loss" not in measures:
        return None
    losses = measures["loss_path"]
    (panel,) = page.chosen({PATH: losses})
    (ax,) = page.grid(1, 1, 2.0)
    table = plot_path(losses, ax, panel)
    if marks.has_number(losses):
        page.legend(_keys(losses, measures["barrier"]))
    return table


def _keys(losses: Measure, barrier: Measure) -> list[Artist]:
    low, high = (float(bound) for bound in barrier.interval)
    interval = f" [{low:.2g}, {high:.2g}]" if np.isfinite(low) else ""
    label = f"model to construction; barrier {barrier.estimate:.2g}{interval}".replace("-", "−")
    keys = [legends.line_key(Look(label, TRAINED.color, TRAINED.marker, TRAINED.line))]
    if words := legends.evidence([losses]):
        keys.append(legends.band_key(words))
    return keys + ([legends.thin_key("one seed")] if losses.points is not None else [])
