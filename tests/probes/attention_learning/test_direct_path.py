"""Beta by the direct path: the OV circuit where there is nothing else, weights by hand, and models that have none."""

from __future__ import annotations

import pytest
import torch
from mesascope.models import NotApplicable, from_module
from mesascope.models.language_model import LanguageModel
from mesascope.models.norms import Norm
from mesascope.models.weights import AttentionOutput
from mesascope.probes.attention_learning.direct_path import DirectPath, head_beta, through
from torch import Tensor

from .tiny_language_models import model, module_of

TOKENS = torch.randint(0, 13, (2, 9), generator=torch.Generator().manual_seed(3))
QUERIES = [2, 5, 7]
TARGETS = TOKENS[:, [3, 6, 8]]


def path_of(subject: LanguageModel) -> DirectPath:
    path = DirectPath.of(subject)
    assert isinstance(path, DirectPath)
    return path


def betas(subject: LanguageModel) -> list[Tensor]:
    """Of every layer."""
    path = path_of(subject)
    values = subject.run(TOKENS, {"v": lambda v, layer: v}).values["v"]
    return [path.beta(layer, v, path.directions(TARGETS)) for layer, v in enumerate(values)]


def test_in_one_layer_without_norms_it_is_the_ov_circuit() -> None:
    subject = model(n_layers=1, norm="none", positions="none", d_vocab=13)
    weights = {name: value.numpy() for name, value in subject.module.named_parameters()}
    (found,) = betas(subject)
    assert found.shape == (2, 2, 3, 9)
    centred = weights["W_U"] - weights["W_U"].mean(axis=1, keepdims=True)
    for sequence in range(2):
        for head in range(2):
            for query in range(3):
                for key in range(9):
                    x = weights["W_E"][TOKENS[sequence, key]]
                    v = x @ weights["W_V"][0, head] + weights["b_V"][0, head]
                    expected = v @ weights["W_O"][0, head] @ centred[:, TARGETS[sequence, query]]
                    assert found[sequence, head, query, key] == pytest.approx(expected, rel=1e-9)


def test_with_a_norm_it_is_what_the_head_adds_to_the_logit() -> None:
    """Beyond the mean over the vocabulary, with the norm's division held fixed, times that division."""
    subject = model(norm="layer")
    path, W_U = path_of(subject), subject.unembedding()
    assert isinstance(W_U, Tensor)
    values = subject.run(TOKENS, {site: lambda x, layer: x for site in ("v", "final")}).values
    state, v = values["final"][0][:, QUERIES], values["v"][1]
    found = path.beta(1, v, path.directions(TARGETS))
    writes = torch.einsum("bhkd,hdm->bhkm", v, subject.attention_output(1).W_O)
    normed = subject.final_norm.linear(writes[:, :, None], state[:, None, :, None])
    logits = (normed @ W_U) * subject.final_norm.spread(state)[:, None, :, None, None]
    own = logits.gather(-1, TARGETS[:, None, :, None, None].expand(-1, 2, -1, 9, 1))[..., 0]
    torch.testing.assert_close(found, own - logits.mean(dim=-1))


def test_of_gpt2_by_its_own_names() -> None:
    module = module_of("gpt2")
    state = module.state_dict()
    found = betas(from_module(module))
    hidden = module(TOKENS, output_hidden_states=True).hidden_states
    u = state["lm_head.weight"][TARGETS] - state["lm_head.weight"].mean(dim=0)
    u = u * state["transformer.ln_f.weight"]
    u = u - u.mean(dim=-1, keepdim=True)
    for layer, beta in enumerate(found):
        read = module.transformer.h[layer].ln_1(hidden[layer])
        attn = f"transformer.h.{layer}.attn"
        v = read @ state[f"{attn}.c_attn.weight"][:, 32:] + state[f"{attn}.c_attn.bias"][32:]
        for head in range(4):
            of_head = slice(4 * head, 4 * head + 4)
            write = v[..., of_head] @ state[f"{attn}.c_proj.weight"][of_head]
            torch.testing.assert_close(beta[:, head], u @ write.mT)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_shared_values_and_norms_of_writes(family: str) -> None:
    """Query heads 0 and 1 read the first value head, 2 and 3 the second. A norm of the write scales it, up to a factor
    for each query."""
    module = module_of(family)
    subject = from_module(module)
    values = subject.run(TOKENS, {"v": lambda v, layer: v}).values["v"]
    for layer, beta in enumerate(betas(subject)):
        block, norm = module.model.layers[layer], module.model.norm
        u = (module.lm_head.weight[TARGETS] - module.lm_head.weight.mean(dim=0)) * (norm.weight + (family == "gemma2"))
        if family == "gemma2":
            u = u * (1 + block.post_attention_layernorm.weight)
        W_O = block.self_attn.o_proj.weight
        for head in range(4):
            write = values[layer][:, head // 2] @ W_O[:, 4 * head : 4 * head + 4].mT
            torch.testing.assert_close(beta[:, head], u @ write.mT, rtol=1e-5, atol=1e-7)


def test_a_layer_norm_of_the_write_takes_its_mean_out() -> None:
    rng = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(shape, generator=rng, dtype=torch.float64)  # noqa: E731
    v, W_O, u, norm = normal(1, 2, 5, 3), normal(2, 3, 8), normal(1, 4, 8), Norm("layer", normal(8), normal(8), 1e-5)
    found = head_beta(v, AttentionOutput(W_O, None, norm), u)
    writes = v @ W_O[None]
    expected = norm.linear(writes, writes) @ u[:, 0, :, None]  # a spread for each write: taken out again
    torch.testing.assert_close(found[:, :, 0], expected[..., 0] * norm.spread(writes))
    assert through(Norm(), u) is u


def test_equal_values_have_equal_beta_to_the_last_bit() -> None:
    rng = torch.Generator().manual_seed(1)
    v = torch.randn(1, 1, 1, 7, generator=rng, dtype=torch.float64).expand(3, 2, 61, 7)
    output = AttentionOutput(torch.randn(4, 7, 33, generator=rng), None)
    beta = head_beta(v, output, torch.randn(3, 5, 33, generator=rng, dtype=torch.float64))
    assert (beta == beta[..., :1]).all()
    assert beta[..., 0].unique().numel() == 3 * 4 * 5


def test_a_constant_on_all_logits_changes_nothing() -> None:
    subject, shifted = model(), model()
    with torch.no_grad():
        shifted.module.get_parameter("W_U").add_(torch.randn(8, 1).double())
    for own, other in zip(betas(subject), betas(shifted), strict=True):
        torch.testing.assert_close(own, other)


def test_models_without_a_direct_path_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    after = DirectPath.of(from_module(module_of("openai-gpt")))
    assert isinstance(after, NotApplicable)
    assert "normalises the residual stream after each layer's attention" in after.reason
    no_head = DirectPath.of(model(d_vocab_out=0))
    assert isinstance(no_head, NotApplicable)
    assert "no unembedding" in no_head.reason
    subject = model()
    monkeypatch.setattr(subject, "attention_output", lambda layer: NotApplicable("gated"))
    assert DirectPath.of(subject) == NotApplicable("gated")
