"""Models whose heads or writes mesascope cannot show: what is left is the model's own, what is not has a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from mesascope.data.errors import UsageError
from mesascope.models import NotApplicable, from_module
from mesascope.probes import InductionHeads

Tiny = Callable[..., Any]
SIZES = {"vocab_size": 53, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
HEADS = {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64}


def deberta() -> Any:
    """Attention in its own code, with relative positions."""
    return transformers.DebertaV2ForMaskedLM(
        transformers.DebertaV2Config(**SIZES, relative_attention=True, pos_att_type=["c2p", "p2c"])
    )


def roformer() -> Any:
    """Attention in its own code, causal."""
    return transformers.RoFormerForCausalLM(transformers.RoFormerConfig(**SIZES, is_decoder=True, embedding_size=32))


def t5_encoder() -> Any:
    sizes = {"vocab_size": 53, "d_model": 32, "d_ff": 48, "num_layers": 2, "num_heads": 4, "d_kv": 8}
    return transformers.T5EncoderModel(transformers.T5Config(**sizes))


def hybrid() -> Any:
    """One layer of linear attention, one of softmax attention; its stream is no plain sum."""
    kinds = ["full_attention", "linear_attention"]
    return transformers.MiniMaxForCausalLM(
        transformers.MiniMaxConfig(**SIZES, **HEADS, num_local_experts=2, layer_types=kinds)
    )


def qwen_next() -> Any:
    """Another hybrid: its stream is a sum, but of other modules in each layer."""
    sizes = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8}
    kinds = ["linear_attention", "full_attention"]
    config = transformers.Qwen3_5TextConfig(
        **SIZES, **HEADS, **sizes, linear_value_head_dim=8, layer_types=kinds, num_experts=0
    )
    return transformers.Qwen3_5ForCausalLM(config)


REASONS = {
    deberta: "it computes attention in its own code",
    roformer: "it computes attention in its own code",
    t5_encoder: "a learned bias for each distance is added to its scores",
    hybrid: "its layer 1 calls no attention; expected one call in each layer",
    qwen_next: "its layer 0 calls no attention; expected one call in each layer",
}
SUMS = (deberta, roformer, t5_encoder)
"""Those whose stream is the sum of two modules' writes in every layer."""


def widened(make: Callable[[], Any]) -> Any:
    module = make().eval()
    rng = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        noise = torch.randn(parameter.shape, generator=rng)
        parameter.data = 0.2 * noise if parameter.ndim > 1 else parameter.data + 0.1 * noise
    return module


def keep(x: Any, layer: int) -> Any:
    return x


TOKENS = torch.randint(3, 53, (2, 17), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("make", REASONS)
def test_the_rest_is_the_models_own(make: Callable[[], Any]) -> None:
    module = widened(make)
    module.config._attn_implementation = "eager"
    with torch.no_grad():
        expected = module(input_ids=TOKENS, output_hidden_states=True, use_cache=False)
    subject = from_module(module)
    trace = subject.run(TOKENS, dict.fromkeys(("resid_pre", "resid_post", "final_norm"), keep))
    logits = expected.get("logits")
    if logits is not None:
        torch.testing.assert_close(subject.logits(TOKENS), logits, rtol=1e-4, atol=1e-4)
    for layer, state in enumerate(trace.values["resid_pre"]):
        torch.testing.assert_close(state, expected.hidden_states[layer], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(trace.values["final_norm"][0], expected.hidden_states[-1], rtol=1e-4, atol=1e-4)
    assert subject.opening_check.failed == ()
    assert subject.shape.causal == (make in (roformer, hybrid, qwen_next))
    assert (subject.shape.n_layers, subject.shape.n_heads, subject.shape.d_model) == (2, 4, 32)


@pytest.mark.parametrize("make", REASONS)
def test_heads_are_not_shown(make: Callable[[], Any]) -> None:
    subject = from_module(widened(make))
    assert REASONS[make] in subject.not_shown["attention"]
    trace = subject.run(TOKENS, dict.fromkeys(("q", "v", "attention", "pattern", "z", "resid_post"), keep))
    assert [len(trace.values[site]) for site in ("q", "v", "attention", "pattern", "z", "resid_post")] == [0] * 5 + [2]
    with pytest.raises(UsageError, match="site 'z' of this model cannot be edited: "):
        subject.run(TOKENS, edit={"z": keep})
    for found in (subject.weights(), subject.attention_output(0), InductionHeads().applies(subject)):
        assert isinstance(found, NotApplicable)
    assert REASONS[make] in subject.weights().reason
    assert any(f"what its heads attend to and move is not measured: {REASONS[make]}" in n for n in subject.source.notes)


@pytest.mark.parametrize("make", REASONS)
def test_writes_are_shown_where_they_add_up(make: Callable[[], Any]) -> None:
    subject = from_module(widened(make))
    sites = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
    values = subject.run(TOKENS, dict.fromkeys(sites, keep)).values
    assert ("mlp_out" in subject.not_shown) == (make not in SUMS)
    for layer, mlp_out in enumerate(values["mlp_out"]):
        pre, middle, post = (values[site][layer] for site in ("resid_pre", "resid_mid", "resid_post"))
        if make is t5_encoder:  # no norm after the sums
            torch.testing.assert_close(pre + values["attn_out"][layer] + mlp_out, post, rtol=1e-4, atol=1e-5)
        else:
            norm = subject.blocks[layer].module.get_submodule("output.LayerNorm")
            torch.testing.assert_close(norm(middle + mlp_out), post, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [roformer, hybrid])
def test_untrained_ones_show_no_more(make: Callable[[], Any]) -> None:
    subject = from_module(widened(make))
    other = subject.untrained(0)
    assert other.not_shown == subject.not_shown
    assert other.logits(TOKENS).isfinite().all()


def test_everything_is_shown_of_the_usual_families(tiny: Tiny) -> None:
    for kind in ("gpt2", "llama", "bert"):
        subject = from_module(tiny(kind))
        assert subject.not_shown == {}
        assert not any("is not measured" in note for note in subject.source.notes)


def test_induction_heads_names_the_reason() -> None:
    answer = InductionHeads().applies(from_module(widened(roformer)))
    assert answer is not None
    assert answer.reason.startswith("what the heads of this model attend to cannot be measured: it computes attention")
