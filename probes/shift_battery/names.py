"""Shifts and rules: what they are called, in measures, sentences and figures. Without torch: figures read it."""

from __future__ import annotations

from dataclasses import dataclass

from ..comparing.verdicts import AGREES

SHIFT = "shift"
"""The axis of measures that have a value for each shift."""
UNTRAINED = "untrained"
FOLLOWS = AGREES**2
"""A rule is followed that leaves at most this share of the variance of the model's answers: of their standard deviation
that is the tenth up to which a candidate agrees in other probes."""


@dataclass(frozen=True)
class Shift:
    """One way in which tasks move away from those of training.

    name:    in names of measures
    axis:    of its strengths
    title:   in sentences and above a panel
    label:   of the strength, at the axis of a panel
    factor:  whether strengths multiply, so that they are drawn on a logarithmic scale
    of_law:  whether it can be made only from a law of tasks
    """

    name: str
    axis: str
    title: str
    label: str
    factor: bool = False
    of_law: bool = False


SCALE = Shift("scale", "input_scale", "input scale", "scale of the inputs", factor=True)
LENGTH = Shift("length", "n_context", "context length", "context pairs", factor=True)
NOISE = Shift("noise", "label_noise", "label noise", "sd of noise / of labels")
COVARIANCE = Shift("covariance", "condition_number", "covariance", "condition number", factor=True, of_law=True)
SPECTRUM = Shift("spectrum", "eigenvalue_spread", "random covariance", "share that is random", of_law=True)
QUERY = Shift("query", "query_scale", "query scale", "scale of the query", factor=True)
PRIOR_MEAN = Shift("prior_mean", "teacher_mean", "mean teacher", "mean / sd of teachers", of_law=True)
SHIFTS = (SCALE, LENGTH, NOISE, COVARIANCE, SPECTRUM, QUERY, PRIOR_MEAN)

GD, GD_MEAN, GDPP, PRECONDITIONED = "gd", "gd_mean", "gdpp", "preconditioned"
RIDGE, LEAST_SQUARES, BAYES, ZERO = "ridge", "min_norm", "bayes", "zero"
RULES = (GD, GD_MEAN, PRECONDITIONED, GDPP, RIDGE, LEAST_SQUARES, BAYES, ZERO)
"""In the order of figures and tables."""
SIMPLEST = (ZERO, LEAST_SQUARES, BAYES, RIDGE, GD, GD_MEAN, GDPP, PRECONDITIONED)
"""The fewest fitted settings first."""
LABELS = {
    GD: "GD",
    GD_MEAN: "GD, mean over pairs",
    PRECONDITIONED: "preconditioned GD",
    GDPP: "GD++",
    RIDGE: "ridge",
    LEAST_SQUARES: "least squares",
    BAYES: "Bayes, training prior",
    ZERO: "zero predictor",
}
KIND = {
    GD: "descent",
    GD_MEAN: "descent",
    PRECONDITIONED: "descent",
    GDPP: "descent",
    RIDGE: "solution",
    LEAST_SQUARES: "solution",
    BAYES: "solution",
    ZERO: "nothing",
}
"""Kinds of rules. One of the same kind is often a neighbour, or a limit, of the other."""
