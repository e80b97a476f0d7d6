"""Patterns weighted by what keys send, against loops and against the attention that transformers gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import TaskError
from mesascope.models import from_module, load
from mesascope.models.constructed.induction import induction_circuit
from mesascope.models.language_model import LanguageModel
from mesascope.models.wrapped_language_model import from_language_model
from mesascope.probes.induction_heads.patterns import Patterns, not_weighted, value_norms, value_weighted_pattern
from mesascope.probes.streaming import stream

SIZES = {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 0}
TOKENS = torch.randint(50, (1, 13), generator=torch.Generator().manual_seed(3))
HEADS = [(1, 3), (0, 2), (1, 0)]


def kept(subject: LanguageModel, tokens: torch.Tensor = TOKENS) -> Patterns:
    watcher = Patterns(subject, HEADS)
    stream(subject, [tokens], [watcher])
    return watcher


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(**SIZES, n_positions=32, n_embd=24, n_layer=2, n_head=4, initializer_range=0.3)
    return GPT2LMHeadModel._from_config(config, attn_implementation="eager").eval()


def llama() -> Any:
    """Four heads over two key-value heads."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(**SIZES, **sizes, num_key_value_heads=2, initializer_range=0.3)
    return LlamaForCausalLM._from_config(config, attn_implementation="eager").eval()


def written(module: Any, states: Any, layer: int, head: int) -> np.ndarray:
    """What each token sends through one head, read off the module's own weights: [key, d_model]."""
    x = states[layer][0].double()
    if hasattr(module, "transformer"):
        block = module.transformer.h[layer]
        x = block.ln_1.double()(x)
        v = (x @ block.attn.c_attn.weight.double() + block.attn.c_attn.bias.double())[:, 48:]
        return (v[:, 6 * head : 6 * head + 6] @ block.attn.c_proj.weight.double()[6 * head : 6 * head + 6]).numpy()
    block = module.model.layers[layer]
    x = block.input_layernorm.double()(x)
    shared = head // 2
    v = x @ block.self_attn.v_proj.weight.double().T[:, 6 * shared : 6 * shared + 6]
    return (v @ block.self_attn.o_proj.weight.double().T[6 * head : 6 * head + 6]).numpy()


@pytest.mark.parametrize("made", [gpt2, llama])
def test_they_are_those_of_transformers(made: Callable[[], Any]) -> None:
    found = kept(from_module(made()))
    module = made()
    with torch.no_grad():
        seen = module(TOKENS, output_attentions=True, output_hidden_states=True)
        for place, (layer, head) in enumerate(HEADS):
            np.testing.assert_allclose(found.pattern[place], seen.attentions[layer][0, head], atol=1e-5)
            lengths = np.linalg.norm(written(module, seen.hidden_states, layer, head), axis=-1)
            np.testing.assert_allclose(found.value_norms[place], lengths, rtol=1e-4)  # pyright: ignore
    assert found.pattern.dtype == np.float32
    assert np.ptp(found.pattern[:, -1]) > 0.1  # not even: an exchanged query and key would be seen


def test_a_shipped_induction_head_reads_what_followed() -> None:
    subject = load("induction-2layer")
    run = torch.arange(3, 23)
    found = kept(subject, torch.cat([torch.tensor([subject.bos]), run, run])[None])
    last = found.pattern[HEADS.index((1, 0))]
    assert last[30].argmax() == 11  # the token 20 places before it, and one on
    assert last[30, 11] > 0.9
    np.testing.assert_allclose(found.pattern.sum(-1), 1, atol=1e-5)
    assert np.all(found.pattern[:, ~np.tri(41, dtype=bool)] == 0)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_weighted_patterns_are_those_of_loops(kv_heads: int) -> None:
    rng = np.random.default_rng(kv_heads)
    pattern, v = rng.random((2, 4, 5, 5)), rng.normal(size=(2, kv_heads, 5, 3))
    W_O = rng.normal(size=(4, 3, 7))
    by_loops = np.zeros((2, 4, 5, 5))
    for b, h, i, j in np.ndindex(2, 4, 5, 5):
        sent = sum(v[b, h // (4 // kv_heads), j, c] * W_O[h, c] for c in range(3))
        by_loops[b, h, i, j] = np.sqrt(((pattern[b, h, i, j] * sent) ** 2).sum())
    found = value_weighted_pattern(*map(torch.from_numpy, (pattern, v, W_O)))
    np.testing.assert_allclose(found, by_loops, rtol=1e-12)


@pytest.mark.parametrize(
    ("pattern", "v", "W_O", "said"),
    [
        ((1, 4, 5, 6), (1, 2, 5, 3), (4, 3, 7), r"patterns \[1, 4, 5, 6\]: expected \[1, 4, queries, 5\]"),
        ((1, 2, 5, 5), (1, 2, 5, 3), (4, 3, 7), r"patterns \[1, 2, 5, 5\]: expected \[1, 4, queries, 5\]"),
        ((1, 4, 5, 5), (1, 3, 5, 3), (4, 3, 7), "values have 3 heads of 3 numbers, W_O has 4 of 3"),
        ((1, 4, 5, 5), (1, 2, 5, 2), (4, 3, 7), "values have 2 heads of 2 numbers, W_O has 4 of 3"),
    ],
)
def test_what_does_not_belong_together_is_refused(pattern: Any, v: Any, W_O: Any, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        value_weighted_pattern(torch.zeros(pattern), torch.zeros(v), torch.zeros(W_O))


def test_nothing_is_sent_by_a_value_of_zero() -> None:
    v = torch.ones(1, 1, 3, 2)
    v[0, 0, 1] = 0
    assert value_norms(v, torch.ones(2, 2, 4)).tolist() == [[[4.0, 0.0, 4.0]] * 2]


def test_a_pattern_alone_is_kept_and_the_reason_why_nothing_weighs_it() -> None:
    circuit = induction_circuit(d_vocab=24, n_ctx=24)
    assert not_weighted(circuit) == ""
    bare = from_language_model(
        circuit.logits,
        d_vocab=24,
        n_ctx=24,
        pattern=lambda ids: torch.stack(circuit.observe(ids, {"pattern": lambda x, _: x})["pattern"]),
    )
    assert "from_language_model(…, v=…" in not_weighted(bare)
    found = []
    for subject in (bare, circuit):
        found.append(Patterns(subject, [(1, 0)]))
        stream(subject, [TOKENS % 24], [found[-1]])
    np.testing.assert_allclose(found[0].pattern, found[1].pattern, atol=1e-6)
    assert found[0].value_norms is None
    assert found[1].value_norms is not None


def test_a_norm_on_what_is_written_leaves_keys_no_length_of_their_own() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "head_dim": 8}
    config = Gemma2Config(**SIZES, **sizes, num_attention_heads=4, num_key_value_heads=2)
    subject = from_module(Gemma2ForCausalLM(config).eval())
    assert not_weighted(subject).startswith("this model normalises the output of attention")
    assert kept(subject).value_norms is None
