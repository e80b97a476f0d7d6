"""A model beside untrained ones of its shape: what all of them have on the same few tokens, and on their weights.

Nineteen untrained models are needed for a p of 0.05, so each of them reads little: the first `SAMPLE_TOKENS` tokens of
the text, whichever they are. The model itself is read on these tokens once more. What is compared is therefore of the
same tokens in every model, and only the model varies. What no token is read for, norms of weights, is compared as it
stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...models.language_model import LanguageModel
from ..measure import Measure, along, missing, without_interval
from .accumulator import ModelPass
from .attention import RATIOS
from .attention_measures import no_attention_output, ov_norm
from .correlation_measures import last_layer_correlations
from .length_measures import fitted_layers
from .length_watcher import STREAM
from .lengths import growth_factor
from .measuring import PassSettings, begin_pass, read_through
from .names import COMPARISON, STATISTICS, UNTRAINED
from .quantity import NO_UNTRAINED
from .sample import PLACES
from .text import Text
from .vocabulary_measures import vocabulary_measures

SAMPLE_TOKENS = 128
"""Tokens that every untrained model reads: nineteen on so many cost as much as one on a text of some thousands, and
drawing their weights as much again."""
LATER = PLACES.index("later")


@dataclass(frozen=True, eq=False)
class NullModel:
    """What one untrained model has.

    statistics:  `sample_statistics`
    of_weights:  measures that no token is read for
    """

    statistics: dict[str, float]
    of_weights: dict[str, Measure]


def null_model(untrained: LanguageModel, sample: Text, settings: PassSettings, seed: int) -> NullModel:
    """Reads the sample with an untrained model, and its weights."""
    model_pass = begin_pass(untrained, sample, seed)
    of_weights = vocabulary_measures(model_pass)
    if "attention" in settings.parts and no_attention_output(model_pass) is None:
        of_weights["ov_norm"] = ov_norm(untrained)
    return NullModel(sample_statistics(model_pass, settings), of_weights)


def sample_statistics(model_pass: ModelPass, settings: PassSettings) -> dict[str, float]:
    """Reads a text, and returns those of `STATISTICS` that its tokens and the parts asked for give; NaN where one has
    no number. Correlations, cosines and ratios are those of the last layer after position 0.
    """
    watched, noted = read_through(model_pass, replace(settings, maps=0), last_only=True), model_pass.noted
    found = _growth(model_pass)
    found |= {f"spearman_{key}": rho for key, rho in last_layer_correlations(model_pass).items()}
    if noted.has("step_cosine"):
        found["step_cosine"] = float(noted.values("step_cosine")[-1, LATER])
    if noted.has("mixing_ratio"):
        found["mixing_ratio"] = float(noted.values("mixing_ratio")[-1, LATER, RATIOS.index("AttnRes-N")])
    if noted.has("sink_share"):
        found["sink_metric"] = float(noted.values("sink_share").mean())
    if watched.outliers is not None:
        found["anisotropy"] = float(watched.outliers.sums.contributions[-1].sum())
        found["massive_windows"] = float(noted.values("massive_windows").max())
    return {name: found[name] for name in STATISTICS if name in found}


def _growth(model_pass: ModelPass) -> dict[str, float]:
    """At position 0 and after it, as the measure `norm_growth`."""
    norms = model_pass.noted.values(f"norm_{STREAM}")[..., 0]  # [layer, position] of the norm, not of its square
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = growth_factor(norms[fitted_layers(len(norms) - 1)].T)
    return {f"norm_growth_{place}": float(factor) for place, factor in zip(PLACES, factors, strict=True)}


def beside_untrained(
    measures: Mapping[str, Measure], own: Mapping[str, float], untrained: Sequence[NullModel], sample: Text
) -> dict[str, Measure]:
    """The measures of the whole text, with nulls for those of weights, and the comparison as one more.

    own:  the model's own `sample_statistics`
    """
    found = {name: _with_nulls(name, measure, untrained) for name, measure in measures.items()}
    message = (
        f"on the first {sample.corpus.n_tokens:,} tokens of the text, which untrained models read, too; no interval:"
        " tokens are the same, and only the model varies"
    )
    parts = {
        name: _compared(name, value, [model.statistics.get(name, np.nan) for model in untrained], message)
        for name, value in own.items()
    }
    return found | {COMPARISON: along("statistic", parts)}


def _with_nulls(name: str, measure: Measure, untrained: Sequence[NullModel]) -> Measure:
    others = [model.of_weights[name].values for model in untrained if name in model.of_weights]
    same = [values for values in others if values.shape == measure.values.shape and np.isfinite(values).any()]
    if measure.status != "ok" or not same:
        return measure
    return replace(measure, nulls={UNTRAINED: np.stack(same)}, no_nulls="")


def _compared(name: str, value: float, untrained: Sequence[float], message: str) -> Measure:
    unit = STATISTICS[name].unit
    if not np.isfinite(value):
        return missing(unit, "undefined", "it has no number on the tokens that untrained models read")
    samples = np.array([other for other in untrained if np.isfinite(other)])
    nulls = {UNTRAINED: samples} if len(samples) else None
    return without_interval(np.array(value), unit, message=message, nulls=nulls, no_nulls=NO_UNTRAINED)
