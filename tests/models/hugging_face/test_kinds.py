"""Kinds of models that differ where it is easily overlooked, beside transformers' eager pass or a closed form."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope.data.errors import CheckpointRefused, TaskError
from mesascope.models import NotApplicable, from_module, load
from safetensors.torch import load_file, save_file
from torch import Tensor

Tiny = Callable[..., Any]


def tokens(length: int = 17) -> Tensor:
    return torch.randint(3, 53, (2, length), generator=torch.Generator().manual_seed(4))


def keep(activation: Any, layer: int) -> Any:
    return activation


@torch.no_grad()
def eager(module: Any, ids: Tensor) -> Any:
    return module(ids, output_attentions=True, output_hidden_states=True)


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


KINDS = (
    "gpt_oss", "smollm3", "ernie4_5", "glm", "gemma3", "llama yarn", "bitnet", "granite", "mixtral", "roberta",
    "cohere", "bloom", "mpt", "falcon", "gpt_neo", "gptj", "codegen", "gpt_bigcode", "openai-gpt", "phi3", "olmo",
    "deepseek_v3", "llama4", "bart", "distilbert", "albert", "electra", "modernbert",
)  # fmt: skip
OF_PRODUCTS = (
    "ernie4_5", "glm", "smollm3", "gemma3", "llama yarn", "gpt_oss", "cohere", "gptj", "codegen", "gpt_neo",
    "gpt_bigcode", "falcon",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_logits_patterns_and_states_are_those_of_eager_attention(kind: str, tiny: Tiny) -> None:
    module = tiny(kind)
    subject, expected = from_module(module), eager(module, tokens())
    assert difference(subject.logits(tokens()), expected.logits) < 1e-4
    values = subject.run(tokens(), dict.fromkeys(("pattern", "attention", "resid_pre"), keep)).values
    assert len(expected.attentions) == subject.shape.n_layers
    for layer, pattern in enumerate(expected.attentions):
        assert difference(values["pattern"][layer], pattern) < 1e-5
        assert difference(values["attention"][layer].pattern(), pattern) < 1e-5
        assert difference(values["resid_pre"][layer], expected.hidden_states[layer]) < 1e-4


def test_sinks_take_their_share_of_the_pattern(tiny: Tiny) -> None:
    """The share of the last query's sink by the softmax over all scores and the sink."""
    module = tiny("gpt_oss")
    with torch.no_grad():
        for layer in module.model.layers:
            layer.self_attn.sinks.fill_(2.0)
    scores = from_module(module).run(tokens(), {"attention": keep}).values["attention"][1]  # a layer without a window
    last = scores.scores()[:, :, -1].double()
    expected = 1 - math.e**2 / (last.exp().sum(dim=-1) + math.e**2)
    torch.testing.assert_close(scores.pattern()[:, :, -1].sum(dim=-1).double(), expected, rtol=1e-5, atol=1e-6)
    assert float(expected.min()) < 0.9


@pytest.mark.parametrize("kind", ["qwen3", "gpt2", "llama"])
def test_causality_is_that_of_the_configuration(kind: str, tiny: Tiny, tmp_path: Path) -> None:
    module = tiny(kind)
    module.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"is_causal": False}))
    assert from_module(module).shape.causal
    subject = load(tmp_path)
    assert not subject.shape.causal
    expected = eager(type(module).from_pretrained(tmp_path, attn_implementation="eager"), tokens())
    values = subject.run(tokens(), {"attention": keep}).values["attention"]
    assert difference(subject.logits(tokens()), expected.logits) < 1e-4
    assert max(difference(one.pattern(), own) for one, own in zip(values, expected.attentions, strict=True)) < 1e-5
    assert not subject.untrained(0).shape.causal


def rotations(tiny: Tiny, kind: str, **changed: Any) -> list[Any]:
    weights = from_module(tiny(kind, **changed)).weights()
    return [weights.rotary_of(layer) for layer in range(3)]


def frequencies(base: float, width: int) -> Tensor:
    return base ** -(torch.arange(0, width, 2) / width)


def test_rotations_are_read_off_each_layer(tiny: Tiny) -> None:
    assert [one.interleaved for one in rotations(tiny, "ernie4_5")] == [True] * 3
    half = rotations(tiny, "glm")[0]
    assert half.interleaved
    assert half.frequencies.shape == (2,)  # of a head's 8 dimensions 4 are rotated
    first, without, last = rotations(tiny, "smollm3")
    assert without is None
    assert first.same_as(last)
    assert not first.interleaved
    local, whole, _ = rotations(tiny, "gemma3")
    torch.testing.assert_close(local.frequencies, frequencies(1e4, 8))
    torch.testing.assert_close(whole.frequencies, frequencies(1e6, 8))
    assert rotations(tiny, "gpt2") == [None] * 3


