"""A family of checkpoints and ways to look at output folders, for tests of whole sweeps."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mesascope import models
from mesascope.analyses.sweeps.engines import EngineSettings, Outcome, Work
from mesascope.analyses.sweeps.tasks import ItemTask
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from .made_up_cache import MadeUpCache

SEEDS, STEPS = (0, 1), (0, 10, 20)


def write_family(
    path: Path, seeds: Iterable[int] = SEEDS, steps: Iterable[int] = STEPS, same: Mapping[str, str] | None = None
) -> str:
    """A family in which every member takes a step of gradient descent at a rate of its own.

    same:  the prefixes of members that have the weights of another
    """
    every = [(seed, step) for seed in seeds for step in steps]
    made = {f"seed{seed}/step{step}/": models.gd_transformer(4, 1.0 + seed + step / 100, 3) for seed, step in every}
    made |= {prefix: made[other] for prefix, other in (same or {}).items()}
    tensors = {f"{prefix}{name}": t for prefix, one in made.items() for name, t in one.state_dict().items()}
    models.save_checkpoint(path, next(iter(made.values())).config, tensors)
    return str(path)


def write_revisions(cache: Path, model: str, weights: Mapping[str, int], pickled: Container[str] = ()) -> str:
    """A small language model in a hub cache, each revision's weights drawn with a seed: some may be the same.

    pickled:  revisions whose weights are a pickle
    """
    made = MadeUpCache(cache, model)
    config = GPTNeoXConfig(
        vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    for revision, seed in weights.items():
        torch.manual_seed(seed)
        with TemporaryDirectory() as folder:
            drawn = GPTNeoXForCausalLM(config)
            drawn.save_pretrained(folder)
            if revision in pickled:
                Path(folder, "model.safetensors").unlink()
                torch.save(drawn.state_dict(), Path(folder, "pytorch_model.bin"))
            made.add(revision, {path.name: path.read_bytes() for path in Path(folder).iterdir()})
    return model


def contents(out: Path) -> dict[str, bytes]:
    """All that a sweep promises to be the same however it went: no times, and no notes of its own."""
    paths = (path for path in out.rglob("*") if path.is_file() and path.name != "timing.json")
    named = {path.relative_to(out).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in sorted(named.items()) if not name.startswith(".sweep/")}


class Backwards:
    """An engine that begins with the last item, and that can die before it has finished."""

    def __init__(self, dies_after: int | None = None) -> None:
        self.dies_after = dies_after
        self.begun: list[str] = []

    def __call__(self, work: Work, tasks: Sequence[ItemTask], settings: EngineSettings) -> Iterator[Outcome]:
        for n, task in enumerate(reversed(tasks)):
            if n == self.dies_after:
                raise KeyboardInterrupt
            self.begun.append(str(task.item.revision))
            yield task, work(task)


def opened_counted(monkeypatch: Any) -> list[str]:
    """The checkpoints that are opened from now on, by a worker or for measures of several together."""
    opened: list[str] = []

    def counted(model: str, revision: str | None = None, **how: Any) -> Any:
        opened.append(str(revision))
        return models.load_all(model, revision, **how)

    monkeypatch.setattr("mesascope.analyses.sweeps.opening.load_all", counted)
    return opened
