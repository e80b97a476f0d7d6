"""The named filters, what axes are called, and from where on two filters are the same."""

from __future__ import annotations

from dataclasses import replace

from ..algorithms.filtered import GDPP, GRADIENT_DESCENT, GRADIENT_FLOW, LEAST_SQUARES, NEWTON, RIDGE, Filtered

LAYER, BIN, KIND = "layer", "bin", "kind"
EFFECTIVE, EXACT = "effective", "exact"
UNTRAINED = "untrained"
RULES: tuple[Filtered, ...] = (
    replace(GRADIENT_DESCENT, tried=(1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 256)),
    GRADIENT_FLOW,
    replace(GDPP, tried=(2, 3, 4)),
    NEWTON,
    RIDGE,
    LEAST_SQUARES,
)
"""In the order of figures. Every layer has all of them fitted, at fewer numbers of steps than in `algorithms`."""
SETTINGS = ("learning_rate", "time", "gamma", "initial_scale", "penalty")
"""Measures of fitted settings, by rule and layer."""

BINS = 20
MODES_OF_A_BIN = 25
"""Of the tuning tasks, at least: a bin's level and slope are fitted to them."""
SAME = 1e-4
"""Filters whose unexplained shares of E|W|² differ by at most this are as close: 1 % of the norm of W."""
OF_THE_CURVE = 0.01
"""A named filter, or a polynomial, that leaves at most this share of E|W|² more than the free curve is that curve."""
MOST_DEGREES = 16
EXACTLY = 1e-9
"""A polynomial that leaves a smaller share of E|W|² unexplained is the filter itself."""
