"""Norm-based attention and mixing ratios by loops over every pair of tokens, and the identities of the parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from mesascope.models import from_module
from mesascope.models.norms import Norm
from mesascope.models.subject import AttentionScores
from mesascope.probes.token_norms.attention import (
    RATIOS,
    head_summed_lengths,
    mixing_ratios,
    own_write,
    summed_writes,
    weighted_lengths,
    write_factors,
    write_lengths,
)

B, H, T, DH, D = 2, 4, 9, 3, 7


class Case:
    """Random attention of H heads over `kv` key-value heads, with every f(x) and alpha f(x) written out."""

    def __init__(self, kv: int, causal: bool) -> None:
        rng = torch.Generator().manual_seed(kv)

        def rand(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=rng, dtype=torch.float64)

        self.scores = AttentionScores.of(rand(B, H, T, DH), rand(B, kv, T, DH), causal=causal)
        self.v, self.W_O, self.stream, self.bias = rand(B, kv, T, DH), rand(H, DH, D), rand(B, T, D), rand(D)
        self.alpha = self.scores.pattern().numpy()
        values = self.v.repeat_interleave(H // kv, dim=1).numpy()
        self.f = np.einsum("bhtc,hcd->bhtd", values, self.W_O.numpy())
        self.pairs = self.alpha[..., None] * self.f[:, :, None]  # batch head query key d
        self.z = np.einsum("bhij,bhjc->bhic", self.alpha, values)


@pytest.fixture(params=[(4, True), (2, True), (1, False)], ids=["own", "grouped", "shared, bidirectional"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param)


def test_lengths_of_writes(case: Case) -> None:
    found = write_lengths(case.v, write_factors(case.W_O))
    np.testing.assert_allclose(found, np.linalg.norm(case.f, axis=-1), rtol=1e-10)


def test_heads_wider_than_the_stream() -> None:
    rng = torch.Generator().manual_seed(0)
    v, W_O = torch.randn(1, 2, 4, 6, generator=rng).double(), torch.randn(2, 6, 3, generator=rng).double()
    slow = torch.einsum("bhtc,hcd->bhtd", v, W_O).norm(dim=-1)
    np.testing.assert_allclose(write_lengths(v, write_factors(W_O)), slow, rtol=1e-10)


def test_attention_is_a_factor(case: Case) -> None:
    """‖alpha f(x)‖ = alpha ‖f(x)‖ per head, summed over keys without a tensor of pairs."""
    write = write_lengths(case.v, write_factors(case.W_O))
    each = np.linalg.norm(case.pairs, axis=-1)
    np.testing.assert_allclose(each, case.alpha * write.numpy()[:, :, None], rtol=1e-10)
    np.testing.assert_allclose(weighted_lengths(case.scores, write), each.sum(axis=-1), rtol=1e-10)


def test_maps_with_heads_summed(case: Case) -> None:
    slow = np.linalg.norm(case.pairs.sum(axis=1), axis=-1)
    np.testing.assert_allclose(head_summed_lengths(case.scores, case.v, case.W_O), slow, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_multiplied_out_in_full(case: Case, dtype: torch.dtype) -> None:
    """The writes are those of the stored values, to what float32 keeps."""
    z, v, W_O = (x.to(dtype) for x in (torch.from_numpy(case.z), case.v, case.W_O))
    own = case.scores.at_offset(0)
    for half, wide in (
        (summed_writes(z, W_O), summed_writes(z.double(), W_O.double())),
        (own_write(v, own.float(), W_O), own_write(v.double(), own, W_O.double())),
    ):
        np.testing.assert_allclose(half, wide, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_mixing_ratios_by_loops(case: Case, kind: str) -> None:
    rng = torch.Generator().manual_seed(9)
    scale, offset = torch.randn(2, D, generator=rng, dtype=torch.float64)
    norm = Norm(kind, scale, offset if kind == "layer" else None, 1e-3)
    own_attention = case.scores.at_offset(0)
    own = own_write(case.v, own_attention, case.W_O)
    found = mixing_ratios(
        case.stream, summed_writes(torch.from_numpy(case.z), case.W_O), own, own_attention, norm, case.bias
    )
    for b in range(B):
        for i in range(T):
            keys = [j for j in range(T) if j != i]
            mixed = sum((case.pairs[b, h, i, j] for h in range(H) for j in keys), np.zeros(D))
            kept = sum((case.pairs[b, h, i, i] for h in range(H)), np.zeros(D))
            x = case.stream[b, i].numpy()
            whole = mixed + kept + x + case.bias.numpy()

            def linear(z: np.ndarray, whole: np.ndarray = whole) -> np.ndarray:
                if kind == "rms":
                    return scale.numpy() * z / np.sqrt((whole**2).mean() + 1e-3)
                return scale.numpy() * (z - z.mean()) / np.sqrt(whole.var() + 1e-3)

            weights = sum(case.alpha[b, h, i, j] for h in range(H) for j in keys) / H
            slow = [weights, weights / 2]
            for m, p in ((mixed, kept), (mixed, kept + x), (linear(mixed), linear(kept + x))):
                slow.append(np.linalg.norm(m) / (np.linalg.norm(m) + np.linalg.norm(p)))
            np.testing.assert_allclose(found[b, i], slow, atol=1e-10)
    assert len(RATIOS) == found.shape[-1]


def test_ratios_lie_between_zero_and_one_and_the_first_causal_token_mixes_nothing(case: Case) -> None:
    own_attention = case.scores.at_offset(0)
    own = own_write(case.v, own_attention, case.W_O)
    found = mixing_ratios(case.stream, summed_writes(torch.from_numpy(case.z), case.W_O), own, own_attention)
    assert found[..., :4].min() > -1e-12
    assert found[..., :4].max() < 1 + 1e-12
    assert found[..., 4].isnan().all()
    if case.scores.causal:
        np.testing.assert_allclose(found[:, 0, :4], 0, atol=1e-12)


FAMILIES = {
    "gpt2": ("GPT2LMHeadModel", {"n_positions": 16}),
    "llama": ("LlamaForCausalLM", {"num_key_value_heads": 2}),
    "gemma2": ("Gemma2ForCausalLM", {"num_key_value_heads": 2, "head_dim": 8}),
    "bert": ("BertForMaskedLM", {}),
}


def tiny(family: str) -> Any:
    """A random model of a family of Hugging Face, in float64, with biases that are not 0."""
    kind, own = FAMILIES[family]
    shared = {"vocab_size": 23, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes = {**shared, "max_position_embeddings": 16, "intermediate_size": 24, "initializer_range": 0.3, **own}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = getattr(transformers, kind)(
            getattr(transformers, kind.partition("For")[0].removesuffix("LMHeadModel") + "Config")(**sizes)
        )
        for parameter in module.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return from_module(module.double(), name=family)


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_make_the_models_own_attention_block(family: str) -> None:
    """Pieces of every pair, the residual stream and the bias add up to what the model itself makes (to 1e-10)."""
    subject = tiny(family)
    tokens = torch.randint(0, 23, (2, 12), generator=torch.Generator().manual_seed(1))
    watched = ("v", "attention", "z", "attn_out", "resid_pre", "resid_mid")
    values = subject.run(tokens, {site: lambda x, layer: x for site in watched}).values
    weights = subject.weights()
    for layer in range(2):
        scores, v, W_O = values["attention"][layer], values["v"][layer], weights.W_O[layer]
        f = torch.einsum("bhtc,hcd->bhtd", v.repeat_interleave(len(W_O) // v.shape[1], dim=1), W_O)
        pieces = torch.einsum("bhij,bhjd->bid", scores.pattern(), f)
        np.testing.assert_allclose(summed_writes(values["z"][layer], W_O), pieces, atol=1e-10)
        if family == "gemma2":
            continue  # a norm stands between the pieces and the stream
        out = pieces if weights.b_O is None else pieces + weights.b_O[layer]
        np.testing.assert_allclose(values["attn_out"][layer], out, atol=1e-10)
        if family != "bert":  # whose stream is normalised once more before it is seen
            np.testing.assert_allclose(values["resid_mid"][layer], values["resid_pre"][layer] + out, atol=1e-10)


def test_short_writes_cancel_much_attention() -> None:
    """All attention on a token with nothing to say: its share by weight is 1, its share by norm 0."""
    q, k = torch.zeros(1, 1, T, DH).double(), torch.zeros(1, 1, T, DH).double()
    q[..., 0], k[:, :, 0, 0] = 1.0, 40.0
    scores = AttentionScores.of(q, k, scale=1.0)
    v = torch.ones(1, 1, T, DH).double()
    v[:, :, 0] = 0.0
    write = write_lengths(v, write_factors(torch.eye(DH).double()[None]))
    weighted = weighted_lengths(scores, write)
    assert scores.to_key(0).min() > 1 - 1e-12
    assert weighted[..., 1:].max() < 1e-12
    own = own_write(v, scores.at_offset(0), torch.eye(DH).double()[None])
    assert own[:, 1:].abs().max() < 1e-12
