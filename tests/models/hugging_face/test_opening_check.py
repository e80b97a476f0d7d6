"""The check of every opened model: each kind passes it, and each part of it notices when our code is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from mesascope.data.errors import CheckpointRefused, UsageError
from mesascope.models import NotApplicable, from_module
from mesascope.models import attention as attention_functions
from mesascope.models import subject as subjects
from mesascope.models.hugging_face import opening_check, reading, watched
from mesascope.models.hugging_face import subject as hugging_face
from mesascope.models.hugging_face.subject import HuggingFaceModel
from mesascope.models.opening_check import OpeningCheck, relative_error
from transformers import Olmo3Config, Olmo3ForCausalLM

Tiny = Callable[..., Any]
KINDS = (
    "gpt2", "gpt_neox", "gpt_neox serial", "llama", "qwen3", "gemma2", "bert", "gpt_oss", "smollm3", "ernie4_5", "glm",
    "gemma3", "llama yarn", "granite", "mixtral", "roberta", "cohere", "opt", "olmo2", "glm4", "phi", "bloom", "mpt",
    "falcon", "gpt_neo", "gptj", "codegen", "gpt_bigcode", "openai-gpt", "phi3", "olmo", "bart", "distilbert",
    "modernbert",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_every_kind_is_compared_and_passes(kind: str, tiny: Tiny) -> None:
    subject = from_module(tiny(kind))
    check = subject.opening_check
    assert check is not None
    assert check.failed == ()
    assert check.not_compared == {}
    assert set(check.errors) == {
        "logits", "patterns", "scores", "attention write", "values", "qk", "embed", "residual stream", "causality",
    }  # fmt: skip
    assert max(check.errors.values()) < 1e-5
    assert subject.source.opening_check == check.as_dict()
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in subject.module.modules())
    assert subject.module.config._attn_implementation == "mesascope"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 5e-2), (torch.float16, 1e-2), (torch.float64, 1e-4)])
@pytest.mark.parametrize("kind", ["gpt2", "ernie4_5", "gemma2"])
def test_tolerances_are_those_of_the_dtype(kind: str, dtype: torch.dtype, tolerance: float, tiny: Tiny) -> None:
    check = from_module(tiny(kind).to(dtype)).opening_check
    assert check is not None
    assert check.tolerance == tolerance
    assert check.failed == ()


def test_at_most_ten_short_passes(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[tuple[int, ...]] = []
    for kind in ("llama", "bert"):
        module = tiny(kind)
        base, forward = type(module.base_model), type(module.base_model).forward
        counted = lambda self, *args, run=forward, **kwargs: (  # noqa: E731
            lengths.append(tuple((kwargs["input_ids"] if "input_ids" in kwargs else args[0]).shape)),
            run(self, *args, **kwargs),
        )[1]
        monkeypatch.setattr(base, "forward", counted)
        from_module(module)
        assert len(lengths) <= 10
        assert set(lengths) == {(2, 8)}
        lengths.clear()


# -- mutants ----------------------------------------------------------------------------------------------------------


def refusal(module: Any) -> str:
    with pytest.raises(CheckpointRefused) as refused:
        from_module(module)
    return str(refused.value)


def without_sinks(normaliser: Any, sinks: Any) -> Any:
    return normaliser


def test_dropped_sinks_are_noticed(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tiny("gpt_oss")
    with monkeypatch.context() as broken:
        broken.setattr(watched, "with_sinks", without_sinks)
        assert "does not give the model's own logits" in refusal(module)
    monkeypatch.setattr(subjects, "with_sinks", without_sinks)
    subject = from_module(module)
    assert subject.opening_check.failed == ("scores",)
    assert "this model's q and k do not give its own attention patterns (relative error" in subject.not_shown["z"]


def test_shifted_causality_is_noticed(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that sees one key too many."""

    def shifted(back: Any, causal: bool, window: Any) -> Any:
        return back < -1 if causal else torch.zeros_like(back, dtype=torch.bool)

    monkeypatch.setattr(attention_functions, "hidden", shifted)
    words = refusal(tiny("gpt2"))
    assert "failed: " in words
    assert all(part in words for part in ("logits", "patterns", "scores", "causality"))


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_a_wrong_word_on_causality_is_noticed(kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening_check, "is_causal", lambda *args: kind == "bert")
    assert "failed" in refusal(tiny(kind))


