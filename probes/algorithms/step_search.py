"""The number of steps at which something is least, without trying all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def search_steps(first: Iterable[int], distance: Callable[[int], float]) -> dict[int, float]:
    """The distance at every number of steps that was tried: the first ones, then those half way from the best to the
    next ones tried, on both sides, until nothing lies between.
    """
    found = {steps: distance(steps) for steps in first}
    while between := _between(found):
        found |= {steps: distance(steps) for steps in between}
    return found


def best_steps(found: dict[int, float]) -> int:
    """The fewest of the least distance."""
    return min(found, key=lambda steps: (found[steps], steps))


def _between(found: dict[int, float]) -> list[int]:
    tried = sorted(found)
    best = best_steps(found)
    place = tried.index(best)
    beside = tried[max(place - 1, 0) : place] + tried[place + 1 : place + 2]
    return [(best + other) // 2 for other in beside if abs(other - best) > 1]
