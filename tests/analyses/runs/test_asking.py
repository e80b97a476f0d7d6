"""`analyses.run` opens what it is handed, or says in words that are true what is needed instead."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope import analyses, models
from mesascope.analyses import Report
from mesascope.analyses.runs.asking import probe_of
from mesascope.data import CheckpointRefused, UsageError
from mesascope.models import NotApplicable
from mesascope.probes import GDAlignment
from torch import nn

QUICK = GDAlignment(limit=12)


def loss_of(answer: Any) -> float:
    assert isinstance(answer, Report)
    return answer.measures["loss_model"].estimate


def test_a_name_a_path_a_module_and_a_subject_are_one_model(tmp_path: Path) -> None:
    subject = models.load("lsa-1layer")
    module = subject.module  # type: ignore[attr-defined]
    path = tmp_path / "mine.safetensors"
    record = {"recipe": {"tasks": {"n_context": 10}}}
    models.save_checkpoint(path, module.config, dict(module.named_parameters()), record)
    found = [loss_of(analyses.run(given, QUICK)) for given in ("lsa-1layer", path, str(path), module, subject)]
    assert found == pytest.approx([found[0]] * 5)


def test_every_module_of_ours_is_opened() -> None:
    language = models.load("induction-1layer").module  # type: ignore[attr-defined]
    layer = models.softmax_gradient_layer(8, 2.0, 4)
    for module, kind in ((language, models.AttentionOnlyModel), (layer, models.SoftmaxRegressor)):
        subject = models.as_subject(module)
        assert isinstance(subject, kind)
        assert subject.source.weights_sha256 is not None


def test_a_transformers_model_is_opened_also_when_compiled() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=20, n_positions=16, n_embd=8, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=1)
    )
    for given in (model, torch.compile(model, backend="eager")):
        assert isinstance(models.as_subject(given), models.HuggingFaceModel)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (nn.Linear(2, 2), "given a Linear; expected a PreTrainedModel of transformers; wrap another language model by"),
        (3.5, "a float is no model; expected a name or a path, a module, or a subject from mesascope.models"),
        (lambda x: x, "a function is no model; expected"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_words(given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        analyses.run(given, QUICK)


def test_a_name_that_is_none() -> None:
    with pytest.raises(CheckpointRefused, match="lsa-1layr: neither a file nor a shipped checkpoint"):
        analyses.run("lsa-1layr", QUICK)


def test_a_name_a_class_and_an_instance_are_one_probe() -> None:
    assert probe_of("gd-alignment") == probe_of(GDAlignment) == probe_of(GDAlignment()) == GDAlignment()
    assert probe_of(QUICK) is QUICK


def test_several_probes_have_answers_in_their_order() -> None:
    first, second = analyses.run("lsa-1layer", ["token-norms", QUICK])
    assert isinstance(first, NotApplicable)
    assert isinstance(second, Report)
    assert analyses.run("lsa-1layer", []) == []


@pytest.mark.parametrize(("asked", "message"), [(7, "7 is no probe"), (int, "is no probe"), ("norms", "not known")])
def test_what_is_no_probe(asked: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        probe_of(asked)


def test_an_answer_that_is_no_report_says_why() -> None:
    answer = analyses.run("lsa-1layer", "token-norms")
    assert isinstance(answer, NotApplicable)
    with pytest.raises(AttributeError, match="no 'measures': not applicable, because this model is no language model"):
        answer.measures  # noqa: B018
    assert not hasattr(answer, "claim")
    assert copy.deepcopy(answer) == pickle.loads(pickle.dumps(answer)) == answer


def test_a_report_shows_itself_in_three_lines() -> None:
    report = analyses.run("lsa-1layer", QUICK)
    first, second, third = repr(report).splitlines()
    assert first == "gd-alignment on lsa-1layer-seed0-step5000"
    assert second == report.claim.badge  # type: ignore[union-attr]
    assert third.endswith("measures; see .claim, .measures, .to_frame(), .plot(), .save(FOLDER)")
