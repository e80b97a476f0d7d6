"""Files of mesascope's own transformers are compared with a plain pass as they open, and a broken pass is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope.data.errors import CheckpointRefused
from mesascope.models import (
    AttentionOnlyModel,
    CopyConfig,
    CopyModel,
    CopyTransformer,
    RegressionTransformer,
    Source,
    attention,
    copy_models,
    from_copy_transformer,
    load,
    rotary,
    save_checkpoint,
)
from mesascope.models.opening.plain_check import checked
from mesascope.models.own import attention_only, copy_transformer, regression_transformer
from mesascope.models.regressors import TransformerRegressor
from torch import Tensor

Make = Callable[..., Any]
OF_TOKENS: dict[str, dict[str, Any]] = {
    "usual": {},
    "bidirectional": {"causal": False},
    "sinusoidal, no norm": {"positions": "sinusoidal", "norm": "none"},
    "rotary": {"positions": "rotary"},
    "rotary pairs, a part": {
        "positions": "rotary",
        "rotary_width": 2,
        "rotary_interleaved": True,
        "rotary_base": 100.0,
    },
    "shortformer": {"positions": "shortformer", "norm": "rms"},
    "no positions, a scale": {"positions": "none", "attention_scale": 0.7},
    "MLPs": {"d_mlp": 5, "activation": "gelu"},
    "tanh": {"d_mlp": 5, "activation": "gelu_tanh"},
    "relu": {"d_mlp": 5, "activation": "relu"},
    "gated": {"d_mlp": 5, "activation": "silu", "gated_mlp": True, "norm": "rms"},
    "other outputs": {"d_vocab_out": 3},
    "no unembedding": {"d_vocab_out": 0},
}
OF_TASKS: dict[str, dict[str, Any]] = {
    "usual": {},
    "layers": {"n_layers": 3, "tied": False, "n_heads": 2},
    "tied": {"n_layers": 3, "dampening": 0.5},
    "softmax, norms": {"n_layers": 2, "softmax": True, "layer_norm": True},
    "norms of untied layers": {"n_layers": 3, "tied": False, "layer_norm": True},
    "clip, target": {"n_layers": 2, "activation_clip": 0.3, "target_only": True},
    "query in context": {"query_in_context": True, "d_out": 2},
    "causal": {"n_layers": 3, "tied": False, "layer_norm": True, "causal": True},
    "causal softmax": {"n_layers": 2, "softmax": True, "causal": True, "query_in_context": True},
}


OF_COPIES: dict[str, dict[str, Any]] = {
    "usual": {},
    "words alone in values": {"positions_in_values": False},
    "uniform": {"uniform_attention": True},
}


def copies(**settings: Any) -> CopyModel:
    config = CopyConfig(d_vocab=7, n_ctx=5, d_model=6, n_heads=3, d_head=2, **settings)
    rng = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=rng).double() for name, shape in config.shapes.items()}
    return from_copy_transformer(CopyTransformer(config, weights))


def of_tasks(module: RegressionTransformer) -> TransformerRegressor:
    return TransformerRegressor(module, Source("tiny", layout="in-memory"))


@pytest.mark.parametrize("settings", OF_TOKENS.values(), ids=OF_TOKENS)
def test_every_kind_of_token_transformer_passes(settings: dict[str, Any], random_language_model: Make) -> None:
    check = checked(random_language_model(**settings)).source.opening_check
    assert set(check["parts"]) == {"logits", "patterns", "scores"}
    assert all(part["error"] < 1e-10 for part in check["parts"].values())


@pytest.mark.parametrize("settings", OF_TASKS.values(), ids=OF_TASKS)
def test_every_kind_of_regression_transformer_passes(settings: dict[str, Any], random_model: Make) -> None:
    check = checked(of_tasks(random_model(**settings))).source.opening_check
    assert check["parts"]["predictions"]["error"] < 1e-10


@pytest.mark.parametrize("settings", OF_COPIES.values(), ids=OF_COPIES)
def test_every_kind_of_copy_model_passes(settings: dict[str, Any]) -> None:
    check = checked(copies(**settings)).source.opening_check
    assert set(check["parts"]) == {"logits", "patterns"}
    assert all(part["error"] < 1e-10 for part in check["parts"].values())


def test_a_file_carries_its_check(random_language_model: Make, random_model: Make, tmp_path: Path) -> None:
    compared = {"tokens": {"logits", "patterns", "scores"}, "tasks": {"predictions"}, "copies": {"logits", "patterns"}}
    modules = {"tokens": random_language_model().module, "tasks": random_model(), "copies": copies().module}
    for name, module in modules.items():
        save_checkpoint(tmp_path / f"{name}.safetensors", module.config, module.state_dict())
        parts = load(tmp_path / f"{name}.safetensors").source.opening_check["parts"]
        assert set(parts) == compared[name]
        assert all(part["passed"] for part in parts.values())


def test_what_is_not_finite_is_not_compared(random_model: Make) -> None:
    module = random_model(n_layers=8)
    for parameter in module.parameters():
        parameter.data *= 1e60
    part = checked(of_tasks(module)).source.opening_check["parts"]["predictions"]
    assert part == {"passed": None, "reason": "numbers on random inputs are not finite"}


# -- mutants ----------------------------------------------------------------------------------------------------------


def refused(subject: Any, part: str) -> None:
    with pytest.raises(CheckpointRefused, match=f"{part} differ from those of a plain pass"):
        checked(subject)


def test_a_shifted_mask_is_noticed(random_language_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "hidden", lambda back, causal, window: back < -1)
    refused(random_language_model(), "logits")


def test_other_pairs_are_noticed(random_language_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    right = rotary.Rotary.rotate

    def negative(self: Any, x: Tensor, positions: Tensor) -> Tensor:
        return right(self, x, -positions)

    subject = random_language_model(positions="rotary")
    checked(subject)
    monkeypatch.setattr(rotary.Rotary, "rotate", lambda self, x, positions: right(self, x, positions // 2))
    refused(subject, "logits")
    monkeypatch.setattr(rotary.Rotary, "rotate", negative)
    refused(subject, "logits")


def test_another_activation_is_noticed(random_language_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(attention_only._ACTIVATIONS, "gelu", torch.nn.functional.silu)
    refused(random_language_model(d_mlp=5), "logits")


def test_a_kernel_without_the_scale_is_noticed(random_language_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda q, k, v, is_causal, scale: right(q, k, v, is_causal=is_causal, scale=1.1 * scale),
    )
    refused(random_language_model(), "logits")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("linear_attention", lambda q, k, v: 1.01 * q @ k.mT @ v), ("linear_pattern", lambda q, k, causal: k @ q.mT)],
)
def test_another_linear_attention_is_noticed(
    name: str, wrong: Callable[..., Tensor], random_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regression_transformer, name, wrong)
    refused(of_tasks(random_model(query_in_context=True)), "predictions")


@pytest.mark.parametrize("name", ["causal_linear_attention", "linear_pattern", "softmax_pattern"])
def test_a_regression_transformer_without_its_mask_is_noticed(
    name: str, random_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    unmasked = getattr(attention, name.removeprefix("causal_"))
    monkeypatch.setattr(
        regression_transformer, name, lambda *tensors: unmasked(*tensors[: 3 if "linear_a" in name else 2])
    )
    refused(of_tasks(random_model(n_layers=2, causal=True, softmax=name == "softmax_pattern")), "predictions")


def test_the_model_that_is_checked_is_the_one_that_is_returned(random_language_model: Make) -> None:
    subject = random_language_model()
    assert isinstance(subject, AttentionOnlyModel)
    assert checked(subject) is subject


def test_another_copy_model_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern, values, circuits = copy_transformer.copy_pattern, copy_transformer.copy_values, copy_models.head_read_outs
    with monkeypatch.context() as patch:
        for module in (copy_transformer, copy_models):
            patch.setattr(module, "copy_pattern", lambda *given: pattern(*given).mT)
        refused(copies(), "logits")
    with monkeypatch.context() as patch:
        patch.setattr(copy_transformer, "copy_values", lambda *given: 1.01 * values(*given))
        refused(copies(), "logits")
    with monkeypatch.context() as patch:
        patch.setattr(copy_models, "head_read_outs", lambda weights: circuits(weights).flip(0))
        refused(copies(), "logits")
