"""Our small transformer over tokens: what it answers, what it shows, what edits do, and what a file of it must hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from mesascope.data import CheckpointRefused, TaskError, UsageError
from mesascope.models import (
    AttentionOnlyConfig,
    AttentionOnlyModel,
    AttentionScores,
)
from mesascope.models.subject import NotApplicable, Site
from torch import Tensor

Make = Callable[..., AttentionOnlyModel]
SIZES: dict[str, Any] = {"d_vocab": 11, "n_ctx": 7, "d_model": 6, "n_layers": 2, "n_heads": 3, "d_head": 4}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"norm": "none"},
    "norm": {},
    "norm eps": {"norm_eps": 0.5},
    "sinusoidal": {"positions": "sinusoidal"},
    "rotary": {"positions": "rotary", "rotary_base": 20.0},
    "partly rotary": {"positions": "rotary", "rotary_base": 20.0, "rotary_width": 2, "norm": "none"},
    "rotary pairs": {"positions": "rotary", "rotary_base": 20.0, "rotary_interleaved": True},
    "no positions": {"positions": "none"},
    "shortformer": {"positions": "shortformer"},
    "shortformer without norm": {"positions": "shortformer", "norm": "none", "d_mlp": 5},
    "scale": {"attention_scale": 0.5},
    "bidirectional": {"causal": False},
    "bidirectional rotary": {"causal": False, "positions": "rotary", "rotary_base": 20.0},
    "mlp": {"d_mlp": 5},
    "relu": {"d_mlp": 5, "activation": "relu", "norm": "none"},
    "gelu_tanh": {"d_mlp": 5, "activation": "gelu_tanh"},
    "silu": {"d_mlp": 5, "activation": "silu", "causal": False},
    "rms": {"norm": "rms", "norm_eps": 0.3, "d_mlp": 5},
    "gated": {"d_mlp": 5, "gated_mlp": True, "activation": "silu"},
    "other outputs": {"d_vocab_out": 4},
}
each_variant = pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
Arrays = dict[str, np.ndarray]


@pytest.fixture
def make(random_language_model: Make) -> Make:
    return random_language_model


def some_tokens(n: int = 7, batch: int = 3) -> Tensor:
    return torch.randint(0, SIZES["d_vocab"], (batch, n), generator=torch.Generator().manual_seed(5))


def keep(activation: Any, layer: int) -> Any:
    return activation


# ---- the slow implementation: one number at a time, nothing shared with the library ----


def slow_norm(row: np.ndarray, config: AttentionOnlyConfig, p: Arrays, name: str, layer: int | None) -> np.ndarray:
    if config.norm == "none":
        return row
    scale, offset = (p.get(f"{name}_{vector}", np.zeros(())) for vector in ("scale", "offset"))
    if layer is not None:
        scale, offset = scale[layer], offset[layer] if offset.ndim else offset
    centred = row - sum(row) / len(row) if config.norm == "layer" else row
    return centred / math.sqrt(sum(centred**2) / len(row) + config.norm_eps) * scale + offset


def slow_turn(x: np.ndarray, position: int, config: AttentionOnlyConfig) -> np.ndarray:
    """Each pair of dimensions as a complex number times e^(i angle)."""
    if config.positions != "rotary":
        return x
    width = config.rotary_width or config.d_head
    turned = x.copy()
    for n in range(width // 2):
        a, b = (2 * n, 2 * n + 1) if config.rotary_interleaved else (n, n + width // 2)
        angle = position / config.rotary_base ** (2 * n / width)
        number = complex(x[a], x[b]) * complex(math.cos(angle), math.sin(angle))
        turned[a], turned[b] = number.real, number.imag
    return turned


def slow_act(x: float, name: str) -> float:
    if name == "relu":
        return max(x, 0.0)
    if name == "silu":
        return x / (1 + math.exp(-x))
    if name == "gelu_tanh":
        return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x / 2 * (1 + math.erf(x / math.sqrt(2)))


def slow_logits(config: AttentionOnlyConfig, p: Arrays, tokens: list[int]) -> np.ndarray:
    h = np.array([p["W_E"][token] for token in tokens])
    for t in range(len(tokens)):
        if config.positions == "learned":
            h[t] += p["W_pos"][t]
        for i in range(config.d_model if config.positions == "sinusoidal" else 0):
            h[t, i] += (math.sin, math.cos)[i % 2](t / 10_000 ** ((i - i % 2) / config.d_model))
    for layer in range(config.n_layers):
        x = [slow_norm(row, config, p, "ln1", layer) for row in h]
        added = np.zeros_like(h)
        for head in range(config.n_heads):
            y = [row + p["W_pos"][t] for t, row in enumerate(x)] if config.positions == "shortformer" else x
            of = {"Q": y, "K": y, "V": x}
            q, k, v = ([row @ p[f"W_{c}"][layer, head] + p[f"b_{c}"][layer, head] for row in of[c]] for c in "QKV")
            for t in range(len(tokens)):
                seen = range(t + 1) if config.causal else range(len(tokens))
                scale = config.attention_scale or math.sqrt(config.d_head)
                scores = [slow_turn(q[t], t, config) @ slow_turn(k[j], j, config) / scale for j in seen]
                weights = [math.exp(score) for score in scores]
                z = sum((w / sum(weights) * v[j] for w, j in zip(weights, seen, strict=True)), np.zeros(config.d_head))
                added[t] += z @ p["W_O"][layer, head]
        h = h + added + p["b_O"][layer]
        for t in range(len(tokens) if config.d_mlp else 0):
            row = slow_norm(h[t], config, p, "ln2", layer)
            W_in, b_in, act = p["W_in"][layer], p["b_in"][layer], config.activation
            if config.gated_mlp:
                gates = [slow_act(value, act) for value in row @ p["W_gate"][layer]]
                hidden = [gate * value + b for gate, value, b in zip(gates, row @ W_in, b_in, strict=True)]
            else:
                hidden = [slow_act(value, act) for value in row @ W_in + b_in]
            h[t] = h[t] + np.array(hidden) @ p["W_out"][layer] + p["b_out"][layer]
    return np.array([slow_norm(row, config, p, "ln_final", None) @ p["W_U"] + p["b_U"] for row in h])


def arrays(model: AttentionOnlyModel) -> Arrays:
    return {name: parameter.numpy() for name, parameter in model.module.named_parameters()}


# ---- what it answers ----


@each_variant
@pytest.mark.parametrize("n", [1, 7])
def test_logits_by_loops(make: Make, settings: dict[str, Any], n: int) -> None:
    model, tokens = make(**settings), some_tokens(n)
    slow = np.array([slow_logits(model.config, arrays(model), row) for row in tokens.tolist()])
    np.testing.assert_allclose(model.logits(tokens), slow, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(model.module(tokens), slow, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(model.unembed(model.run(tokens).output), slow, rtol=1e-10, atol=1e-11)
    changed = make(**settings)
    changed.module.get_parameter("W_Q")[0, 1] *= 1.01  # a comparison that could not fail would show nothing
    assert (n == 1) is bool(np.allclose(changed.logits(tokens), slow, rtol=1e-10, atol=1e-11))


def test_the_module_is_differentiable_and_a_pass_is_not_recorded(make: Make) -> None:
    model = make(d_mlp=4)
    model.module.requires_grad_(True)
    model.module(some_tokens()).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.module.parameters())
    assert not model.logits(some_tokens()).requires_grad
    assert not model.weights().W_Q.requires_grad


def test_half_precision_runs(make: Make) -> None:
    model, tokens = make(positions="rotary"), some_tokens()
    exact = model.logits(tokens)
    model.module.to(torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert float((model.logits(tokens).double() - exact).abs().max()) < 0.5
    scores = model.run(tokens, watch={"attention": keep}).values["attention"][0]
    assert scores.log_normaliser.dtype == torch.float32


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.tensor([[0, 11]]), "token 11 is not in the vocabulary of tiny; expected 0 to 10"),
        (torch.tensor([[-1, 3]]), "token -1"),
        (torch.zeros(2, 8, dtype=torch.long), "sequences of 8 tokens; tiny reads at most 7"),
        (torch.zeros(2, 0, dtype=torch.long), "at least one"),
        (torch.zeros(0, 2, dtype=torch.long), "at least one"),
    ],
)
def test_tokens_that_cannot_be_read(make: Make, tokens: Tensor, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        make().run(tokens)


# ---- what it shows ----


@each_variant
def test_watched_activations_rebuild_the_pass(make: Make, settings: dict[str, Any]) -> None:
    model, tokens = make(**settings), some_tokens()
    trace = model.run(tokens, watch=dict.fromkeys(get_args(Site), keep), logits=True)
    torch.testing.assert_close(trace.output, model.logits(tokens), rtol=1e-12, atol=1e-12)
    values, config, weights = trace.values, model.config, model.weights()
    close = {"rtol": 1e-10, "atol": 1e-10}
    assert torch.equal(values["embed"][0], model.module.W_E[tokens])
    torch.testing.assert_close(model.unembed(values["final_norm"][0]), trace.output, **close)
    assert torch.equal(values["final"][0], values["resid_post"][-1])
    assert len(values["embed"]) == len(values["final"]) == len(values["final_norm"]) == 1
    for layer in range(2):
        pre, post, attn_out = (values[site][layer] for site in ("resid_pre", "resid_post", "attn_out"))
        for site in ("q", "k", "v"):
            x = model.module.norm("ln1", layer)(pre) if site == "v" else model.attention_input(pre, layer)
            W, b = getattr(weights, f"W_{site.upper()}")[layer], getattr(weights, f"b_{site.upper()}")[layer]
            torch.testing.assert_close(values[site][layer], torch.einsum("bpd,hdk->bhpk", x, W) + b[:, None], **close)
        pattern, z = values["pattern"][layer], values["z"][layer]
        torch.testing.assert_close(pattern.sum(-1), torch.ones(3, 3, 7, dtype=torch.float64), **close)
        torch.testing.assert_close(pattern @ values["v"][layer], z, **close)
        out = torch.einsum("bhpk,hkd->bpd", z, weights.W_O[layer]) + weights.b_O[layer]
        torch.testing.assert_close(attn_out, out, **close)
        if config.d_mlp:
            torch.testing.assert_close(values["resid_mid"][layer], pre + attn_out, **close)
            torch.testing.assert_close(post, pre + attn_out + values["mlp_out"][layer], **close)
        else:
            torch.testing.assert_close(post, pre + attn_out, **close)
            assert values["resid_mid"] == values["mlp_out"] == []


@each_variant
def test_attention_as_scored_is_the_pattern(make: Make, settings: dict[str, Any]) -> None:
    """Also when the pattern itself is watched by nobody, and the fast path runs."""
    model, tokens = make(**settings), some_tokens()
    patterns = model.run(tokens, watch={"pattern": keep}).values["pattern"]
    for scores, pattern in zip(model.run(tokens, watch={"attention": keep}).values["attention"], patterns, strict=True):
        assert isinstance(scores, AttentionScores)
        torch.testing.assert_close(scores.pattern(), pattern, rtol=1e-10, atol=1e-10)
        assert torch.equal(scores.scores()[0, 0, 0].isinf(), torch.arange(7) > (0 if model.config.causal else 6))


@each_variant
def test_a_pass_ends_when_all_was_seen(make: Make, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = make(**settings), some_tokens()
    whole = model.run(tokens, watch={"z": keep, "embed": keep}).values
    monkeypatch.setattr(type(model.module), "unembed", None)
    alone = model.observe(tokens, {"z": keep, "embed": keep})
    assert torch.equal(torch.stack(alone["z"]), torch.stack(whole["z"]))
    assert torch.equal(alone["embed"][0], whole["embed"][0])
    after: list[int] = []
    model.observe(tokens, {"z": keep}, edit={"attn_out": lambda x, layer: after.append(layer) or x})
    assert after == [0]


def test_only_what_is_asked_for_is_made(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    for maker in ("own.attention_only.masked_scores", "subject.log_normaliser", "taps.flash_attention"):
        monkeypatch.setattr(f"mesascope.models.{maker}", None)
    model.run(some_tokens(), watch={"q": keep, "z": keep, "resid_post": keep}, logits=True)


@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
def test_a_folded_layer_norm_is_contained_in_the_weights(make: Make, norm: str) -> None:
    model, tokens = make(norm=norm), some_tokens()
    values = model.run(tokens, watch={"resid_pre": keep, "q": keep, "v": keep}).values
    folded = model.weights(folded=True)
    assert folded.folded
    assert not model.weights().folded
    for layer in range(2):
        x = values["resid_pre"][layer]
        if norm == "layer":
            x = x - x.mean(-1, keepdim=True)
        if norm != "none":
            x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(model.attention_input(values["resid_pre"][layer], layer, folded=True), x)
        for site in ("q", "v"):
            W, b = getattr(folded, f"W_{site.upper()}")[layer], getattr(folded, f"b_{site.upper()}")[layer]
            again = torch.einsum("bpd,hdk->bhpk", x, W) + b[:, None]
            torch.testing.assert_close(values[site][layer], again, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["rotary", "partly rotary", "rotary pairs", "plain"])
def test_factors_of_a_head_give_its_scores(make: Make, name: str) -> None:
    """With rotary positions for each offset alone; the biases are zero here, since the product leaves them out."""
    model, tokens = make(**VARIANTS[name]), some_tokens()
    for role in "QK":
        model.module.get_parameter(f"b_{role}").zero_()
    trace = model.run(tokens, watch={"attention": keep, "resid_pre": keep})
    rotary = model.config.positions == "rotary"
    for layer in range(2):
        x, scores = model.attention_input(trace.values["resid_pre"][layer], layer), trace.values["attention"][layer]
        for query, key in [(6, 6), (6, 2), (3, 0)]:
            left, right = model.weights().qk(layer, 1, query - key if rotary else None)
            assert (left.shape, right.shape) == ((6, 4), (4, 6))
            score = ((x[:, query] @ left) * (right @ x[:, key].T).T).sum(-1) * model.config.scale
            torch.testing.assert_close(score, scores.scores()[:, 1, query, key], rtol=1e-10, atol=1e-10)
    if rotary:
        with pytest.raises(ValueError, match="relative offset"):
            model.weights().qk(0, 0)


# ---- what edits do ----


@pytest.mark.parametrize("site", [site for site in get_args(Site) if site != "attention"])
def test_an_edit_that_changes_nothing_changes_nothing(make: Make, site: Site) -> None:
    model, tokens = make(d_mlp=5), some_tokens()
    torch.testing.assert_close(model.run(tokens, edit={site: keep}).output, model.run(tokens).output)


def test_an_ablated_head_is_a_head_without_output_weights(make: Make) -> None:
    model, tokens = make(d_mlp=5), some_tokens()

    def ablate(z: Tensor, layer: int) -> Tensor:
        return torch.cat([z[:, :1], 0 * z[:, 1:2], z[:, 2:]], dim=1) if layer == 1 else z

    edited = model.run(tokens, edit={"z": ablate}, logits=True).output
    assert not torch.allclose(edited, model.logits(tokens))
    model.module.get_parameter("W_O")[1, 1] = 0
    torch.testing.assert_close(edited, model.logits(tokens), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("site", ["q", "k", "v", "pattern", "attn_out", "mlp_out", "resid_post", "embed"])
def test_an_edit_reaches_what_comes_after_and_nothing_before(make: Make, site: Site) -> None:
    model, tokens = make(d_mlp=5), some_tokens()
    plain = model.run(tokens, watch=dict.fromkeys(get_args(Site), keep)).values
    seen: list[Tensor] = []

    def edit(activation: Tensor, layer: int) -> Tensor:
        seen.append(activation.clone())
        return activation * 0.5 if layer == len(plain[site]) - 1 else activation

    edited = model.run(tokens, watch=dict.fromkeys(get_args(Site), keep), edit={site: edit}).values
    last = len(plain[site]) - 1
    torch.testing.assert_close(edited[site][last], plain[site][last] * 0.5)  # a watcher sees what took its place
    torch.testing.assert_close(seen[last], plain[site][last])
    for before in ("resid_pre", "z", "mlp_out"):
        assert torch.allclose(edited[before][0], plain[before][0]) is not (site == "embed")
    assert not torch.allclose(edited["final_norm"][0], plain["final_norm"][0])


def test_attention_can_be_knocked_out_edge_by_edge(make: Make) -> None:
    """Without its pattern from the last token to the first, that token no longer hears of the first one's value."""
    model, tokens = make(n_layers=1), some_tokens()

    def knock(pattern: Tensor, layer: int) -> Tensor:
        pattern = pattern.clone()
        pattern[:, :, 6, 0] = 0
        return pattern

    other = tokens.clone()
    other[:, 0] = (other[:, 0] + 1) % 11
    patterns = model.run(tokens, watch={"pattern": keep}).values["pattern"]
    same = {"pattern": lambda p, layer: knock(patterns[layer], layer)}
    one, two = model.run(tokens, edit=same).output, model.run(other, edit=same).output
    torch.testing.assert_close(one[:, 6], two[:, 6], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(one[:, 5], two[:, 5])


def test_what_cannot_be_watched_or_edited(make: Make) -> None:
    model, tokens = make(), some_tokens()
    with pytest.raises(UsageError, match="'attention' can be watched, not edited"):
        model.run(tokens, edit={"attention": keep})
    with pytest.raises(UsageError, match=r"the edit of z returned shape \[3, 3, 1, 4\]; expected \[3, 3, 7, 4\]"):
        model.run(tokens, edit={"z": lambda z, layer: z[:, :, :1]})


def test_outputs_that_are_no_tokens_unembed_nothing(make: Make) -> None:
    """Logits are there; what reads them as those of tokens does not apply."""
    model = make(d_vocab_out=4)
    assert model.logits(some_tokens()).shape == (3, 7, 4)
    reason = model.unembedding()
    assert isinstance(reason, NotApplicable)
    assert reason.reason == "this model has 4 outputs, which are not those of its 11 tokens"
    assert isinstance(make().unembedding(), Tensor)


def test_without_an_unembedding_there_are_states_and_no_logits(make: Make) -> None:
    model = make(d_vocab_out=0)
    assert model.run(some_tokens()).output.shape == (3, 7, SIZES["d_model"])
    with pytest.raises(UsageError, match="tiny: has no unembedding, so it has no logits"):
        model.logits(some_tokens())
    assert isinstance(model.unembedding(), NotApplicable)


def test_a_gate_needs_an_mlp(make: Make) -> None:
    with pytest.raises(CheckpointRefused, match="gated_mlp = True without d_mlp"):
        make(gated_mlp=True)
