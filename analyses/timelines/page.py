"""A timeline as one HTML page: self-contained, without network or script, and with every name escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...probes.followed import Course
from ..reports.pages import template
from ..reports.tidy import short
from .figure import CAPTION
from .judging import Judged, Pair, Timeline
from .sentences import change_sentences, onset_sentence, order_sentence, where


def page(found: Timeline, record: Mapping[str, Any], images: Sequence[Path]) -> str:
    """The page; `images` are the files of pictures, of which PNG files are shown."""
    told = [pair for pair in found.pairs if pair.told]
    return template("timeline.html.jinja").render(
        label=found.label,
        covers=_covers(found),
        noun=found.noun,
        onsets=[onset_sentence(one, found.noun) for one in found.judged],
        figures=[_figure(image, found) for image in images if image.suffix == ".png"],
        rows=[row for one in found.judged for row in _onsets(one)],
        pairs=[_pair(pair, found.noun) for pair in told],
        open_pairs=len(found.pairs) - len(told),
        changes=[(one.series.name, change_sentences(one)) for one in found.judged],
        absent=[row for one in found.judged for row in _absent(one)],
        reports=record["reports"],
        digest=record["of"],
    )


def _covers(found: Timeline) -> str:
    n, steps = len(found.trainings), found.steps
    return f"{n} {found.noun}{'s' * (n > 1)}, {len(steps)} steps from {steps[0]} to {steps[-1]}"


def _figure(image: Path, found: Timeline) -> dict[str, str]:
    return {
        "name": image.stem,
        "title": image.stem.capitalize(),
        "caption": CAPTION.format(noun=found.noun, label=found.label),
        "data": base64.b64encode(image.read_bytes()).decode("ascii"),
    }


def _onsets(one: Judged) -> Iterator[dict[str, str]]:
    """A row for each training: what was followed, its onset, and the number at both ends of it."""
    for name, course in one.series.courses.items():
        onset = one.onsets[name]
        after, by = (None, None) if onset is None else (onset.after, onset.by)
        yield {
            "series": one.series.name,
            "training": name,
            "place": course.place,
            "end": one.series.followed.end,
            "onset": "no step has an interval and a null" if onset is None else onset.sentence,
            "before": _at(course, after),
            "then": _at(course, by),
            "unit": course.unit,
        }


def _at(course: Course, step: int | None) -> str:
    """`0.0549 [0.0453, 0.0644], null 0.0522`."""
    if step is None:
        return "–"
    at = course.steps.index(step)
    estimate, low, high, null = (float(of[at]) for of in (course.estimate, course.low, course.high, course.null))
    interval = f" [{short(low)}, {short(high)}]" if high > low else ""
    return f"{short(estimate)}{interval}, null {short(null)}".replace("-", "−")


def _pair(pair: Pair, noun: str) -> dict[str, str]:
    *_, median = pair.in_order
    lead = where(median).replace("at an unknown step", "unknown").replace("steps ", "").replace("step ", "")
    return {
        "sentence": order_sentence(pair, noun),
        "lead": lead,
        "p": short(pair.order.p),
        "adjusted": short(pair.p_adjusted),
    }


def _absent(one: Judged) -> Iterator[dict[str, str]]:
    """Steps that do not count, and why: each reason once a training, with its steps."""
    for name, course in one.series.courses.items():
        reasons: dict[tuple[str, str], list[int]] = {}
        for at in np.flatnonzero([bool(why) for why in course.why]):
            kind = "copy" if course.copied[at] else "failed" if course.failed[at] else "no number"
            reasons.setdefault((kind, course.why[at]), []).append(course.steps[at])
        for (kind, why), steps in reasons.items():
            listed = ", ".join(map(str, steps))
            yield {"series": one.series.name, "training": name, "steps": listed, "kind": kind, "why": why}
