"""What a callback refuses, in words, and what it bears: a training goes on when a later measurement fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope import models
from mesascope.analyses.runs.callback import Callback
from mesascope.data import UsageError
from mesascope.models import NotApplicable
from mesascope.probes import GDAlignment
from torch import nn

MODEL = models.gd_transformer(4, 1.0, 3)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"probes": []}, "probes is empty; expected at least one"),
        ({"probes": ["token-norm"]}, "token-norm.* not known"),
        ({"every": 0}, "every = 0; expected a whole number of at least 1"),
        ({"share": 0}, "share = 0; expected a number above 0 of at most 1"),
        ({"share": 1.5}, "share = 1.5; expected"),
        ({"share": float("nan")}, "share = nan; expected"),
        ({"seed": -1}, "seed = -1; expected"),
        ({"tokenizer": object(), "subject": lambda model: model}, "tokenizer and subject are both given"),
    ],
)
def test_settings_that_cannot_be(how: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Callback(**{"probes": GDAlignment, **how})


def test_a_model_that_no_probe_applies_to_is_refused_at_the_first_step(mean_answer: Any, tmp_path: Path) -> None:
    callback = Callback(["token-norms", mean_answer(refuse="no labels")], out=tmp_path)
    with pytest.raises(
        UsageError, match=r"no probe applies.*token-norms: this model is no language model.*mean-answer: no lab"
    ):
        callback(MODEL, 1)  # which is not due
    assert list(tmp_path.iterdir()) == []


def test_a_probe_that_does_not_apply_answers_why(mean_answer: Any, tmp_path: Path) -> None:
    callback = Callback(["token-norms", mean_answer], out=tmp_path)
    callback(MODEL, 0)
    first, second = callback.finish()
    assert isinstance(first, NotApplicable)
    assert "is no language model" in first.reason
    assert second.probe == "mean-answer"


def test_a_model_that_cannot_be_opened_is_refused(mean_answer: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="given a Linear; expected a PreTrainedModel"):
        Callback(mean_answer, out=tmp_path)(nn.Linear(2, 2), 1)
    with pytest.raises(UsageError, match=r"subject\(model\) returned a Linear; expected a subject"):
        Callback(mean_answer, out=tmp_path, subject=lambda model: model)(nn.Linear(2, 2), 1)


@pytest.mark.parametrize("given", [models.as_subject(MODEL), "lsa-1layer"])
def test_what_does_not_train_is_refused(given: Any, mean_answer: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected the module that trains"):
        Callback(mean_answer, out=tmp_path)(given, 0)


def test_a_subject_that_is_opened_once_would_show_old_weights(mean_answer: Any, tmp_path: Path) -> None:
    opened = models.as_subject(MODEL)
    callback = Callback(mean_answer, 1, tmp_path, 1, subject=lambda model: opened)
    callback(MODEL, 0)
    with pytest.warns(RuntimeWarning, match="returned the same object again; expected the model opened anew"):
        callback(MODEL, 1)
    assert opened.source == models.as_subject(MODEL).source


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((0, 3, 3), "step = 3; expected one above 3, the step before"),
        ((0, 3, 2), "step = 2; expected one above 3"),
        ((-1,), "step = -1; expected one of at least 0"),
    ],
)
def test_steps_that_go_backwards_or_are_none(steps: Any, message: str, mean_answer: Any, tmp_path: Path) -> None:
    callback = Callback(mean_answer, out=tmp_path)
    for step in steps[:-1]:
        callback(MODEL, step)
    with pytest.raises(UsageError, match=message):
        callback(MODEL, steps[-1])


def test_finishing_without_anything_measured(mean_answer: Any, tmp_path: Path) -> None:
    callback = Callback(mean_answer, every=100, out=tmp_path)
    with pytest.raises(UsageError, match="finish before any step; call callback"):
        callback.finish(MODEL)
    callback(MODEL, 99)
    with pytest.raises(UsageError, match="none up to 99 is a multiple of every = 100"):
        callback.finish()
    (report,) = callback.finish(MODEL)
    assert report.sources[0]["step"] == 99
    with pytest.raises(UsageError, match="step 100 after finish; make a new Callback"):
        callback(MODEL, 100)


def test_a_number_of_any_library_is_a_step(mean_answer: Any, tmp_path: Path) -> None:
    callback = Callback(mean_answer, out=tmp_path)
    callback(MODEL, torch.tensor(100))
    assert callback.finish()[0].sources[0]["step"] == 100


def test_an_attribute_that_is_none(mean_answer: Any) -> None:
    with pytest.raises(AttributeError, match="'Callback' object has no attribute 'reports'"):
        Callback(mean_answer).reports  # noqa: B018


# -- errors while training --------------------------------------------------------------------------------------------


class Failing:
    """Opens a model, except at some calls."""

    def __init__(self, at: tuple[int, ...]) -> None:
        self.at, self.calls = at, 0

    def __call__(self, model: Any) -> Any:
        self.calls += 1
        if self.calls in self.at:
            raise RuntimeError("CUDA out of memory.\nTried to allocate")
        return models.as_subject(model)


def test_an_error_at_the_first_step_ends_the_training(mean_answer: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        Callback(mean_answer, 1, tmp_path, subject=Failing((1,)))(MODEL, 0)


def test_an_error_later_is_a_warning_and_a_note(mean_answer: Any, tmp_path: Path) -> None:
    callback = Callback(mean_answer, 1, tmp_path, 1, subject=Failing((2, 3)))
    callback(MODEL, 0)
    for step in (1, 2):
        with pytest.warns(RuntimeWarning, match=f"mean-answer: step {step}: RuntimeError: CUDA out of memory. Tried"):
            callback(MODEL, step)
    callback(MODEL, 3)
    (report,) = callback.finish()
    assert [source["step"] for source in report.sources] == [0, 3]
    assert report.sources[-1]["notes"][-1] == (
        "steps 1, 2 were due while training and not measured: RuntimeError: CUDA out of memory. Tried to allocate"
    )


def test_the_claim_of_a_single_step_says_it_too(
    mean_answer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As probes do, whose limits hold the notes of their sources."""
    claim = mean_answer.claim

    def with_notes(self: Any, measures: Any, sources: Any) -> Any:
        return replace(claim(self, measures, sources), limits=sources[-1].notes)

    monkeypatch.setattr(mean_answer, "claim", with_notes)
    callback = Callback(mean_answer, 1, tmp_path, 1, subject=Failing((2,)))
    callback(MODEL, 0)
    with pytest.warns(RuntimeWarning, match="out of memory"):
        callback(MODEL, 1)
    assert callback.finish()[0].claim.limits[-1].startswith("step 1 was due while training and not measured")


@pytest.mark.parametrize("first", [True, False])
def test_so_is_an_error_of_a_probe(
    first: bool, mean_answer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = Callback([mean_answer], 1, tmp_path, 1)
    if not first:
        callback(MODEL, 0)

    def fail(*given: Any) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(mean_answer, "measure", fail)
    if first:
        with pytest.raises(ValueError, match="no such thing"):
            callback(MODEL, 1)
        return
    with pytest.warns(RuntimeWarning, match="ValueError: no such thing"):
        callback(MODEL, 1)
    assert callback.finish()[0].label == "training-step0"


def test_a_probe_that_no_longer_applies_leaves_a_note(mean_answer: Any, tmp_path: Path) -> None:
    probe = mean_answer()
    callback = Callback(probe, 1, tmp_path, 1)
    callback(MODEL, 0)
    object.__setattr__(probe, "refuse", "no labels any more")
    callback(MODEL, 1)
    (report,) = callback.finish()
    assert report.sources[-1]["notes"][-1] == (
        "step 1 was due while training and not measured: not applicable: no labels any more"
    )
