"""One probe on one checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from mesascope.analyses.reports import provenance
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs import running
from mesascope.analyses.runs.running import finished, probe_named, run
from mesascope.data.errors import UsageError
from mesascope.models.subject import NotApplicable


def test_a_report_holds_what_the_probe_found(mean_answer: Any, make_subject: Any) -> None:
    probe, subject = mean_answer(n_tasks=16), make_subject()
    report = run(subject, probe, seed=3, batch_size=7)
    assert isinstance(report, Report)
    findings = probe.measure(subject, 3, 7)
    assert report.measures["answer"].estimate == findings.measures["answer"].estimate
    np.testing.assert_array_equal(report.arrays["loss"], findings.arrays["loss"])
    assert report.recipes["evaluation"] == json.loads(json.dumps(findings.recipes["evaluation"].as_dict()))
    assert (report.probe, report.seed, report.label) == ("mean-answer", 3, "built")
    assert report.settings == {"n_tasks": 16, "offset": 0.0, "scales": [0.5, 1.0], "refuse": ""}
    assert report.sources[0]["weights_sha256"] == subject.source.weights_sha256
    assert report.provenance["batch_size"] == 7
    assert report.claim.found.startswith("The mean answer is")
    assert report.heads == {"L0H0": "none", "L0H1": "none", "L1H0": "none", "L1H1": "loud"}


def test_the_batch_size_is_the_probe_s_own_unless_another_is_asked_for(mean_answer: Any, make_subject: Any) -> None:
    reports = [run(make_subject(), mean_answer(), batch_size=size) for size in (None, mean_answer.batch_size, 7)]
    assert all(isinstance(report, Report) for report in reports)
    assert reports[0].key == reports[1].key != reports[2].key
    assert reports[0].provenance["batch_size"] == mean_answer.batch_size


def test_a_probe_that_does_not_apply_says_why(mean_answer: Any, make_subject: Any) -> None:
    assert run(make_subject(), mean_answer(refuse="no labels")) == NotApplicable("no labels")


def test_progress_is_passed_on(mean_answer: Any, make_subject: Any) -> None:
    told: list[tuple[str, float]] = []
    run(make_subject(), mean_answer(), progress=lambda stage, fraction: told.append((stage, fraction)))
    assert told == [("answering", 0.0), ("done", 1.0)]


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"batch_size": 0}])
def test_impossible_arguments_are_refused(mean_answer: Any, make_subject: Any, arguments: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(arguments))):
        run(make_subject(), mean_answer(), **arguments)


def test_nothing_global_changes(mean_answer: Any, make_subject: Any, tmp_path: Path) -> None:
    def state() -> tuple[Any, ...]:
        # not Python's own generator: the type checks of the tests draw from it
        generators = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002
        return (*generators, dict(matplotlib.rcParams), torch.get_num_threads(), torch.is_grad_enabled())

    matplotlib.rcParams["font.size"] = 17.5
    try:
        before = state()
        run(make_subject(), mean_answer()).save(tmp_path)
        assert state() == before
    finally:
        matplotlib.rcdefaults()


@pytest.fixture
def clean_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = {"commit": "a" * 40, "dirty": False}
    for module in (running, provenance):
        monkeypatch.setattr(module, "source_state", lambda: clean)


@pytest.mark.usefixtures("clean_sources")
def test_a_finished_report_is_found_again(mean_answer: Any, make_subject: Any, tmp_path: Path) -> None:
    subject, probe = make_subject(), mean_answer()
    assert finished(tmp_path, subject, probe) is None
    folder = run(subject, probe).save(tmp_path, figures="none")
    assert finished(tmp_path, subject, probe) == folder
    assert finished(tmp_path, subject, probe, seed=1) is None
    assert finished(tmp_path, make_subject(rate=2.0), probe) is None
    assert finished(tmp_path, subject, mean_answer(n_tasks=3)) is None


@pytest.mark.usefixtures("clean_sources")
def test_changed_sources_never_reuse_a_report(
    mean_answer: Any, make_subject: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, probe = make_subject(), mean_answer()
    report = run(subject, probe)
    folder = report.save(tmp_path, figures="none")
    monkeypatch.setattr(running, "source_state", lambda: {"commit": "a" * 40, "dirty": True})
    assert finished(tmp_path, subject, probe) is None
    monkeypatch.setattr(running, "source_state", lambda: {"commit": "a" * 40, "dirty": False})
    assert finished(tmp_path, subject, probe) == folder
    environment = {**report.provenance["environment"], "dirty": True}
    replace(report, provenance={**report.provenance, "environment": environment}).save(tmp_path, figures="none")
    assert finished(tmp_path, subject, probe) is None


@pytest.mark.usefixtures("clean_sources")
def test_hidden_weights_and_damaged_folders_are_not_reused(mean_answer: Any, make_subject: Any, tmp_path: Path) -> None:
    hidden = make_subject(weights_sha256=None)
    run(hidden, mean_answer()).save(tmp_path, figures="none")
    assert finished(tmp_path, hidden, mean_answer()) is None
    folder = run(make_subject(), mean_answer()).save(tmp_path, figures="none")
    (folder / "report.json").write_text("{")
    assert finished(tmp_path, make_subject(), mean_answer()) is None


def test_a_probe_by_name_with_settings_from_json(mean_answer: Any) -> None:
    probe = probe_named("mean-answer", {"scales": [1, 2], "n_tasks": 5})
    assert probe == mean_answer(scales=(1, 2), n_tasks=5)
    hash(probe)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mean-anser", {}, "did you mean mean-answer"),
        ("mean-answer", {"n_task": 5}, "did you mean n_tasks"),
        ("mean-answer", {"batch_size": 5}, "'batch_size' is not known; known: n_tasks, offset, refuse, scales"),
        ("gd-alignment", {"limit": "many"}, "limit = 'many'; expected a whole number of at least 1"),
    ],
)
@pytest.mark.usefixtures("mean_answer")
def test_unknown_names_offer_the_nearest(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        probe_named(name, settings)
