"""The final norm, the embedding and the unembedding of every kind of language model, and norms on their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.data.errors import CheckpointRefused
from mesascope.models.language_model import LanguageModel
from mesascope.models.norms import Norm, norm_of
from mesascope.models.opening.in_memory import from_module
from mesascope.models.subject import NotApplicable
from torch import Tensor, nn

FAMILIES = ("gpt2", "gpt_neox", "llama", "qwen3", "gemma2", "bert", "mistral")
OURS: dict[str, dict[str, Any]] = {"ours": {}, "ours, no norm": {"norm": "none"}, "ours, MLPs": {"d_mlp": 5}}
KINDS = {"mistral": "rms", "llama": "rms", "qwen3": "rms", "gemma2": "rms", "bert": "none", "ours, no norm": "none"}
each_model = pytest.mark.parametrize("name", [*FAMILIES, *OURS])


@pytest.fixture
def subject(name: str, tiny: Callable[[str], Any], random_language_model: Callable[..., Any]) -> LanguageModel:
    return random_language_model(**OURS[name]) if name in OURS else from_module(tiny(name).double())


def tokens() -> Tensor:
    return torch.randint(0, 11, (2, 7), generator=torch.Generator().manual_seed(1))


def keep(activation: Any, layer: int) -> Any:
    return activation


def near(a: Tensor, b: Tensor, tolerance: float = 1e-6) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() < tolerance)


@each_model
def test_from_the_last_state_to_the_logits(name: str, subject: LanguageModel) -> None:
    trace = subject.run(tokens(), watch=dict.fromkeys(("final", "final_norm"), keep), logits=True)
    (final,), (normed,) = trace.values["final"], trace.values["final_norm"]
    assert subject.final_norm.kind == KINDS.get(name, "layer")
    assert near(subject.final_norm(final), normed)
    assert near(subject.unembed(subject.final_norm(final)), trace.output)


@each_model
def test_the_norm_of_a_state_is_the_sum_over_its_parts(name: str, subject: LanguageModel) -> None:
    if name == "bert":  # what a block adds goes through its own norms
        return
    sites = ("resid_pre", "attn_out", "mlp_out", "final", "final_norm")
    values = subject.run(tokens(), watch=dict.fromkeys(sites, keep)).values
    parts = torch.stack([values["resid_pre"][0], *values["attn_out"], *values["mlp_out"]])
    norm, final = subject.final_norm, values["final"][0]
    written = norm.linear(parts, final)
    total = written.sum(dim=0) if norm.offset is None else written.sum(dim=0) + norm.offset
    assert near(total, values["final_norm"][0])
    for one, part in zip(written, parts, strict=True):
        assert near(norm.linear(part, final), one)


@each_model
def test_rows_of_the_embedding_enter_the_stream(name: str, subject: LanguageModel) -> None:
    (entered,) = subject.run(tokens(), watch={"embed": keep}).values["embed"]
    embedding = subject.embedding()
    assert embedding.shape == (subject.shape.d_vocab, subject.shape.d_model)
    assert near(embedding[tokens()], entered)


@each_model
def test_the_unembedding_is_what_unembed_multiplies_by(name: str, subject: LanguageModel) -> None:
    matrix = subject.unembedding()
    if name == "bert":
        assert isinstance(matrix, NotApplicable)
        assert "no single unembedding matrix" in matrix.reason
        return
    assert not isinstance(matrix, NotApplicable)
    state = torch.randn(3, subject.shape.d_model, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    bias = subject.unembed(torch.zeros_like(state))
    expected = state @ matrix
    if name == "gemma2":
        expected = 3.0 * (expected / 3.0).tanh()
    assert near(subject.unembed(state), expected + bias)


@each_model
def test_gradients_flow_from_the_logits_to_the_state(name: str, subject: LanguageModel) -> None:
    state = torch.randn(2, subject.shape.d_model, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    state.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: subject.unembed(subject.final_norm(x)), state, atol=1e-4)
    resid = torch.randn(1, 2, subject.shape.d_model, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    resid.requires_grad_()
    (subject.attention_input(resid, 1) ** 3).sum().backward()
    assert resid.grad is not None
    assert bool(resid.grad.any())


def test_a_model_without_a_head_has_no_unembedding(tiny: Callable[[str], Any]) -> None:
    from transformers import GPT2Model

    answer = from_module(GPT2Model(tiny("gpt2").config)).unembedding()
    assert isinstance(answer, NotApplicable)
    assert "no head" in answer.reason


def by_hand(norm: Norm, row: list[float]) -> list[float]:
    mean = sum(row) / len(row) if norm.kind == "layer" else 0.0
    root = (sum((value - mean) ** 2 for value in row) / len(row) + norm.eps) ** 0.5
    scale = [1.0] * len(row) if norm.scale is None else norm.scale.tolist()
    offset = [0.0] * len(row) if norm.offset is None else norm.offset.tolist()
    return [(value - mean) / root * s + o for value, s, o in zip(row, scale, offset, strict=True)]


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_norms_by_hand(kind: Any) -> None:
    row = [0.5, -2.0, 3.0, 0.25]
    scale, offset = torch.tensor([1.0, 2.0, -1.0, 0.5]), torch.tensor([0.1, 0.0, 0.2, -0.3])
    for norm in (Norm(kind, scale, offset, 0.5), Norm(kind, scale, None, 0.5), Norm(kind, eps=0.01)):
        x = torch.tensor([row], dtype=torch.float64)
        torch.testing.assert_close(norm(x)[0].tolist(), by_hand(norm, row), atol=1e-12, rtol=0)
        plain = by_hand(norm.without_affine(), row)
        torch.testing.assert_close(norm.without_affine()(x)[0].tolist(), plain, atol=1e-12, rtol=0)
        mean = sum(row) / 4 if kind == "layer" else 0.0
        torch.testing.assert_close(float(norm.spread(x)), (row[0] - mean) / plain[0], atol=1e-12, rtol=0)


def test_no_norm_divides_by_one() -> None:
    x = torch.randn(2, 3)
    assert Norm()(x) is x
    assert Norm().spread(x).tolist() == [1.0, 1.0]
    assert Norm().linear(x[0], x).shape == (2, 3)


def test_halves_are_computed_with_in_float32() -> None:
    x = torch.full((1, 64), 300.0, dtype=torch.float16)  # its square is beyond float16
    norm = Norm("rms", torch.ones(64, dtype=torch.float16), None, 1e-6)
    assert norm(x).dtype == torch.float16
    assert near(norm(x).float(), torch.ones(1, 64), 1e-2)
    assert float(norm.spread(x)) == pytest.approx(300.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_final_norm_in_half_precision(dtype: torch.dtype, tiny: Callable[[str], Any]) -> None:
    for family in ("gpt2", "gemma2"):
        half = from_module(tiny(family).to(dtype))
        values = half.run(tokens(), watch=dict.fromkeys(("final", "final_norm"), keep)).values
        found, expected = half.final_norm(values["final"][0]), values["final_norm"][0]
        assert found.dtype == expected.dtype == dtype
        assert near(found.float(), expected.float(), 2e-2 * float(expected.abs().max()))


def test_a_layer_norm_of_a_familys_own_making(tiny: Callable[[str], Any]) -> None:
    module = tiny("cohere").model.norm
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(4))
    norm = norm_of(module)
    assert (norm.kind, norm.offset) == ("layer", None)
    assert near(norm(x), module(x))


@pytest.mark.parametrize("kind", ["layer", "rms", "none"])
def test_a_norm_without_weights(kind: str, tiny: Callable[[str], Any]) -> None:
    module = {"layer": tiny("olmo").model.norm, "rms": nn.RMSNorm(32, 1e-3, False), "none": nn.Identity()}[kind]
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(4))
    norm = norm_of(module, 32)
    assert (norm.kind, norm.scale, norm.offset) == (kind, None, None)
    assert near(norm(x), module(x))


def test_hooks_are_not_called_by_a_question_about_a_norm() -> None:
    module, called = nn.LayerNorm(6), []
    module.register_forward_hook(lambda *args: called.append("after"))
    module.register_forward_pre_hook(lambda *args: called.append("before"))
    assert norm_of(module).kind == "layer"
    assert called == []
    module(torch.ones(2, 6))
    assert called == ["before", "after"]


class Odd(nn.Module):
    """Divides by the largest entry."""

    def __init__(self, eps: float | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x / x.abs().amax(dim=-1, keepdim=True)


class Far(nn.RMSNorm):
    """Says another eps than it adds."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.pow(2).mean(dim=-1, keepdim=True) + 0.5).rsqrt() * self.weight


ODD = {"max": Odd(1e-5), "no eps": Odd(None), "other eps": Far(6, eps=1e-5), "of no width": nn.GELU()}


@pytest.mark.parametrize("module", ODD.values(), ids=ODD)
def test_what_is_no_norm_that_we_know_is_refused(module: nn.Module) -> None:
    with pytest.raises(CheckpointRefused, match=f"a {type(module).__name__} is neither"):
        norm_of(module)