@pytest.mark.parametrize("kind", ["llama", "ernie4_5"])
def test_other_pairs_are_noticed(kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    right = reading.rotations
    monkeypatch.setattr(
        opening_check,
        "rotations",
        lambda *args: [replace(one, interleaved=not one.interleaved) for one in right(*args)],
    )
    subject = from_module(tiny(kind))
    assert subject.opening_check.failed == ("qk",)
    weights = subject.weights()
    assert "not a product of its weights and a rotation (relative error" in weights.no_qk
    with pytest.raises(ValueError, match="not a product"):
        weights.qk(0, 0, 1)


def test_a_forgotten_norm_of_q_is_noticed(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hugging_face, "head_norms", lambda blocks: {})
    assert from_module(tiny("qwen3")).opening_check.failed == ("qk",)


def test_a_skipped_norm_of_the_write_is_noticed(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    own = HuggingFaceModel.attention_output
    monkeypatch.setattr(HuggingFaceModel, "attention_output", lambda *at: own(*at)._replace(own_norm=None))
    assert from_module(tiny("gemma2")).opening_check.failed == ("attention write",)


def test_scaled_embeddings_are_noticed(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening_check, "embed_factor", lambda *args: 1.0)
    subject = from_module(tiny("granite"))
    assert subject.opening_check.failed == ("embed",)
    assert "not what enters its first block" in subject.no_embedded_states().reason


def test_scaled_writes_are_noticed(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    found = hugging_face.find_anatomy
    monkeypatch.setattr(hugging_face, "find_anatomy", lambda *args: replace(found(*args), residual_factor=1.0))
    subject = from_module(tiny("granite"))
    assert "residual stream" in subject.opening_check.failed
    assert set(subject.not_shown) == {"attn_out", "resid_mid", "mlp_out"}


@pytest.mark.parametrize("wrong", [0, 3])
def test_a_fault_in_attention_without_a_pattern_is_noticed(wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first layer, and in the first of the second kind: passes that watch no pattern go as far as that."""
    sizes = {"vocab_size": 53, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    kinds = ["sliding_attention"] * 3 + ["full_attention"]
    module = Olmo3ForCausalLM(Olmo3Config(**sizes, num_hidden_layers=4, pad_token_id=None, layer_types=kinds)).eval()
    assert from_module(module).opening_check.failed == ()
    right = watched.sdpa_attention_forward

    def other(part: Any, *args: Any, **kwargs: Any) -> Any:
        z, pattern = right(part, *args, **kwargs)
        return (1.1 * z if part.layer_idx == wrong else z), pattern

    monkeypatch.setattr(watched, "sdpa_attention_forward", other)
    assert "does not give the model's own logits" in refusal(module)


# -- what fails is not applicable -------------------------------------------------------------------------------------


def test_a_norm_between_heads_and_output_matrix(tiny: Tiny) -> None:
    """BitNet: the model opens, and only what multiplies heads by W_O is not applicable."""
    subject = from_module(tiny("bitnet"))
    assert subject.opening_check.failed == ("attention write",)
    found = subject.attention_output(0)
    assert isinstance(found, NotApplicable)
    assert "something stands between this model's heads and its output matrix" in found.reason
    assert subject.source.opening_check["parts"]["attention write"]["passed"] is False


def test_a_norm_after_the_rotation_leaves_no_product(tiny: Tiny) -> None:
    """HunYuan normalises q and k after the rotation, so that no product of weights and a rotation gives the scores."""
    subject = from_module(tiny("hunyuan"))
    assert subject.opening_check.failed == ("qk",)
    assert subject.weights().no_qk


def test_a_model_of_one_head(tiny: Tiny) -> None:
    assert from_module(tiny("gpt2", num_attention_heads=1)).opening_check.failed == ()


def test_a_test_pass_that_fails_is_a_refusal(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> Any:
        raise RuntimeError("no such\nthing")

    monkeypatch.setattr(opening_check, "eager_pass", fail)
    assert "a test pass fails (RuntimeError: no such thing)" in refusal(tiny("gpt2"))


# -- the record -------------------------------------------------------------------------------------------------------


def test_a_record_says_what_passed() -> None:
    check = OpeningCheck(0.1, {"logits": 0.01, "qk": float("inf")}, {"patterns": "there are none"})
    assert check.failed == ("qk",)
    assert check.as_dict() == {
        "tolerance": 0.1,
        "parts": {
            "logits": {"passed": True, "error": 0.01},
            "qk": {"passed": False, "error": None},
            "patterns": {"passed": None, "reason": "there are none"},
        },
    }


def test_errors_are_relative_and_never_silent() -> None:
    ones = torch.ones(4)
    assert relative_error(1.5 * ones, ones) == 0.5
    assert relative_error(ones, ones) == 0
    assert relative_error(0 * ones, 0 * ones) == 0
    assert relative_error(ones, 0 * ones) == float("inf")
    assert relative_error(torch.nan * ones, ones) == float("inf")


def test_a_model_without_a_head_is_compared_by_its_last_states(tiny: Tiny) -> None:
    from transformers import GPT2Model

    subject = from_module(GPT2Model(tiny("gpt2").config))
    assert subject.opening_check.errors["logits"] < 1e-5
    with pytest.raises(UsageError, match="no head"):
        subject.logits(torch.zeros(1, 2, dtype=torch.long))
