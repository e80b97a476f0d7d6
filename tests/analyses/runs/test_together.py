"""Probes that read the same text share its pass: as many passes as one needs, and the same bytes as alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope import analyses
from mesascope.analyses.reports.report import Report
from mesascope.analyses.reports.saving import same_files
from mesascope.analyses.runs.running import run
from mesascope.analyses.runs.together import Measurements, read_together
from mesascope.models import AttentionOnlyModel
from mesascope.probes.induction_heads.text import Matches
from mesascope.probes.parts import Parts
from mesascope.probes.probe import Probe
from mesascope.probes.token_norms.length_watcher import LengthWatcher

from .readers import FULL_WINDOWS, N_CTX, counted, induction_heads, small_model, token_norms


def windows_of(passes: list[tuple[int, int]]) -> int:
    """Windows of the text as long as the model reads that went through it; nothing else here is as long."""
    return sum(n for n, length in passes if length == N_CTX)


def saved(reports: list[Any], folder: Path) -> list[Path]:
    assert all(isinstance(report, Report) for report in reports)
    return [report.save(folder, "none") for report in reports]


def pair(text: str, **settings: Any) -> list[Probe]:
    return [
        token_norms(text, untrained=0, **settings),
        induction_heads(text, ablate="nothing", n_sequences=10, periods=5),
    ]


@pytest.fixture(scope="module")
def alone(text: str, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The reports of the pair, each measured alone."""
    subject = small_model()
    with counted(subject) as passes:
        reports = [run(subject, probe) for probe in pair(text)]
    pilot = FULL_WINDOWS  # token-norms looks at the first windows before it begins
    assert windows_of(passes) == 2 * FULL_WINDOWS + pilot
    return saved(reports, tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("order", [1, -1])
def test_the_text_is_read_once_and_every_byte_is_the_same(
    order: int, subject: AttentionOnlyModel, text: str, alone: list[Path], tmp_path: Path
) -> None:
    with counted(subject) as passes:
        answers = analyses.run(subject, pair(text)[::order])
    assert windows_of(passes) == FULL_WINDOWS + FULL_WINDOWS  # the second: the pilot
    assert all(map(same_files, alone, saved(answers[::order], tmp_path)))


def test_with_another_batch_size_too(subject: AttentionOnlyModel, text: str, tmp_path: Path) -> None:
    """Alone each reads with the number of windows that was given, and so do both together."""
    alone = saved([run(subject, probe, 1, 3) for probe in pair(text, parts="outliers")], tmp_path / "alone")
    with counted(subject) as passes:
        together = saved(analyses.run(subject, pair(text, parts="outliers"), 1, 3), tmp_path / "together")
    assert [shape for shape in passes if shape[1] == N_CTX][1:] == [(3, N_CTX), (1, N_CTX)]
    assert all(map(same_files, alone, together))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"parts": "inner"}, {}),  # nobody watches attention, which a model may compute in another way then
        ({"context": N_CTX - 1}, {}),
        ({"limit": 50}, {}),
        ({}, {"limit": 50}),
        ({}, {"tokens": None}),
    ],
)
def test_what_is_not_the_same_is_not_shared(
    subject: AttentionOnlyModel, text: str, one: dict[str, Any], other: dict[str, Any]
) -> None:
    kept = Parts(), Parts()
    readers = (token_norms(text, **one), kept[0]), (induction_heads(text, **other), kept[1])
    with counted(subject) as passes:
        read_together(subject, readers, seed=0, batch_size=None)
    assert passes == []
    assert not any(parts.holds("text") for parts in kept)


def test_what_is_there_is_not_read_again(subject: AttentionOnlyModel, text: str) -> None:
    there = Parts()
    there.put("text", "found before")
    with counted(subject) as passes:
        read_together(subject, [(token_norms(text), there), (induction_heads(text), Parts())], 0, None)
    assert passes == []


def test_three_of_which_two_read_the_same(subject: AttentionOnlyModel, text: str) -> None:
    probes, kept = [token_norms(text, context=9), *pair(text)], [Parts(), Parts(), Parts()]
    with counted(subject) as passes:
        read_together(subject, zip(probes, kept, strict=True), 0, None)
    assert windows_of(passes) == FULL_WINDOWS + FULL_WINDOWS
    assert [parts.holds("text") for parts in kept] == [False, True, True]


def test_each_checkpoint_reads_for_itself(text: str) -> None:
    subjects, (one, other) = [small_model(0), small_model(1)], pair(text)
    measurements = Measurements([(p, s) for p in (one, other) for s in subjects], lambda probe, subject: Parts())
    for subject in subjects:
        with counted(subject) as passes:
            assert measurements.begin(one, subject).holds("text")
            assert measurements.begin(other, subject).holds("text")
            assert windows_of(passes) == FULL_WINDOWS + FULL_WINDOWS
            assert not measurements.begin(other, subject).holds("text")  # of what was not asked for nothing is shared


def test_what_is_finished_takes_no_part(subject: AttentionOnlyModel, text: str) -> None:
    one, other = pair(text)
    measurements = Measurements(
        [(one, subject), (other, subject)], lambda probe, subject: None if probe is other else Parts()
    )
    with counted(subject) as passes:
        assert not measurements.begin(one, subject).holds("text")
    assert passes == []


def fails(*_: Any) -> None:
    raise ZeroDivisionError("by hand")


@pytest.mark.parametrize("where", [(LengthWatcher, "take"), (LengthWatcher, "_note"), (LengthWatcher, "watch")])
def test_one_that_fails_as_it_reads_costs_the_other_nothing(
    where: tuple[type, str],
    subject: AttentionOnlyModel,
    text: str,
    alone: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = pair(text)
    monkeypatch.setattr(*where, fails)
    measurements = Measurements([(one, subject), (other, subject)], lambda probe, subject: Parts())
    with pytest.raises(ZeroDivisionError, match="by hand"):
        run(subject, one, kept=measurements.begin(one, subject))
    (found,) = saved([run(subject, other, kept=measurements.begin(other, subject))], tmp_path)
    assert same_files(alone[1], found)


@pytest.mark.parametrize("what", ["length_measures", "reading_of"])
def test_so_does_one_that_fails_before_or_after(
    what: str, subject: AttentionOnlyModel, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "measuring" if what == "length_measures" else "probe"
    monkeypatch.setattr(f"mesascope.probes.token_norms.{place}.{what}", fails)
    kept = Parts(), Parts()
    read_together(subject, zip(pair(text), kept, strict=True), 0, None)
    assert [parts.holds("text") for parts in kept] == [False, what == "length_measures"]


def test_matches_are_those_of_windows_of_512_tokens(subject: AttentionOnlyModel, text: str) -> None:
    """Both probes cut a text alike where nobody says otherwise, also for a model that reads more."""
    long = small_model()
    long.shape = type(long.shape)(**{**vars(long.shape), "n_ctx": 2_000})
    for probe in pair(text):
        reading = probe.reading(long, 0, probe.batch_size)  # type: ignore[attr-defined]
        assert (reading.corpus.length, reading.batch_size) == (512, 8)


def test_watchers_are_told_windows_in_the_order_of_the_text(subject: AttentionOnlyModel, text: str) -> None:
    seen: list[Any] = []
    probe = induction_heads(text)
    reading = probe.reading(subject, 0, 2)
    assert reading is not None
    (watcher,) = reading.watchers()
    assert isinstance(watcher, Matches)
    for some in reading.corpus.batches(2):
        reading.begin(some)
        seen.append(some.document)
    assert sorted(np.concatenate(seen).tolist()) == [0, 0, 1, 2, 2, 3, 4]
