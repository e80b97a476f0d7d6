"""State dicts in the names of TransformerLens before 3.0: what opens, what it answers, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope.data import CheckpointRefused, UsageError
from mesascope.models import AttentionOnlyModel, load
from safetensors.torch import save_file
from torch import Tensor

Make = Callable[..., AttentionOnlyModel]
SHARED = Path(os.environ.get("MESASCOPE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
SIZES: dict[str, Any] = {"d_vocab": 9, "n_ctx": 6, "d_model": 8, "n_layers": 2, "n_heads": 2, "d_head": 4}
FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "short form": ({"norm": "none", "attention_scale": 8.0}, {"normalization": None, "attention_scale": 8.0}),
    "layer norm": ({}, {"normalization_type": "LN", "attn_scale": -1, "use_attn_scale": True}),
    "no scale": ({"attention_scale": 1.0}, {"use_attn_scale": False}),
    "bidirectional": ({"causal": False}, {"attention_dir": "bidirectional"}),
    "eps": ({"norm_eps": 0.1}, {"eps": 0.1}),
    "rotary": (
        {"positions": "rotary", "rotary_width": 2, "rotary_base": 50.0},
        {"positional_embedding_type": "rotary", "rotary_dim": 2, "rotary_base": 50, "n_ctx": 6},
    ),
    "shortformer": ({"positions": "shortformer"}, {"positional_embedding_type": "shortformer"}),
    "shortformer of the first models": ({"positions": "shortformer"}, {"shortformer_pos": True}),
    "mlp": ({"d_mlp": 5, "activation": "gelu_tanh"}, {"act_fn": "gelu_new", "d_mlp": 5, "attn_only": False}),
    "gated mlp": (
        {"d_mlp": 5, "gated_mlp": True, "activation": "silu"},
        {"act_fn": "silu", "d_mlp": 5, "gated_mlp": True},
    ),
    "rms norm": ({"norm": "rms"}, {"normalization_type": "RMS"}),
    "classes": ({"d_vocab_out": 4}, {"d_vocab": 9, "d_vocab_out": 4}),
    "no unembedding": ({"d_vocab_out": 0}, {}),
    "much that changes nothing": (
        {},
        {
            "model_name": "custom",
            "seed": 3,
            "init_weights": True,
            "n_key_value_heads": None,
            "d_vocab_out": 9,
            "window_size": None,
            "gated_mlp": False,
            "attn_scores_soft_cap": -1.0,
            "act_fn": None,
            "attn_only": True,
            "d_mlp": 32,
        },
    ),
}


@pytest.fixture
def make(random_language_model: Make) -> Make:
    return partial(random_language_model, d_vocab=9, n_ctx=6, d_model=8, n_heads=2)


def legacy(model: AttentionOnlyModel) -> dict[str, Tensor]:
    """Its weights under the old names."""
    tops = {"W_E": "embed", "W_pos": "pos_embed", "W_U": "unembed", "b_U": "unembed"}
    found: dict[str, Tensor] = {}
    for name, weight in model.module.named_parameters():
        if name in tops:
            found[f"{tops[name]}.{name}"] = weight.clone()
        elif name.startswith("ln_final"):
            found[f"ln_final.{'w' if name.endswith('scale') else 'b'}"] = weight.clone()
        else:
            for layer, part in enumerate(weight):
                old = f"attn.{name}" if name[-1] in "QKVO" else f"mlp.{name}"
                if name.startswith("ln"):
                    old = f"{name[:3]}.{'w' if name.endswith('scale') else 'b'}"
                found[f"blocks.{layer}.{old}"] = part.clone()
    return found


def opened(path: Path, tensors: dict[str, Tensor], config: Any = None) -> AttentionOnlyModel:
    save_file(tensors, path)
    subject = load(path, layout="tl-legacy", model_config=config)
    assert isinstance(subject, AttentionOnlyModel)
    return subject


def some_tokens() -> Tensor:
    return torch.randint(0, 9, (3, 6), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("settings", "config"), FORMS.values(), ids=FORMS)
def test_a_state_dict_answers_as_the_model_it_was(
    make: Make, tmp_path: Path, settings: dict[str, Any], config: dict[str, Any]
) -> None:
    model = make(**settings)
    again = opened(tmp_path / "a.safetensors", legacy(model), config)
    ours, theirs = (one.run(some_tokens(), logits=model.config.n_logits > 0).output for one in (again, model))
    assert torch.equal(ours, theirs)
    assert ("holds no unembedding W_U" in str(again.source.notes)) is (model.config.n_logits == 0)
    assert again.source.facts == {**model.config.as_dict(), "bos": None}
    assert (again.source.layout, again.source.name) == ("tl-legacy", "a")
    torch.save(legacy(model), tmp_path / "a.pt")
    (tmp_path / "config.json").write_text(json.dumps(config))
    pickled = load(tmp_path / "a.pt", layout="tl-legacy", model_config=tmp_path / "config.json")
    assert pickled.source.weights_sha256 == again.source.weights_sha256


def test_one_percent_of_one_matrix_is_noticed(make: Make, tmp_path: Path) -> None:
    model = make()
    changed = {**legacy(model), "blocks.1.attn.W_Q": legacy(model)["blocks.1.attn.W_Q"] * 1.01}
    again = opened(tmp_path / "a.safetensors", changed)
    assert not torch.allclose(again.logits(some_tokens()), model.logits(some_tokens()), rtol=1e-5, atol=1e-6)
    assert again.source.weights_sha256 != opened(tmp_path / "b.safetensors", legacy(model)).source.weights_sha256


def test_norms_without_parameters(make: Make, tmp_path: Path) -> None:
    model = make()
    for name, parameter in model.module.named_parameters():
        if name.startswith("ln"):
            parameter.fill_(float(name.endswith("scale")))
    bare = {name: weight for name, weight in legacy(model).items() if ".ln" not in name and "ln_final" not in name}
    again = opened(tmp_path / "a.safetensors", bare, {"normalization_type": "LNPre"})
    torch.testing.assert_close(again.logits(some_tokens()), model.logits(some_tokens()))
    with pytest.raises(CheckpointRefused, match="ending in Pre have no scale"):
        opened(tmp_path / "a.safetensors", legacy(model), {"normalization_type": "LNPre"})


def test_what_nobody_said_is_noted(make: Make, tmp_path: Path) -> None:
    guess, unchecked = opened(tmp_path / "a.safetensors", legacy(make())).source.notes
    assert guess.endswith("by default: norm=layer, positions=learned, attention_scale=None, causal=True")
    assert "not checked numerically" in unchecked
    said = {"normalization": "LN", "positional": "learned", "attn_scale": 2.0, "attention_dir": "causal"}
    assert opened(tmp_path / "a.safetensors", legacy(make()), said).source.notes == (unchecked,)


def test_arguments_win_over_the_configuration(make: Make, tmp_path: Path) -> None:
    save_file(legacy(make()), tmp_path / "a.safetensors")
    subject = load(
        tmp_path / "a.safetensors", layout="tl-legacy", model_config={"attn_scale": 2.0}, model_args={"attn_scale": 4.0}
    )
    assert subject.source.facts["attention_scale"] == 4.0


def test_the_token_that_sequences_begin_with_can_be_said(make: Make, tmp_path: Path) -> None:
    subject = opened(tmp_path / "a.safetensors", legacy(make()), {"bos": 3})
    assert (subject.bos, subject.source.options["model_args"]) == (3, {"bos": 3})
    assert opened(tmp_path / "a.safetensors", legacy(make())).bos is None
    for bos in (9, -1, True, "0", 0.0):
        with pytest.raises(CheckpointRefused, match=r"bos = .* expected a token id below 9"):
            opened(tmp_path / "a.safetensors", legacy(make()), {"bos": bos})


def buffers(**changed: Any) -> dict[str, Tensor]:
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    return {"blocks.0.attn.mask": mask, "blocks.0.attn.IGNORE": torch.tensor(-torch.inf), **changed}


def test_buffers_are_checked_and_dropped(make: Make, tmp_path: Path) -> None:
    """Also where they are -inf, which no weight may be."""
    path, tensors = tmp_path / "a.safetensors", legacy(make())
    plain = opened(path, tensors)
    assert opened(path, tensors | buffers()).source == plain.source
    with pytest.raises(CheckpointRefused, match=r"attn.mask is not that of bidirectional attention"):
        opened(path, tensors | buffers(), {"attention_dir": "bidirectional"})
    window = torch.ones(6, 6, dtype=torch.bool).tril().triu(-2)
    with pytest.raises(CheckpointRefused, match=r"attn.mask is not that of causal attention"):
        opened(path, tensors | buffers(**{"blocks.0.attn.mask": window}))


def test_rotary_angles_are_checked(make: Make, tmp_path: Path) -> None:
    path, model = tmp_path / "a.safetensors", make(positions="rotary", rotary_base=50.0)
    config: dict[str, Any] = {"positional": "rotary", "rotary_base": 50.0, "n_ctx": 6}
    angles = torch.arange(6.0)[:, None] / 50.0 ** (torch.tensor([0, 2, 0, 2]) / 4)
    stored = {"blocks.0.attn.rotary_sin": angles.sin(), "blocks.0.attn.rotary_cos": angles.cos()}
    assert opened(path, legacy(model) | stored, config).config == model.config
    for changed in ({"rotary_base": 60.0}, {"rotary_adjacent_pairs": True}, {"rotary_dim": 2}):
        with pytest.raises(CheckpointRefused, match="does not hold the angles"):
            opened(path, legacy(model) | stored, config | changed)
    with pytest.raises(CheckpointRefused, match="holds rotary angles"):
        opened(path, legacy(model) | stored, config | {"positional": "none"})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_layers": 3}, "n_layers = 3 in the configuration; expected 2"),
        ({"d_vocab": 10}, "d_vocab = 10"),
        ({"d_vocab": 9, "d_vocab_out": 4}, "W_U has shape [8, 9]; expected [8, 4]"),
        ({"n_key_value_heads": 1, "n_heads": 2}, "'n_key_value_heads' = 1"),
        ({"normalization_type": "RMS"}, "surplus ['ln1_offset'"),
        (
            {"normalization_type": "Batch"},
            "'normalization_type' = 'Batch'; expected one of null, LN, LNPre, RMS",
        ),
        ({"normalization": 3}, "'normalization' = 3; expected a string or null"),
        ({"positional_embedding_type": "alibi"}, "'positional_embedding_type' = 'alibi'"),
        ({"act_fn": "solu_ln"}, "'act_fn' = 'solu_ln'"),
        ({"gated_mlp": True}, "gated_mlp = True without d_mlp"),
        ({"parallel_attn_mlp": True}, "'parallel_attn_mlp' = True is not understood"),
        ({"attn_scores_soft_cap": 50.0}, "'attn_scores_soft_cap' = 50.0 is not understood"),
        ({"window_size": 4}, "'window_size' = 4 is not understood"),
        ({"attn_scale": "8"}, "attention_scale = '8'; expected a number above 0 or none"),
        ({"normalization": None}, "surplus ['ln1_offset'"),
    ],
)
def test_a_configuration_that_does_not_fit(make: Make, tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointRefused, match=r"^a.safetensors: ") as caught:
        opened(tmp_path / "a.safetensors", legacy(make()), config)
    assert message in str(caught.value)


def test_tensors_that_do_not_fit(make: Make, tmp_path: Path) -> None:
    good = legacy(make())
    without = {name: weight for name, weight in good.items() if name != "blocks.1.attn.b_V"}
    cases: list[tuple[str, dict[str, Tensor]]] = [
        ("b_V of layers [0]; expected 0 to 1", without),
        ("'wte.weight' is not a name of the layout tl-legacy; declare", {"wte.weight": good["embed.W_E"]}),
        ("'blocks.0.attn.W_QK' is not a name of the layout", {**good, "blocks.0.attn.W_QK": torch.ones(2)}),
        ("W_K of layers [0, 1]; expected 0 to 2", {**good, "blocks.7.attn.W_Q": torch.ones(2, 8, 4)}),
        ("W_K has several shapes", {**good, "blocks.1.attn.W_K": good["blocks.1.attn.W_K"].mT.contiguous()}),
        ("W_O has several dtypes", {**good, "blocks.1.attn.W_O": good["blocks.1.attn.W_O"].float()}),
        ("'W_U' holds nan; expected finite weights", {**good, "unembed.W_U": good["unembed.W_U"] * torch.nan}),
        ("lacks W_Q", {"embed.W_E": good["embed.W_E"]}),
        ("W_U has shape [9, 8]; expected [8, 9]", {**good, "unembed.W_U": good["unembed.W_U"].mT.contiguous()}),
        ("surplus ['W_in'", {**good, "blocks.0.mlp.W_in": torch.ones(8, 3), "blocks.1.mlp.W_in": torch.ones(8, 3)}),
    ]  # fmt: skip
    for message, tensors in cases[:-1]:
        with pytest.raises(CheckpointRefused, match=r"^a.safetensors: ") as caught:
            opened(tmp_path / "a.safetensors", tensors)
        assert message in str(caught.value)
    with pytest.raises(CheckpointRefused, match="the weights have MLPs"):
        opened(tmp_path / "a.safetensors", cases[-1][1], {"attn_only": True})


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"a": ', "[" * 100_000])
def test_a_configuration_file_that_is_none(make: Make, tmp_path: Path, content: str) -> None:
    save_file(legacy(make()), tmp_path / "a.safetensors")
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match=r"config\.json: "):
        load(tmp_path / "a.safetensors", layout="tl-legacy", model_config=tmp_path / "config.json")
    with pytest.raises(UsageError, match=r"absent\.json: cannot be read"):
        load(tmp_path / "a.safetensors", layout="tl-legacy", model_config=tmp_path / "absent.json")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the trained attention-only models of others are not here")
@pytest.mark.parametrize(("name", "least", "most"), [("working", 0.95, 1.0), ("broken", 0.0, 0.10)])
def test_real_models_complete_what_was_said_before(name: str, least: float, most: float) -> None:
    """Four distinct letters said twice: the second time, each but the first follows from the one before it."""
    folder = SHARED / "attention-only-induction"
    model = load(folder / f"{name}.safetensors", layout="tl-legacy", model_config=folder / "config.json")
    assert isinstance(model, AttentionOnlyModel)
    rng = torch.Generator().manual_seed(0)
    letters = torch.stack([torch.randperm(26, generator=rng)[:4] for _ in range(2_000)])
    tokens = letters.repeat(1, 2)
    right = model.logits(tokens)[:, 4:7].argmax(dim=-1) == tokens[:, 5:]
    assert least < float(right.double().mean()) <= most
