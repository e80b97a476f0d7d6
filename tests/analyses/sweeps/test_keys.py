"""The key of a report: by its definition, and without opening the checkpoint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope import models
from mesascope.analyses.reports.code import code_sha256
from mesascope.analyses.reports.provenance import key
from mesascope.analyses.reports.records import json_value
from mesascope.analyses.runs.running import probe_named, run, source_record
from mesascope.analyses.sweeps.identity import Known
from mesascope.analyses.sweeps.keys import folder_of, key_of_known
from mesascope.models.opening.catalogue import shipped
from mesascope.models.subject import Subject
from mesascope.probes import registered
from mesascope.probes.probe import Probe


def key_by_definition(subject: Subject, probe: Probe, seed: int, batch_size: int) -> str:
    """What the key of a report has been since the first: the text that its digest is of, letter by letter."""
    files = probe.fingerprint()
    named = [name.removesuffix("_sha256") for name in files]
    text = json.dumps(
        {
            "batch_size": batch_size,
            "device": subject.device.type,
            "dtype": str(subject.dtype).split(".")[1],
            "facts": json_value(subject.source.facts),
            "files": files,
            "layout": subject.source.layout,
            "probe": [probe.name, probe.version, code_sha256(type(probe))],
            "record": json_value(subject.source.record),
            "seed": seed,
            "settings": json_value({name: value for name, value in probe.settings().items() if name not in named}),
            "weights": subject.source.weights_sha256,
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def noted(subject: Subject) -> Known:
    """What a sweep keeps of a checkpoint, as a file gives it back."""
    source = json.loads(json.dumps(json_value(source_record(subject.source))))
    return Known(source, str(subject.dtype).removeprefix("torch."))


@pytest.mark.parametrize("name", sorted(shipped()))
def test_the_keys_of_shipped_checkpoints_are_what_they_were(name: str) -> None:
    subject = models.load(name)
    for probe in (probe_named("gd-alignment", {"limit": 20}), probe_named("token-norms")):
        for drawn in ((0, 64), (3, 7)):
            expected = key_by_definition(subject, probe, *drawn)
            assert key(subject, probe, *drawn) == expected
            assert key_of_known(noted(subject), probe, *drawn, "cpu") == expected


def test_the_type_and_the_device_enter(mean_answer: Any, make_subject: Any) -> None:
    subject = make_subject()
    known = noted(subject)
    subject.module.to(torch.float32)
    assert key_of_known(noted(subject), mean_answer(), 0, 64, "cpu") == key(subject, mean_answer(), 0, 64)
    others = [known, replace(known, dtype="float32")]
    keys = {key_of_known(one, mean_answer(), 0, 64, device) for one in others for device in ("cpu", "cuda:0", "cuda:1")}
    assert len(keys) == 4  # which of several GPUs it is changes nothing


def test_the_size_of_batches_is_the_probe_s_own_where_none_is_asked_for(mean_answer: Any, make_subject: Any) -> None:
    known = noted(make_subject())
    assert key_of_known(known, mean_answer(), 0, None, "cpu") == key_of_known(known, mean_answer(), 0, 2048, "cpu")


def test_the_folder_is_where_the_report_lies(mean_answer: Any, make_subject: Any, tmp_path: Path) -> None:
    for name, revision in (("owner/a model", "step1000"), ("plain", None)):
        subject = make_subject(name=name, revision=revision)
        place = run(subject, mean_answer()).save(tmp_path, "none")
        its_key = key_of_known(noted(subject), mean_answer(), 0, None, "cpu")
        assert tmp_path / folder_of(noted(subject), mean_answer(), its_key) == place


def test_a_note_of_another_version_has_the_same_key(mean_answer: Any, make_subject: Any) -> None:
    known = noted(make_subject())
    other = replace(known, source={name: known.source[name] for name in known.source if name != "opening_check"})
    newer = replace(known, source={**known.source, "of_tomorrow": 1})
    assert len({key_of_known(one, mean_answer(), 0, 64, "cpu") for one in (known, other, newer)}) == 1


@pytest.mark.parametrize("name", sorted(registered()))
def test_a_probe_is_made_again_from_its_settings(name: str) -> None:
    """They go to workers, not the probe: its class may not be importable under the name that pickle would write."""
    probe = probe_named(name)
    assert probe_named(name, probe.settings()) == probe
