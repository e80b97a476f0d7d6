"""Names, colours, markers and lines of places, layers and quantities in every figure of token-norms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...drawing import marks
from ...drawing.marks import BLACK, BLUE, GREEN, OLIVE, ORANGE, PURPLE, SKY, VERMILION, Look

if TYPE_CHECKING:
    from ...measure import Measure

LATER = Look("after position 0", BLUE, "o", "-")
FIRST = Look("position 0", VERMILION, "s", "--")
TAILS = {
    "p5": Look("5th percentile of tokens", SKY, "", ":"),
    "p95": Look("95th percentile of tokens", SKY, "", "-."),
}
COVARIATES = {
    "position": Look("position", BLACK, "o", "-"),
    "log_frequency": Look("log frequency", ORANGE, "s", "--"),
    "next_token_probability": Look("probability of the next token", GREEN, "D", "-."),
    "surprisal": Look("surprisal", VERMILION, "^", ":"),
    "entropy": Look("entropy", BLUE, "v", "--"),
    "true_log_frequency": Look("true log frequency", ORANGE, "s", ":"),
    "true_entropy": Look("true entropy", BLUE, "v", ":"),
}
"""What norms are correlated with, as the probe names it."""
ESTIMATED = {key: look for key, look in COVARIATES.items() if not key.startswith("true")}
"""Those that any text has; the others are known of a grammar only."""
RATIOS = {
    "AttnRes-N": Look("AttnRes-N", VERMILION, "o", "-"),
    "Attn-N": Look("Attn-N", ORANGE, "s", "--"),
    "AttnResLn-N": Look("AttnResLn-N", PURPLE, "D", "-."),
    "AttnRes-W": Look("AttnRes-W", BLUE, "^", ":"),
    "Attn-W": Look("Attn-W", SKY, "v", ":"),
}
LAYERS = (
    Look("first layer", SKY, "^", ":"),
    Look("middle layer", PURPLE, "D", "-."),
    Look("last layer", BLACK, "o", "-"),
)
VERSIONS = {
    "all dimensions": Look("all dimensions", PURPLE, "o", "-"),
    "without rogue": Look("without rogue dimensions", ORANGE, "s", "--"),
    "standardised": Look("standardised", GREEN, "D", "-."),
}
RANKS = (Look("largest", BLACK, "o", "-"), Look("second", BLACK, "s", "--"), Look("third", BLACK, "^", ":"))
MATRICES = {
    "W_E": Look("rows of $W_E$", GREEN, "P", "-"),
    "W_U": Look("rows of $W_U$", OLIVE, "X", "--"),
    "W_E whitened": Look("rows of $W_E$, whitened", PURPLE, "p", "-."),
}

Selection = tuple[str, Mapping[str, Any]]
"""A measure by name, and the labels to look at along some of its axes."""


def selected(measures: Mapping[str, Measure], wanted: Mapping[Look, Selection]) -> dict[Look, Measure]:
    """Of these measures at these labels, those that exist and have a number."""
    found = {
        look: measures[name].sel(**labels)
        for look, (name, labels) in wanted.items()
        if name in measures and _has_labels(measures[name], labels)
    }
    return {look: measure for look, measure in found.items() if marks.has_number(measure)}


def _has_labels(measure: Measure, labels: Mapping[str, Any]) -> bool:
    return all(axis in measure.axes and label in measure.labels(axis) for axis, label in labels.items())


def first_and_later(name: str, **labels: Any) -> dict[Look, Selection]:
    """A measure after position 0 and at it."""
    return {LATER: (name, {"position": "later", **labels}), FIRST: (name, {"position": "first", **labels})}


def by_layer(measures: Mapping[str, Measure], name: str, **labels: Any) -> dict[Look, Measure]:
    """A measure in its first, its middle and its last layer."""
    if name not in measures or "layer" not in measures[name].axes:
        return {}
    layers = measures[name].labels("layer")
    shown = {layers[0]: LAYERS[0], layers[len(layers) // 2]: LAYERS[1], layers[-1]: LAYERS[2]}
    return selected(measures, {look: (name, {"layer": layer, **labels}) for layer, look in shown.items()})


def by_covariate(
    measures: Mapping[str, Measure], name: str, looks: Mapping[str, Look], **labels: Any
) -> dict[Look, Measure]:
    """A rank correlation with each of these covariates, position 0 left out."""
    wanted = {look: (name, {"covariate": key, "position": "later", **labels}) for key, look in looks.items()}
    return selected(measures, wanted)
