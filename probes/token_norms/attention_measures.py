"""Attention by the length of what it moves, and how much of each token a block mixes in, as measures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable
from ..measure import Measure, missing, without_interval
from .accumulator import Means, ModelPass, combined
from .attention import RATIOS
from .attention_watcher import no_attention_output
from .quantity import NO_UNTRAINED, WEIGHTS_ALONE, Quantity, mean_measure
from .sample import PLACES

HEADS = ("layer", "head")
BY_POSITION = {"position": PLACES}
QUANTITIES = {
    "write_norm": Quantity("norm", (*HEADS, "position"), BY_POSITION),
    "write_norm_variation": Quantity("standard deviation / mean", HEADS, {}, "over tokens after position 0"),
    "weighted_write_norm": Quantity("norm", (*HEADS, "position"), BY_POSITION, "summed over keys, for each query"),
    "attention_to_first": Quantity("probability", HEADS, {}, "mean over queries after position 0"),
    "weighted_attention_to_first": Quantity("share of norm", HEADS, {}, "mean over queries after position 0"),
    "mixing_ratio": Quantity("ratio", ("layer", "ratio", "position"), {"ratio": RATIOS, **BY_POSITION}),
}
OV_UNIT = "Frobenius norm"
NO_NORM_AFTER = "no norm follows attention"
FIRST_MIXES_NOTHING = "the query is the first of causal attention, which mixes nothing in"


def attention_measures(model_pass: ModelPass) -> dict[str, Measure]:
    """‖f(x)‖ of heads, attention to the first token by weight and by length, and mixing ratios."""
    if reason := no_attention_output(model_pass):
        units = {name: quantity.unit for name, quantity in QUANTITIES.items()} | {"ov_norm": OV_UNIT}
        return {name: missing(unit, "not applicable", reason) for name, unit in units.items()}
    found = {
        name: mean_measure(QUANTITIES[name], means, model_pass.text)
        for name, means in _means_by_quantity(model_pass).items()
    }
    return {**found, "mixing_ratio": _mixing_ratio(model_pass), "ov_norm": ov_norm(model_pass.subject)}


def _means_by_quantity(model_pass: ModelPass) -> dict[str, Means]:
    noted, later = model_pass.noted, PLACES.index("later")
    write = noted.means("write_norm")
    norm, square = (write.at(power=power, position=later) for power in (0, 1))
    return {
        "write_norm": write.at(power=0),
        "write_norm_variation": combined(variation, norm, square),
        "weighted_write_norm": noted.means("weighted_write_norm"),
        "attention_to_first": noted.means("attention_to_first").at(position=later),
        "weighted_attention_to_first": noted.means("weighted_attention_to_first").at(position=later),
    }


def variation(mean: Float[np.ndarray, "*axes"], mean_square: Float[np.ndarray, "*axes"]) -> Float[np.ndarray, "*axes"]:
    """Coefficient of variation: standard deviation over mean."""
    return np.sqrt(np.maximum(mean_square - mean**2, 0)) / mean


def _mixing_ratio(model_pass: ModelPass) -> Measure:
    """NaN at AttnResLn-N where no norm follows attention, and at the first token where attention is causal."""
    means, quantity = model_pass.noted.means("mixing_ratio"), QUANTITIES["mixing_ratio"]
    under_norm = means.at(ratio=RATIOS.index("AttnResLn-N"), position=PLACES.index("later"))
    reasons = [NO_NORM_AFTER] * bool(np.isnan(under_norm.values).all())
    reasons += [FIRST_MIXES_NOTHING] * model_pass.subject.shape.causal
    return mean_measure(replace(quantity, why_missing=", or ".join(reasons)), means, model_pass.text)


def ov_norm(subject: LanguageModel) -> Measure:
    """‖W_V W_O‖ of every head, which grows with depth where the stream does (Heimersheim & Turner 2023)."""
    weights = subject.weights()
    if isinstance(weights, NotApplicable):
        return missing(OV_UNIT, "not applicable", weights.reason)
    norms = np.array([frobenius(W_V, W_O) for W_V, W_O in zip(weights.W_V, weights.W_O, strict=True)])
    return without_interval(norms, OV_UNIT, HEADS, message=WEIGHTS_ALONE, no_nulls=NO_UNTRAINED)


def frobenius(
    W_V: Float[Tensor, "kv_head d_model d_head"], W_O: Float[Tensor, "head d_head d_model"]
) -> Float[np.ndarray, " head"]:
    """‖W_V W_O‖ of a layer's heads, from small Gram matrices. Query head h uses kv head h // (heads / kv heads)."""
    left, right = W_V.double(), W_O.double()
    of_values = (left.mT @ left).repeat_interleave(len(right) // len(left), dim=0)
    return (of_values * (right @ right.mT)).sum(dim=(-2, -1)).sqrt().cpu().numpy()
