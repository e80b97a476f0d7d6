"""What a run consists of: which probes, which checkpoints, and which of them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

import torch

from ...data.errors import MesascopeError, UsageError, nearest
from ...models.copy_models import CopyModel
from ...models.language_model import LanguageModel
from ...models.opening.loading import load_all
from ...models.predictor_file import from_predictor_file
from ...models.regressors import SequenceRegressor, TransformerRegressor
from ...models.softmax_regressors import LayerSoftmaxRegressor
from ...models.subject import NotApplicable, Subject
from ...models.token_layout import TokenLayout
from ...probes import probe_class, registered
from ...probes.probe import Probe
from ..reports.threads import threads_set
from ..runs.family import in_order
from ..runs.running import probe_named
from ..runs.threads import largest_matrix, number_of_threads
from .run_options import ALL_PROBES, MeasuringOptions, RunOptions, option_names
from .terminal import complain

DEVICES = ("cpu", "cuda", "mps")


@dataclass(frozen=True)
class Job:
    """One probe on checkpoints of one architecture."""

    probe: Probe
    subjects: tuple[Subject, ...]

    def threads(self, asked: int | None) -> AbstractContextManager[None]:
        """The threads of this job, for as long as it lasts: those asked for, or by the rule for the model's shapes."""
        n_threads = number_of_threads(asked, _largest_matrix(self.subjects[0]))
        return threads_set(n_threads, n_threads)


def opening_threads(asked: int | None) -> AbstractContextManager[None]:
    """The threads while checkpoints open: those asked for, or one, because their shapes are not known yet."""
    n_threads = number_of_threads(asked, 0)
    return threads_set(n_threads, n_threads)


@dataclass
class Outcome:
    """What became of everything that was asked for.

    not_applicable:  by checkpoint and probe: the reason, and the probes that do apply
    only_named:      probes that apply but run only when the user names them, by checkpoint
    """

    reports: list[dict[str, Any]] = field(default_factory=list)
    not_applicable: list[dict[str, Any]] = field(default_factory=list)
    only_named: list[dict[str, Any]] = field(default_factory=list)
    failures: list[MesascopeError] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0, 1 when only some items failed, or the code of the first failure when nothing else happened."""
        if not self.failures:
            return 0
        return 1 if self.reports or self.not_applicable else self.failures[0].exit_code

    def failed(self, error: MesascopeError, only_item: bool) -> None:
        """One of several is complained about and the others go on; the only one ends the command."""
        if only_item:
            raise error
        complain(error)
        self.failures.append(error)

    @property
    def messages(self) -> list[str]:
        return [str(error) for error in self.failures]


def _largest_matrix(subject: Subject) -> int | None:
    """By the subject's shapes; None for a function that shows none."""
    if isinstance(subject, LanguageModel):
        return largest_matrix(subject.shape.d_model, subject.shape.d_vocab)
    if isinstance(subject, CopyModel):
        return largest_matrix(subject.config.d_model, subject.config.d_vocab)
    if isinstance(subject, TransformerRegressor | SequenceRegressor | LayerSoftmaxRegressor):
        return largest_matrix(subject.config.d_model)
    return None


def chosen_probes(options: MeasuringOptions) -> list[Probe]:
    """The probes that are named, or those that run by default, each with those of the given settings that it has."""
    named = [name for name in options.probe if name != ALL_PROBES]
    kinds = {name: probe_class(name) for name in (registered() if len(named) < len(options.probe) else named)}
    if not options.probe:
        kinds = {name: kind for name, kind in _every_class().items() if kind.by_default}
    for setting in options.settings:
        _refuse_unclear(setting, kinds, option_names(type(options)))
    return [_as_asked(name, kind, options) for name, kind in kinds.items()]


def probes_only_named(options: RunOptions) -> list[Probe]:
    """The probes that this run leaves out because nobody named them."""
    if options.probe:
        return []
    return [_as_asked(name, kind, options) for name, kind in _every_class().items() if not kind.by_default]


def _as_asked(name: str, kind: type[Probe], options: MeasuringOptions) -> Probe:
    """A probe with those of the given settings that it has."""
    own = {setting: value for setting, value in options.settings.items() if setting in _setting_names(kind)}
    return probe_named(name, own, text=True)


