"""Plateaus of a training curve: the longest runs of checkpoints over which a loss hardly falls on a logarithmic axis of
steps, on which training that learns one thing after another looks like a staircase.

F is the whole fall of the curve, from its first loss to its last. A window of checkpoints at least `SHORTEST` decades
long is flat where its losses differ by at most

    BOUND * F * (its length in decades)

and a plateau is a longest run of flat windows that overlap. The loss of a plateau is the mean of its flattest window.
Any curve is flat at its beginning, and one that converges at its end: what tells a staircase is the plateaus in
between.

Of a plateau's true ends only this is known: it begins after `before` and by `first`, and ends from `last` on and before
`after`. A plateau between two checkpoints is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

BOUND = 0.05
"""Of the whole fall, in a decade. A curve that falls evenly over four decades falls five times as fast."""
SHORTEST = 0.04
"""Decades: 10 % more steps."""
FEWEST = 8
"""Steps after step 0: two for the beginning, the end, and each of two levels in between."""
NOISE = 3.0
"""So many times the standard deviation of the noise may have room in a flat window."""


@dataclass(frozen=True)
class Plateau:
    """A run of checkpoints.

    first, last:    their steps
    before, after:  the steps of the checkpoints beside the run; None: there is none
    loss:           the mean of the flattest window
    """

    first: int
    last: int
    before: int | None
    after: int | None
    loss: float

    @property
    def decades(self) -> float:
        return float(np.log10(self.last / self.first))


def cannot_tell(steps: Sequence[int], losses: Float[np.ndarray, " step"]) -> str | None:
    """Why the plateaus of a curve cannot be told; None where they can. Step 0 has no logarithm and does not count."""
    at, held = _after_0(steps, losses)
    if len(at) < FEWEST:
        return f"{len(at)} step{'s' * (len(at) != 1)} after step 0, and plateaus take at least {FEWEST} to tell"
    if not np.isfinite(held).all():
        return "a loss is not finite"
    if not (fall := held[0] - held[-1]) > 0:
        return "the loss does not fall"
    room = BOUND * fall * max(SHORTEST, float(np.median(np.diff(at))))
    if NOISE * _noise(at, held) > room:
        return "losses of neighbouring steps differ too irregularly for plateaus to be told"
    return None


def plateaus(steps: Sequence[int], losses: Float[np.ndarray, " step"]) -> list[Plateau]:
    """All plateaus of a curve, in order; `cannot_tell` says whether they can be told.

    steps:  increasing
    """
    at, held = _after_0(steps, losses)
    positive = [step for step in steps if step > 0]
    found: list[Plateau] = []
    for windows in _runs(_flat_windows(at, held)):
        first, last = windows[0][0], windows[-1][1]
        i, j, _ = min(windows, key=lambda window: window[2])
        found.append(
            Plateau(
                positive[first],
                positive[last],
                positive[first - 1] if first else None,
                positive[last + 1] if last + 1 < len(positive) else None,
                float(held[i : j + 1].mean()),
            )
        )
    return found


def resolution(steps: Sequence[int], losses: Float[np.ndarray, " step"]) -> float:
    """Decades: no plateau so long lies between checkpoints unseen. Two intervals hold a flat one, whatever their place.

    Only where the curve falls can there be another plateau than those that are seen.
    """
    at, held = _after_0(steps, losses)
    gaps, slopes = np.diff(at), np.abs(np.diff(held)) / np.diff(at)
    falling = slopes > BOUND * (held[0] - held[-1])
    return max(SHORTEST, 2 * float(gaps[falling].max(initial=0.0)))


def dwell(steps: Sequence[int], losses: Float[np.ndarray, " step"], level: float, near: float) -> float:
    """Decades of steps over which a curve is at most `near` away from a level; straight between checkpoints."""
    at, held = _after_0(steps, losses)
    low, high = np.minimum(held[:-1], held[1:]), np.maximum(held[:-1], held[1:])
    inside = np.clip(np.minimum(high, level + near) - np.maximum(low, level - near), 0.0, None)
    level_ones = (high == low) & (np.abs(held[1:] - level) <= near)
    shares = np.divide(inside, high - low, out=level_ones.astype(float), where=high > low)
    return float(shares @ np.diff(at))


def _after_0(
    steps: Sequence[int], losses: Float[np.ndarray, " step"]
) -> tuple[Float[np.ndarray, " later"], Float[np.ndarray, " later"]]:
    """The decimal logarithms of steps, and the losses there."""
    at = np.asarray(steps, dtype=np.float64)
    return np.log10(at[at > 0]), np.asarray(losses, dtype=np.float64)[at > 0]


def _flat_windows(at: Float[np.ndarray, " step"], losses: Float[np.ndarray, " step"]) -> list[tuple[int, int, float]]:
    """First and last checkpoint of each flat window, as short as it may be, with its slope."""
    bound, found = BOUND * (losses[0] - losses[-1]), []
    for i, end in enumerate(np.searchsorted(at, at + SHORTEST * (1 - 1e-9))):
        if end < len(at):
            slope = float(np.ptp(losses[i : end + 1])) / float(at[end] - at[i])
            if slope <= bound:
                found.append((i, int(end), slope))
    return found


def _runs(windows: Sequence[tuple[int, int, float]]) -> list[list[tuple[int, int, float]]]:
    """Windows that overlap, together. Both their ends come in order."""
    runs: list[list[tuple[int, int, float]]] = []
    for window in windows:
        if runs and window[0] <= runs[-1][-1][1]:
            runs[-1].append(window)
        else:
            runs.append([window])
    return runs


def _noise(at: Float[np.ndarray, " step"], losses: Float[np.ndarray, " step"]) -> float:
    """Standard deviation of what is added to a smooth curve: how far losses are off the line between both neighbours.

    Their median, so that the few steps at which a curve bends do not count.
    """
    share = (at[1:-1] - at[:-2]) / (at[2:] - at[:-2])
    off = losses[1:-1] - (1 - share) * losses[:-2] - share * losses[2:]
    spread = np.sqrt(1 + (1 - share) ** 2 + share**2)  # of independent noise in all three
    return float(np.median(np.abs(off) / spread)) / 0.6745
