"""One model's pass over a text: who watches it, and the measures that are made of what they noted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ...models.language_model import LanguageModel
from ...models.subject import Site
from ..findings import Examples
from ..measure import Measure
from ..reading import Reading, read_alone
from ..streaming import Watcher
from ..token_texts import words_of
from .accumulator import ModelPass
from .attention_measures import attention_measures
from .attention_watcher import AttentionWatcher, no_attention_output
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
    """Who watches a pass, and what they hold of it beside what they noted; None: the part was not asked for."""

    lengths: LengthWatcher
    inner: InnerWatcher | None
    attention: AttentionWatcher | None
    outliers: OutlierWatcher | None
    extremes: ExtremeWatcher | None

    @property
    def everybody(self) -> list[Watcher]:
        watchers = (self.lengths, self.inner, self.attention, self.outliers, self.extremes)
        return [watcher for watcher in watchers if watcher is not None]


def watching(model_pass: ModelPass, settings: PassSettings, last_only: bool = False) -> Watched:
    """Everybody who is to watch a pass.

    last_only:  the inner problem and attention's writes in the last layer alone, no changed states, no single tokens
    """
    parts, pilot = settings.parts, None
    if "outliers" in parts and not last_only:
        pilot = pilots(model_pass.subject, pilot_windows(model_pass.text))
    return Watched(
        LengthWatcher(model_pass, last_only),
        InnerWatcher(model_pass, last_only) if "inner" in parts else None,
        AttentionWatcher(model_pass, settings.maps, last_only) if "attention" in parts else None,
        OutlierWatcher(model_pass, pilot) if "outliers" in parts else None,
        None if last_only else ExtremeWatcher(model_pass, "outliers" in parts),
    )


def reading_of(model_pass: ModelPass, settings: PassSettings) -> Reading:
    """The whole text, with everybody watching; `PassFindings` come of it."""
    watched = cache(lambda: watching(model_pass, settings))
    return _reading(model_pass, settings, watched, lambda: _findings(model_pass, watched()))


def read_through(model_pass: ModelPass, settings: PassSettings, last_only: bool = False) -> Watched:
    """One forward pass; see `watching`."""
    watched = cache(lambda: watching(model_pass, settings, last_only))
    return read_alone(model_pass.subject, _reading(model_pass, settings, watched, watched))


def _reading(
    model_pass: ModelPass, settings: PassSettings, watched: Callable[[], Watched], found: Callable[[], Any]
) -> Reading:
    in_parts = "attention" in settings.parts and no_attention_output(model_pass) is None
    attended: set[Site] = {"attention"} if in_parts or "outliers" in settings.parts else set()
    return Reading(
        model_pass.text.corpus, settings.batch_size, lambda: watched().everybody, found, model_pass.noted.begin,
        frozenset(attended),
    )  # fmt: skip


def _findings(model_pass: ModelPass, watched: Watched) -> PassFindings:
    """The measures of what was noted."""
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
