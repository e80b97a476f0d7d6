"""`analyses.run`: whatever holds a model, and whatever names a probe."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, overload

from ...data.errors import UsageError
from ...models.opening.as_subject import as_subject
from ...models.subject import NotApplicable
from ...probes.parts import Parts
from ...probes.probe import Probe, Progress, silent
from ..reports.report import Report
from .running import probe_named
from .running import run as run_one
from .together import Measurements

Asked = str | type[Probe] | Probe
Answer = Report | NotApplicable


@overload
def run(
    model: object, probe: Asked, seed: int = 0, batch_size: int | None = None, progress: Progress = silent
) -> Answer: ...
@overload
def run(
    model: object, probe: Sequence[Asked], seed: int = 0, batch_size: int | None = None, progress: Progress = silent
) -> list[Answer]: ...
def run(
    model: object,
    probe: Asked | Sequence[Asked],
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = silent,
) -> Answer | list[Answer]:
    """Measure one model. A probe that does not apply answers why, which is no error.

    model:       a subject, or what `models.as_subject` opens: a name, a path, a module, a bridge
    probe:       a probe, its class (with default settings) or its name; of several the answers, in their order. A text
                 that several of them read is read once
    seed:        of everything that is drawn
    batch_size:  tasks or sequences in one forward pass; None: the probe's own number
    """
    if isinstance(probe, Sequence) and not isinstance(probe, str):
        probes, subject = [probe_of(one) for one in probe], as_subject(model)
        wanted = [(one, subject) for one in probes]
        measurements = Measurements(wanted, lambda one, subject: Parts(), seed, batch_size)
        return [
            run_one(subject, one, seed, batch_size, progress, measurements.begin(one, subject, progress))
            for one in probes
        ]
    return run_one(as_subject(model), probe_of(probe), seed, batch_size, progress)


def probe_of(asked: Any) -> Probe:
    """An instance as it is; of a class or a name the probe with its default settings. UsageError for anything else."""
    if isinstance(asked, Probe):
        return asked
    if isinstance(asked, str):
        return probe_named(asked)
    if inspect.isclass(asked) and issubclass(asked, Probe):
        return asked()
    raise UsageError(
        f"{asked!r:.80} is no probe; expected its name, such as 'token-norms', its class or an instance of it"
    )
