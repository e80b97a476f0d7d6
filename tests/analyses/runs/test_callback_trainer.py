"""A callback of Hugging Face's Trainer, with the Trainer itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mesascope import models
from mesascope.analyses import Report
from mesascope.analyses.runs.callback import Callback
from mesascope.probes import InductionHeads

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

PROBE = InductionHeads(periods=(4,), n_sequences=9, ablate="nothing")
IDS = torch.randint(24, (40, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    save = Report.save
    monkeypatch.setattr(Report, "save", lambda self, out, figures="none": save(self, out, "none"))


def trained(out: Path, callback: Callback | None, steps: int = 5, more: Any = None, **how: Any) -> Any:
    """A tiny GPT-2 with dropout."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 24, "n_positions": 32, "n_embd": 8, "n_layer": 1, "n_head": 2}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    args = transformers.TrainingArguments(
        output_dir=str(out), max_steps=steps, per_device_train_batch_size=4, learning_rate=0.01, use_cpu=True,
        report_to="none", disable_tqdm=True, seed=0, **{"save_strategy": "no", "logging_strategy": "no", **how},
    )  # fmt: skip
    data = [{"input_ids": row, "labels": row} for row in IDS]
    trainer = transformers.Trainer(model=model, args=args, train_dataset=data, eval_dataset=data[:4])
    for one in filter(None, (callback, more)):
        trainer.add_callback(one)
    trainer.train()
    return model


def steps_of(callback: Callback) -> list[int]:
    (report,) = callback.finish()
    return [source["step"] for source in report.sources]


def test_it_measures_the_start_the_multiples_and_the_end(tmp_path: Path) -> None:
    callback = Callback(PROBE, every=2, out=tmp_path / "reports", share=1)
    model = trained(tmp_path / "run", callback)
    (report,) = callback.finish()
    assert steps_of(callback) == [0, 2, 4, 5]
    assert report.sources[-1]["weights_sha256"] == models.from_module(model).source.weights_sha256
    assert (tmp_path / "reports" / report.folder / "report.json").is_file()


def test_weights_after_training_are_those_without_it(tmp_path: Path) -> None:
    plain = trained(tmp_path / "a", None).state_dict()
    watched = trained(tmp_path / "b", Callback(PROBE, 1, tmp_path / "reports", 1)).state_dict()
    assert [name for name in plain if not torch.equal(plain[name], watched[name])] == []


class Stopping(transformers.TrainerCallback):
    """Stops as early stopping does: when the step has been evaluated."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        control.should_training_stop |= state.global_step == self.at


def test_a_training_that_stops_early_is_measured_where_it_stops(tmp_path: Path) -> None:
    callback = Callback(PROBE, every=2, out=tmp_path / "reports", share=1)
    trained(tmp_path / "run", callback, more=Stopping(3))
    assert steps_of(callback) == [0, 2, 3]


@pytest.mark.parametrize(("more", "expected"), [(None, [0, 3, 5]), (Stopping(4), [0, 3])])
def test_the_best_checkpoint_is_not_taken_for_the_last_step(more: Any, expected: list[int], tmp_path: Path) -> None:
    """It is loaded before the training ends: at an early stop the last step's weights are gone by then."""
    callback = Callback(PROBE, every=3, out=tmp_path / "reports", share=1)
    best = {
        "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1,
        "load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": True,
    }  # fmt: skip
    model = trained(tmp_path / "run", callback, more=more, **best)
    assert steps_of(callback) == expected
    (report,) = callback.finish()
    best_one = models.from_module(model).source.weights_sha256  # of step 2
    assert best_one not in [source["weights_sha256"] for source in report.sources]


def test_one_process_of_several_measures(mean_answer: Any, tmp_path: Path) -> None:
    callback = Callback(mean_answer, every=1, out=tmp_path, share=1)
    state = SimpleNamespace(is_world_process_zero=False, global_step=0, max_steps=1)
    for event in ("on_train_begin", "on_step_begin", "on_step_end", "on_train_end"):
        getattr(callback, event)(SimpleNamespace(load_best_model_at_end=False), state, None, model=object())
    assert list(tmp_path.iterdir()) == []


def test_reports_that_cannot_be_finished_do_not_cost_the_training(mean_answer: Any, tmp_path: Path) -> None:
    """Here of a training that was resumed between due steps, stopped, and went back to its best checkpoint."""
    callback, model = Callback(mean_answer, every=100, out=tmp_path), models.gd_transformer(4, 1.0, 3)
    args = SimpleNamespace(load_best_model_at_end=True)
    state = SimpleNamespace(is_world_process_zero=True, global_step=501)
    callback.on_train_begin(args, state, None, model=model)
    with pytest.warns(RuntimeWarning, match="reports are not complete: Callback: no step was measured: none up to 501"):
        callback.on_train_end(args, state, None, model=model)
    assert list(tmp_path.iterdir()) == []
