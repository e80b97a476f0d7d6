"""Panels of every kind, as figures of the paper have them."""

from __future__ import annotations

import numpy as np
from mesascope.analyses.reproduction.panels import Curve, CurvePanel, MatrixPanel, Role

STEPS = (0.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)


def learned(label: str, last: float, role: Role = "model", interval: bool = True) -> Curve:
    """A curve that falls from 0.4 to its last value."""
    y = np.array([last + (0.4 - last) / (1 + step / 200) for step in STEPS])
    bounds = (tuple((0.9 * y).tolist()), tuple((1.1 * y).tolist())) if interval else (None, None)
    return Curve(label, STEPS, tuple(y.tolist()), *bounds, role=role)


def losses(title: str = "loss", *more: Curve, **ends: float) -> CurvePanel:
    curves = (learned("trained", 0.2), learned("gradient descent", 0.21, "gd", interval=False), *more)
    return CurvePanel(title, "training step", "½ squared error", curves, **ends)


def shifted(title: str) -> CurvePanel:
    x = tuple(np.linspace(0.5, 2, 16).tolist())
    curves = tuple(
        Curve(label, x, tuple(scale * one**4 for one in x), role=role)
        for label, scale, role in (("trained", 0.2, "model"), ("GD++", 0.21, "gdpp"))
    )
    return CurvePanel(title, "α", "½ squared error", curves, log_y=True)


def seeds(title: str) -> CurvePanel:
    return CurvePanel(title, "training step", "cosine", tuple(learned("one seed", last, interval=False)
                                                              for last in (0.1, 0.2, 0.3)))  # fmt: skip


def matrix(title: str, entry: float, scale: str = "") -> MatrixPanel:
    return MatrixPanel(title, np.diag([entry] * 10 + [0.1]), "column", "row", scale)


def one_step(title: str) -> CurvePanel:
    points = (
        Curve("trained", (5000.0,), (0.2,), (0.18,), (0.22,)),
        Curve("gradient descent", (5000.0,), (0.21,), role="gd"),
        Curve("GD++", (5000.0,), (0.19,), (0.16,), (0.2,), role="gdpp"),
    )
    return CurvePanel(title, "training step", "½ squared error", points)


EXPLODING = Curve("interpolated", STEPS, (1e6, 1e30, float("nan"), *(0.25,) * 7), role="interpolated")
FIGURES = {
    "one panel": (losses(),),
    "several panels": (losses("two recurrent layers: loss", EXPLODING), shifted("inputs"), seeds("alignment")),
    "four panels": (losses("a"), losses("b"), seeds("c"), seeds("d")),
    "seven panels": (*(losses(f"loss {n}") for n in range(3)), *(shifted(f"{n} layers, inputs") for n in range(4))),
    "matrices of one scale": (matrix("head 0", -3.0), matrix("head 1", 3.4), matrix("sum", 0.4)),
    "matrices": (matrix("KQ, one layer", 1.0, "a"), matrix("PV, one layer", 0.6, "b"), matrix("KQ, three layers", 1.0,
                 "c"), matrix("PV, three layers", -0.1, "d")),
    "many labels": (losses("loss", learned("labels not copied", 0.5, "ablated")), CurvePanel("norm", "training step",
                    "norm", (learned("own token", 0.1, "other"), learned("next token", 0.6), learned("others", 0.0,
                    "gd"), learned("others, as published", 0.1, "null"), learned("even attention", 0.2, "null")))),
    "one step": (one_step("loss"), one_step("alignment"), losses("another loss")),
    "no curve": (losses(), CurvePanel("transitions", "training step", "cosine", ())),
}  # fmt: skip
