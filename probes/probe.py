"""Probe: a measurement of one subject."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch import nn

from ..data.settings import check_settings
from ..models.subject import NotApplicable, Source, Subject
from .findings import Findings
from .measure import Claim, Measure
from .parts import Parts

Progress = Callable[[str, float], None]
"""Told what is being done and which fraction of the whole is finished."""


def silent(stage: str, fraction: float) -> None:
    """The progress of a run that nobody watches."""


@dataclass(frozen=True)
class Cost:
    """What measuring takes, in units that are the same on every machine.

    tokens:      tokens through the layers of a model, in plain forward passes; what is done beside a pass is counted in
    read_outs:   products of a token's state with the unembedding, there or back
    draws:       random numbers for untrained weights
    operations:  tensor operations of whatever size: what a small model's time goes into
    batch:       sequences of a forward pass, and tokens of each
    shared:      the share of it that is done once for all checkpoints of a family
    counted:     what the probe itself counts, in words: its passes, say
    """

    tokens: float
    read_outs: float
    draws: float
    operations: float
    batch: tuple[int, int]
    shared: float = 0.0
    counted: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """One of several checkpoints that were measured, as plain data.

    recipes:  the inputs it read, by split, as `Recipe.as_dict` gives them
    """

    source: Source
    measures: Mapping[str, Measure]
    arrays: Mapping[str, np.ndarray]
    recipes: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class OverTraining:
    """What several checkpoints show together.

    measures:  of their own, which take the place of a single checkpoint's of the same name
    sentence:  heads the claim
    badge:     in the place of the claim's, where there is one
    limits:    beside the claim's
    arrays:    raw values of their own
    """

    measures: Mapping[str, Measure] = field(default_factory=dict)
    sentence: str = ""
    badge: str = ""
    limits: tuple[str, ...] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def weights_of(subject: Subject) -> list[nn.Parameter]:
    """The parameters of a subject's module, shared ones once; none of a plain function."""
    module = getattr(subject, "module", None)
    return list(module.parameters()) if isinstance(module, nn.Module) else []


def weights_in_bytes(subject: Subject) -> int:
    return sum(weight.nbytes for weight in weights_of(subject))


@dataclass(frozen=True)
class Probe(ABC):
    """A measurement. Its fields are its settings, its options on the command line, and hence its record.

    A new probe is a frozen dataclass with a `name`, a `version` that rises whenever its numbers change, and the three
    methods below; one line in `probes/__init__.py` (or an entry point of the group `mesascope.probes`) registers it.
    Annotations of the fields are checked, see `data/settings.py`. Relations between settings are for `__post_init__`,
    which begins with `super().__post_init__()`. The docstring has a line `name:  what it means` for each setting.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    batch_size: ClassVar[int] = 2048
    """Tasks or sequences in one forward pass, unless the user gives another number."""
    by_default: ClassVar[bool] = True
    """Whether `mesascope run` without `-p` includes the probe where it applies. Slow probes say False: they run when
    the user names them, or with `-p all`."""
    part_kinds: ClassVar[tuple[type, ...]] = ()
    """Dataclasses of the probe's own that the parts of its measurement are made of, see `Parts`."""

    def __post_init__(self) -> None:
        """Raises UsageError for a setting of another type or outside its limits."""
        check_settings(self, f"{self.name}: ")

    @abstractmethod
    def applies(self, subject: Subject) -> NotApplicable | None:
        """None when the probe can measure this subject, else why not and what would apply."""

    @abstractmethod
    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        """Measure one subject. The same subject, settings, seed and batch size give the same findings, bit for bit."""

    def measure_in_parts(
        self, subject: Subject, seed: int, batch_size: int, kept: Parts, progress: Progress = silent
    ) -> Findings:
        """The same findings, by parts that are found or made: `kept.made("name", make)`. By default there are none."""
        return self.measure(subject, seed, batch_size, progress)

    @abstractmethod
    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        """Read the measures, of one checkpoint or aggregated over several, as sentences."""

    def heads(self, measures: Mapping[str, Measure]) -> dict[str, str]:
        """A verdict for each head, {"L1H0": "induction", …}, read off one checkpoint's measures; by default none."""
        return {}

    def settings(self) -> dict[str, Any]:
        return asdict(self)

    def fingerprint(self) -> dict[str, str]:
        """Digests of files that the settings name: part of a run's identity, since a path alone is not."""
        return {}

    def memory(self, subject: Subject) -> int | None:
        """About how many bytes measuring takes at its peak, beside Python, its libraries and the model's own weights;
        None: nobody knows.
        """
        return None

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        """About what measuring takes, in units that a machine's speed turns into seconds; None: nobody knows."""
        return None

    def between(self, subjects: tuple[Subject, ...], seed: int, batch_size: int) -> dict[str, Measure]:
        """Measures that need several seeds of one recipe, all at the same step; none by default."""
        return {}

    def over_training(self, by_step: Mapping[int, Mapping[str, Measure]]) -> OverTraining:
        """What the measures of several steps show together; nothing by default."""
        return OverTraining()

    def over_checkpoints(self, checkpoints: tuple[Checkpoint, ...]) -> OverTraining:
        """What several checkpoints show together, one by one, in order of step and seed: which seed learns, say, or how
        a step's arrays differ from those of the next. Seeds of one step are enough. Nothing by default.
        """
        return OverTraining()
