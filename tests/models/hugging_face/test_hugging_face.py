"""Tiny random models of the promised families: what the subject says is what the model computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from einops import einsum
from mesascope.data.errors import TaskError, UsageError
from mesascope.models.opening.in_memory import from_module
from mesascope.models.opening.pretrained import open_directory
from mesascope.models.subject import NotApplicable, Site
from torch import Tensor

FAMILIES = ("gpt2", "gpt_neox", "gpt_neox serial", "llama", "qwen3", "gemma2", "bert")
Tiny = Callable[..., Any]
SubjectOf = Callable[[str], Any]

each_family = pytest.mark.parametrize("family", FAMILIES)


def tokens(length: int = 17) -> Tensor:
    return torch.randint(0, 53, (2, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits_of(module: Any, ids: Tensor) -> Tensor:
    return module(ids).logits


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def keep(activation: Any, layer: int) -> Any:
    return activation


@each_family
def test_saved_and_opened_again(family: str, tiny: Tiny, tmp_path: Path) -> None:
    module = tiny(family)
    module.save_pretrained(tmp_path)
    state = torch.get_rng_state()
    subject = open_directory(tmp_path)
    assert torch.equal(state, torch.get_rng_state())
    assert difference(subject.logits(tokens()), logits_of(module, tokens())) < 1e-4
    assert subject.source.weights_sha256 == from_module(module).source.weights_sha256
    assert subject.source.facts["model_type"] == module.config.model_type
    assert subject.source.facts["dtype"] == "float32"


@each_family
@pytest.mark.parametrize("folded", [False, True])
def test_projections_are_rebuilt_from_weights(family: str, folded: bool, subject_of: SubjectOf) -> None:
    subject = subject_of(family)
    weights = subject.weights(folded)
    if isinstance(weights, NotApplicable):
        assert (family, folded) == ("bert", True)
        return
    values = subject.run(tokens(), watch=dict.fromkeys(("resid_pre", "q", "k", "v"), keep)).values
    for layer in range(subject.shape.n_layers):
        x = subject.attention_input(values["resid_pre"][layer], layer, folded)
        for site, W, b in (
            ("q", weights.W_Q, weights.b_Q),
            ("k", weights.W_K, weights.b_K),
            ("v", weights.W_V, weights.b_V),
        ):
            rebuilt = einsum(x, W[layer], "batch pos d_model, head d_model d_head -> batch head pos d_head")
            rebuilt = rebuilt if b is None else rebuilt + b[layer][:, None]
            assert difference(rebuilt, values[site][layer]) < 1e-5


@each_family
def test_what_heads_write_is_rebuilt_from_weights(family: str, subject_of: SubjectOf) -> None:
    subject = subject_of(family)
    weights = subject.weights()
    assert not isinstance(weights, NotApplicable)
    values = subject.run(tokens(), watch=dict.fromkeys(("z", "attn_out"), keep)).values
    for layer, block in enumerate(subject.blocks):
        out = einsum(values["z"][layer], weights.W_O[layer], "b head pos d, head d d_model -> b pos d_model")
        out = out if weights.b_O is None else out + weights.b_O[layer]
        if family == "gemma2":  # a norm lies between the heads and the stream
            with torch.no_grad():
                out = block.part("post_attention_layernorm")(out)
        assert difference(out, values["attn_out"][layer]) < 1e-5


@pytest.mark.parametrize("family", ["gpt_neox", "llama", "qwen3", "gemma2"])
def test_rotary_positions_lead_from_the_projections_to_what_is_scored(family: str, subject_of: SubjectOf) -> None:
    subject = subject_of(family)
    weights = subject.weights()
    assert not isinstance(weights, NotApplicable)
    assert weights.rotary is not None
    values = subject.run(tokens(), watch=dict.fromkeys(("q", "k", "attention"), keep)).values
    for layer, block in enumerate(subject.blocks):
        for site in ("q", "k"):
            projected = values[site][layer]
            if family == "qwen3":
                with torch.no_grad():
                    projected = block.part(f"self_attn.{site}_norm")(projected)
            turned = weights.rotary.rotate(projected, torch.arange(17))
            assert difference(turned, getattr(values["attention"][layer], site)) < 1e-5


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_scores_are_products_of_weights_at_a_relative_offset(family: str, tiny: Tiny) -> None:
    subject = from_module(tiny(family).double())
    weights = subject.weights()
    assert not isinstance(weights, NotApplicable)
    values = subject.run(tokens(), watch=dict.fromkeys(("resid_pre", "attention"), keep)).values
    x, scored = subject.attention_input(values["resid_pre"][1], 1), values["attention"][1]
    left, right = weights.qk(1, 3, offset=5)
    if weights.b_Q is None:
        expected = scored.scale * x[0, 9] @ left @ right @ x[0, 4]
        assert float((scored.scores()[0, 3, 9, 4] - expected).abs()) < 1e-5
    else:
        assert left.shape == (subject.shape.d_model, subject.shape.d_head)


@each_family
def test_one_percent_of_one_matrix_is_noticed(family: str, tiny: Tiny, tmp_path: Path) -> None:
    module = tiny(family)
    reference, digest = logits_of(module, tokens()), from_module(module).source.weights_sha256
    block = from_module(module).blocks[1]
    with torch.no_grad():
        W_Q, _ = next(block.projections())
        # in place, in the storage that the caller's module shares; a factor on all of it is undone by Qwen3's norm of q
        W_Q[..., ::2].mul_(1.01)
    module.save_pretrained(tmp_path)
    changed = open_directory(tmp_path)
    assert difference(changed.logits(tokens()), reference) > 1e-4
    assert changed.source.weights_sha256 != digest


@each_family
def test_the_callers_model_is_left_alone(family: str, tiny: Tiny) -> None:
    module = tiny(family)
    calls: list[str] = []
    hook = module.base_model.register_forward_hook(lambda *_: calls.append("hook"))
    module.requires_grad_(True)
    before = {name: (tensor.data_ptr(), tensor._version) for name, tensor in module.state_dict().items()}
    hooks = {name: len(part._forward_hooks) + len(part._forward_pre_hooks) for name, part in module.named_modules()}
    subject = from_module(module)

    def fail(activation: Any, layer: int) -> Any:
        raise KeyboardInterrupt

    for site in ("resid_pre", "q", "attention", "pattern", "z", "resid_mid", "resid_post", "final_norm"):
        if family == "gpt_neox" and site == "resid_mid":
            continue
        with pytest.raises(KeyboardInterrupt):
            subject.run(tokens(), watch={site: fail})
    assert not any(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in subject.module.modules())
    subject.logits(tokens())
    assert calls == []
    assert {name: (tensor.data_ptr(), tensor._version) for name, tensor in module.state_dict().items()} == before
    assert hooks == {
        name: len(part._forward_hooks) + len(part._forward_pre_hooks) for name, part in module.named_modules()
    }
    assert module.config._attn_implementation == "eager"
    assert all(parameter.requires_grad for parameter in module.parameters())
    hook.remove()


@each_family
def test_storage_is_shared(family: str, tiny: Tiny) -> None:
    module = tiny(family)
    storages = {tensor.untyped_storage().data_ptr() for tensor in module.state_dict().values()}
    twin = from_module(module).module
    assert {tensor.untyped_storage().data_ptr() for tensor in twin.state_dict().values()} == storages
    assert not any(tensor.is_meta for tensor in (*twin.parameters(), *twin.buffers()))


def test_shapes_are_those_of_the_configuration(tiny: Tiny) -> None:
    shape = from_module(tiny("qwen3")).shape
    assert (shape.n_layers, shape.n_heads, shape.n_kv_heads) == (3, 4, 2)
    assert (shape.d_model, shape.d_head, shape.d_vocab, shape.n_ctx) == (32, 16, 53, 64)
    assert (shape.causal, shape.positions) == (True, "rotary")
    shape = from_module(tiny("bert")).shape
    assert (shape.causal, shape.positions) == (False, "learned")


def test_a_model_without_a_head_has_no_logits(tiny: Tiny) -> None:
    from transformers import GPT2Model

    module = tiny("gpt2")
    base = GPT2Model(module.config)
    subject = from_module(base)
    with pytest.raises(UsageError, match="GPT2Model has no head"):
        subject.logits(tokens())
    with pytest.raises(UsageError, match="no logits"):
        subject.unembed(torch.zeros(1, 32))
    assert subject.run(tokens()).output.shape == (2, 17, 32)


def test_tokens_that_cannot_be_read(tiny: Tiny) -> None:
    subject = from_module(tiny("gpt2"))
    with pytest.raises(TaskError, match="at most 64"):
        subject.run(torch.zeros(1, 65, dtype=torch.long))
    with pytest.raises(TaskError, match="token 53"):
        subject.run(torch.full((1, 3), 53))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtype_follows_the_checkpoint_unless_asked_otherwise(dtype: torch.dtype, tiny: Tiny, tmp_path: Path) -> None:
    module = tiny("llama").to(dtype)
    module.save_pretrained(tmp_path)
    subject = open_directory(tmp_path)
    assert subject.dtype == dtype
    assert subject.source.facts["dtype"] == str(dtype).removeprefix("torch.")
    assert difference(subject.logits(tokens()).double(), logits_of(module, tokens()).double()) < 0.3
    wide = open_directory(tmp_path, dtype=torch.float32)
    assert wide.dtype == torch.float32
    assert wide.source.weights_sha256 == subject.source.weights_sha256


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_memory_of_a_watched_pass_does_not_grow_with_the_layers(
    family: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every site is watched, and the pattern too; what is kept of each is one number."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    from peak_memory import PeakMemory

    def number(activation: Any, layer: int) -> float:
        return float((activation if isinstance(activation, Tensor) else activation.q).sum())

    def peak(layers: int) -> int:
        subject = from_module(tiny(family, num_hidden_layers=layers))
        watch = dict.fromkeys(get_args(Site), number)
        subject.run(tokens(), watch=watch)
        with PeakMemory() as memory:
            subject.run(tokens(), watch=watch)
        return memory.peak

    assert peak(8) == peak(2)
