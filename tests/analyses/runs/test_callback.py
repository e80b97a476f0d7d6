# ruff: noqa: NPY002 - the random state that everybody shares is what this is about
"""Probes on a live model: what they find is what `run` finds on its checkpoints, and the training is the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope import analyses, models
from mesascope.analyses import Report
from mesascope.analyses.runs import callback as callback_module
from mesascope.analyses.runs.callback import Callback
from mesascope.models.own.regression_config import RegressionConfig
from mesascope.models.own.regression_transformer import initialise
from mesascope.probes import GDAlignment, InductionHeads
from mesascope.probes.measure import flat
from torch import Tensor, nn

Batch = Callable[[nn.Module], Tensor]
Watch = Callable[[nn.Module, int], object]
OF_REGRESSION = GDAlignment(limit=10, n_context=4)
OF_LANGUAGE = InductionHeads(periods=(4,), n_sequences=9, ablate="nothing")


class WithDropout(nn.Module):
    """A regression model that is nobody's: it reads the last token."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.BatchNorm1d(8), nn.Linear(8, 1))

    def forward(self, tasks: Tensor) -> Tensor:
        return self.layers(tasks[:, -1])


def ours(dtype: torch.dtype = torch.float32) -> nn.Module:
    config = RegressionConfig(d_in=3, n_heads=1, d_head=4)
    return initialise(config, 0.1, torch.Generator().manual_seed(0)).to(dtype).requires_grad_()


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"vocab_size": 24, "n_positions": 32, "n_embd": 8, "n_layer": 1, "n_head": 2}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, loss_type="ForCausalLM"))


def regression(model: nn.Module) -> Tensor:
    """Inputs are drawn, and dropped, by the random states that everybody shares."""
    tasks = torch.randn(16, 5, 4) * float(np.random.rand()) * random.random()
    kept = nn.functional.dropout(tasks, 0.2)
    return (model(kept).flatten() - tasks[:, 0, 3]).square().mean()


def language(model: nn.Module) -> Tensor:
    ids = torch.randint(24, (4, 9))
    return model(ids, labels=ids).loss


KINDS: dict[str, tuple[Callable[[], nn.Module], Batch, dict[str, Any]]] = {
    "ours": (ours, regression, {"probes": OF_REGRESSION}),
    "nobody's": (
        WithDropout,
        regression,
        {
            "probes": OF_REGRESSION,
            "subject": lambda model: models.from_predictor(model, models.TokenLayout(3, 1)),
        },
    ),
    "gpt2": (gpt2, language, {"probes": [OF_LANGUAGE, GDAlignment]}),
}


def train(make: Callable[[], nn.Module], loss: Batch, watch: Watch, steps: Iterable[int] = range(1, 6)) -> nn.Module:
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    model = make().train()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in steps:
        loss(model).backward()
        optimiser.step()
        watch(model, step)  # before zero_grad: gradients are there
        optimiser.zero_grad()
    return model


def watch_nothing(model: nn.Module, step: int) -> None:
    return None


def same(one: Any, other: Any) -> None:
    """All measures of two reports, bit for bit."""
    a, b = flat(one.measures), flat(other.measures)
    assert list(a) == list(b) != []
    for name in a:
        assert (a[name].status, a[name].n, a[name].coords) == (b[name].status, b[name].n, b[name].coords)
        np.testing.assert_array_equal(a[name].values, b[name].values, name)
        np.testing.assert_array_equal(a[name].interval, b[name].interval, name)
        for null, samples in a[name].nulls.items():
            np.testing.assert_array_equal(samples, b[name].nulls[null], name)


