"""Training: the authors' optimiser, the closed form's loss, and the same bytes whatever comes between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
import torch
from mesascope.analyses.commands import cli
from mesascope.analyses.training import objectives, training
from mesascope.analyses.training.objectives import unflatten
from mesascope.analyses.training.recipe_kinds import TrainingRecipe
from mesascope.analyses.training.recipes import RECIPES
from mesascope.analyses.training.training import adam_step, train
from mesascope.analyses.training.training_run import TrainingRun
from mesascope.data.errors import CheckpointRefused, MesascopeError, UsageError
from mesascope.data.regression import LinearRegression
from mesascope.models.opening.catalogue import read_header, shipped
from mesascope.models.opening.loading import load_all

TINY = TrainingRecipe(
    name="tiny",
    summary="a few steps on narrow tasks",
    model={"n_layers": 2},
    tasks={"n_context": 4, "d_in": 3},
    checkpoint_steps=(0, 4, 12),
    seeds=(0, 7),
    batch_size=16,
    init_scale=0.1,
)


class Interrupted(Exception):
    pass


def stop_at(step: int, steps: int):
    """Progress that breaks a training off, as a crash would, once `step` is reached."""

    def progress(stage: str, fraction: float) -> None:
        if fraction * steps >= step:
            raise Interrupted

    return progress


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 5)
    monkeypatch.setattr(training, "REPORT_EVERY", 1)


def test_the_file_is_a_family_with_its_record(tmp_path: Path) -> None:
    path = train(TINY, tmp_path / "deeper" / "tiny.safetensors")
    header = read_header(path)
    assert [member.revision for member in header.members] == [
        f"seed{seed}-step{step}" for seed in (0, 7) for step in (0, 4, 12)
    ]
    assert header.record["recipe"] == TINY.as_dict()
    assert header.record["made_with"]["torch"] == torch.__version__
    assert set(header.record) == {"recipe", "made_with", "training_loss"}
    assert [len(losses) for losses in header.record["training_loss"].values()] == [3, 3]
    subjects = load_all(path, "step12")
    assert [subject.source.seed for subject in subjects] == [0, 7]
    assert subjects[0].config == TINY.config
    assert subjects[0].dtype == torch.float32
    assert [file.name for file in path.parent.iterdir()] == ["tiny.safetensors"]


def test_the_same_recipe_writes_the_same_bytes(tmp_path: Path) -> None:
    files = [train(TINY, tmp_path / name).read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]
    assert train(replace(TINY, learning_rate=2e-3), tmp_path / "c").read_bytes() != files[0]


@pytest.mark.parametrize("name", ["lsa-1layer", "lsa-2layer-recurrent", "lsa-causal-layernorm", "separate-tokens"])
def test_the_number_of_threads_changes_no_byte(name: str, tmp_path: Path) -> None:
    recipe = replace(RECIPES[name], checkpoint_steps=(0, 2), seeds=(0, 1))
    before = torch.get_num_threads()
    try:
        files = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            files.append(train(recipe, tmp_path / f"{threads}").read_bytes())
    finally:
        torch.set_num_threads(before)
    assert files[0] == files[1]


def test_seeds_share_the_run_and_nothing_else(tmp_path: Path) -> None:
    both = load_all(train(TINY, tmp_path / "both"), "seed7")[0].module
    alone = load_all(train(TINY, tmp_path / "alone", seeds=[7]))[0].module
    for ours, theirs in zip(both.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("step", [3, 7, 12])
def test_a_broken_off_training_ends_in_the_same_bytes(step: int, often, tmp_path: Path) -> None:
    expected = train(TINY, tmp_path / "through").read_bytes()
    with pytest.raises(Interrupted):
        train(TINY, tmp_path / "broken", progress=stop_at(step, TINY.steps))
    assert not (tmp_path / "broken").exists()
    assert (tmp_path / "broken.partial").exists()
    assert train(TINY, tmp_path / "broken").read_bytes() == expected
    assert not (tmp_path / "broken.partial").exists()


LONG = TrainingRecipe(
    "long", "long enough to be stopped", {"n_layers": 1}, (0, 100, 400), {"d_in": 3}, (0, 1), batch_size=8
)
PROGRAM = """
    import json, os, signal, sys
    from mesascope.analyses.training.recipe_kinds import TrainingRecipe
    from mesascope.analyses import train

    given = json.loads(sys.argv[1]).items()
    recipe = {name: tuple(value) if isinstance(value, list) else value for name, value in given}
    for line in sys.stdin:
        if not (child := os.fork()):
            break
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    else:
        sys.exit()

    path, errors, ignored = json.loads(line)
    sys.stderr.flush()
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
    # a test run started in the background hands its children an ignored Ctrl-C: undone unless the test is about it
    signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)

    def progress(stage, fraction):
        if 0.1 < fraction < 0.3:
            print("under way", os.getpid(), flush=True)
            if ignored:
                os.kill(os.getpid(), signal.SIGINT)
            else:
                sys.stdin.readline()  # the signal comes while the training waits here, however busy the machine is

    train(TrainingRecipe(**recipe), path, progress=progress)
