"""Why knowledge of words comes first: the smallest model in which attention waits for it, solved exactly.

The toy of Snell et al.'s blog post (the paper: 2021, arXiv 2103.07601). A sequence {0, 0} has the label -, {0, 1} the
label +. The score of word i is b_i, and attention puts p on the word 1 of {0, 1}. The margins sum to p (b_1 - b_0), and
gradient flow raises them:

    b_0' = -p        b_1' = p        p' = b_1 - b_0

With D = b_1 - b_0, p'' = 2 p. So p = p_0 cosh(√2 t) + D_0/√2 sinh(√2 t), until p reaches 1 and stays there. From
p_0 = 1/2 and D_0 = 0, D grows at once, by t, and p by t²/2 only: attention moves where the words' scores have parted.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

_ROOT = math.sqrt(2)
_TOLERANCE = 1e-13

Times = Float[np.ndarray, " time"]


class Path(NamedTuple):
    """p and D at each time."""

    p: Times
    D: Times


def closed_form(t: Times, p0: float = 0.5, D0: float = 0.0) -> Path:
    """The solution in terms of cosh and sinh, for 0 < p0 <= 1 and D0 >= 0."""
    end = time_to(1.0, p0, D0)
    x = _ROOT * np.minimum(t, end)
    p = p0 * np.cosh(x) + D0 / _ROOT * np.sinh(x)
    D = D0 * np.cosh(x) + _ROOT * p0 * np.sinh(x)
    return Path(p, D + 2 * np.maximum(t - end, 0))


class _Arrival:
    """Where p reaches 1 the integrator stops."""

    terminal, direction = True, 1

    def __call__(self, _: float, state: Float[np.ndarray, "3"]) -> float:
        return state[2] - 1


def integrate(t: Times, p0: float = 0.5, D0: float = 0.0) -> Path:
    """The same by steps of an integrator; once p is 1, D goes on by 2 p."""

    def flow(_: float, state: Float[np.ndarray, "3"]) -> list[float]:
        b0, b1, p = state
        return [-p, p, b1 - b0]

    span, start = (0.0, float(t.max())), np.array([-D0 / 2, D0 / 2, p0])
    run = solve_ivp(flow, span, start, "DOP853", events=_Arrival(), dense_output=True, rtol=_TOLERANCE, atol=_TOLERANCE)
    end = run.t[-1]
    b0, b1, p = run.sol(np.minimum(t, end))
    return Path(p, b1 - b0 + 2 * np.maximum(t - end, 0))


def time_to(p: float, p0: float = 0.5, D0: float = 0.0) -> float:
    """When p is reached, from 0 < p0 <= p and D0 >= 0: of 1, from 1/2 and 0, at arcosh(2)/√2."""
    total, difference = p0 + D0 / _ROOT, p0 - D0 / _ROOT
    return math.log((p + math.sqrt(p * p - total * difference)) / total) / _ROOT
