"""Measures of how a model reads tasks: the layout, what its answers explain in each, and how clear the choice is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..measure import Measure, missing, without_interval
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from .reading import Reading, share

AXIS = "token_layout"
SHARE = "share of the labels' squares"
GIVEN = "the layout was given, so none was tried"
TOO_FEW = "too few tuning tasks to try layouts on"
FOUND = "found on tuning tasks, for each null model, too"
REFUSED = "0, too, where the model refuses such tokens"
ALONE = "the model answers the same in every layout"
NO_NULLS = "null models' layouts need not be those of the model"


def reading_measures(
    reading: Reading, nulls: Mapping[str, Sequence[Reading]], given: bool, seed: int
) -> dict[str, Measure]:
    """`token_layout`: 1 at the layout that is used. `label_share` of each, and `layout_gain` over the next best."""
    layouts = tuple(reading.answered) or (reading.layout,)
    coords = {AXIS: tuple(layout.name for layout in layouts)}
    untried = GIVEN if given else TOO_FEW
    used = without_interval(
        np.array([float(layout == reading.layout) for layout in layouts]),
        "1: used",
        (AXIS,),
        coords,
        message=FOUND if reading.answered else untried,
        no_nulls=NO_NULLS,
    )
    if not reading.answered:
        none = missing(SHARE, "not applicable", untried)
        return {"token_layout": used, "label_share": none, "layout_gain": none}
    drawn = {
        null: np.array([[one.shares[layout] for layout in layouts] for one in readings])
        for null, readings in nulls.items()
    }
    held = np.stack([reading.pooled(layout) for layout in layouts], axis=1)
    shares = Measure(
        share(held.mean(axis=0)),
        SHARE,
        percentile_interval(share(bootstrap_means(held, seed))),
        replicate="task",
        n=len(held),
        axes=(AXIS,),
        coords=coords,
        nulls=drawn,
        no_nulls="" if drawn else NO_NULLS,
        higher_is_better=True,
        message=REFUSED,
    )
    return {"token_layout": used, "label_share": shares, "layout_gain": _gain(reading, len(held), seed)}


def _gain(reading: Reading, n: int, seed: int) -> Measure:
    gain = reading.gain(seed)
    if gain is None:
        return missing(SHARE, "not applicable", ALONE)
    return Measure(
        np.array(gain.value),
        SHARE,
        gain.interval,
        replicate="task",
        n=n,
        no_nulls="two layouts that are equally good have a gain of 0",
        higher_is_better=True,
        message="of the layout that is used over the best one in which the model answers something else",
    )


@dataclass(frozen=True)
class FoundLayout:
    """A layout that tuning tasks showed in the place of the one that is tried first.

    name, first:             of both
    share, share_of_first:   of the labels' squares that predictions explain so
    seeds, of:               in how many seeds the first was given up, and how many there are
    """

    name: str
    first: str
    share: float
    share_of_first: float
    seeds: int
    of: int


def found_layout(measures: Mapping[str, Measure]) -> FoundLayout | None:
    """None where the first layout is used, or the one that was given."""
    used = measures["token_layout"]
    points = used.values[None] if used.points is None else used.points
    moved = int((points[:, 0] == 0).sum())
    if not moved:
        return None
    names, shares = used.labels(AXIS), measures["label_share"]
    place = 1 + int(used.values[1:].argmax())
    return FoundLayout(names[place], names[0], shares.values[place], shares.values[0], moved, len(points))


def assumed_layout(measures: Mapping[str, Measure]) -> str | None:
    """The name of a layout that nobody gave and that the tuning tasks do not show; None where it is known."""
    gain = measures["layout_gain"]
    known = bool(gain.interval[0] > 0) if gain.status == "ok" else gain.message in (GIVEN, ALONE)
    used = measures["token_layout"]
    return None if known else used.labels(AXIS)[int(used.values.argmax())]


def in_words(name: str) -> str:
    """ "joint-10" as "joint tokens with the label in slot 10"."""
    order, _, slot = name.partition("-")
    return f"{order} tokens with the label in slot {slot}"
