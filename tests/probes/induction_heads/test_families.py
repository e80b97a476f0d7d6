"""Every causal family is measured, and untrained models with widened attention have no induction heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source, from_module
from mesascope.models.language_model import LanguageModel
from mesascope.probes.induction_heads.probe import InductionHeads

FAMILIES = ("attention-only", "gpt2", "gpt_neox", "llama", "qwen3", "gemma2")
BY_CONTENT = {"induction", "anti-induction", "duplicate-token"}
RATE = 0.05


def widened(family: str, seed: int) -> LanguageModel:
    """An untrained model whose W_Q and W_K are so large that attention looks somewhere, up to a single token."""
    if family == "attention-only":
        return _attention_only(seed)
    import transformers

    shared: dict[str, Any] = {"vocab_size": 53, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    shared |= {"max_position_embeddings": 64, "intermediate_size": 48, "bos_token_id": 0, "eos_token_id": 0}
    grouped = {**shared, "num_key_value_heads": 2, "head_dim": 8}
    capped = {"sliding_window": 24, "attn_logit_softcapping": 30.0, "final_logit_softcapping": 10.0}
    kind, values = {
        "gpt2": ("GPT2LMHeadModel", {"n_positions": 64, **shared}),
        "gpt_neox": ("GPTNeoXForCausalLM", shared),
        "llama": ("LlamaForCausalLM", grouped),
        "qwen3": ("Qwen3ForCausalLM", grouped),
        "gemma2": ("Gemma2ForCausalLM", {**grouped, **capped}),
    }[family]
    model = getattr(transformers, kind)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = model(model.config_class(**values)).eval()
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if parameter.ndim == 2:
                    wide = any(part in name for part in ("q_proj", "k_proj", "c_attn", "query_key_value"))
                    parameter.normal_(0, width(seed) if wide else 0.3)
    return from_module(module)


def width(seed: int) -> float:
    return (0.7, 1.4, 2.8, 5.6)[seed // 6 % 4]


def _attention_only(seed: int) -> AttentionOnlyModel:
    positions = ("learned", "rotary", "sinusoidal")[seed % 3]
    sizes = {"d_vocab": 53, "n_ctx": 64, "d_model": 32, "n_layers": 2, "n_heads": 4, "d_head": 8}
    config, rng = AttentionOnlyConfig(**sizes, positions=positions), torch.Generator().manual_seed(seed)
    parameters = {}
    for name, shape in config.shapes.items():
        wide = width(seed) if name in ("W_Q", "W_K") else 0.3
        parameters[name] = wide * torch.randn(shape, generator=rng) + name.endswith("scale")
    source = Source("tiny", layout="in-memory", facts={"bos": 0})
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), source)


def verdicts(family: str, seed: int) -> dict[str, str]:
    probe = InductionHeads(ablate="nothing")
    return probe.heads(probe.measure(widened(family, seed), seed, 16).measures)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_causal_family_is_measured_and_untrained_heads_are_not_called(family: str) -> None:
    subject = widened(family, 0)
    probe = InductionHeads(periods=(8, 6), n_sequences=8)
    findings = probe.measure(subject, 0, 16)
    measures, heads = findings.measures, probe.heads(findings.measures)
    assert list(heads) == [f"L{layer}H{head}" for layer in range(2) for head in range(4)]
    assert not BY_CONTENT & set(heads.values())
    for name in ("prefix_matching_score", "excess", "ov_copying_score", "composition", "ablation"):
        assert measures[name].status == "ok", name
    claim = probe.claim(measures, (subject.source,))
    assert "heads" in claim.found
    direct = measures["direct_logit_attribution"]
    if family == "gemma2":  # what its heads write is normalised before it is added
        assert direct.status == "not applicable"
        assert "normalises the output of attention before it enters" in direct.message
        assert "that norm is left out" in measures["ov_copying_score"].message
    else:
        assert direct.status == "ok"


@pytest.fixture
def one_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the null does not matter, one draw is enough."""
    monkeypatch.setattr("mesascope.probes.induction_heads.observations.NULL_DRAWS", (1, 1))


@pytest.mark.usefixtures("one_draw")
def test_half_precision_says_nearly_the_same() -> None:
    probe = InductionHeads(periods=(8, 6), n_sequences=8, ablate="nothing")
    single = widened("llama", 0)
    half = from_module(widened("llama", 0).module.to(torch.bfloat16))
    one, other = (probe.measure(subject, 0, 16).measures for subject in (single, half))
    assert probe.heads(one) == probe.heads(other)
    for name in ("prefix_matching_score", "ov_copying_score", "composition", "loss_second_repeat"):
        assert np.allclose(one[name].values, other[name].values, atol=0.1, equal_nan=True), name


@pytest.mark.usefixtures("one_draw")
def test_layers_that_cannot_see_as_far_say_so() -> None:
    found = InductionHeads(periods=28, n_sequences=11, ablate="nothing").measure(widened("gemma2", 0), 0, 16).measures
    words = "layer 0 attends to the last 24 tokens only"
    assert words in found["prefix_matching_score"].message
    assert (found["prefix_matching_score"].values[0] == 0).all()
    assert (found["prefix_matching_score"].values[1] > 0).all()
    short = InductionHeads(periods=8, n_sequences=11, ablate="nothing").measure(widened("gemma2", 0), 0, 16).measures
    assert "to the last" not in short["prefix_matching_score"].message


@pytest.mark.usefixtures("one_draw")
def test_widened_attention_looks_somewhere() -> None:
    """Or the null of the next test would be that of even attention, which no test could fail."""
    found = InductionHeads(periods=(20, 15), n_sequences=8, ablate="nothing").measure(widened("llama", 12), 1, 16)
    spread = found.arrays["prefix_matching_score"]
    assert spread.max() > 5 * found.measures["prefix_matching_score"].nulls["even attention"].max()


@pytest.mark.slow
def test_the_share_of_200_untrained_models_with_a_called_head() -> None:
    called = [bool(BY_CONTENT & set(verdicts(FAMILIES[n % 6], n).values())) for n in range(200)]
    assert np.mean(called) <= RATE
