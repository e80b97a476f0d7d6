"""Training a recipe: several seeds in one vectorised run, checkpoints along the way, resumable to the byte.

Every seed has its own initial weights, its own stream of tasks, its own gradient clip and its own Adam moments: seeds
share the run, not a single number.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.errors import MesascopeError, UsageError
from ...models.opening.catalogue import read_header
from ...models.opening.checkpoint import save_checkpoint
from ...probes.probe import Progress, silent
from .objectives import Objective, objective, unflatten
from .recipe_kinds import AdamRecipe, BaseRecipe, TrainingRecipe
from .training_run import TrainingRun, changes, readable_errors

SAVE_EVERY = 250  # steps between two writes of the .partial file
REPORT_EVERY = 20  # steps between two reports of progress
Record = dict[str, Any]


def train(
    recipe: BaseRecipe,
    path: str | Path,
    seeds: Sequence[int] | None = None,
    device: str = "cpu",
    progress: Progress = silent,
    force: bool = False,
) -> Path:
    """Train `recipe` (or only `seeds` of it) and write the family of checkpoints to `path`.

    The state lies in `<path>.partial` until then, rewritten every few hundred steps and when the training is
    interrupted (Ctrl-C, SIGTERM); calling again goes on from there, and ends in the same bytes as if it had never
    stopped. Nothing is done when `path` already holds this training's result. `force` starts afresh whatever is there.

    The file's record has the recipe in full, what it was made with, and the training loss at every checkpoint: of the
    batch that the checkpoint was about to learn from, so of tasks it had not seen.

    Raises UsageError where the file or its partial belongs to another training or cannot be written, and
    MesascopeError where the loss is no longer finite.
    """
    _refuse_unusable(device)
    recipe = recipe if seeds is None else replace(recipe, seeds=tuple(seeds))
    path = Path(path)
    record = {"recipe": recipe.as_dict(), "made_with": _made_with(device)}
    partial = path.with_name(f"{path.name}.partial")
    if path.exists() and not force:
        _refuse_other_file(path, record)
        return path
    if partial.exists() and not force:
        run = TrainingRun.resume(partial, record)
    else:
        run = TrainingRun.start(recipe)
        run.save(partial, record)  # a place that cannot be written is better known now than at the end
    run = run.to(device)
    _advance(recipe, run, partial, record, progress)
    _write_family(path, recipe, run, record)
    partial.unlink()
    progress(f"training {recipe.name}", 1.0)
    return path


def _advance(recipe: BaseRecipe, run: TrainingRun, partial: Path, record: Record, progress: Progress) -> None:
    """Run to the last step, or to an interruption; either way the state is in `partial` then."""
    minimised = objective(recipe, run.weights)
    with _deferred_interruption() as interruption:
        while len(run.kept) < len(recipe.checkpoint_steps) and not interruption.signal:
            try:
                step(recipe, run, minimised)
            except MesascopeError:
                partial.unlink()  # it would only lead here again
                raise
            if run.step % SAVE_EVERY == 0:
                run.save(partial, record)
            if run.step % REPORT_EVERY == 0:
                progress(f"training {recipe.name}", run.step / recipe.steps)
        run.save(partial, record)
    if interruption.signal:
        signal.raise_signal(interruption.signal)
        raise KeyboardInterrupt  # whoever handles the signal let it pass, but the training has stopped


def step(recipe: BaseRecipe, run: TrainingRun, minimised: Objective) -> None:
    """Draw every seed's tasks, keep the weights where the recipe says so, and update them unless this is the end.

    minimised: the recipe's `objective` of the run's weights
    """
    losses, gradient = minimised(run.step)
    if not all(map(math.isfinite, losses.tolist())):
        raise _diverged(recipe, run.step, losses)
    if run.step in recipe.checkpoint_steps:
        run.keep(losses)
    if run.step < recipe.steps:
        if isinstance(recipe, AdamRecipe):
            adam_step(run, gradient, recipe)
        else:
            run.weights.sub_(gradient, alpha=recipe.learning_rate)
            run.step += 1


def adam_step(run: TrainingRun, gradient: Float[Tensor, "seed parameter"], recipe: AdamRecipe) -> None:
    """One update of every seed, in place: its gradient is clipped to the global norm, then handed to Adam."""
    norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    gradient = gradient * (recipe.clip_norm / norm).clamp(max=1.0)
    run.step += 1
    run.mean.mul_(recipe.b1).add_(gradient, alpha=1 - recipe.b1)
    run.square.mul_(recipe.b2).addcmul_(gradient, gradient, value=1 - recipe.b2)
    mean = run.mean / (1 - recipe.b1**run.step)
    deviation = (run.square / (1 - recipe.b2**run.step)).sqrt_().add_(recipe.eps)
    run.weights.addcdiv_(mean, deviation, value=-recipe.learning_rate)


def _diverged(recipe: BaseRecipe, step: int, losses: Float[Tensor, " seed"]) -> MesascopeError:
    row = int((~losses.isfinite()).nonzero()[0])
    clip = " or an activation_clip" if isinstance(recipe, TrainingRecipe) else ""
    return MesascopeError(
        f"training {recipe.name}: the loss of seed {recipe.seeds[row]} is {losses[row].item()} at step {step};"
        f" try a learning rate below {recipe.learning_rate:g}{clip}"
    )


def _write_family(path: Path, recipe: BaseRecipe, run: TrainingRun, record: Record) -> None:
    config = recipe.config
    tensors, losses = {}, {}
    for step, rows, step_losses in zip(recipe.checkpoint_steps, run.kept, run.losses, strict=True):
        named = unflatten(config, rows)
        for i, seed in enumerate(recipe.seeds):
            tensors |= {f"seed{seed}/step{step}/{name}": weight[i] for name, weight in named.items()}
            losses.setdefault(f"seed{seed}", []).append(float(f"{step_losses[i].item():.6g}"))
    with readable_errors(path):
        save_checkpoint(path, config, tensors, {**record, "training_loss": losses}, **recipe.vocabulary)


def _made_with(device: str) -> Record:
    """What else decides the last bits of the weights."""
    return {
        "device": device,
        "numpy": np.__version__,
        "torch": torch.__version__,
    }


def _refuse_unusable(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        reason = str(error).partition("\n")[0]
        raise UsageError(f"device {device!r} cannot be used on this machine ({reason}); use cpu") from error


def _refuse_other_file(path: Path, record: Record) -> None:
    """An existing file may only be this very training's result."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder, expected a file name; give one with -o FILE")
    found = dict(read_header(path).record)
    found.pop("training_loss", None)
    if differences := changes(found, record):
        raise UsageError(
            f"{path} holds another training ({'; '.join(differences)}); write elsewhere (-o), or replace it (--force)"
        )


@dataclass
class _Interruption:
    signal: int = 0


@contextmanager
def _deferred_interruption() -> Iterator[_Interruption]:
    """Note Ctrl-C and SIGTERM instead of dying of them in the middle of a step; then put their handlers back.

    Signals that are ignored (`nohup`) stay ignored. Only the main thread may handle signals; elsewhere nothing changes.
    """
    interruption = _Interruption()

    def note(number: int, frame: object) -> None:
        interruption.signal = number

    previous = {}
    if threading.current_thread() is threading.main_thread():
        watched = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is not signal.SIG_IGN]
        previous = {number: signal.signal(number, note) for number in watched}
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