"""


@dataclass
class Trainer:
    """A process that trains the long recipe in a process of its own, as often as it is asked."""

    process: subprocess.Popen[str]

    def say(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def start(self, path: Path, errors: Path, ignored: bool = False) -> None:
        self.say(json.dumps([str(path), str(errors), ignored]))


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), json.dumps(asdict(LONG))]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=one_thread) as process:
        yield Trainer(process)


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the long training writes."""
    return train(LONG, tmp_path_factory.mktemp("long") / "through").read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -2), (signal.SIGTERM, -15)], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_stops_cleanly_and_the_next_call_goes_on(
    number: signal.Signals, code: int, trainer: Trainer, never_stopped: bytes, tmp_path: Path
) -> None:
    out, errors = tmp_path / "out", tmp_path / "errors"
    out.mkdir()
    trainer.start(out / "stopped", errors)
    words, process = trainer.answer().rsplit(maxsplit=1)
    assert words == "under way"
    os.kill(int(process), number)
    trainer.say("go on")
    assert int(trainer.answer()) == code
    assert ("KeyboardInterrupt" in errors.read_text()) == (number == signal.SIGINT)
    assert [file.name for file in out.iterdir()] == ["stopped.partial"]
    steps = []
    resumed = train(LONG, out / "stopped", progress=lambda _, done: steps.append(done))
    assert resumed.read_bytes() == never_stopped
    assert steps[0] > 0.1  # it went on, and did not start again
    assert [file.name for file in out.iterdir()] == ["stopped"]


def test_a_signal_that_is_ignored_stays_ignored(trainer: Trainer, tmp_path: Path) -> None:
    trainer.start(tmp_path / "through", tmp_path / "errors", ignored=True)
    said = [trainer.answer()]
    while said[-1].startswith("under way"):
        said.append(trainer.answer())
    assert said[-1] == "0\n"
    assert len(said) > 2
    assert (tmp_path / "through").exists()


