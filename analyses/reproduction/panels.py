"""What a figure shows, as plain data: curves with their intervals, and matrices. Without torch and matplotlib."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Role = Literal["model", "gd", "gdpp", "twin", "interpolated", "ablated", "null", "other"]
"""What a curve is of. It decides colour and dash, which are the same in all figures."""


LOSS = "½ squared error"
RANGES: Mapping[str, tuple[float, float]] = {
    LOSS: (0.0, math.inf),
    "cosine": (-1.0, 1.0),
    "distance": (0.0, math.inf),
    "sign agreement": (0.0, 1.0),
    "norm": (0.0, math.inf),
    "score": (0.0, 1.0),
}
"""Which numbers there are, by label of the y axis. t-intervals of few seeds reach beyond them, and panels do not."""


@dataclass(frozen=True)
class Curve:
    """A line, with the interval around it.

    label:     in the legend. Curves of a panel that share it are single seeds, and are drawn thin
    y:         NaN where there is no number
    low, high: the interval at each x
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    role: Role = "model"

    def __post_init__(self) -> None:
        lengths = {len(values) for values in (self.x, self.y, self.low, self.high) if values is not None}
        if lengths != {len(self.x)} or (self.low is None) != (self.high is None):
            raise ValueError(f"curve {self.label!r}: expected as many y, low and high as x, or neither low nor high")

    def until(self, end: float) -> Curve:
        """The part of the curve up to this x."""
        n = sum(x <= end for x in self.x)
        low, high = (None if ends is None else ends[:n] for ends in (self.low, self.high))
        return Curve(self.label, self.x[:n], self.y[:n], low, high, self.role)


@dataclass(frozen=True)
class CurvePanel:
    """Curves on the same axes.

    y_max: the most that the y axis reaches up to; None: all curves fit, but interpolated ones may leave the panel
    """

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    log_x: bool = False
    log_y: bool = False
    y_max: float | None = None


@dataclass(frozen=True)
class MatrixPanel:
    """A matrix as colours, white at 0.

    x_label, y_label: of its columns and rows
    scale:            matrices of a figure with the same one share their colours
    """

    title: str
    matrix: Float[np.ndarray, "row column"]
    x_label: str
    y_label: str
    scale: str = ""


Panel = CurvePanel | MatrixPanel