def test_the_factor_of_yarn_is_that_of_its_paper(tiny: Tiny) -> None:
    """0.1 ln(s) + 1 on q and on k, for contexts s times as long as in training."""
    assert rotations(tiny, "llama yarn")[0].factor == pytest.approx(0.1 * math.log(4) + 1)


@pytest.mark.parametrize("kind", OF_PRODUCTS)
def test_the_product_at_an_offset_is_what_the_model_scores(kind: str, tiny: Tiny) -> None:
    """Up to a positive number for each query and key where q and k are normalised: signs agree and so does the rank of
    the product; without norms the numbers themselves."""
    module, offset = tiny(kind), 5
    subject = from_module(module if kind == "gpt_oss" else module.double())  # torch mixes experts in float32 at most
    weights = subject.weights()
    values = subject.run(tokens(), dict.fromkeys(("resid_pre", "attention"), keep)).values
    for layer in range(3):
        x, scored = subject.attention_input(values["resid_pre"][layer], layer), values["attention"][layer]
        left, right = weights.qk(layer, 3, offset)
        late, early = x[:, offset:], x[:, :-offset]
        bias = weights.b_Q is not None
        found = ((late @ left) * (early @ right.mT)).sum(dim=-1)
        expected = (scored.q[:, 3, offset:] * scored.k[:, 3 * scored.k.shape[1] // 4, :-offset]).sum(dim=-1)
        if kind == "gemma3":
            assert torch.equal(found.sign(), expected.sign())
        elif not bias:
            assert difference(found, expected) < 1e-4 * float(expected.abs().max())


def test_writes_and_embeddings_contain_the_factors_of_granite(tiny: Tiny) -> None:
    module = tiny("granite")
    subject = from_module(module)
    torch.testing.assert_close(subject.embedding(), 12 * module.model.embed_tokens.weight.detach())
    torch.testing.assert_close(subject.unembedding(), module.lm_head.weight.detach().mT / 8)
    stored = module.model.layers[0].self_attn.o_proj.weight.detach()
    torch.testing.assert_close(subject.weights().W_O[0].flatten(0, 1), 0.22 * stored.mT)
    sites = ("embed", "resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
    values = subject.run(tokens(), dict.fromkeys(sites, keep)).values
    torch.testing.assert_close(values["embed"][0], values["resid_pre"][0])
    for before, write, middle, mlp, after in zip(*(values[site] for site in sites[1:]), strict=True):
        torch.testing.assert_close(before + write, middle)
        torch.testing.assert_close(middle + mlp, after)
    double = {site: lambda x, layer: 2 * x for site in ("embed", "attn_out", "mlp_out")}
    edited = subject.run(tokens(), dict.fromkeys(sites, keep), double).values
    torch.testing.assert_close(edited["resid_pre"][0], 2 * values["embed"][0])
    torch.testing.assert_close(edited["resid_mid"][0] - edited["resid_pre"][0], edited["attn_out"][0])


def test_slopes_are_those_of_the_paper(tiny: Tiny) -> None:
    """ALiBi of 4 heads: 2^-2, 2^-4, 2^-6, 2^-8 (Press et al. 2022)."""
    for kind in ("bloom", "mpt"):
        subject = from_module(tiny(kind))
        assert subject.shape.positions == "alibi"
        for scores in subject.run(tokens(), {"attention": keep}).values["attention"]:
            torch.testing.assert_close(scores.slopes, torch.tensor([2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8]))


def test_what_falcon_overwrites_is_watched_as_it_was(tiny: Tiny) -> None:
    """Falcon adds attention's write to the MLP's output in place."""
    module = tiny("falcon")
    subject = from_module(module)
    sites = ("resid_pre", "attn_out", "mlp_out", "resid_post")
    values = subject.run(tokens(), dict.fromkeys(sites, keep)).values
    for before, attention, mlp, after in zip(*(values[site] for site in sites), strict=True):
        torch.testing.assert_close(before + attention + mlp, after)
    doubled = subject.run(tokens(), {"resid_post": keep, "mlp_out": keep}, {"mlp_out": lambda x, layer: 2 * x}).values
    expected = values["resid_pre"][0] + values["attn_out"][0] + 2 * values["mlp_out"][0]
    torch.testing.assert_close(doubled["resid_post"][0], expected)
    torch.testing.assert_close(doubled["mlp_out"][0], 2 * values["mlp_out"][0])


@pytest.mark.parametrize("kind", ["albert", "electra"])
def test_embeddings_of_another_width_are_no_states_of_the_stream(kind: str, tiny: Tiny) -> None:
    subject = from_module(tiny(kind))
    assert subject.embedding().shape == (53, 16)
    assert subject.no_embedded_states().reason == "embeddings of 16 dimensions are projected to 32"
    assert subject.opening_check.failed == ()


def test_layers_that_share_a_module_are_told_apart(tiny: Tiny) -> None:
    """ALBERT applies one layer three times: each application is edited by itself, and the weights are the same."""
    module = tiny("albert")
    subject, before = from_module(module), module.config.to_dict()
    assert subject.shape.n_layers == 3
    weights = subject.weights()
    assert torch.equal(weights.W_Q[0], weights.W_Q[2])
    values = subject.run(tokens(), {"resid_pre": keep, "resid_post": keep}).values
    edited = subject.run(tokens(), {"resid_post": keep}, {"z": lambda z, layer: z * (layer != 1)}).values["resid_post"]
    assert torch.equal(edited[0], values["resid_post"][0])
    assert difference(edited[1], values["resid_post"][1]) > 1e-3
    assert module.config.to_dict() == before
    assert len(module.albert.encoder.albert_layer_groups) == 1
    again = subject.untrained(0)
    assert torch.equal(again.weights().W_Q[0], again.weights().W_Q[2])


def test_heads_without_projections_are_watched_and_have_no_weights(tiny: Tiny) -> None:
    """DeepSeek: queries and keys go through a narrow state and a norm, so no matrix leads from the stream to them."""
    subject = from_module(tiny("deepseek_v3"))
    weights = subject.weights()
    assert isinstance(weights, NotApplicable)
    assert "not products of one matrix each" in weights.reason
    values = subject.run(tokens(), dict.fromkeys(("q", "pattern", "z", "attn_out"), keep)).values
    assert values["q"] == []
    W_O, _, own, norm = subject.attention_output(1)
    assert own is norm is None
    write = torch.einsum("bhpd,hdm->bpm", values["z"][1], W_O)
    assert difference(write, values["attn_out"][1]) < 1e-4


@pytest.mark.parametrize("kind", ["cohere", "gpt_neox", "gptj", "falcon"])
def test_parallel_blocks_have_nothing_between_attention_and_mlp(kind: str, tiny: Tiny) -> None:
    assert from_module(tiny(kind)).run(tokens(), {"resid_mid": keep}).values["resid_mid"] == []


def test_positions_that_begin_after_the_padding_token_leave_room_for_fewer(tiny: Tiny) -> None:
    module = tiny("roberta")
    subject = from_module(module)
    assert subject.shape.n_ctx == 62
    assert difference(subject.logits(tokens(62)), eager(module, tokens(62)).logits) < 1e-4
    with pytest.raises(TaskError, match="at most 62"):
        subject.logits(tokens(63))


def test_how_outputs_are_wrapped_says_nothing_about_the_model(tiny: Tiny, tmp_path: Path) -> None:
    module = tiny("llama")
    module.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    wrapped = {"return_dict": False, "output_hidden_states": True, "use_cache": True}
    config.write_text(json.dumps(json.loads(config.read_text()) | wrapped))
    expected = eager(module, tokens()).logits
    assert difference(load(tmp_path).logits(tokens()), expected) < 1e-4
    module.config.return_dict = False
    assert difference(from_module(module).logits(tokens()), expected) < 1e-4


def test_a_mixture_of_experts_opens_from_disk(tiny: Tiny, tmp_path: Path) -> None:
    """transformers writes experts one by one and computes with them stacked."""
    module = tiny("mixtral")
    module.save_pretrained(tmp_path)
    subject = load(tmp_path)
    assert difference(subject.logits(tokens()), eager(module, tokens()).logits) < 1e-4
    assert subject.source.weights_sha256 == from_module(module).source.weights_sha256
    stored = load_file(tmp_path / "model.safetensors")
    expert = "model.layers.1.block_sparse_moe.experts.2.w1.weight"
    for changed, message in (
        ({name: tensor for name, tensor in stored.items() if name != expert}, "missing"),
        ({**stored, expert: stored[expert][:-1].contiguous()}, r"has shape \[47, 32\]; expected \[48, 32\]"),
        ({**stored, expert.replace("w1", "w4"): stored[expert].clone()}, "surplus tensor"),
    ):
        save_file(changed, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointRefused, match=message):
            load(tmp_path)
