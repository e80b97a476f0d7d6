"""The null keeps the scale and nothing else, and goes through the architecture's own attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import pytest
import torch
import transformers
from einops import rearrange
from mesascope.data import UsageError
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source, from_module
from mesascope.models.language_model import LanguageModel
from mesascope.models.subject import AttentionScores, Reduce, Site
from mesascope.models.taps import OtherAttention
from mesascope.models.weights import AttentionWeights
from mesascope.probes.induction_heads.nulls import PermutedAttention, permuted
from mesascope.probes.streaming import Beside, Watcher, stream
from torch import Tensor, nn

TOKENS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9]])
SIZES = {"vocab_size": 11, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.5}


class Seen(Watcher):
    """Patterns and z of every layer, and the states that the pass ends with."""

    def __init__(self) -> None:
        self.patterns: list[Tensor] = []
        self.z: list[Tensor] = []
        self.final: list[Tensor] = []

    def watch(self, tokens: Tensor) -> Mapping[Site, Reduce]:
        def keep(into: list[Tensor]) -> Callable[[Any, int], None]:
            return lambda x, _: into.append(x.pattern() if isinstance(x, AttentionScores) else x.clone())

        return {"attention": keep(self.patterns), "z": keep(self.z), "final": keep(self.final)}

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


def null_of(subject: LanguageModel, draw: int = 0) -> PermutedAttention:
    weights = subject.weights()
    assert isinstance(weights, AttentionWeights)
    return PermutedAttention(weights, seed=7, draw=draw)


def observed(subject: LanguageModel) -> tuple[Seen, Seen]:
    """What is seen of a model, and of its heads with permuted weights."""
    own, null = Seen(), Seen()
    stream(subject, [TOKENS], [own], beside=[Beside(null_of(subject).project, [null])])
    return own, null


def tiny(positions: str) -> AttentionOnlyModel:
    sizes = {"d_vocab": 11, "n_ctx": 8, "d_model": 6, "n_layers": 2, "n_heads": 3, "d_head": 4}
    config = AttentionOnlyConfig(**sizes, positions=positions)
    rng = torch.Generator().manual_seed(0)
    parameters = {n: torch.randn(shape, generator=rng, dtype=torch.float64) for n, shape in config.shapes.items()}
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))


def test_each_layer_and_role_and_draw_has_an_order_of_its_own() -> None:
    subject = tiny("learned")
    weights, null = subject.weights(), null_of(subject)
    assert isinstance(weights, AttentionWeights)
    orders = set()
    for one in (null, null_of(subject, draw=1)):
        for role, own in (("Q", weights.W_Q), ("K", weights.W_K)):
            for layer in range(2):
                found = one.matrix(role, layer)
                assert torch.equal(found.flatten(1).sort(dim=-1).values, own[layer].flatten(1).sort(dim=-1).values)
                places = [(heads[:, None] == before).int().argmax(dim=-1)
                          for heads, before in zip(found.flatten(1), own[layer].flatten(1), strict=True)]  # fmt: skip
                assert all(torch.equal(places[0], place) for place in places)  # alike for the heads of a layer
                assert (places[0] != torch.arange(len(places[0]))).double().mean() > 0.7
                orders.add(tuple(places[0].tolist()))
                assert torch.equal(one.matrix(role, layer), found)  # made anew for every batch
    assert len(orders) == 8


@pytest.mark.parametrize("positions", ["learned", "rotary", "shortformer"])
def test_a_layer_attends_as_if_its_own_weights_alone_were_permuted(positions: str) -> None:
    subject = tiny(positions)
    own, null = observed(subject)
    for layer in range(2):
        parameters = {name: value.detach().clone() for name, value in subject.module.named_parameters()}
        for role in "QK":
            parameters[f"W_{role}"][layer] = null_of(subject).matrix(role, layer)
        changed = Seen()
        stream(AttentionOnlyModel(AttentionOnlyTransformer(subject.config, parameters), subject.source),
               [TOKENS], [changed])  # fmt: skip
        assert torch.allclose(null.patterns[layer], changed.patterns[layer])
        assert torch.allclose(null.z[layer], changed.z[layer])
        assert not torch.allclose(null.patterns[layer], own.patterns[layer])
    assert torch.equal(null.final[0], own.final[0])
    assert torch.equal(own.output, subject.run(TOKENS).output)  # nothing of it enters the stream


def gpt2() -> nn.Module:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=16, n_positions=16, n_inner=16, **SIZES))


def qwen3() -> nn.Module:
    """Two query heads share a key head, and q and k are normalised after the projection that is replaced."""
    config = transformers.Qwen3Config(
        hidden_size=16, num_key_value_heads=2, head_dim=8, intermediate_size=16, max_position_embeddings=16, **SIZES
    )
    return transformers.Qwen3ForCausalLM(config)


def gpt_neox() -> nn.Module:
    """q, k and v of a head lie side by side, and attention and MLP read the same state."""
    config = transformers.GPTNeoXConfig(hidden_size=16, intermediate_size=16, max_position_embeddings=16, **SIZES)
    return transformers.GPTNeoXForCausalLM(config)


def gemma2() -> nn.Module:
    """Scores are capped, and every other layer has a window."""
    config = transformers.Gemma2Config(
        hidden_size=16, num_key_value_heads=2, head_dim=8, intermediate_size=16, max_position_embeddings=16,
        sliding_window=3, attn_logit_softcapping=2.0, query_pre_attn_scalar=8, **SIZES,
    )  # fmt: skip
    return transformers.Gemma2ForCausalLM(config)


def write_gpt2(module: nn.Module, layer: int, W_Q: Tensor, W_K: Tensor) -> None:
    both = torch.cat([rearrange(W, "head m d -> m (head d)") for W in (W_Q, W_K)], dim=1)
    module.transformer.h[layer].attn.c_attn.weight[:, : both.shape[1]] = both


def write_separate(module: nn.Module, layer: int, W_Q: Tensor, W_K: Tensor) -> None:
    attention = module.model.layers[layer].self_attn
    for projection, W in ((attention.q_proj, W_Q), (attention.k_proj, W_K)):
        projection.weight.copy_(rearrange(W, "head m d -> (head d) m"))


def write_gpt_neox(module: nn.Module, layer: int, W_Q: Tensor, W_K: Tensor) -> None:
    weight = module.gpt_neox.layers[layer].attention.query_key_value.weight
    by_head = rearrange(weight, "(head role d) m -> head role d m", head=4, role=3)
    for role, W in enumerate((W_Q, W_K)):
        by_head[:, role] = W.mT


FAMILIES = {
    gpt2: write_gpt2, qwen3: write_separate, gpt_neox: write_gpt_neox, gemma2: write_separate
}  # fmt: skip


@pytest.mark.parametrize("make", FAMILIES, ids=lambda make: make.__name__)
def test_families_attend_as_their_own_pass_does_with_permuted_weights(make: Callable[[], nn.Module]) -> None:
    """Compared with transformers' eager patterns of a copy in whose one layer the permuted weights were written."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make().eval()
    subject = from_module(deepcopy(module))
    before = {name: value.clone() for name, value in subject.module.named_parameters()}
    unwatched = subject.run(TOKENS).output
    own, null = observed(subject)
    assert torch.equal(own.output, unwatched)
    assert all(torch.equal(before[name], value) for name, value in subject.module.named_parameters())
    for layer in range(2):
        changed = deepcopy(module)
        changed.set_attn_implementation("eager")
        with torch.no_grad():
            FAMILIES[make](changed, layer, *(null_of(subject).matrix(role, layer) for role in "QK"))
            pattern = changed(TOKENS, output_attentions=True).attentions[layer]
        assert torch.allclose(null.patterns[layer], pattern, atol=1e-5)
        assert not torch.allclose(own.patterns[layer], pattern, atol=1e-2)


