"""One probe on several checkpoints of a family: a report each, and one over them all.

The replicate is the seed: means over seeds with a t-interval, every seed's value kept as a point, the seeds' nulls side
by side. Seeds are never pooled with tasks. Several steps make a leading axis "step".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...data.errors import UsageError
from ...models.subject import NotApplicable, Subject
from ...probes.measure import Claim, Measure, flat
from ...probes.probe import Checkpoint, OverTraining, Probe, Progress, silent
from ..reports.code import both_codes_sha256
from ..reports.escaping import slug
from ..reports.provenance import family_key, identified, key, provenance
from ..reports.report import Report
from .aggregation import along_steps, mean_over
from .running import checked_batch_size, reusable, run, source_record, timing

AnySubject = TypeVar("AnySubject", bound=Subject)
SMALL = 100_000
"""Values of one array up to which every seed's is kept: weights are, values a task are not."""


def run_family(
    subjects: Sequence[Subject], probe: Probe, seed: int = 0, batch_size: int | None = None, progress: Progress = silent
) -> tuple[list[Report], Report] | NotApplicable:
    """Measure several checkpoints: their own reports, sorted by step and seed, and the report over them.

    A probe that does not apply to one of them answers why.
    """
    batch_size = checked_batch_size(probe, seed, batch_size)
    subjects = in_order(subjects)
    for subject in subjects:
        if (refusal := probe.applies(subject)) is not None:
            return NotApplicable(f"{subject.source.label}: {refusal.reason}")
    begun = time.perf_counter()
    members = [
        _must(run(subject, probe, seed, batch_size, _part(progress, index, subjects)))
        for index, subject in enumerate(subjects)
    ]
    return members, family_report(subjects, members, probe, seed, batch_size, begun)


def in_order(subjects: Sequence[Subject]) -> list[Subject]:
    """By step, then seed. The same weights twice at one step would count one replicate as two: refused."""
    if not subjects:
        raise UsageError("no checkpoints given, expected at least 1")
    ordered = by_step(subjects)
    seen: dict[Any, str] = {}
    for subject in ordered:
        digest, label = subject.source.weights_sha256, subject.source.label
        if digest is not None and (other := seen.setdefault((_step(subject), digest), label)) != label:
            raise UsageError(
                f"{other} and {label} hold the same weights; two replicates need different weights. Leave one out"
            )
    return ordered


def by_step(subjects: Iterable[AnySubject]) -> list[AnySubject]:
    """By step, then seed, then name: the order in which a report over several checkpoints has them."""
    return sorted(subjects, key=lambda s: (_step(s), -1 if s.source.seed is None else s.source.seed, s.source.label))


def _step(subject: Subject) -> int:
    return -1 if subject.source.step is None else subject.source.step


def _must(answer: Report | NotApplicable) -> Report:
    assert isinstance(answer, Report), "asked applies() before"
    return answer


def _part(progress: Progress, index: int, subjects: Sequence[Subject]) -> Progress:
    """The progress of one checkpoint, as progress of them all."""
    label = subjects[index].source.label
    return lambda stage, fraction: progress(f"{label}: {stage}", (index + fraction) / len(subjects))


def family_report(
    subjects: Sequence[Subject], members: Sequence[Report], probe: Probe, seed: int, batch_size: int, begun: float
) -> Report:
    """The report over checkpoints that have been measured one by one."""
    pairs = list(zip(subjects, members, strict=True))
    groups = {step: list(group) for step, group in groupby(pairs, key=lambda pair: _step(pair[0]))}
    found = {step: _over_seeds(group, probe, seed, batch_size) for step, group in groups.items()}
    last = max(groups)
    together = _together(pairs, found, probe)
    measures = {**(found[last] if len(groups) == 1 else _over_steps(found)), **together.measures}
    claim = probe.claim(found[last], tuple(subject.source for subject, _ in groups[last]))
    return replace(
        members[0],
        sources=tuple(source_record(subject.source) for subject in subjects),
        provenance={
            **provenance(subjects, probe, seed, batch_size),
            # as the key: a change of the aggregation is a change of the code behind this report
            "code_sha256": both_codes_sha256(type(probe)),
        },
        recipes=_recipes(members),
        claim=_with_all(claim, "" if len(groups) == 1 else f"At step {last}: ", together),
        heads=groups[last][0][1].heads if len(groups[last]) == 1 else {},
        examples=groups[last][0][1].examples if len(groups[last]) == 1 else {},
        measures=measures,
        arrays={**_arrays([member for _, member in groups[last]]), **together.arrays},
        sample=groups[last][0][1].sample if len(groups[last]) == 1 else None,
        key=family_key([member.key for member in members]),
        members=tuple({"label": member.label, "key": member.key} for member in members),
        timing=timing(begun),
    )


