"""One model's pass over a text: who watches it, and the measures that are made of what they noted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.language_model import LanguageModel
from ..findings import Examples
from ..measure import Measure
from ..probe import Progress
from ..streaming import Watcher, stream
from ..token_texts import words_of
from .accumulator import ModelPass
from .attention_measures import attention_measures
from .attention_watcher import AttentionWatcher
from .correlation_measures import correlation_measures
from .extreme_watcher import ExtremeWatcher
from .inner_measures import inner_measures
from .inner_watcher import InnerWatcher
from .length_measures import length_measures
from .length_watcher import BLOCK_SITES, OUTER_SITES, STREAM, LengthWatcher
from .outlier_measures import outlier_measures
from .outlier_watcher import OutlierWatcher, pilot_windows, pilots
from .text import Text
from .token_rows import token_rows
from .vocabulary_measures import vocabulary_measures

KEPT_TOKENS = 2_000
"""Tokens whose values are kept for figures."""


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
    examples: dict[str, Examples]


def begin_pass(subject: LanguageModel, text: Text, seed: int) -> ModelPass:
    """A pass with room for everything that is noted of a token, at every site and layer."""
    of_a_layer = (STREAM, *BLOCK_SITES, *OUTER_SITES, "write_norm", "mixing_ratio")
    return ModelPass(subject, text, seed, len(of_a_layer) * (subject.shape.n_layers + 1))


@dataclass(frozen=True, eq=False)
class Watched:
    """What watchers hold of a finished pass beside what they noted; None: the part was not asked for."""

    inner: InnerWatcher | None
    attention: AttentionWatcher | None
    outliers: OutlierWatcher | None
    extremes: ExtremeWatcher | None


def read_through(model_pass: ModelPass, settings: PassSettings, progress: Progress, last_only: bool = False) -> Watched:
    """One forward pass with everybody watching.

    last_only:  the inner problem and attention's writes in the last layer alone, no changed states, no single tokens
    """
    subject, text, size = model_pass.subject, model_pass.text, settings.batch_size
    watchers: list[Watcher] = [LengthWatcher(model_pass)]
    inner, attention, outliers, extremes = None, None, None, None
    if "inner" in settings.parts:
        watchers.append(inner := InnerWatcher(model_pass, last_only))
    if "attention" in settings.parts:
        watchers.append(attention := AttentionWatcher(model_pass, settings.maps, last_only))
    if "outliers" in settings.parts:
        found = None if last_only else pilots(subject, pilot_windows(text))
        watchers.append(outliers := OutlierWatcher(model_pass, found))
    if not last_only:
        watchers.append(extremes := ExtremeWatcher(model_pass, "outliers" in settings.parts))
    stage = f"measuring {subject.source.name}"
    stream(
        subject, model_pass.noted.batches(size), watchers,
        progress=progress, stage=stage, total=text.n_batches(size),
    )  # fmt: skip
    return Watched(inner, attention, outliers, extremes)


def measure_pass(model_pass: ModelPass, settings: PassSettings, progress: Progress) -> PassFindings:
    """One forward pass, and the measures of what was noted."""
    watched = read_through(model_pass, settings, progress)
    measures, arrays = length_measures(model_pass) | vocabulary_measures(model_pass), kept_tokens(model_pass)
    if (inner := watched.inner) is not None:
        measures |= inner_measures(model_pass, inner)
    if (attention := watched.attention) is not None:
        measures, arrays = measures | attention_measures(model_pass), arrays | attention.arrays
    if (outliers := watched.outliers) is not None:
        measures, arrays = measures | outlier_measures(model_pass, outliers.sums), arrays | outliers.sums.arrays
    examples = {} if watched.extremes is None else token_rows(watched.extremes.found, words_of(model_pass.subject))
    return PassFindings(measures | correlation_measures(model_pass), arrays, examples)


def kept_tokens(model_pass: ModelPass) -> dict[str, np.ndarray]:
    """Values of some tokens, for figures: of those after position 0, evenly through the sample."""
    sample = model_pass.noted.sample
    rows = sample.rows_at("later")
    rows = rows[np.linspace(0, len(rows) - 1, min(KEPT_TOKENS, len(rows))).round().astype(np.int64)]
    names = dict.fromkeys(name for name, _ in sample.columns)
    return {
        **{f"token_{name}": sample.column(name)[rows] for name in names},
        "token_id": sample.token[rows],
        "token_document": sample.document[rows],
        "token_index": sample.index[rows],
        "token_position": sample.position[rows],
        "token_log_frequency": model_pass.text.log_frequency[sample.token[rows]],
    }
