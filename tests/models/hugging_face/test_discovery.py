"""Parts of a model are found by what they read and write; what is missing is named, and each wrong find is noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from mesascope.data.errors import CheckpointRefused
from mesascope.models import NotApplicable, from_module, load
from mesascope.models.hugging_face import discovery, head, own_attention, shared_layers
from mesascope.models.hugging_face import subject as hugging_face
from mesascope.models.hugging_face.anatomy import Anatomy
from mesascope.models.hugging_face.discovery import find_anatomy
from mesascope.models.hugging_face.fused import Fused, layouts
from mesascope.models.hugging_face.projecting import Projections
from mesascope.models.hugging_face.sizes import short_tokens

Tiny = Callable[..., Any]


def anatomy(module: Any) -> Anatomy:
    own_attention.reroute(module)
    return find_anatomy(module.base_model, short_tokens(module))


# -- where parts are --------------------------------------------------------------------------------------------------


def test_a_block_with_norms_before_and_one_with_norms_after(tiny: Tiny) -> None:
    llama, bert = anatomy(tiny("llama")), anatomy(tiny("bert"))
    assert (llama.norm, llama.attn_out, llama.mlp_out, llama.resid_mid) == (
        "input_layernorm", "self_attn", "mlp", None,
    )  # fmt: skip
    assert (llama.embed, llama.blocks, llama.final_norm, llama.embed_norm) == ("embed_tokens", "layers", "norm", None)
    assert (llama.n_heads, llama.n_kv_heads, llama.d_head, llama.d_model) == (4, 2, 8, 32)
    assert (bert.norm, bert.attn_out, bert.mlp_out, bert.resid_mid) == (
        None, "attention.output.dense", "output.dense", "attention.output.LayerNorm",
    )  # fmt: skip
    assert (bert.final_norm, bert.embed_norm) == (None, "embeddings.LayerNorm")


def test_norms_of_q_and_k_and_of_what_is_written(tiny: Tiny) -> None:
    assert anatomy(tiny("qwen3")).head_norms == ("self_attn.q_norm", "self_attn.k_norm")
    assert anatomy(tiny("llama")).head_norms is None
    gemma = anatomy(tiny("gemma2"))
    assert (gemma.out, gemma.attn_out) == ("self_attn.o_proj", "post_attention_layernorm")
    assert anatomy(tiny("bitnet")).out == "self_attn.o_proj"  # behind a norm of the heads


def test_a_factor_of_the_writes_is_the_number_that_is_declared(tiny: Tiny) -> None:
    assert anatomy(tiny("granite")).residual_factor == 0.22
    assert anatomy(tiny("llama")).residual_factor == 1
    assert anatomy(tiny("granite", residual_multiplier=0.5)).residual_factor == 0.5


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("gpt2", Fused(1, (4, 4, 4))),
        ("phi3", Fused(1, (4, 2, 2))),
        ("gpt_bigcode", Fused(1, (4, 1, 1))),
        ("gpt_neox", Fused(4, (4, 4, 4))),
        ("bloom", Fused(4, (4, 4, 4))),
        ("falcon", Fused(2, (4, 2, 2))),
        ("codegen", Fused(4, (4, 4, 4), "qvk")),
        ("llama", None),
    ],
)
def test_how_q_k_and_v_lie_in_one_projection(kind: str, expected: Fused | None, tiny: Tiny) -> None:
    assert anatomy(tiny(kind)).fused == expected


@pytest.mark.parametrize("form", [*layouts(6, 2), *layouts(4, 4)])
def test_what_is_split_is_fused_again(form: Fused) -> None:
    whole = torch.arange(5.0 * 3 * sum(form.heads)).reshape(5, -1)
    parts = form.split(whole)
    assert [part.shape for part in parts] == [(5, heads, 3) for heads in form.heads]
    assert torch.equal(form.fuse(parts), whole)


def test_heads_that_are_zero_are_told_apart_by_their_order(tiny: Tiny) -> None:
    """Models whose attention was set to 0 still have four projections."""
    module = tiny("llama")
    with torch.no_grad():
        for layer in module.model.layers:
            for name in "qk":
                layer.self_attn.get_submodule(f"{name}_proj").weight.zero_()
    assert set(anatomy(module).projections) == {f"self_attn.{name}_proj" for name in "qkv"}


@pytest.mark.parametrize("part", ["", "out", "mlp_out"])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma2", "olmo2", "falcon"])
def test_a_last_layer_that_was_set_to_zero_is_looked_past(kind: str, part: str, tiny: Tiny) -> None:
    """Ablated and pruned models open: what writes nothing tells nothing of where the parts are."""
    module = tiny(kind)
    block = from_module(module).blocks[-1]
    with torch.no_grad():
        for parameter in block.part(getattr(block.anatomy, part) if part else "").parameters():
            parameter.zero_()  # the storage that the caller's module shares
    subject = from_module(module)
    assert subject.opening_check.failed == ()
    assert subject.anatomy == block.anatomy


@pytest.mark.parametrize("kind", ["gpt2", "bert", "distilbert"])
def test_models_whose_attention_was_set_to_zero_open(kind: str, tiny: Tiny) -> None:
    module = tiny(kind)
    with torch.no_grad():
        for block in from_module(module).blocks:
            for parameter in block.part(block.anatomy.out).parameters():
                parameter.zero_()
    subject = from_module(module)
    assert subject.opening_check.failed == ()
    unmoved = {"causality": "no token affects another in this model"}
    assert subject.opening_check.not_compared == ({} if kind == "gpt2" else unmoved)


# -- what is missing --------------------------------------------------------------------------------------------------


def refusal(module: Any) -> str:
    with pytest.raises(CheckpointRefused) as refused:
        from_module(module)
    return str(refused.value)


SIZES = {"vocab_size": 53, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
T5 = {"vocab_size": 53, "d_model": 32, "d_ff": 48, "num_layers": 2, "num_heads": 4, "d_kv": 8}


def test_an_encoder_with_a_decoder_is_refused(tmp_path: Path) -> None:
    for kind in (transformers.T5ForConditionalGeneration, transformers.BartForConditionalGeneration):
        sizes = T5 if kind is transformers.T5ForConditionalGeneration else {"d_model": 32, "encoder_layers": 1}
        module = kind(kind.config_class(**{**T5, **sizes}))
        assert "it is an encoder with a decoder" in refusal(module)
        module.save_pretrained(tmp_path / kind.__name__)
        with pytest.raises(CheckpointRefused, match="it is an encoder with a decoder"):
            load(tmp_path / kind.__name__)


def test_what_reads_no_tokens_is_named() -> None:
    config = transformers.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, image_size=32)
    assert "a ViTModel reads no token ids" in refusal(transformers.ViTModel(config))


def test_the_text_model_within_a_model_of_text_and_images() -> None:
    """Gemma 3 with its vision tower; text alone."""
    text = {**SIZES, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.Gemma3Config(text_config=text, vision_config={**vision, "image_size": 28, "patch_size": 14})
    module = transformers.Gemma3ForConditionalGeneration(config).eval()
    subject = from_module(module)
    assert (subject.shape.n_layers, subject.shape.n_ctx, subject.anatomy.blocks) == (2, 64, "language_model.layers")
    tokens = torch.randint(3, 53, (2, 17), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = module(input_ids=tokens).logits
    torch.testing.assert_close(subject.logits(tokens), expected, rtol=1e-4, atol=1e-5)


def test_a_classifier_opens_without_its_head(tmp_path: Path) -> None:
    config = transformers.MistralConfig(**SIZES, num_key_value_heads=2)
    module = transformers.MistralForSequenceClassification(config).eval()
    module.save_pretrained(tmp_path)
    tokens = torch.randint(3, 53, (2, 9), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = module.model(tokens).last_hidden_state
    for subject in (from_module(module), load(tmp_path)):
        assert subject.no_head
        torch.testing.assert_close(subject.run(tokens).output, expected, rtol=1e-4, atol=1e-5)
    assert "not used: score.weight" in load(tmp_path).source.notes


def test_layers_that_show_no_attention_are_refused() -> None:
    module = transformers.FNetForMaskedLM(transformers.FNetConfig(**SIZES))
    assert "none of its layers shows attention; expected a transformer" in refusal(module)


# -- mutants ----------------------------------------------------------------------------------------------------------


def failed(module: Any) -> tuple[str, ...]:
    return from_module(module).opening_check.failed


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_keys_taken_for_values_are_noticed(kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    right = discovery.projections

    def swapped(*args: Any) -> Projections:
        found = right(*args)
        q, k, v = found.paths
        return found._replace(paths=(q, v, k))

    monkeypatch.setattr(discovery, "projections", swapped)
    assert set(failed(tiny(kind))) == {"values", "qk"}


@pytest.mark.parametrize(("kind", "wrong"), [("codegen", "qkv"), ("gpt2", "qvk")])
def test_another_order_in_one_projection_is_noticed(
    kind: str, wrong: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = hugging_face.find_anatomy
    monkeypatch.setattr(
        hugging_face,
        "find_anatomy",
        lambda *args: replace(found := right(*args), fused=replace(found.fused, order=wrong)),
    )
    assert set(failed(tiny(kind))) == {"values", "qk"}


def test_a_write_that_is_none_is_noticed(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    right = hugging_face.find_anatomy
    monkeypatch.setattr(
        hugging_face, "find_anatomy", lambda *args: replace(right(*args), mlp_out="post_attention_layernorm")
    )
    subject = from_module(tiny("llama"))
    assert subject.opening_check.failed == ("residual stream",)
    assert "is not the sum of what attention and MLP write (relative error" in subject.not_shown["mlp_out"]


@pytest.mark.parametrize("wrong", [lambda slopes: -slopes, lambda slopes: 0 * slopes, lambda slopes: slopes.flip(0)])
@pytest.mark.parametrize("kind", ["bloom", "mpt"])
def test_other_slopes_are_noticed(
    kind: str, wrong: Callable[[Any], Any], tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = own_attention._slopes
    monkeypatch.setattr(own_attention, "_slopes", lambda *args: wrong(right(*args)))
    assert "does not give the model's own logits" in refusal(tiny(kind))


@pytest.mark.parametrize("kind", ["gpt_neo", "gptj", "openai-gpt"])
def test_another_scale_is_noticed(kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from mesascope.models.hugging_face import watched

    right = watched.Scoring
    monkeypatch.setattr(watched, "Scoring", lambda scale, *rest: right(1.1 * scale, *rest))
    assert "does not give the model's own" in refusal(tiny(kind))


def test_a_module_for_several_layers_is_noticed(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hugging_face, "unshare", lambda module: None)
    assert "one module of attention is called 3 times in a pass" in refusal(tiny("albert"))
    monkeypatch.undo()
    monkeypatch.setattr(shared_layers, "_over_the_same_tensors", lambda module: module)
    assert "one module of attention is called 3 times" in refusal(tiny("albert"))


@pytest.mark.parametrize("kind", ["distilbert", "opt", "cohere", "gemma2"])
def test_a_head_that_is_given_other_states_is_noticed(kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "_Output", lambda states, right=head._Output: right(1.01 * states + 0.01))
    assert "does not give the model's own logits" in refusal(tiny(kind))


def test_a_head_of_several_modules_has_no_one_matrix(tiny: Tiny) -> None:
    for kind in ("bert", "distilbert", "electra"):
        found = from_module(tiny(kind)).unembedding()
        assert isinstance(found, NotApplicable)
        assert "no single unembedding matrix: " in found.reason