@pytest.fixture(autouse=True)
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have tests of their own."""
    save = Report.save
    monkeypatch.setattr(Report, "save", lambda self, out, figures="none", *kept: save(self, out, "none", *kept))


@pytest.mark.parametrize("kind", KINDS)
def test_the_training_is_the_same_with_and_without_it(kind: str, tmp_path: Path) -> None:
    make, loss, how = KINDS[kind]
    callback = Callback(every=4, out=tmp_path, share=1, **how)
    found = []
    for watch in (watch_nothing, callback):
        model = train(make, loss, watch)
        rest = torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()
        found.append(({name: value.clone() for name, value in model.state_dict().items()}, rest))
    callback.finish(model)
    (plain, plain_rest), (watched, watched_rest) = found
    assert plain_rest == watched_rest
    assert [name for name in plain if not torch.equal(plain[name], watched[name])] == []
    assert [name for name, value in model.state_dict().items() if not torch.equal(plain[name], value)] == []


@pytest.mark.parametrize("kind", ["ours", "gpt2"])
def test_it_finds_what_run_finds_on_the_checkpoints(kind: str, tmp_path: Path) -> None:
    make, loss, how = KINDS[kind]
    callback = Callback(every=3, out=tmp_path / "reports", share=1, name="mine", **how)

    def watch(model: Any, step: int) -> None:
        callback(model, step)
        if kind == "gpt2":
            model.save_pretrained(tmp_path / f"{step}")
        else:
            models.save_checkpoint(tmp_path / f"{step}.safetensors", model.config, dict(model.named_parameters()))

    model = train(make, loss, watch)
    report = callback.finish(model)[0]
    assert isinstance(report, Report)
    (last,) = tmp_path.glob("reports/mine-step5/*/*")
    assert analyses.verify(last, subject=models.as_subject(model)).verdict == "bit-identical"
    steps = (3, 5)
    subjects = [models.load(tmp_path / (f"{step}" if kind == "gpt2" else f"{step}.safetensors")) for step in steps]
    for step, subject in zip(steps, subjects, strict=True):
        subject.source = replace(subject.source, step=step)
    answer = analyses.run_family(subjects, OF_LANGUAGE if kind == "gpt2" else OF_REGRESSION)
    assert isinstance(answer, tuple)
    for step, member in zip(steps, answer[0], strict=True):  # each is what `run` answers
        (folder,) = tmp_path.glob(f"reports/mine-step{step}/*/*")
        saved = Report.load(folder)
        same(saved, member)
        assert saved.sources[0]["weights_sha256"] == member.sources[0]["weights_sha256"]
        assert (saved.sources[0]["step"], saved.sources[0]["name"]) == (step, "mine")
    same(report, answer[1])
    assert replace(report.claim, limits=()) == replace(answer[1].claim, limits=())  # that it was in memory is a limit
    same(report, Report.load(tmp_path / "reports" / report.folder))


# -- when -------------------------------------------------------------------------------------------------------------


def steps_of(report: Any) -> list[int]:
    return [source["step"] for source in report.sources]


def called(callback: Callback, model: object, steps: Iterable[int]) -> list[int]:
    """The measured ones of these steps."""
    for step in steps:
        callback(model, step)
    return steps_of(callback.finish(model)[0])


@pytest.mark.parametrize(
    ("every", "steps", "expected"),
    [
        (3, range(1, 11), [3, 6, 9, 10]),
        (3, range(10), [0, 3, 6, 9]),
        (1, range(4), [0, 1, 2, 3]),
        (5, (4, 5, 7, 15), [5, 15]),
        (9, (1, 2), [2]),
    ],
)
def test_multiples_and_the_last_step_are_measured(
    every: int, steps: Iterable[int], expected: list[int], mean_answer: Any, tmp_path: Path
) -> None:
    callback = Callback(mean_answer, every, tmp_path, share=1)
    assert called(callback, models.gd_transformer(4, 1.0, 3), steps) == expected


class Clock:
    """Tells the time that somebody sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(mean_answer: Any, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Each measurement takes 2."""
    made, measure = Clock(), mean_answer.measure

    def measured(*given: Any, **more: Any) -> Any:
        made.now += 2
        return measure(*given, **more)

    monkeypatch.setattr(mean_answer, "measure", measured)
    monkeypatch.setattr(callback_module, "perf_counter", made)
    return made


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_measuring_takes_at_most_its_share_of_the_time(
    share: float, clock: Clock, mean_answer: Any, tmp_path: Path
) -> None:
    callback, model = Callback(mean_answer(n_tasks=4), 2, tmp_path, share), models.gd_transformer(4, 1.0, 3)
    expected = [0]
    for step in range(60):
        if step and step % 2 == 0 and 2 * len(expected) + 2 <= share * (clock.now + 2):
            expected.append(step)
        callback(model, step)
        assert step not in expected[1:] or 2 * len(expected) / clock.now <= share
        clock.now += 1
    (report,) = callback.finish()
    assert steps_of(report) == expected
    missed = [step for step in range(0, 60, 2) if step not in expected]
    assert 1 < len(missed) < 29
    (note,) = [note for note in report.sources[-1]["notes"] if "not measured" in note]
    listed = ", ".join(map(str, missed))
    if len(missed) > 12:
        assert note.startswith(f"{len(missed)} steps from {missed[0]} to {missed[-1]} were due while training and not")
    else:
        assert note.startswith(f"steps {listed} were due while training and not measured: measuring may take")
    assert f"{100 * share:g} % of the time" in note


def test_all_of_the_time_measures_always(clock: Clock, mean_answer: Any, tmp_path: Path) -> None:
    callback = Callback(mean_answer(n_tasks=4), 1, tmp_path, share=1)
    assert called(callback, models.gd_transformer(4, 1.0, 3), range(5)) == [0, 1, 2, 3, 4]


def test_the_last_step_is_measured_whatever_it_takes(clock: Clock, mean_answer: Any, tmp_path: Path) -> None:
    callback = Callback(mean_answer(n_tasks=4), 2, tmp_path, share=0.01)
    assert called(callback, models.gd_transformer(4, 1.0, 3), range(5)) == [0, 4]
    (report,) = callback.finish()
    assert report.sources[-1]["notes"][-1].startswith("step 2 was due")


# -- what it leaves ---------------------------------------------------------------------------------------------------


def folders(out: Path) -> list[str]:
    return sorted(path.parent.parent.parent.name for path in out.glob("*/*/*/report.json"))


def test_after_each_step_all_is_on_the_disk(mean_answer: Any, tmp_path: Path) -> None:
    callback, out = Callback(mean_answer, 1, tmp_path, 1, "run"), tmp_path
    seen = []
    for step in range(4):
        callback(models.gd_transformer(4, 1.0 + step, 3), step)
        seen.append(folders(out))
    assert seen[0] == ["run-step0"]
    assert seen[1] == ["run", "run-step0", "run-step1"]
    assert seen[3] == ["run", *(f"run-step{step}" for step in range(4))]
    (report,) = callback.finish()
    assert folders(out) == seen[3]
    assert callback.finish() == [report]
    np.testing.assert_array_equal(report.measures["answer"].coords["step"], range(4))


def test_reports_of_another_training_stay(mean_answer: Any, tmp_path: Path) -> None:
    trainings = [[models.gd_transformer(4, 1.0 + step, 3) for step in range(n)] for n in (2, 3)]
    reports = []
    for modules in trainings:
        callback = Callback(mean_answer, 1, tmp_path, 1, "run")
        for step, module in enumerate(modules):
            callback(module, step)
        reports += callback.finish()
    assert all((tmp_path / report.folder).is_dir() for report in reports)
    assert len({report.folder for report in reports}) == 2


def test_a_single_step_leaves_its_own_report(mean_answer: Any, tmp_path: Path) -> None:
    callback, model = Callback(mean_answer, 5, tmp_path, 1, "run"), models.gd_transformer(4, 1.0, 3)
    callback(model, 3)
    (report,) = callback.finish(model)
    assert folders(tmp_path) == ["run-step3"]
    assert (tmp_path / report.folder).is_dir()
    assert report.label == "run-step3"


def test_weights_that_go_on_changing_change_no_report(
    mean_answer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measure = mean_answer.measure

    def with_views(self: Any, subject: Any, *rest: Any) -> Any:
        found = measure(self, subject, *rest)
        return replace(found, arrays={"weights": subject.module.W_Q.detach().numpy()})

    monkeypatch.setattr(mean_answer, "measure", with_views)
    model = ours(torch.float64)
    before = model.W_Q.detach().clone()
    callback = Callback(mean_answer, 1, tmp_path, 1)
    callback(model, 0)
    model.W_Q.data += 1
    np.testing.assert_array_equal(callback.finish()[0].arrays["weights"], before)


def test_hooks_of_a_transformers_model_do_not_see_it(tmp_path: Path) -> None:
    model, seen = gpt2(), []
    for part in model.modules():
        part.register_forward_hook(lambda *given: seen.append(given))
    before = [dict(part._forward_hooks) for part in model.modules()]
    callback = Callback(OF_LANGUAGE, out=tmp_path)
    callback(model, 0)
    callback.finish(model)
    assert seen == []
    assert [dict(part._forward_hooks) for part in model.modules()] == before


def test_a_tokenizer_is_that_of_the_reports(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers import models as kinds

    words = Tokenizer(kinds.WordLevel({"<unk>": 0, **{f"w{i}": i for i in range(1, 24)}}, unk_token="<unk>"))
    callback, model = Callback(OF_LANGUAGE, out=tmp_path, tokenizer=words), gpt2()
    callback(model, 0)
    (report,) = callback.finish()
    assert report.provenance["tokenizer_sha256"] == models.from_module(model, words).source.facts["tokenizer_sha256"]
    assert report.provenance["tokenizer_sha256"] is not None
