"""Models of several kinds, and demonstrations for them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope.models import (
    AttentionOnlyConfig,
    AttentionOnlyModel,
    AttentionOnlyTransformer,
    Source,
    from_module,
    load,
)
from mesascope.models.differentiable import Differentiable, differentiable
from mesascope.probes.icl_vs_gd.rules import Demo
from torch import Tensor

SHARED = Path(os.environ.get("MESASCOPE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
STORIES = SHARED / "stories260k"
NAMES = ("own", "gpt2", "stories260k")
KINDS: Mapping[str, dict[str, Any]] = {
    "own": {"d_mlp": 8, "positions": "rotary"},
    "own gated": {"d_mlp": 8, "gated_mlp": True, "norm": "rms"},
    "one layer": {"d_mlp": 8, "n_layers": 1},
    "no norm": {"d_mlp": 8, "norm": "none"},
    "shortformer": {"positions": "shortformer"},
}
FLOAT32 = " in float32"
IN_BOTH = (*NAMES, *(name + FLOAT32 for name in NAMES))


def exact(name: str) -> float:
    """What rounding may change, as the specification has it."""
    return 1e-5 if name.endswith(FLOAT32) else 1e-12


def own_model(**settings: Any) -> AttentionOnlyModel:
    sizes = {"d_vocab": 11, "n_ctx": 7, "d_model": 6, "n_layers": 2, "n_heads": 3, "d_head": 4, **settings}
    config = AttentionOnlyConfig(**sizes)
    rng = torch.Generator().manual_seed(0)
    parameters = {
        name: 0.4 * torch.randn(shape, generator=rng, dtype=torch.float64) + name.endswith("scale")
        for name, shape in config.shapes.items()
    }
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))


def tiny_of(family: str, n_layers: int = 2) -> Any:
    import transformers

    shared = {"vocab_size": 53, "initializer_range": 0.3, "attn_implementation": "eager", "bos_token_id": 0}
    shared |= {"eos_token_id": 0}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        if family == "gpt2":
            config = transformers.GPT2Config(n_embd=16, n_layer=n_layers, n_head=4, n_positions=16, **shared)
            return transformers.GPT2LMHeadModel(config).eval().double()
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
        config = transformers.LlamaConfig(intermediate_size=24, max_position_embeddings=16, **sizes, **shared)
        return transformers.LlamaForCausalLM(config).eval().double()


def subject_of(name: str) -> Any:
    """In float64, but for names that say so."""
    kind, dtype = name.removesuffix(FLOAT32), torch.float32 if name.endswith(FLOAT32) else torch.float64
    if kind == "stories260k":
        if not STORIES.exists():
            pytest.skip("no shared data beside the repository")
        return load(str(STORIES), dtype=dtype)
    if kind == "one layer of gpt2":
        return from_module(tiny_of("gpt2", 1).to(dtype))
    if kind not in KINDS:
        return from_module(tiny_of(kind).to(dtype))
    subject = own_model(**KINDS[kind])
    subject.module.to(dtype)
    return subject


def fresh_model_of(name: str, **settings: Any) -> Differentiable:
    found = differentiable(subject_of(name), **settings)
    assert isinstance(found, Differentiable)
    return found


model_of = cache(fresh_model_of)
"""Shared by tests, none of which may change it: one of them looks."""


def drawn(seed: int = 0, lengths: tuple[int, ...] = (2, 2, 3, 2, 4), d_vocab: int = 11) -> list[Demo]:
    rng = torch.Generator().manual_seed(seed)
    tokens = (torch.randint(d_vocab, (n + 1,), generator=rng).tolist() for n in lengths)
    return [Demo((0, *some[1:-1]), some[-1]) for some in tokens]


def far(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def token_file(folder: Path, rules: int = 2) -> str:
    """Examples of token ids below 64 with so many rules, each of two labels."""
    rows = [
        {"input": [10 * rule + n], "output": [50 + 2 * rule + n % 2], "task": f"rule {rule}"}
        for rule in range(rules)
        for n in range(10)
    ]
    (folder / "tasks.json").write_text(json.dumps(rows))
    return str(folder / "tasks.json")
