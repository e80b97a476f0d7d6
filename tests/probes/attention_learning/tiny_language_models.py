"""Small language models with random weights, and files of tokens for them to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source

SIZES = {"d_vocab": 13, "n_ctx": 12, "d_model": 8, "n_layers": 3, "n_heads": 2, "d_head": 4}
HF_SIZES: dict[str, Any] = {"vocab_size": 23, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 16}
HF_SIZES |= {"max_position_embeddings": 16, "intermediate_size": 24, "bos_token_id": 0, "eos_token_id": 0}
GROUPED = {**HF_SIZES, "num_key_value_heads": 2, "head_dim": 4}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2LMHeadModel", {"n_positions": 16, **HF_SIZES}),
    "llama": ("LlamaForCausalLM", GROUPED),
    "mistral": ("MistralForCausalLM", {**GROUPED, "sliding_window": 4}),
    "gemma2": ("Gemma2ForCausalLM", {**GROUPED, "sliding_window": 4}),  # normalises what attention writes
    "openai-gpt": ("OpenAIGPTLMHeadModel", {"n_positions": 16, "n_inner": 24, "afn": "gelu", **HF_SIZES}),
    "bert": ("BertForMaskedLM", HF_SIZES),
}


def model(seed: int = 0, changed: dict[str, float] | None = None, **settings: Any) -> AttentionOnlyModel:
    """Random weights in float64, of which some are multiplied."""
    config, rng = AttentionOnlyConfig(**{**SIZES, **settings}), torch.Generator().manual_seed(seed)
    parameters = {
        name: (0.7 * torch.randn(shape, generator=rng).double() + name.endswith("scale")) * (changed or {}).get(name, 1)
        for name, shape in config.shapes.items()
    }
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))


def module_of(family: str) -> Any:
    """A tiny model of transformers, in float64."""
    name, values = FAMILIES[family]
    kind = getattr(transformers, name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = kind(kind.config_class(**values, initializer_range=0.3)).eval()
        with torch.no_grad():
            for parameter in module.parameters():  # biases and norms start at 0 and 1, where mistakes do not show
                parameter.add_(0.1 * torch.randn_like(parameter))
    return module.double()


def ids_file(folder: Path, documents: Sequence[Sequence[int]]) -> str:
    path = folder / "ids.jsonl"
    path.write_text("\n".join(json.dumps({"tokens": list(ids)}) for ids in documents))
    return str(path)