def opened(options: RunOptions, outcome: Outcome) -> list[Subject]:
    """Every checkpoint asked for, each once. One that is refused does not stop the others. Or the user's function."""
    placed: dict[str, Any] = {
        "device": checked_device(options.device),
        "dtype": getattr(torch, options.dtype) if options.dtype else None,
    }
    if options.predictor is not None:
        assert options.d_in is not None, "run_options has refused it"
        layout = TokenLayout(options.d_in, options.d_out or 1)
        return [from_predictor_file(options.predictor, layout, **placed)]
    how = {
        "layout": options.layout,
        "model_config": options.model_config,
        "model_args": options.model_args,
        **placed,
    }
    found: dict[tuple[str, str | None], Subject] = {}
    for model in options.models:
        try:
            for revision in options.revisions or (None,):
                for subject in load_all(model, revision, **how):
                    found[subject.source.label, subject.source.path] = subject
        except MesascopeError as error:
            outcome.failed(error, only_item=len(options.models) == 1)
    return list(found.values())


def checked_device(name: str) -> torch.device:
    """A device that this machine has. UsageError says which it has."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    usable = ", ".join(kind for kind in DEVICES if there[kind])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is not known; this machine has {usable}") from error
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if not there.get(device.type) or (device.index or 0) >= count:
        raise UsageError(f"device {name!r} is not on this machine; it has {usable}")
    return device


def planned(options: RunOptions, probes: Sequence[Probe], subjects: Sequence[Subject], outcome: Outcome) -> list[Job]:
    """Checkpoints of one architecture together, for each probe that applies to them."""
    jobs: list[Job] = []
    for probe in probes:
        groups: dict[str, list[Subject]] = {}
        for subject in subjects:
            refusal = probe.applies(subject)
            if isinstance(refusal, NotApplicable):
                skipped = {"probe": probe.name, "label": subject.source.label, "reason": refusal.reason}
                applying = [name for name, refused in refusals(subject, options).items() if refused is None]
                outcome.not_applicable.append({**skipped, "applies": applying})
            else:
                groups.setdefault(repr(sorted(subject.source.facts.items())), []).append(subject)
        jobs += [Job(probe, tuple(in_order(group))) for group in groups.values()]
    _refuse_unused(options.settings, jobs, subjects)
    return jobs


def _refuse_unused(settings: Iterable[str], jobs: Sequence[Job], subjects: Sequence[Subject]) -> None:
    """UsageError for a setting that no probe has which applies: who gave it expects another measurement.

    A probe that would apply without the setting says itself why it does not.
    """
    applying = {job.probe.name: type(job.probe) for job in jobs}
    for setting in settings if jobs else ():
        owners = [name for name, kind in _every_class().items() if setting in _setting_names(kind)]
        if not set(owners) & set(applying) and not _would_apply(owners, subjects):
            raise UsageError(
                f"setting {setting!r} is one of {', '.join(owners)}, but only {', '.join(applying)} would run here;"
                " leave it out, or choose another model"
            )


def _would_apply(names: Iterable[str], subjects: Sequence[Subject]) -> bool:
    return any(probe_named(name).applies(subject) is None for name in names for subject in subjects)


def refusals(subject: Subject, options: RunOptions) -> dict[str, NotApplicable | None]:
    """What every registered probe says of a subject, with the settings that were given: None, or why it does not apply.

    A setting may mean something else to a probe that nobody chose; that probe is asked without any.
    """
    found = {}
    for name, kind in _every_class().items():
        try:
            probe = _as_asked(name, kind, options)
        except MesascopeError:
            probe = probe_named(name)
        found[name] = probe.applies(subject)
    return found


def note_only_named(probes: Iterable[Probe], subjects: Iterable[Subject], outcome: Outcome) -> None:
    """Which of the probes that were left out would apply."""
    for subject in subjects:
        found = [probe.name for probe in probes if probe.applies(subject) is None]
        outcome.only_named += [{"probe": name, "checkpoint": subject.source.label} for name in found]


def _every_class() -> dict[str, type[Probe]]:
    return {name: probe_class(name) for name in registered()}


def _setting_names(kind: type[Probe]) -> list[str]:
    return [setting.name for setting in fields(kind)]


def _refuse_unclear(setting: str, kinds: Mapping[str, type[Probe]], options: Iterable[str]) -> None:
    """UsageError for a setting that no chosen probe has, and for one that means different things to several.

    options:  of the command, one of which may be meant
    """
    types = {name: get_type_hints(kind)[setting] for name, kind in kinds.items() if setting in _setting_names(kind)}
    if len(set(types.values())) > 1:
        raise UsageError(f"setting {setting!r} has different types in {' and '.join(types)}; choose one with -p NAME")
    if types:
        return
    if owners := [name for name, kind in _every_class().items() if setting in _setting_names(kind)]:
        raise UsageError(f"setting {setting!r} is one of {', '.join(owners)}; choose it with -p {owners[0]}")
    known = {*options, *(name for kind in kinds.values() for name in _setting_names(kind))}
    raise UsageError(f"setting {setting!r} is not known to {', '.join(kinds)}; {nearest(setting, known)}")
