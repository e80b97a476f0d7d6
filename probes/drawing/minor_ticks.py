"""Ticks without labels, as one artist: matplotlib's own are five artists each, and a logarithmic axis has dozens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib import rcParams
from matplotlib.artist import allow_rasterization
from matplotlib.lines import Line2D
from matplotlib.markers import TICKDOWN, TICKLEFT, MarkerStyle
from matplotlib.ticker import NullLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase


class MinorTicks(Line2D):
    """The minor ticks of one axis, wherever its locator has them when it is drawn; the axis itself draws none."""

    def __init__(self, ax: Axes, which: Literal["x", "y"]) -> None:
        sideways = which == "x"
        super().__init__(
            [],
            [],
            ls="",
            color=rcParams["xtick.color" if sideways else "ytick.color"],
            marker=MarkerStyle(TICKDOWN if sideways else TICKLEFT),
            ms=rcParams["xtick.minor.size" if sideways else "ytick.minor.size"],
            mew=rcParams["xtick.minor.width" if sideways else "ytick.minor.width"],
            transform=ax.get_xaxis_transform("tick1") if sideways else ax.get_yaxis_transform("tick1"),
            clip_on=False,
            zorder=2.01,  # as matplotlib's
        )
        self._axis = ax.xaxis if sideways else ax.yaxis
        self._locator = self._axis.get_minor_locator()
        self._axis.set_minor_locator(NullLocator())
        self.set_in_layout(False)  # shorter than the major ticks, which have been made room for
        ax.add_artist(self)

    @allow_rasterization
    def draw(self, renderer: RendererBase) -> None:
        at = np.asarray(self._locator())
        low, high = sorted(self._axis.get_view_interval())
        major = np.asarray(self._axis.get_majorticklocs())
        free = ~np.isclose(at[:, None], major[None], rtol=1e-6, atol=0).any(axis=1)
        at = at[free & (low <= at) & (at <= high)]
        zero = np.zeros_like(at)
        self.set_data(*((at, zero) if self._axis.axis_name == "x" else (zero, at)))
        super().draw(renderer)
