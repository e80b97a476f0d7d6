"""A timeline's folder: `timeline.json` with everything, a page, and the figure with the table of what it shows.

The same reports make the same bytes. A folder is complete or absent, and one of the same reports is kept as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...data.errors import OutputError
from ...data.recipe import canonical_json
from ..reports.escaping import slug
from ..reports.figures import FORMATS
from ..reports.records import dumps, json_value
from ..reports.saving import clear_leftovers, publish
from .judging import Judged, Pair, Timeline, timeline
from .points import Point, Read, read
from .saved import FORMAT, PAGE, RECORD
from .sentences import change_sentences, onset_sentence, order_sentence, sentences
from .series import groups_of, label_of, series_of

FOLDER = "timeline"
"""In the output folder, beside those of models."""


def timelines(points: Iterable[Point], out: Path) -> list[Path]:
    """The folders of the timelines of these points below `out`, one for each architecture with at least two steps and
    a measure that is followed. Raises OutputError where they cannot be written.
    """
    found: dict[Path, None] = {}
    for group in groups_of(read(points)):
        if len({one.point.step for one in group if one.record is not None}) > 1 and (series := series_of(group)):
            noun = "training" if all(one.point.seed is None for one in group) else "seed"
            label = label_of(group)
            folder = out / FOLDER / slug(label)
            if folder in found:  # two files of one name, of two architectures
                folder = out / FOLDER / slug(f"{label} {len(found)}")
            _publish(timeline(label, noun, series), group, out, folder)
            found[folder] = None
    return list(found)


def _publish(found: Timeline, group: Sequence[Read], out: Path, folder: Path) -> None:
    try:
        clear_leftovers(out / FOLDER)
        publish(folder, lambda building: _write(found, group, out, building))
    except OSError as error:
        raise OutputError(f"{folder}: the timeline cannot be written ({error.strerror or error})") from error


def _write(found: Timeline, group: Sequence[Read], out: Path, folder: Path) -> None:
    from .figure import draw  # matplotlib takes a second
    from .page import page

    record = as_dict(found, group, out)
    _text(folder / RECORD, dumps(json_value(record)) + "\n")
    images = draw(found, folder, FORMATS)
    _text(folder / PAGE, page(found, record, images))


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")


# -- the record --------------------------------------------------------------------------------------------------------


def as_dict(found: Timeline, group: Sequence[Read], out: Path) -> dict[str, Any]:
    """Everything that a timeline shows, and of which reports it is made."""
    reports = [_report(one, out) for one in group if one.record is not None]
    return {
        "format": FORMAT,
        "label": found.label,
        "of": hashlib.sha256(canonical_json(json_value(reports)).encode()).hexdigest()[:16],
        "trainings": list(found.trainings),
        "steps": list(found.steps),
        "sentences": sentences(found),
        "series": [_series(one, found.noun) for one in found.judged],
        "pairs": [_pair(pair, found.noun) for pair in found.pairs],
        "reports": reports,
        "without_report": [_without(one) for one in group if one.record is None],
    }


def _report(one: Read, out: Path) -> dict[str, Any]:
    record, point = one.record, one.point
    assert record is not None, "of reports only"
    assert point.folder is not None, "a report was read there"
    version = record.provenance["environment"]["packages"].get("mesascope")
    return {
        "probe": point.probe,
        "probe_version": record.probe_version,
        "model": record.sources[0]["name"],
        "seed": point.seed,
        "step": point.step,
        "folder": (point.folder.relative_to(out) if point.folder.is_relative_to(out) else record.folder).as_posix(),
        "key": record.key,
        "code_sha256": record.provenance["code_sha256"],
        "mesascope": version,
        "edited": list(record.edited),
    }


def _without(one: Read) -> dict[str, Any]:
    point = one.point
    return {name: getattr(point, name) for name in ("probe", "seed", "step", "why", "failed")}


def _series(one: Judged, noun: str) -> dict[str, Any]:
    return {
        "probe": one.series.probe,
        "followed": asdict(one.series.followed),
        "unit": one.series.unit,
        "sentence": onset_sentence(one, noun),
        "changes_in_words": change_sentences(one),
        "over": one.over,
        "trainings": {
            name: {
                "curve": asdict(course),
                "onset": one.onsets[name],
                "onset_in_words": "" if (onset := one.onsets[name]) is None else onset.sentence,
                "changes": one.changes[name],
            }
            for name, course in one.series.courses.items()
        },
    }


def _pair(pair: Pair, noun: str) -> dict[str, Any]:
    return {
        "first": pair.first.name,
        "second": pair.second.name,
        "order": pair.order,
        "p_adjusted": pair.p_adjusted,
        "left_out": pair.left_out,
        "sentence": order_sentence(pair, noun),
    }
