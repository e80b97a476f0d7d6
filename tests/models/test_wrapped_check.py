"""A wrapped language model that does not answer as a model does, or contradicts itself, is refused in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from mesascope.data import UsageError
from mesascope.models import AttentionOnlyModel, Rotary
from mesascope.models.wrapped_check import some_tokens
from mesascope.models.wrapped_language_model import from_language_model
from torch import Tensor, nn

from .wrapping import D_VOCAB, N_CTX, TOKENS, itself, parts_of, wrapped


@pytest.fixture(scope="module")
def model(random_language_model: Callable[..., AttentionOnlyModel]) -> AttentionOnlyModel:
    return random_language_model(
        d_vocab=D_VOCAB, n_ctx=N_CTX, d_mlp=10, positions="rotary", norm="rms", attention_scale=1.3
    )


@pytest.fixture(scope="module")
def parts(model: AttentionOnlyModel) -> dict[str, Any]:
    return parts_of(model)


def refusal(model: AttentionOnlyModel, parts: Mapping[str, Any], *names: str, **changed: Any) -> str:
    with pytest.raises(UsageError) as refused:
        wrapped(model, parts, *names, **changed)
    return str(refused.value)


def test_the_check_says_what_it_compared(model: AttentionOnlyModel, parts: dict[str, Any]) -> None:
    compared = wrapped(model, parts, *parts).source.opening_check["parts"]
    assert all(part["passed"] and part["error"] < 1e-12 for part in compared.values())
    assert len(compared) == 9
    alone = wrapped(model, parts).source.opening_check["parts"]
    assert [part for part, found in alone.items() if found["passed"]] == ["causality"]
    short = from_language_model(model.module, d_vocab=D_VOCAB, n_ctx=1).source.opening_check["parts"]["causality"]
    assert short == {
        "passed": None,
        "reason": "not compared without sequences of two tokens, and two tokens to tell apart",
    }
    assert alone["qk"]["reason"] == "not compared without q, k and W_Q"


def turned(x: Tensor) -> Tensor:
    """Heads in another order."""
    return x.flip(1)


def even(ids: Tensor) -> Tensor:
    """Causal attention to all tokens alike."""
    seen = torch.ones(ids.shape[1], ids.shape[1]).tril()
    return seen / seen.sum(dim=-1, keepdim=True)


CONTRADICTIONS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "the order of heads": (lambda p: {"W_Q": turned(p["W_Q"])}, "q and k"),
    "dimensions of W_K in another order": (lambda p: {"W_K": p["W_K"].flip(-1)}, "q and k"),
    "no rotation": (lambda p: {"rotary": Rotary(p["rotary"].frequencies * 0)}, "look at scale and rotary"),
    "another scale": (lambda p: {"scale": 0.5}, "look at scale and rotary"),
    "q after its rotation": (
        lambda p: {"q": lambda ids: p["rotary"].rotate(p["q"](ids), torch.arange(ids.shape[1]))},
        "before any rotation",
    ),
    "no bias of v": (lambda p: {"b_V": 0 * p["b_V"]}, "v does not give z"),
    "heads of v in another order": (lambda p: {"v": lambda ids: p["v"](ids).flip(2)}, "v does not give z"),
    "no bias of the write": (lambda p: {"b_O": 0 * p["b_O"]}, "attn_out is not z W_O"),
    "another sign of W_O": (lambda p: {"W_O": -p["W_O"]}, "attn_out is not z W_O"),
    "the MLP's write left out": (lambda p: {"mlp_out": lambda ids: 0 * p["mlp_out"](ids)}, "add up"),
    "resid_post a layer late": (
        lambda p: {"resid_post": lambda ids: p["resid_post"](ids).roll(1, dims=0)},
        "one residual stream",
    ),
    "another middle": (lambda p: {"resid_mid": p["resid_pre"]}, "one residual stream"),
    "rows of W_E shifted by one": (lambda p: {"W_E": p["W_E"].roll(1, dims=0)}, "rows of W_E"),
    "no final norm": (lambda p: {"final_norm": nn.Identity()}, "the last state does not give"),
    "no bias of the logits": (lambda p: {"b_U": 0 * p["b_U"]}, "the last state does not give"),
    "rows of the pattern that sum to 2": (lambda p: {"pattern": lambda ids: 2 * p["pattern"](ids)}, "that sum to 1"),
    "attention below 0": (lambda p: {"pattern": lambda ids: 2 * p["pattern"](ids) - even(ids)}, "numbers from 0 on"),
    "attention to later tokens": (
        lambda p: {"pattern": lambda ids: p["pattern"](ids).flip(-1)},
        "in a causal model none for later tokens",
    ),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_parts_that_contradict_each_other_are_refused(
    what: str, model: AttentionOnlyModel, parts: dict[str, Any]
) -> None:
    change, said = CONTRADICTIONS[what]
    message = refusal(model, parts, *parts, **change(parts))
    assert said in message
    assert re.search(r"relative error [\d.e-]+, allowed 0.0001", message)


def test_contradictions_are_found_without_the_weights_too(model: AttentionOnlyModel, parts: dict[str, Any]) -> None:
    def late(ids: Tensor) -> Tensor:
        return parts["resid_post"](ids).roll(1, dims=0)

    def mixed_up(ids: Tensor) -> Tensor:
        return parts["v"](ids).flip(2)

    for names, changed, said in (
        (("q", "k", "pattern"), {"rotary": Rotary(0 * parts["rotary"].frequencies)}, "q and k do not give the pattern"),
        (("pattern", "z"), {"v": mixed_up}, "v does not give z"),
        (("resid_pre",), {"resid_post": late}, "one residual stream"),
    ):
        assert said in refusal(model, parts, *names, **changed)


def test_shapes_that_do_not_fit_are_refused(model: AttentionOnlyModel, parts: dict[str, Any]) -> None:
    for part, function, said in (
        ("pattern", lambda ids: parts["pattern"](ids)[0], "expected [layer, batch, head, pos, pos]"),
        ("pattern", lambda ids: parts["pattern"](ids)[:, :, :2], "with head = 3, as of W_Q"),
        ("pattern", lambda ids: parts["pattern"](ids)[..., :-1], "with pos = 12, as of the token ids"),
        ("resid_pre", lambda ids: parts["resid_pre"](ids)[:1], "with layer = 2, as of W_Q"),
        ("resid_pre", lambda ids: parts["resid_pre"](ids).numpy(), "resid_pre is a ndarray; expected a torch.Tensor"),
        ("resid_pre", parts["resid_pre"](TOKENS), "resid_pre is a Tensor; expected a function from token ids"),
        ("W_E", parts["W_E"].mT, "expected [d_vocab, d_model] with d_vocab = 40"),
        ("W_Q", parts["W_Q"][:0], "none of them 0"),
        ("attention_norms", parts["attention_norms"][:1], "holds 1 norms; expected 2"),
        ("final_norm", "layer", "final_norm is a str; expected a models.Norm"),
    ):
        assert said in refusal(model, parts, *parts, **{part: function}), part


def test_a_shape_that_changes_after_opening_is_refused(model: AttentionOnlyModel, parts: dict[str, Any]) -> None:
    def short(ids: Tensor) -> Tensor:
        return parts["pattern"](ids)[..., : min(12, ids.shape[1])]

    subject = wrapped(model, parts, pattern=short)
    with pytest.raises(UsageError, match=r"pattern has shape .* with pos = 20, as of the token ids"):
        subject.observe(TOKENS.repeat(1, 3)[:, :20], {"pattern": itself})


def test_parts_without_those_they_need_are_refused(model: AttentionOnlyModel, parts: dict[str, Any]) -> None:
    for names, said in (
        (("resid_post",), "resid_post is given without resid_pre, which mesascope needs to check and to use it"),
        (("q", "pattern"), "q is given without k,"),
        (("W_Q", "W_K", "W_V", "W_O", "resid_pre", "resid_post", "pattern"), "without attn_out"),
        (("W_U",), "W_U is given without resid_post,"),
    ):
        assert said in refusal(model, parts, *names)
    with pytest.raises(UsageError, match="rotary is given without q or W_Q"):
        from_language_model(model.module, d_vocab=D_VOCAB, rotary=parts["rotary"])
    with pytest.raises(UsageError, match="part 'patern' is not known; did you mean pattern"):
        from_language_model(model.module, d_vocab=D_VOCAB, patern=parts["pattern"])


def test_heads_that_cannot_share_are_refused(model: AttentionOnlyModel, parts: dict[str, Any]) -> None:
    message = refusal(model, parts, "pattern", v=lambda ids: parts["v"](ids)[:, :, :2])
    assert "3 heads share 2 key-value heads" in message


class Noisy(nn.Module):
    """Dropout before the logits."""

    def __init__(self, within: nn.Module) -> None:
        super().__init__()
        self.within, self.dropout = within, nn.Dropout(0.3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.dropout(self.within(ids))


def test_logits_that_are_none_are_refused(model: AttentionOnlyModel) -> None:
    module = model.module
    future = lambda ids: module(ids) + module(ids).flip(1)  # noqa: E731
    for function, said in (
        (Noisy(module).train(), "answers differently when asked twice"),
        (Noisy(module).train(), "call model.eval()"),
        (lambda ids: module(ids) - module(ids).mean(dim=0), "for a sequence alone and beside others"),
        (lambda ids: module(ids) / 0, "numbers of logits are not finite on random ids"),
        (lambda ids: {"logits": module(ids)}, "logits are a dict; expected a torch.Tensor shaped [3, 12, 40]"),
        (lambda ids: module(ids)[:, -1], "shaped [3, 40] for ids shaped [3, 12]"),
        (lambda ids: module(ids).long(), "torch.int64"),
        (lambda ids: module(ids + 1), "the function of logits fails on random ids shaped [3, 12] (IndexError"),
        (future, "give causal=False where attention is bidirectional"),
        (lambda ids: module(ids) * ids.shape[1], "is cut off; expected a causal model"),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            from_language_model(function, d_vocab=D_VOCAB, n_ctx=N_CTX)
    assert from_language_model(Noisy(module).eval(), d_vocab=D_VOCAB).source.opening_check is not None
    bidirectional = from_language_model(future, d_vocab=D_VOCAB, causal=False)
    assert not bidirectional.shape.causal
    assert bidirectional.source.facts["causal"] is False
    with pytest.raises(UsageError, match="no token affects an earlier one"):
        from_language_model(module, d_vocab=D_VOCAB, causal=False)


def test_a_single_later_token_that_leaks_is_found(model: AttentionOnlyModel) -> None:
    tokens = some_tokens(D_VOCAB, N_CTX, torch.device("cpu"))
    half = tokens.shape[1] // 2
    leaking = next(token for token in ((tokens[:, half:] + 1) % D_VOCAB).flatten() if token not in tokens)

    def leak(ids: Tensor) -> Tensor:
        return model.module(ids) + 1.0 * (ids[:, half:] == leaking).any(dim=1)[:, None, None]

    with pytest.raises(UsageError, match="logits before a token change"):
        from_language_model(leak, d_vocab=D_VOCAB, n_ctx=N_CTX)


def test_a_part_that_answers_at_random_is_refused(model: AttentionOnlyModel, parts: dict[str, Any]) -> None:
    def noisy(ids: Tensor) -> Tensor:
        return parts["v"](ids) * torch.rand(1)

    assert "v answers differently when asked twice" in refusal(model, parts, v=noisy)


def test_weights_that_are_not_finite_are_refused(model: AttentionOnlyModel, parts: dict[str, Any]) -> None:
    assert "numbers of W_E are not finite" in refusal(model, parts, W_E=parts["W_E"] / 0)


@pytest.mark.parametrize(
    ("facts", "said"),
    [({"d_vocab": 0}, "d_vocab = 0"), ({"n_ctx": 0}, "n_ctx = 0"), ({"bos": 40}, "bos = 40 is not in the vocabulary")],
)
def test_facts_that_cannot_be_are_refused(facts: dict[str, Any], said: str, model: AttentionOnlyModel) -> None:
    with pytest.raises(UsageError, match=said):
        from_language_model(model.module, **{"d_vocab": D_VOCAB, **facts})


def test_bidirectional_attention_with_all_its_parts_opens(
    random_language_model: Callable[..., AttentionOnlyModel],
) -> None:
    model = random_language_model(d_vocab=D_VOCAB, n_ctx=N_CTX, causal=False, norm="layer")
    subject = from_language_model(model.module, d_vocab=D_VOCAB, causal=False, **parts_of(model))
    found, own = (one.observe(TOKENS, {"attention": lambda s, _: s.pattern()})["attention"] for one in (subject, model))
    torch.testing.assert_close(found, own)
