"""Measures of the causal check."""

from __future__ import annotations

from typing import Any

from ..measure import Measure, along, missing
from .exchange import exchanged_layers
from .judging import Judged
from .measures import ONE_READ_OUT, Layers, Statistic, explained
from .names import PLACE, PLACES

NOTHING_FOLLOWS = "no layer follows the first, so nothing works on from its model"
SHARE = "share of the change"


def _slope(means: Any) -> Any:
    return means[..., 0] / means[..., 2]


def _straight(means: Any) -> Any:
    return means[..., 0] ** 2 / (means[..., 1] * means[..., 2])


def _followed(means: Any) -> Any:
    return 1 - means[..., 3] / means[..., 1]


STATISTICS = {
    "exchange_slope": Statistic(_slope, "change / exchanged change"),
    "exchange_share": Statistic(_straight, SHARE),
    "exchange_followed": Statistic(_followed, SHARE, True),
}
RESIDUAL = Statistic(explained, "share of what layers added", True)


def exchange_measures(judged: Judged, layers: Layers, layered: bool) -> dict[str, Measure]:
    """By place and layer; why there are none, for a model without states or later layers."""
    if judged.exchanged is None:
        return no_exchange(NOTHING_FOLLOWS if layered else ONE_READ_OUT)
    labels = exchanged_layers(len(judged.weights))

    def measure(statistic: Statistic, place: str) -> Measure:
        assert judged.exchanged is not None
        return layers.measure(
            judged.exchanged.changes[place],
            statistic,
            lambda one: None if one.exchanged is None else one.exchanged.at(labels).changes[place],
            labels,
        )

    found = {
        name: along(PLACE, {place: measure(statistic, place) for place in PLACES})
        for name, statistic in STATISTICS.items()
    }
    held = layers.measure(
        judged.exchanged.residuals,
        RESIDUAL,
        lambda one: None if one.exchanged is None else one.exchanged.at(labels).residuals,
        labels,
    )
    return found | {"residual_share": held}


def no_exchange(reason: str) -> dict[str, Measure]:
    found = {
        name: along(PLACE, dict.fromkeys(PLACES, missing(one.unit, "not applicable", reason)))
        for name, one in STATISTICS.items()
    }
    return found | {"residual_share": missing(RESIDUAL.unit, "not applicable", reason)}