def test_a_partial_of_another_recipe_is_refused_by_what_differs(often, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    with pytest.raises(Interrupted):
        train(TINY, path, progress=stop_at(6, TINY.steps))
    before = (tmp_path / "mine.partial").read_bytes()
    with pytest.raises(
        UsageError, match=r"mine\.partial holds another training \(recipe\.learning_rate = 0\.001, here"
    ):
        train(replace(TINY, learning_rate=0.5), path)
    with pytest.raises(UsageError, match=r"recipe\.seeds = \[0, 7\], here \[7\]"):
        train(TINY, path, seeds=[7])
    assert (tmp_path / "mine.partial").read_bytes() == before
    assert train(replace(TINY, learning_rate=0.5), path, force=True) == path


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_damaged_partial_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.partial").write_bytes(content)
    with pytest.raises(UsageError, match=r"mine\.partial: not a training that can be resumed"):
        train(TINY, tmp_path / "mine")


def test_a_finished_training_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = train(TINY, tmp_path / "mine")
    monkeypatch.setattr(objectives, "draw_into", None)
    assert train(TINY, path) == path
    with pytest.raises(TypeError):
        train(TINY, path, force=True)


def test_what_is_already_there_is_not_overwritten(tmp_path: Path) -> None:
    path = train(TINY, tmp_path / "mine")
    with pytest.raises(UsageError, match=r"mine holds another training \(recipe\.batch_size = 16, here 8\)"):
        train(replace(TINY, batch_size=8), path)
    (tmp_path / "notes").write_text("something else altogether")
    with pytest.raises(CheckpointRefused, match="notes"):
        train(TINY, tmp_path / "notes")
    with pytest.raises(UsageError, match="is a folder"):
        train(TINY, tmp_path)


def test_a_place_that_cannot_be_written_is_known_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(objectives, "draw_into", None)
    with pytest.raises(UsageError, match="cannot be written"):
        train(TINY, tmp_path / "file" / "mine")


def test_a_full_disk_ends_in_words_and_leaves_the_last_state(
    often, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mesascope.analyses.training.training_run as training_run

    write = training_run.write_atomically
    writes = []

    def full(path: Path, content: bytes) -> None:
        writes.append(path)
        if len(writes) > 2:
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(training_run, "write_atomically", full)
    with pytest.raises(UsageError, match="No space left on device"):
        train(TINY, tmp_path / "mine")
    monkeypatch.setattr(training_run, "write_atomically", write)
    assert train(TINY, tmp_path / "mine").read_bytes() == train(TINY, tmp_path / "through").read_bytes()


@pytest.mark.parametrize("device", ["no such device", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"device '{device}' cannot be used on this machine"):
        train(TINY, tmp_path / "mine", device=device)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:overflow")
def test_divergence_names_step_and_seed(tmp_path: Path) -> None:
    wild = replace(TINY, learning_rate=1e12, model={"n_layers": 6})
    with pytest.raises(MesascopeError, match=r"the loss of seed 0 is (nan|inf) at step \d+; try a learning rate below"):
        train(wild, tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


def test_the_update_is_adam_after_a_clip_of_each_seed() -> None:
    recipe = replace(TINY, seeds=(0, 1, 2), clip_norm=0.5)
    run = TrainingRun.start(recipe)
    rows = [torch.nn.Parameter(row.clone()) for row in run.weights]
    adams = [torch.optim.Adam([row], lr=1e-3, betas=(0.9, 0.98), eps=1e-8) for row in rows]
    rng = torch.Generator().manual_seed(0)
    for size in (0.001, 0.01, 1.0, 0.1):
        gradient = torch.randn(run.weights.shape, generator=rng) * size
        gradient[2] = 0
        adam_step(run, gradient, recipe)
        for row, adam, part in zip(rows, adams, gradient, strict=True):
            row.grad = part * min(1.0, 0.5 / max(float(part.norm()), 1e-30))
            adam.step()
    torch.testing.assert_close(run.weights, torch.stack([row.detach() for row in rows]), rtol=1e-6, atol=1e-8)
    assert run.step == 4


def test_rows_and_named_parameters_are_one_memory() -> None:
    run, config = TrainingRun.start(TINY), TINY.config
    named = unflatten(config, run.weights)
    assert {name: tuple(weight.shape[1:]) for name, weight in named.items()} == config.shapes
    named["W_V"][1, 0, 0, 0, 0] = 5.0
    assert (run.weights == 5.0).sum() == 1


def test_training_finds_one_step_of_gradient_descent(tmp_path: Path) -> None:
    """From a larger start, without the plateau: the loss falls to the closed form's optimum, not below."""
    n, d = 10, 5
    recipe = TrainingRecipe(
        "short", "short", {}, (0, 600), {"n_context": n, "d_in": d}, (0, 1), batch_size=512, init_scale=0.3,
        learning_rate=5e-3, clip_norm=10.0,
    )  # fmt: skip
    s, k4 = 1 / 12, 1 / 80
    M = (d * k4 + d * (d - 1) * s**2) / n + (1 - 1 / n) * d * s**2
    optimum = 0.5 * s * (d - (d * s) ** 2 / M)
    tasks = LinearRegression(n_context=n, d_in=d).sample(40_000, seed=99)
    for subject in load_all(train(recipe, tmp_path / "short"), dtype=torch.float64):
        errors = 0.5 * (subject.predict(tasks.inputs) - tasks.targets).square()[:, 0]
        sampling = 4 * float(errors.std()) / len(errors) ** 0.5
        assert optimum - sampling < float(errors.mean()) < 1.02 * optimum + sampling
        start_loss = subject.source.record["training_loss"][f"seed{subject.source.seed}"][0]
        assert start_loss > 1.3 * optimum


@pytest.mark.parametrize("settings", [{"softmax": True, "n_heads": 2}, {"n_layers": 2, "layer_norm": True}])
def test_every_configuration_can_be_trained(settings: dict[str, object], tmp_path: Path) -> None:
    recipe = replace(TINY, model=settings, checkpoint_steps=(0, 3))
    first, last = load_all(train(recipe, tmp_path / "mine"), "all")[:2]
    for name, weight in last.module.named_parameters():
        assert not torch.equal(weight, first.module.get_parameter(name)), name


def test_the_command_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RECIPES, "tiny", TINY)  # type: ignore[arg-type]
    path = tmp_path / "tiny.safetensors"
    assert cli.main(["train", "tiny", "-o", str(path), "--seeds", "3", "-q"]) == 0
    assert capsys.readouterr().out.split() == [str(path)]
    assert [member.seed for member in read_header(path).members] == [3, 3, 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["lsa-1layer", "lsa-2layer-recurrent", "lsa-causal-layernorm", "softmax-attention-1layer"]
)
def test_what_ships_can_be_made_again(name: str, tmp_path: Path) -> None:
    """The same bytes where the record's machine is, and the same losses anywhere."""
    path, ships = train(RECIPES[name], tmp_path / name), shipped()[name]
    ours, theirs = read_header(path).record, read_header(ships).record
    if ours["made_with"] == theirs["made_with"] and path.read_bytes() == ships.read_bytes():
        return
    for seed, losses in theirs["training_loss"].items():
        assert ours["training_loss"][seed] == pytest.approx(losses, rel=0.02)
