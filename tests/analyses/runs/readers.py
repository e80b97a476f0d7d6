"""What tests of parts and of shared passes have in common: a model, a text, the probes that read it, clean sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source
from mesascope.models.language_model import LanguageModel
from mesascope.probes.induction_heads.probe import InductionHeads
from mesascope.probes.probe import Probe
from mesascope.probes.token_norms.probe import TokenNorms

CLEAN = {"commit": "c" * 40, "dirty": False}
D_VOCAB, N_CTX, UNTRAINED = 23, 16, 3
FULL_WINDOWS = 4
"""Of the text, BOS included; the other three are the ends of documents, or a short one."""


def pretend_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources do not differ from their commit, so that reports are found again and parts are kept."""
    for place in ("reports.provenance", "runs.running", "runs.parts"):
        monkeypatch.setattr(f"mesascope.analyses.{place}.source_state", lambda: dict(CLEAN))


def small_model(seed: int = 0) -> AttentionOnlyModel:
    sizes = {"d_vocab": D_VOCAB, "n_ctx": N_CTX, "d_model": 8, "n_layers": 2, "n_heads": 2, "d_head": 4, "d_mlp": 6}
    config, rng = AttentionOnlyConfig(**sizes), torch.Generator().manual_seed(seed)
    parameters = {name: torch.randn(shape, generator=rng) for name, shape in config.shapes.items()}
    source = Source(f"small-{seed}", layout="mesascope", weights_sha256=f"{seed:064d}", facts={"bos": 0})
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), source)


def text_file(folder: Path) -> str:
    rng = np.random.default_rng(5)
    lines = [f'{{"tokens": {rng.integers(1, 12, n).tolist()}}}\n' for n in (20, 15, 22, 15, 4)]
    (folder / "text.jsonl").write_text("".join(lines))
    return str(folder / "text.jsonl")


def token_norms(text: str, **settings: Any) -> TokenNorms:
    return TokenNorms(**{"tokens": text, "untrained": UNTRAINED, **settings})


def induction_heads(text: str, **settings: Any) -> InductionHeads:
    return InductionHeads(**{"tokens": text, "periods": (5, 4), "n_sequences": 6, **settings})


Make = Callable[[str], Probe]


@contextmanager
def counted(subject: LanguageModel) -> Iterator[list[tuple[int, int]]]:
    """The shape of the tokens of every pass that is watched from its beginning, as it comes."""
    passes: list[tuple[int, int]] = []
    run = subject.run

    def counting(tokens: torch.Tensor, *rest: Any, **named: Any) -> Any:
        passes.append((len(tokens), tokens.shape[1]))
        return run(tokens, *rest, **named)

    subject.run = counting  # type: ignore[method-assign]
    try:
        yield passes
    finally:
        del subject.run
