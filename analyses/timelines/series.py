"""The curves of a timeline: for each measure that is followed, one course over steps for each training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...data.errors import UsageError
from ...probes.followed import Course, Followed, Step, course_of
from ..reports.parts import part
from ..reports.records import dumps
from .points import Read

Training = tuple[str, int | None]
"""A model and the seed of its training."""


@dataclass(frozen=True)
class Series:
    """One measure of one probe.

    probe:     with what sets it apart, where it was asked for in several ways: "induction-heads (n_sequences 16)"
    followed:  what is followed
    courses:   of each training, by its name: "seed 0"
    """

    probe: str
    followed: Followed
    courses: Mapping[str, Course]

    @property
    def name(self) -> str:
        """Of the series, in sentences."""
        return f"{self.probe}: {self.followed.words}"

    @property
    def unit(self) -> str:
        return next((course.unit for course in self.courses.values() if course.unit), "")


def groups_of(found: Sequence[Read]) -> list[list[Read]]:
    """The points of one architecture together, with those of its models that have no report. Where no report of a
    model is there, nobody knows its architecture, and its points are left out.
    """
    of_model: dict[str, str] = {}
    for one in found:
        if one.record is not None:
            of_model.setdefault(one.point.model, dumps(one.record.sources[0]["facts"]))
    groups: dict[str, list[Read]] = {}
    for one in found:
        if one.point.model in of_model:
            groups.setdefault(of_model[one.point.model], []).append(one)
    return list(groups.values())


def label_of(group: Sequence[Read]) -> str:
    """The names of the models of a group: `induction-2layer`."""
    return "+".join(dict.fromkeys(one.record.sources[0]["name"] for one in group if one.record is not None))


def trainings_of(group: Iterable[Read]) -> dict[Training, str]:
    """What each training of a group is called: by its seed, by its model, or by both."""
    found = dict.fromkeys(one.training for one in group)
    models = {model for model, _ in found}
    names = {(model, seed): [*([model] if len(models) > 1 or seed is None else []),
                             *([f"seed {seed}"] if seed is not None else [])] for model, seed in found}  # fmt: skip
    return {training: " ".join(words) for training, words in names.items()}


def series_of(group: Sequence[Read]) -> list[Series]:
    """Every measure that the probes of a group follow, and that has a number somewhere."""
    names, found = trainings_of(group), []
    for probe in dict.fromkeys(one.point.probe for one in group):
        of_probe = [one for one in group if one.point.probe == probe]
        for name, points in _as_asked(probe, of_probe).items():
            steps = _steps(points, names)
            for followed in getattr(part(probe, "followed"), "FOLLOWED", ()):
                courses = {training: course_of(followed, of) for training, of in steps.items()}
                if any(course.measured.any() for course in courses.values()):
                    found.append(Series(name, followed, courses))
    return found


def _as_asked(probe: str, of_probe: Sequence[Read]) -> dict[str, list[Read]]:
    """The points of a probe, apart where it was asked for in several ways. What has no report belongs to each."""
    ways = {dumps(one.asked): one.asked for one in of_probe if one.record is not None}
    names = dict.fromkeys(name for way in ways.values() for name in way)
    differ = [name for name in names if len({dumps(way.get(name)) for way in ways.values()}) > 1]
    found = {}
    for key, way in ways.items():
        apart = ", ".join(f"{name} {way.get(name)}" for name in differ)
        same = [one for one in of_probe if one.record is None or dumps(one.asked) == key]
        found[f"{probe} ({apart})" if apart else probe] = same
    return found


def _steps(points: Sequence[Read], names: Mapping[Training, str]) -> dict[str, dict[int, Step]]:
    """The steps of each training, of each the report if there is one. UsageError where a probe has two of one step.

    points:  in the order of `read`
    """
    found: dict[str, dict[int, Read]] = {}
    for one in points:
        steps = found.setdefault(names[one.training], {})
        before = steps.setdefault(one.point.step, one)
        if before is not one and None not in (before.record, one.record):
            raise UsageError(
                f"{before.point.folder} and {one.point.folder} both hold {one.point.probe} at {one.point.where};"
                " expected one report. Move one of them to another folder"
            )
    first: dict[str, tuple[str, int]] = {}
    return {training: _with_copies(training, dict(sorted(of.items())), first) for training, of in found.items()}


def _with_copies(training: str, steps: Mapping[int, Read], first: dict[str, tuple[str, int]]) -> dict[int, Step]:
    """The steps of one training. One says so that has the weights of an earlier step, or of another training's.

    first:  where each weights were seen first; those of this training are added
    """
    found = {}
    for step, one in steps.items():
        if one.record is None:
            found[step] = Step(None, one.point.why or "no report", failed=one.point.failed)
            continue
        digest = one.record.sources[0]["weights_sha256"]
        other, earlier = first.setdefault(str(digest), (training, step)) if digest else (training, step)
        same = f"{other}, step {earlier}" if other != training else f"step {earlier}"
        copied = (other, earlier) != (training, step)
        found[step] = Step(one.record.measures, f"the same weights as {same}" if copied else "", copied=copied)
    return found