def test_what_such_a_head_writes_is_made_of_the_layer_s_own_v() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        subject = from_module(qwen3().eval())
    values: list[Tensor] = []
    subject.run(TOKENS, {"v": lambda v, _: values.append(v.clone())})
    _, null = observed(subject)
    for pattern, v, z in zip(null.patterns, values, null.z, strict=True):
        assert torch.allclose(z, pattern @ v.repeat_interleave(2, dim=1), atol=1e-5)


@pytest.mark.parametrize("make", [gpt2, qwen3], ids=lambda make: make.__name__)
def test_what_is_computed_beside_a_pass_is_not_watched_or_edited_with_it(make: Callable[[], nn.Module]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        subject = from_module(make().eval())
    watched: list[tuple[int, Tensor]] = []
    edited: list[int] = []

    def note(v: Tensor, layer: int) -> Tensor:
        edited.append(layer)
        return v

    watch = {"q": lambda q, layer: watched.append((layer, q.clone()))}
    subject.run(TOKENS, watch, {"v": note}, others=[OtherAttention(null_of(subject).project, {"z": lambda z, _: z})])
    assert edited == [0, 1]
    alone: list[Tensor] = []
    subject.run(TOKENS, {"q": lambda q, _: alone.append(q.clone())})
    assert [layer for layer, _ in watched] == [0, 1]
    assert all(torch.equal(q, expected) for (_, q), expected in zip(watched, alone, strict=True))


def test_only_attention_can_be_watched_beside_a_pass() -> None:
    subject = tiny("learned")
    with pytest.raises(UsageError, match="site 'resid_pre' cannot be watched beside a pass; expected attention or z"):
        subject.run(TOKENS, others=[OtherAttention(null_of(subject).project, {"resid_pre": lambda x, _: x})])