def _together(
    pairs: Sequence[tuple[Subject, Report]], by_step: Mapping[int, Mapping[str, Measure]], probe: Probe
) -> OverTraining:
    """What several steps, and several checkpoints one by one, show together."""
    steps = OverTraining() if len(by_step) == 1 else probe.over_training(by_step)
    checkpoints = (Checkpoint(s.source, report.measures, report.arrays, report.recipes) for s, report in pairs)
    ones = probe.over_checkpoints(tuple(checkpoints))
    return OverTraining(
        measures={**steps.measures, **ones.measures},
        sentence=f"{steps.sentence} {ones.sentence}".strip(),
        badge=ones.badge or steps.badge,
        limits=(*steps.limits, *ones.limits),
        arrays={**steps.arrays, **ones.arrays},
    )


def _with_all(claim: Claim, of: str, together: OverTraining) -> Claim:
    """A claim that begins with what several checkpoints show together.

    of:  says which of several steps the claim is about
    """
    return replace(
        claim,
        found=f"{together.sentence} {of}{claim.found}".strip(),
        badge=together.badge or claim.badge,
        limits=(*together.limits, *claim.limits),
    )


def finished_family(
    out: str | Path,
    subjects: Sequence[Subject],
    probe: Probe,
    seed: int = 0,
    batch_size: int | None = None,
    say: Callable[[str], None] = lambda why: None,
) -> Path | None:
    """The folder of a finished report over exactly these checkpoints below `out`, if there is one to reuse. See
    `finished`.
    """
    subjects = in_order(subjects)
    if not all(identified(subject.source) for subject in subjects):
        return None
    label = "+".join(dict.fromkeys(subject.source.name for subject in subjects))
    batch_size = checked_batch_size(probe, seed, batch_size)
    keys = [key(subject, probe, seed, batch_size) for subject in subjects]
    return reusable(Path(out, slug(label), slug(probe.name), family_key(keys)), say)


def _over_seeds(
    group: Sequence[tuple[Subject, Report]], probe: Probe, seed: int, batch_size: int
) -> dict[str, Measure]:
    if len(group) == 1:
        return dict(group[0][1].measures)
    subjects = tuple(subject for subject, _ in group)
    replicate = "checkpoint" if all(subject.source.seed is None for subject in subjects) else "seed"
    names = dict.fromkeys(name for _, report in group for name in report.measures)
    found = {name: [report.measures.get(name) for _, report in group] for name in names}
    measures = {name: mean_over(replicate, of_one) for name, of_one in found.items()}
    return measures | dict(probe.between(subjects, seed, batch_size))


def _over_steps(by_step: Mapping[int, Mapping[str, Measure]]) -> dict[str, Measure]:
    names = dict.fromkeys(name for measures in by_step.values() for name in measures)
    steps = tuple(by_step)
    return {name: along_steps(steps, [by_step[step].get(name) for step in steps]) for name in names}


def _recipes(members: Sequence[Report]) -> dict[str, Any]:
    """The inputs of every member: under the split's name where all used the same, else also under the member's."""
    recipes: dict[str, Any] = {}
    for member in members:
        for split, recipe in member.recipes.items():
            if recipes.setdefault(split, recipe) != recipe:
                recipes[f"{split} ({member.label})"] = recipe
    return recipes


def _arrays(members: Sequence[Report]) -> dict[str, np.ndarray]:
    """Small arrays of the last step, such as weights, one seed above the other; never a value a task."""
    if len(members) == 1:
        return dict(members[0].arrays)
    tasks = [(member.n_tasks,) for member in members]
    measured = flat(members[0].measures)
    means = {name for name in members[0].arrays if name in measured and measured[name].replicate != "none"}
    return {
        name: np.stack([member.arrays[name] for member in members])
        for name, like in members[0].arrays.items()
        if like.shape[:1] not in tasks
        and name not in means
        and like.size <= SMALL
        and all(name in member.arrays and member.arrays[name].shape == like.shape for member in members)
    }
