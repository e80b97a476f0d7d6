"""Keys and queries of the states around a layer's write, against other ways to get them; and models that have none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source, from_module
from mesascope.models.language_model import LanguageModel
from mesascope.models.subject import AttentionScores, NotApplicable
from mesascope.models.weights import AttentionWeights
from mesascope.probes.softmax_regression.formulas import softmax_of
from mesascope.probes.softmax_regression.head_measures import UNITS, head_findings
from mesascope.probes.softmax_regression.head_settings import HeadSettings
from mesascope.probes.softmax_regression.written_states import Projections, no_head_shifts, read_layers
from torch import Tensor, nn

TOKENS = torch.randint(3, 23, (2, 11), generator=torch.Generator().manual_seed(4))
SIZES: dict[str, Any] = {"vocab_size": 23, "num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 16}
SIZES |= {"max_position_embeddings": 16, "intermediate_size": 24, "bos_token_id": 0, "eos_token_id": 0}
GROUPED = {**SIZES, "num_key_value_heads": 2, "head_dim": 8}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2LMHead", {"n_positions": 16, **SIZES}),
    "gpt_neox": ("GPTNeoXForCausalLM", SIZES),  # rotates a quarter of a head; attention and MLP side by side
    "llama": ("LlamaForCausalLM", GROUPED),
    "qwen3": ("Qwen3ForCausalLM", GROUPED),  # normalises q and k
    "mistral": ("MistralForCausalLM", {**GROUPED, "sliding_window": 4}),
    "olmo2": ("Olmo2ForCausalLM", SIZES),  # normalises what attention writes, and not what it reads
    "openai-gpt": ("OpenAIGPTLMHead", {"n_positions": 16, "n_inner": 24, "afn": "gelu", **SIZES}),  # norms come last
    "gemma2": ("Gemma2ForCausalLM", {**GROUPED, "attn_logit_softcapping": 5.0, "sliding_window": 4}),
    "gpt_oss": ("GptOssForCausalLM", {**GROUPED, "num_local_experts": 2, "num_experts_per_tok": 1}),
    "bloom": ("BloomForCausalLM", {**SIZES, "n_layer": 3, "n_head": 4}),
    "bert": ("BertForMaskedLM", SIZES),
    "deepseek": (
        "DeepseekV3ForCausalLM",
        {**SIZES, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8,
         "n_routed_experts": 2, "num_experts_per_tok": 1, "n_group": 1, "topk_group": 1, "num_key_value_heads": 4,
         "moe_intermediate_size": 8},
    ),
}  # fmt: skip
MEASURED = ("gpt2", "gpt_neox", "llama", "qwen3", "mistral", "olmo2", "openai-gpt")
POSITIONS = ("learned", "rotary", "shortformer", "sinusoidal")


def module_of(family: str) -> Any:
    name, values = FAMILIES[family]
    model = getattr(transformers, name.replace("LMHead", "LMHeadModel"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = model(model.config_class(**values, initializer_range=0.3)).eval()
        with torch.no_grad():
            for parameter in module.parameters():  # biases and norms start at 0 and 1, where mistakes do not show
                parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def own_model(positions: str) -> AttentionOnlyModel:
    sizes = {"d_vocab": 23, "n_ctx": 16, "d_model": 16, "n_layers": 3, "n_heads": 4, "d_head": 4, "d_mlp": 8}
    config, rng = AttentionOnlyConfig(**sizes, positions=positions), torch.Generator().manual_seed(0)
    parameters = {n: 0.5 * torch.randn(shape, generator=rng).double() for n, shape in config.shapes.items()}
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))


def subject_of(name: str) -> LanguageModel:
    if name in POSITIONS:
        return own_model(name)
    return from_module(module_of(name) if name == "gpt_oss" else module_of(name).double())  # experts know no float64


def read(subject: LanguageModel) -> list[tuple[AttentionScores, AttentionScores]]:
    weights = subject.weights()
    assert isinstance(weights, AttentionWeights)
    found: list[tuple[AttentionScores, AttentionScores]] = []
    before = {name: value.clone() for name, value in subject.module.named_parameters()}  # type: ignore[attr-defined]

    def take(layer: int, *scores: AttentionScores) -> None:
        assert layer == len(found)
        found.append(scores)  # type: ignore[arg-type]

    assert read_layers(subject, Projections(subject, weights), TOKENS, take) is None
    assert all(torch.equal(before[name], now) for name, now in subject.module.named_parameters())  # type: ignore[attr-defined]
    assert len(found) == 3
    return found


def row(scores: AttentionScores, t: int) -> Tensor:
    """f(A, x) over all keys, 0 where the query does not attend."""
    first = 0 if scores.window is None else max(0, t + 1 - scores.window)
    A = scores.k[:, :, first : t + 1].repeat_interleave(scores.q.shape[1] // scores.k.shape[1], dim=1)
    f = softmax_of(A, scores.scale * scores.q[:, :, t])
    return nn.functional.pad(f, (first, scores.q.shape[2] - t - 1))


@pytest.mark.parametrize("family", MEASURED)
def test_f_of_keys_and_query_is_the_row_that_transformers_computes(family: str) -> None:
    module = module_of(family).double()
    found = read(from_module(module))
    eager = module_of(family).double()
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        patterns = eager(TOKENS, output_attentions=True).attentions
    for (before, after), pattern in zip(found, patterns, strict=True):
        for t in range(TOKENS.shape[1]):
            torch.testing.assert_close(row(before, t), pattern[:, :, t], rtol=0, atol=1e-6)  # its softmax is in float32
        assert (row(after, 10) - pattern[:, :, 10]).abs().max() > 1e-3


@pytest.mark.parametrize("name", [*MEASURED, *POSITIONS])
def test_after_the_write_they_are_those_of_a_pass_in_which_the_layer_reads_that_stream(name: str) -> None:
    """The stream is edited where one layer reads it, in a pass of its own, which watches that layer's attention."""
    subject = subject_of(name)
    keep = lambda x, layer: x  # noqa: E731
    seen = subject.run(TOKENS, {"resid_pre": keep, "attn_out": keep, "resid_mid": keep}).values
    for layer, (before, after) in enumerate(read(subject)):
        stream = seen["resid_pre"][layer] + seen["attn_out"][layer]
        if name == "openai-gpt":  # its stream is normalised after the sum
            assert not torch.allclose(stream, seen["resid_mid"][layer], atol=0.1)
            stream = seen["resid_mid"][layer]
        written = lambda x, at, here=layer, to=stream: to if at == here else x  # noqa: E731
        plain = subject.run(TOKENS, {"attention": keep}).values["attention"][layer]
        edited = subject.run(TOKENS, {"attention": keep}, {"resid_pre": written}).values["attention"][layer]
        for role in ("q", "k"):
            torch.testing.assert_close(getattr(before, role), getattr(plain, role), rtol=0, atol=1e-6)
            torch.testing.assert_close(getattr(after, role), getattr(edited, role), rtol=0, atol=1e-6)
            assert (getattr(after, role) - getattr(before, role)).abs().max() > 0.1
        assert after.scale == edited.scale
        assert after.window == edited.window


