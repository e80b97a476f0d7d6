"""Three questions, and the sentences that answer them: pure functions of measures.

Do norms grow with depth, and do those of the first token? Do they go with frequency or with surprisal, and with which
more? Are there attention sinks and massive activations, and where?
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..findings import Head, head_name
from ..measure import Measure
from .massive_dimensions import massive_dimensions, massive_layers, named_dimensions
from .words import Number, span

COVARIATES = {"log_frequency": "frequency", "surprisal": "surprisal"}
"""What norms may go with, and its name. Ranks of log frequency are those of frequency."""
SINK_HEAD = 50
"""A head is called an attention sink where it is one in at least so many per cent of the windows."""
MOST_NAMED = 2
"""Heads, and massive dimensions, that the card names; of more it says how many."""


def number(measures: Mapping[str, Measure], name: str, places: Mapping[str, int], **labels: Any) -> Number | None:
    """Of a measure at these places and labels; None where it has no number there."""
    measure = measures.get(name)
    if measure is None or measure.status != "ok" or {*places, *labels} != set(measure.axes):
        return None
    if any(label not in measure.labels(axis) for axis, label in labels.items()):
        return None
    found = measure.at(**places).sel(**labels)
    return Number.of(found) if found.has_number else None


# -- do norms grow with depth? -----------------------------------------------------------------------------------------


def growth(measures: Mapping[str, Measure]) -> str:
    """The factor from layer to layer of tokens after position 0, which the verdict is about, and that at position 0."""
    later, first = (number(measures, "norm_growth", {}, position=place) for place in ("later", "first"))
    if later is None:
        return "How norms grow with depth is undefined."
    at_first = "" if first is None else f", first token × {first}"
    return f"{_verdict(later)} × {later} a layer{later.interval('95 % CI ')}{at_first}."


def growth_in_brief(measures: Mapping[str, Measure]) -> str:
    """The verdict without its number."""
    later = number(measures, "norm_growth", {}, position="later")
    return "Growth undefined" if later is None else _verdict(later).rstrip(":")


def _verdict(later: Number) -> str:
    if not later.has_interval:
        return "Norms change (no interval):"
    if later.low > 1:
        return "Norms grow"
    return "Norms shrink" if later.high < 1 else "Growth unclear:"


# -- do norms go with frequency, or with surprisal? --------------------------------------------------------------------


def correlations(measures: Mapping[str, Measure], p: Mapping[str, str]) -> str:
    """Rank correlations of the last layer's norm after position 0, the stronger first where one is.

    p:  in words, of statistics beside untrained models, where these are enough for one
    """
    found = {
        key: number(measures, "stream_spearman", {"layer": -1}, covariate=key, position="later") for key in COVARIATES
    }
    known = {key: rho for key, rho in found.items() if rho is not None}
    if not known:
        return "How norms go with frequency and surprisal is undefined."
    stronger = _stronger(known)
    order = sorted(known, key=lambda key: key != stronger)
    values = ", ".join(f"{known[key]}{known[key].interval(and_p=p.get(f'spearman_{key}', ''))}" for key in order)
    without = [f"No number for {COVARIATES[key]}." for key in COVARIATES if key not in known]
    return " ".join([f"{_relation(order, known, stronger)}: ρ = {values}.", *without])


def _relation(order: list[str], known: Mapping[str, Number], stronger: str | None) -> str:
    first, *others = (COVARIATES[key] for key in order)
    if stronger is not None:
        return f"Norms go with {first} more than with {others[0]}"
    if _comparable(known):
        return f"{first.capitalize()} and {others[0]} are not told apart"
    return f"Norms with {' and '.join([first, *others])}"


def _comparable(known: Mapping[str, Number]) -> bool:
    return len(known) == len(COVARIATES) and all(rho.has_interval for rho in known.values())


def _stronger(known: Mapping[str, Number]) -> str | None:
    """By absolute value; None where the intervals of these overlap, or one of the two is missing."""
    if not _comparable(known):
        return None
    (weaker_size, _), (stronger_size, stronger) = sorted((rho.size, key) for key, rho in known.items())
    return stronger if stronger_size[0] > weaker_size[1] else None


# -- are there sinks and massive activations? --------------------------------------------------------------------------


def outliers(measures: Mapping[str, Measure]) -> list[str]:
    """What is there, and where; that nothing is there only where both were looked for."""
    sink, massive = number(measures, "sink_metric", {}), measures.get("massive_dimension")
    dimensions = None if massive is None or massive.status == "not applicable" else massive_dimensions(massive)
    if sink is not None and sink.value == 0 and dimensions == []:
        return ["No attention sinks, no massive activations."]
    if sink is not None and sink.value > 0:
        if dimensions:
            return [f"Sinks: {_sinks_in_short(measures, sink)}; massive: {named_dimensions(dimensions, 1)}."]
        return [f"Attention sinks: {_sinks(measures, sink)}."]
    if massive is not None and dimensions:
        return [f"Massive: {named_dimensions(dimensions, MOST_NAMED)}, {span(massive_layers(massive))}."]
    return []


def _sinks(measures: Mapping[str, Measure], sink: Number) -> str:
    """Which heads, or how many; and the share over heads and windows, which is all there is over seeds."""
    heads, share = _sink_heads(measures), f"{sink.value:.3g} %"
    if heads is None:
        return share
    if 0 < len(heads) <= MOST_NAMED:
        return f"{', '.join(map(head_name, heads))} ({share})"
    return f"{len(heads)} of {measures['sink_share'].values.size} heads ({share})"


def _sinks_in_short(measures: Mapping[str, Measure], sink: Number) -> str:
    """The number of heads; the share where there is none."""
    heads = _sink_heads(measures)
    if not heads:
        return f"{sink.value:.3g} %"
    return head_name(heads[0]) if len(heads) == 1 else f"{len(heads)} heads"


def _sink_heads(measures: Mapping[str, Measure]) -> list[Head] | None:
    """Over seeds, whose heads do not correspond, None."""
    by_head = measures.get("sink_share")
    if by_head is None or by_head.axes != ("layer", "head"):
        return None
    return [(int(layer), int(head)) for layer, head in np.argwhere(by_head.values >= SINK_HEAD)]
