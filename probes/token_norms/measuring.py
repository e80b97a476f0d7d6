"""One model's pass, from text to measures; and measures of untrained models as nulls beside those of a trained one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...models.language_model import LanguageModel
from ..measure import Measure
from ..probe import Progress
from ..streaming import Watcher, stream
from .accumulator import ModelPass
from .attention_measures import attention_measures
from .attention_watcher import AttentionWatcher
from .correlation_measures import correlation_measures
from .inner_measures import inner_measures
from .inner_watcher import InnerWatcher
from .length_measures import length_measures
from .length_watcher import BLOCK_SITES, OUTER_SITES, STREAM, LengthWatcher
from .outlier_measures import outlier_measures
from .outlier_watcher import OutlierWatcher, pilots
from .text import Text
from .vocabulary_measures import vocabulary_measures

INNER_TOKENS = 4_096
"""Tokens on which the inner problem is looked at."""
KEPT_TOKENS = 2_000
"""Tokens whose values are kept for figures."""
UNTRAINED = "untrained"
"""The null that untrained models make."""


@dataclass(frozen=True)
class PassSettings:
    """What is measured beside norms, of how many windows maps of attention are kept, and windows in a forward pass."""

    parts: tuple[str, ...]
    maps: int
    batch_size: int


@dataclass(frozen=True, eq=False)
class PassFindings:
    """What one pass leaves."""

    measures: dict[str, Measure]
    arrays: dict[str, np.ndarray]


def begin_pass(subject: LanguageModel, text: Text, seed: int) -> ModelPass:
    """A pass with room for everything that is noted of a token, at every site and layer."""
    of_a_layer = (STREAM, *BLOCK_SITES, *OUTER_SITES, "write_norm", "mixing_ratio")
    return ModelPass(subject, text, seed, len(of_a_layer) * (subject.shape.n_layers + 1))


def measure_pass(model_pass: ModelPass, settings: PassSettings, progress: Progress) -> PassFindings:
    """One forward pass with everybody watching; then the measures, of what they noted."""
    subject, text, size = model_pass.subject, model_pass.text, settings.batch_size
    watchers: list[Watcher] = [LengthWatcher(model_pass)]
    outliers, attention = None, None
    if "inner" in settings.parts:
        watchers.append(InnerWatcher(model_pass, INNER_TOKENS))
    if "attention" in settings.parts:
        watchers.append(attention := AttentionWatcher(model_pass, settings.maps))
    if "outliers" in settings.parts:
        first = next(iter(text.corpus.batches(size))).tokens
        watchers.append(outliers := OutlierWatcher(model_pass, pilots(subject, first)))
    stage = f"measuring {subject.source.name}"
    stream(
        subject, model_pass.noted.batches(size), watchers,
        progress=progress, stage=stage, total=text.n_batches(size),
    )  # fmt: skip
    measures, arrays = length_measures(model_pass) | vocabulary_measures(model_pass), kept_tokens(model_pass)
    if "inner" in settings.parts:
        measures |= inner_measures(model_pass, INNER_TOKENS)
    if attention is not None:
        measures, arrays = measures | attention_measures(model_pass), arrays | attention.arrays
    if outliers is not None:
        measures, arrays = measures | outlier_measures(model_pass, outliers.sums), arrays | outliers.sums.arrays
    return PassFindings(measures | correlation_measures(model_pass), arrays)


def kept_tokens(model_pass: ModelPass) -> dict[str, np.ndarray]:
    """Values of some tokens, for figures: of those after position 0, evenly through the sample."""
    sample = model_pass.noted.sample
    rows = sample.rows_at("later")
    rows = rows[np.linspace(0, len(rows) - 1, min(KEPT_TOKENS, len(rows))).round().astype(np.int64)]
    names = dict.fromkeys(name for name, _ in sample.columns)
    return {
        **{f"token_{name}": sample.column(name)[rows] for name in names},
        "token_position": sample.position[rows],
        "token_log_frequency": model_pass.text.log_frequency[sample.token[rows]],
    }


def beside_untrained(measures: Mapping[str, Measure], untrained: Sequence[Mapping[str, Measure]]) -> dict[str, Measure]:
    """Every measure with that of untrained models as a null, where they have it in the same shape."""
    found = {}
    for name, measure in measures.items():
        others = [of_one[name].values for of_one in untrained if name in of_one]
        same = [values for values in others if values.shape == measure.values.shape and np.isfinite(values).any()]
        if measure.status == "ok" and same:
            measure = replace(measure, nulls={UNTRAINED: np.stack(same), **measure.nulls}, no_nulls="")
        found[name] = measure
    return found
