"""Small random models of several kinds in float64, and few-shot tasks for them."""

from __future__ import annotations

from typing import Any

import torch
from mesascope.data.few_shot.generated import generated_tasks
from mesascope.data.few_shot.tasks import FewShotTasks
from mesascope.data.mapping import LabelMapping
from mesascope.models import from_module

KINDS = ("gpt2", "llama")
BOS = 0


def module_of(kind: str) -> Any:
    """A plain module of transformers; the heads of `llama` share keys and values."""
    import transformers

    shared = {"vocab_size": 29, "initializer_range": 0.4, "attn_implementation": "eager", "bos_token_id": BOS}
    with torch.random.fork_rng():
        torch.manual_seed(5)
        if kind == "gpt2":
            config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=4, n_positions=24, eos_token_id=0, **shared)
            return transformers.GPT2LMHeadModel(config).eval().double()
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
        config = transformers.LlamaConfig(
            intermediate_size=24, max_position_embeddings=24, eos_token_id=0, **sizes, **shared
        )
        return transformers.LlamaForCausalLM(config).eval().double()


def subject_of(kind: str) -> Any:
    return from_module(module_of(kind))


def tasks_of(kind: str = "label-mapping", n: int = 6, k: int = 2, queries: int = 2, seed: int = 0) -> FewShotTasks:
    """Generated, of tokens 1 to 28: of two labels in a task with two classes, or of pairs."""
    law = LabelMapping(n_classes=3, n_members=5, n_labels=6, n_shown=2, n_pairs=6) if kind == "label-mapping" else None
    return generated_tasks(kind, range(29), n, k, queries, seed, own=law)  # type: ignore[arg-type]
