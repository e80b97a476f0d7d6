"""The null keeps the scale and nothing else, and goes through the architecture's own attention."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source, from_module
from mesascope.models.language_model import LanguageModel
from mesascope.models.weights import AttentionWeights
from mesascope.probes.induction_heads.nulls import PermutedAttention, permuted
from mesascope.probes.streaming import Watcher, stream
from torch import Tensor

TOKENS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9]])


class Output(Watcher):
    def watch(self, tokens: Tensor) -> dict:
        return {}

    def take(self, tokens: Tensor, output: Tensor) -> None:
        self.output = output


def test_every_matrix_keeps_its_entries_and_loses_their_order() -> None:
    weights = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    found = permuted(weights, torch.Generator().manual_seed(1))
    assert torch.equal(found.flatten(2).sort(dim=-1).values, weights.flatten(2).sort(dim=-1).values)
    moved = (found != weights).flatten(2).double().mean(dim=-1)
    assert (moved > 0.7).all()
    orders = [tuple(one.flatten().argsort().tolist()) for one in found.flatten(0, 1)]
    assert len(set(orders)) == 6  # each matrix an order of its own
    assert not torch.equal(permuted(weights, torch.Generator().manual_seed(2)), found)


def outputs_under_null(subject: LanguageModel) -> tuple[Tensor, AttentionWeights]:
    weights = subject.weights()
    assert isinstance(weights, AttentionWeights)
    rng = torch.Generator().manual_seed(7)
    null, watcher = PermutedAttention(subject, weights, rng), Output()
    stream(subject, [TOKENS], [null, watcher], null.edit)
    rng.manual_seed(7)
    return watcher.output, replace(weights, W_Q=permuted(weights.W_Q, rng), W_K=permuted(weights.W_K, rng))


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_the_pass_is_that_of_a_model_with_permuted_weights(positions: str) -> None:
    sizes = {"d_vocab": 11, "n_ctx": 8, "d_model": 6, "n_layers": 2, "n_heads": 3, "d_head": 4}
    config = AttentionOnlyConfig(**sizes, positions=positions)
    rng = torch.Generator().manual_seed(0)
    parameters = {n: torch.randn(shape, generator=rng, dtype=torch.float64) for n, shape in config.shapes.items()}
    subject = AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))
    found, shuffled = outputs_under_null(subject)
    changed = AttentionOnlyTransformer(config, {**parameters, "W_Q": shuffled.W_Q, "W_K": shuffled.W_K})
    expected = AttentionOnlyModel(changed, subject.source).run(TOKENS).output
    assert torch.allclose(found, expected)
    assert not torch.allclose(found, subject.run(TOKENS).output)


def test_grouped_heads_and_norms_of_q_and_k_stay_the_architecture_s() -> None:
    """Qwen3: two query heads share a key head, and q and k are normalised after the projection that is replaced."""
    import transformers

    config = transformers.Qwen3Config(
        vocab_size=11,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=16,
        max_position_embeddings=16,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = transformers.Qwen3ForCausalLM(config).eval()
    before = {name: parameter.clone() for name, parameter in module.named_parameters()}
    found, shuffled = outputs_under_null(from_module(module))
    assert all(torch.equal(before[name], parameter) for name, parameter in module.named_parameters())
    with torch.no_grad():
        for layer, (W_Q, W_K) in zip(module.model.layers, zip(shuffled.W_Q, shuffled.W_K, strict=True), strict=True):
            layer.self_attn.q_proj.weight.copy_(W_Q.transpose(1, 2).flatten(0, 1))
            layer.self_attn.k_proj.weight.copy_(W_K.transpose(1, 2).flatten(0, 1))
        expected = module.model(TOKENS).last_hidden_state
    assert np.allclose(found, expected, atol=1e-5)
