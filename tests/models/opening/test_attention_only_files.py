"""Checkpoints of our small transformer: what is written comes back, and what does not fit is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope.data import CheckpointRefused
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, load, load_all, save_checkpoint
from torch import Tensor

Make = Callable[..., AttentionOnlyModel]
SIZES: dict[str, Any] = {"d_vocab": 11, "n_ctx": 7, "d_model": 6, "n_layers": 2, "n_heads": 3, "d_head": 4}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"norm": "none", "positions": "sinusoidal", "attention_scale": 8},
    {"positions": "rotary", "rotary_width": 2, "rotary_base": 50.0, "rotary_interleaved": True, "causal": False},
    {"positions": "none", "d_mlp": 5, "activation": "silu", "norm_eps": 0.1},
]


@pytest.mark.parametrize("settings", VARIANTS, ids=range(4))
def test_a_checkpoint_comes_back(random_language_model: Make, tmp_path: Path, settings: dict[str, Any]) -> None:
    model = random_language_model(**settings)
    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, model.config, dict(model.module.named_parameters()), {"recipe": "r"})
    again = load(path)
    assert isinstance(again, AttentionOnlyModel)
    assert again.config == model.config
    assert again.source.facts == {**model.config.as_dict(), "bos": None, "tokenizer_sha256": None}
    assert again.source.record == {"recipe": "r"}
    assert torch.equal(
        again.logits(torch.tensor([[3, 1, 4, 1, 5, 9, 2]])), model.logits(torch.tensor([[3, 1, 4, 1, 5, 9, 2]]))
    )


def test_a_family_comes_back(random_language_model: Make, tmp_path: Path) -> None:
    models = {step: random_language_model(seed=step) for step in (10, 20)}
    tensors = {f"seed0/step{t}/{n}": w for t, model in models.items() for n, w in model.module.named_parameters()}
    save_checkpoint(tmp_path / "f.safetensors", models[10].config, tensors)
    opened = load_all(tmp_path / "f.safetensors", "all")
    assert [subject.source.step for subject in opened] == [10, 20]
    assert torch.equal(opened[1].weights().W_Q, models[20].weights().W_Q)


def test_a_checkpoint_that_is_not_what_it_says(random_language_model: Make, tmp_path: Path) -> None:
    model, path = random_language_model(), tmp_path / "mine.safetensors"
    good = dict(model.module.named_parameters())
    wrong: list[tuple[str, dict[str, Any], dict[str, Tensor]]] = [
        ("missing ['b_Q']", {}, {name: weight for name, weight in good.items() if name != "b_Q"}),
        ("surplus ['W_gate']", {}, {**good, "W_gate": torch.zeros(2, dtype=torch.float64)}),
        ("W_K has shape", {}, {**good, "W_K": good["W_K"].mT}),
        ("W_E has shape", {"d_vocab": 12}, good),
        ("missing ['W_in'", {"d_mlp": 4}, good),
        ("'b_U' holds nan; expected finite weights", {}, {**good, "b_U": good["b_U"] * torch.nan}),
    ]
    for message, changed, tensors in wrong:
        save_checkpoint(path, AttentionOnlyConfig(**{**SIZES, **changed}), tensors)
        with pytest.raises(CheckpointRefused, match=r"^mine.safetensors: ") as caught:
            load(path)
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"d_model": 0}, "d_model = 0; expected a whole number of at least 1"),
        ({"d_mlp": 0}, "d_mlp = 0"),
        ({"norm": "batch"}, "norm = 'batch'; expected layer, rms or none"),
        ({"positions": "alibi"}, "positions = 'alibi'"),
        ({"attention_scale": 0.0}, "attention_scale = 0.0; expected a number above 0 or none"),
        ({"attention_scale": "8"}, "attention_scale = '8'; expected a number above 0 or none"),
        ({"norm_eps": -1}, "norm_eps"),
        ({"positions": "rotary", "rotary_width": 3}, "3 rotary dimensions"),
        ({"positions": "rotary", "rotary_width": 6}, "6 rotary dimensions"),
        ({"positions": "sinusoidal", "d_model": 5}, "d_model = 5; expected an even number for sinusoidal"),
        ({"causal": None}, "causal = None; expected true or false"),
        ({"n_experts": 4}, "'n_experts' is not known"),
    ],
)
def test_a_configuration_that_cannot_be(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointRefused) as caught:
        AttentionOnlyConfig.from_dict({**SIZES, **changed})
    assert message in str(caught.value)


def test_every_size_must_be_given() -> None:
    for name in SIZES:
        with pytest.raises(CheckpointRefused, match=f"config: {name} is missing"):
            AttentionOnlyConfig.from_dict({other: value for other, value in SIZES.items() if other != name})