@pytest.mark.parametrize("family", ["gpt2", "qwen3"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_models_in_other_precision_are_read(family: str, dtype: torch.dtype) -> None:
    assert len(read(from_module(module_of(family).to(dtype)))) == 3


REASONS = {
    "bloom": "this model subtracts a slope times the distance from each score (ALiBi), so its attention is not",
    "bert": "this model's attention is bidirectional. mesascope measures the shifts of causal attention.",
    "deepseek": "its q, k, v or its write are not products of one matrix each with what attention reads",
}


@pytest.mark.parametrize("family", REASONS)
def test_models_without_such_shifts_say_why_without_a_pass(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of(family)
    for method in ("run", "observe", "_states"):
        monkeypatch.setattr(subject, method, None)
    found = no_head_shifts(subject)
    assert isinstance(found, NotApplicable)
    assert found.reason.startswith(REASONS[family])


@pytest.mark.parametrize("name", [*MEASURED, *POSITIONS])
def test_nothing_speaks_against_the_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of(name)
    for method in ("run", "observe", "_states"):
        monkeypatch.setattr(subject, method, None)
    assert no_head_shifts(subject) is None


def test_heads_that_are_not_shown_are_not_measured() -> None:
    sizes = {name: value for name, value in SIZES.items() if "token" not in name}
    config = transformers.RoFormerConfig(**sizes, is_decoder=True, embedding_size=16)
    found = no_head_shifts(from_module(transformers.RoFormerForCausalLM(config).eval()))
    assert isinstance(found, NotApplicable)
    assert found.reason.startswith("the shifts of this model's heads cannot be measured: it computes attention in its")


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("gemma2", "this model soft-caps its scores at 5, so its attention is not the softmax of keys times a query"),
        ("gpt_oss", "this model has learned attention sinks, which take up to 0."),
    ],
)
def test_what_only_a_pass_shows_is_said_by_every_measure(family: str, reason: str) -> None:
    subject = subject_of(family)
    assert no_head_shifts(subject) is None
    findings = head_findings(subject, HeadSettings(n_sequences=2, untrained=1), 0, 2)
    assert set(findings.measures) == set(UNITS)
    for name, measure in findings.measures.items():
        assert (measure.status, measure.unit) == ("not applicable", UNITS[name])
        assert measure.message.startswith(reason)
    assert not findings.arrays
    assert findings.recipes["evaluation"].n == 2


@pytest.mark.parametrize("role", ["W_Q", "b_K"])
@pytest.mark.parametrize("make", [lambda: own_model("rotary"), lambda: from_module(module_of("gpt2"))])
def test_weights_that_do_not_give_the_layer_s_own_keys_are_noticed(
    make: Callable[[], LanguageModel], role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = make()
    own = subject.weights()
    assert isinstance(own, AttentionWeights)
    changed = getattr(own, role).clone()
    changed[1] *= 1.01
    monkeypatch.setattr(subject, "weights", lambda: replace(own, **{role: changed}))
    messages = {
        m.message for m in head_findings(subject, HeadSettings(n_sequences=2, untrained=0), 0, 2).measures.values()
    }
    assert len(messages) == 1
    assert messages.pop().startswith(
        "q and k that mesascope forms of the states that layer 1 reads are not the layer's own: "
    )
