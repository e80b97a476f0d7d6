"""Declared layouts: four conventions for one model, and what is refused where a declaration does not fit its file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from einops import rearrange
from mesascope.data import CheckpointRefused, UsageError
from mesascope.models import AttentionOnlyModel, load
from safetensors.torch import save_file
from torch import Tensor

Make = Callable[..., AttentionOnlyModel]
SIZES: dict[str, Any] = {"d_vocab": 9, "n_ctx": 6, "d_model": 8, "n_layers": 2, "n_heads": 2, "d_head": 4}
PLAIN = {"norm": "none"}
MLP = {"d_mlp": 5, "activation": "relu"}
Convention = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@pytest.fixture
def make(random_language_model: Make) -> Make:
    return partial(random_language_model, d_vocab=9, n_ctx=6, d_model=8, n_heads=2)


def by_head(p: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices (h, d_head, d_model), one file name a layer, biases as vectors of all heads."""
    found = {"embed": p["W_E"], "positions": p["W_pos"], "out": p["W_U"].mT, "out_bias": p["b_U"]}
    for layer in range(2):
        for c in "QKV":
            found[f"{c}{layer}"] = p[f"W_{c}"][layer].mT
            found[f"{c}{layer}_bias"] = p[f"b_{c}"][layer].reshape(-1)
        found |= {f"O{layer}": p["W_O"][layer].mT, f"O{layer}_bias": p["b_O"][layer]}
    return found


BY_HEAD = """
[model]
n_heads = 2
norm = "none"
[tensors]
W_E = "embed"
W_pos = "positions"
W_U = { name = "out", axes = "d_vocab d_model" }
b_U = "out_bias"
W_Q = { name = "Q{layer}", axes = "head d_head d_model" }
W_K = { name = "K{layer}", axes = "head d_head d_model" }
W_V = { name = "V{layer}", axes = "head d_head d_model" }
b_Q = { name = "Q{layer}_bias", axes = "(head d_head)" }
b_K = { name = "K{layer}_bias", axes = "(head d_head)" }
b_V = { name = "V{layer}_bias", axes = "(head d_head)" }
W_O = { name = "O{layer}", axes = "head d_model d_head" }
b_O = "O{layer}_bias"
"""


def fused_linear(p: dict[str, Tensor]) -> dict[str, Tensor]:
    """`nn.Linear` conventions [out, in], heads side by side, one fused projection, and what is no weight."""
    found = {"tok.weight": p["W_E"], "pos.weight": p["W_pos"], "head.weight": p["W_U"].mT, "head.bias": p["b_U"]}
    found |= {"ln_f.weight": p["ln_final_scale"], "ln_f.bias": p["ln_final_offset"]}
    for layer in range(2):
        at = f"h.{layer}"
        W = torch.stack([p[f"W_{c}"][layer] for c in "QKV"])
        b = torch.stack([p[f"b_{c}"][layer] for c in "QKV"])
        found[f"{at}.qkv.weight"] = rearrange(W, "qkv head m k -> (qkv head k) m")
        found[f"{at}.qkv.bias"] = rearrange(b, "qkv head k -> (qkv head k)")
        found[f"{at}.proj.weight"] = rearrange(p["W_O"][layer], "head k m -> m (head k)")
        found[f"{at}.proj.bias"] = p["b_O"][layer]
        found |= {f"{at}.up.weight": p["W_in"][layer].mT, f"{at}.up.bias": p["b_in"][layer]}
        found |= {f"{at}.down.weight": p["W_out"][layer].mT, f"{at}.down.bias": p["b_out"][layer]}
        for n in (1, 2):
            found |= {f"{at}.ln_{n}.weight": p[f"ln{n}_scale"][layer], f"{at}.ln_{n}.bias": p[f"ln{n}_offset"][layer]}
        found[f"{at}.mask"] = torch.full((6, 6), -torch.inf)
    return {f"module.{name}": tensor for name, tensor in found.items()}


FUSED_LINEAR = """
[model]
n_heads = 2
activation = "relu"
[file]
prefix = "module."
ignore = ["*.mask"]
[tensors]
W_E = "tok.weight"
W_pos = "pos.weight"
W_U = { name = "head.weight", axes = "d_vocab d_model" }
b_U = "head.bias"
ln_final_scale = "ln_f.weight"
ln_final_offset = "ln_f.bias"
W_QKV = { name = "h.{layer}.qkv.weight", axes = "(qkv head d_head) d_model" }
b_QKV = { name = "h.{layer}.qkv.bias", axes = "(qkv head d_head)" }
W_O = { name = "h.{layer}.proj.weight", axes = "d_model (head d_head)" }
b_O = "h.{layer}.proj.bias"
W_in = { name = "h.{layer}.up.weight", axes = "d_mlp d_model" }
b_in = "h.{layer}.up.bias"
W_out = { name = "h.{layer}.down.weight", axes = "d_model d_mlp" }
b_out = "h.{layer}.down.bias"
ln1_scale = "h.{layer}.ln_1.weight"
ln1_offset = "h.{layer}.ln_1.bias"
ln2_scale = "h.{layer}.ln_2.weight"
ln2_offset = "h.{layer}.ln_2.bias"
"""


def conv1d(p: dict[str, Tensor]) -> dict[str, Tensor]:
    """Fused Conv1D [in, out] with q, k and v of a head together, no biases, the embedding used twice."""
    found = {"wte": p["W_E"], "wpe": p["W_pos"]}
    for layer in range(2):
        W = torch.stack([p[f"W_{c}"][layer] for c in "QKV"])
        found[f"h{layer}.c_attn"] = rearrange(W, "qkv head m k -> m (head qkv k)")
        found[f"h{layer}.c_proj"] = rearrange(p["W_O"][layer], "head k m -> (head k) m")
    return found


CONV1D = """
[model]
n_heads = 2
norm = "none"
[tensors]
W_E = "wte"
W_U = { name = "wte", axes = "d_vocab d_model" }
W_pos = "wpe"
W_QKV = { name = "h{layer}.c_attn", axes = "d_model (head qkv d_head)" }
W_O = { name = "h{layer}.c_proj", axes = "(head d_head) d_model" }
"""


def one_a_head(p: dict[str, Tensor]) -> dict[str, Tensor]:
    """A module for every head."""
    found = {"E": p["W_E"], "P": p["W_pos"], "U": p["W_U"], "u": p["b_U"]}
    for layer in range(2):
        found[f"{layer}.o.b"] = p["b_O"][layer]
        for head in range(2):
            for c in "QKV":
                found[f"{layer}.{head}.{c}.w"] = p[f"W_{c}"][layer, head].mT
                found[f"{layer}.{head}.{c}.b"] = p[f"b_{c}"][layer, head]
            found[f"{layer}.{head}.O.w"] = p["W_O"][layer, head].mT
    return found


ONE_A_HEAD = """
[model]
norm = "none"
[tensors]
W_E = "E"
W_pos = "P"
W_U = "U"
b_U = "u"
W_Q = { name = "{layer}.{head}.Q.w", axes = "d_head d_model" }
W_K = { name = "{layer}.{head}.K.w", axes = "d_head d_model" }
W_V = { name = "{layer}.{head}.V.w", axes = "d_head d_model" }
b_Q = "{layer}.{head}.Q.b"
b_K = "{layer}.{head}.K.b"
b_V = "{layer}.{head}.V.b"
W_O = { name = "{layer}.{head}.O.w", axes = "d_model d_head" }
b_O = "{layer}.o.b"
"""
CONVENTIONS: dict[str, tuple[dict[str, Any], Convention, str]] = {
    "(h, d_head, d_model)": (PLAIN, by_head, BY_HEAD),
    "fused nn.Linear": (MLP, fused_linear, FUSED_LINEAR),
    "fused Conv1D": (PLAIN, conv1d, CONV1D),
    "one module a head": (PLAIN, one_a_head, ONE_A_HEAD),
}


def written(folder: Path, convention: Convention, model: AttentionOnlyModel, layout: str) -> tuple[Path, Path]:
    parameters = {name: parameter.detach() for name, parameter in model.module.named_parameters()}
    tensors = {name: tensor.clone().contiguous() for name, tensor in convention(parameters).items()}
    save_file(tensors, folder / "a.safetensors")
    (folder / "layout.toml").write_text(layout)
    return folder / "a.safetensors", folder / "layout.toml"


def some_tokens() -> Tensor:
    return torch.randint(0, 9, (3, 6), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("settings", "convention", "layout"), CONVENTIONS.values(), ids=CONVENTIONS)
def test_conventions(make: Make, tmp_path: Path, settings: dict[str, Any], convention: Convention, layout: str) -> None:
    model = make(**settings)
    if convention is conv1d:  # it has neither biases nor an unembedding of its own
        for name, parameter in model.module.named_parameters():
            parameter.copy_(model.module.W_E.mT if name == "W_U" else parameter * (not name.startswith("b_")))
    path, declared = written(tmp_path, convention, model, layout)
    again = load(path, layout=str(declared))
    assert isinstance(again, AttentionOnlyModel)
    assert again.config == model.config
    assert torch.equal(again.logits(some_tokens()), model.logits(some_tokens()))
    assert again.source.layout == str(declared)
    assert "not checked numerically" in again.source.notes[-1]


# ---- the numerical check ----


def with_samples(folder: Path, model: AttentionOnlyModel, kind: str, **changed: Any) -> str:
    tokens, logits = some_tokens(), model.logits(some_tokens())
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    content = {"tokens": tokens.numpy(), kind: (logits if kind == "logits" else loss).numpy(), **changed}
    np.savez(folder / "samples.npz", **{name: value for name, value in content.items() if value is not None})
    return BY_HEAD + '[check]\nsamples = "samples.npz"\n'


@pytest.mark.parametrize("kind", ["logits", "loss"])
def test_a_square_matrix_in_the_wrong_orientation_is_found_by_samples(make: Make, tmp_path: Path, kind: str) -> None:
    """Here d_head = d_model, so that nothing but numbers can tell."""
    model = make(norm="none", n_heads=2, d_head=8)
    layout = with_samples(tmp_path, model, kind)
    path, declared = written(tmp_path, by_head, model, layout)
    note = load(path, layout=str(declared)).source.notes[-1]
    assert note.startswith(f"the layout was checked: it reproduces the {kind} of samples.npz within")
    right = '"K{layer}", axes = "head d_head d_model"'
    assert right in layout
    declared.write_text(layout.replace(right, right.replace("d_head d_model", "d_model d_head")))
    with pytest.raises(CheckpointRefused, match=rf"misses the {kind} of samples.npz by .* in the wrong place"):
        load(path, layout=str(declared))
    declared.write_text(declared.read_text().split("[check]")[0])
    assert "not checked numerically" in load(path, layout=str(declared)).source.notes[-1]


def test_the_tolerance_is_the_declarations(make: Make, tmp_path: Path) -> None:
    model = make(**PLAIN)
    off = model.logits(some_tokens()).numpy() + 0.01
    layout = with_samples(tmp_path, model, "logits", logits=off)
    path, declared = written(tmp_path, by_head, model, layout)
    with pytest.raises(CheckpointRefused, match=r"samples.npz by 0\.01; expected at most 0\.0001"):
        load(path, layout=str(declared))
    declared.write_text(layout + "tolerance = 0.02\n")
    load(path, layout=str(declared))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tokens": None}, "expected tokens, and either logits or loss"),
        ({"logits": None}, "expected tokens, and either logits or loss"),
        (
            {"tokens": np.array([[0, 9]])},
            "shape [1, 2] do not fit; expected [batch, pos] with at most n_ctx = 6 positions, and ids from 0 to 8",
        ),
        ({"tokens": np.zeros((1, 7), dtype=int)}, "tokens of shape [1, 7] do not fit"),
        ({"tokens": np.zeros(4, dtype=int)}, "tokens of shape [4] do not fit"),
        ({"logits": np.zeros((3, 6, 8))}, "expected [3, 6, 9]"),
        ({"tokens": np.array([["a", "b"]])}, "tokens <U1; expected integer tokens"),
    ],
    ids=range(7),
)
def test_samples_that_cannot_be_compared(make: Make, tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    model = make(**PLAIN)
    path, declared = written(tmp_path, by_head, model, with_samples(tmp_path, model, "logits", **changed))
    with pytest.raises(UsageError, match=r"^samples.npz: ") as caught:
        load(path, layout=str(declared))
    assert message in str(caught.value)


# ---- declarations ----


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[model]", "[modle]", "'modle' is not known; did you mean model"),
        ("n_heads = 2", "n_haeds = 2", "[model] 'n_haeds' is not known; did you mean n_heads"),
        ("W_pos =", "W_position =", "role 'W_position' is not known; did you mean W_pos"),
        ('"embed"', "3", "W_E = 3; expected a name or"),
        ('"embed"', '{ axes = "d_vocab d_model" }', "expected a name or"),
        ('"embed"', '{ name = "embed", transpose = true }', "expected a name or"),
        ('"embed"', '"embed{layer}"', "expected no {layer}"),
        ('"Q{layer}"', '"Q0"', "expected a {layer}"),
        ('"d_vocab d_model"', '"d_vocab d_modle"', "expected d_model, d_vocab in some order"),
        ('"d_vocab d_model"', '"d_vocab d_model head"', "has axes"),
        ('"d_vocab d_model"', "2", "has axes 2"),
        ("[tensors]", "[file]\nprefix = 3\n[tensors]", "prefix = 3; expected a string"),
        ("[tensors]", "[check]\nsample = 'x'\n[tensors]", "'sample' is not known; did you mean samples"),
        ("[tensors]", "[tensors", "not TOML"),
    ],
)
def test_a_declaration_that_is_not_understood(make: Make, tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in BY_HEAD
    path, declared = written(tmp_path, by_head, make(**PLAIN), BY_HEAD.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        load(path, layout=str(declared))
    assert message in str(caught.value)
    assert "layout.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('b_U = "out_bias"\n', "", "'out_bias' is neither declared nor ignored by layout.toml"),
        ('"positions"', '"position"', "W_pos: no tensor is named 'position'"),
        ('"d_vocab d_model"', '"d_model d_vocab"', "W_U has shape [9, 8]; expected [8, 9]"),
        (
            'axes = "(head d_head)"',
            'axes = "head d_head"',
            "'Q0_bias' has shape [8], which does not fit the axes 'head",
        ),
        ("n_heads = 2", "n_heads = 3", "which does not fit"),
        ("n_heads = 2", "n_heads = 4", "which does not fit"),
        ('axes = "head d_head d_model"', 'axes = "(head d_head) d_model"', "which does not fit"),
        ('axes = "head d_head d_model"', 'axes = "(head d_head d_model"', "which does not fit"),
        ("[model]", "[model]\nd_model = 7", "which does not fit"),
        ("[model]", "[model]\nn_layers = 3", "n_layers = 3 in the configuration; expected 2"),
        ("[model]", "[model]\nd_mlp = 3", "missing ['W_in', 'W_out']"),
        ('norm = "none"', 'norm = "batch"', "norm = 'batch'"),
    ],
)
def test_a_declaration_that_does_not_fit_the_file(make: Make, tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in BY_HEAD
    path, declared = written(tmp_path, by_head, make(**PLAIN), BY_HEAD.replace(old, new, 1))
    with pytest.raises(CheckpointRefused, match=r"^a.safetensors: ") as caught:
        load(path, layout=str(declared))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_prefix_that_makes_two_names_one(tmp_path: Path) -> None:
    save_file({"module.a": torch.ones(1), "a": torch.ones(1)}, tmp_path / "a.safetensors")
    (tmp_path / "layout.toml").write_text('[file]\nprefix = "module."\n')
    with pytest.raises(CheckpointRefused, match=r"two tensors have the same name without the prefix 'module\.'"):
        load(tmp_path / "a.safetensors", layout=str(tmp_path / "layout.toml"))


def test_a_layer_that_is_missing(make: Make, tmp_path: Path) -> None:
    def skipping(p: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name.replace("Q1", "Q2"): tensor for name, tensor in by_head(p).items()}

    path, declared = written(tmp_path, skipping, make(**PLAIN), BY_HEAD)
    with pytest.raises(CheckpointRefused, match=r"W_Q of layers \[0, 2\]; expected 0 to 1"):
        load(path, layout=str(declared))


def test_a_layout_file_that_is_not_there(make: Make, tmp_path: Path) -> None:
    path, _ = written(tmp_path, by_head, make(**PLAIN), BY_HEAD)
    with pytest.raises(UsageError, match=r"absent\.toml: cannot be read"):
        load(path, layout=str(tmp_path / "absent.toml"))


def test_arguments_win_over_the_declaration(make: Make, tmp_path: Path) -> None:
    path, declared = written(tmp_path, by_head, make(**PLAIN), BY_HEAD)
    assert load(path, layout=str(declared), model_args={"attention_scale": 8.0}).source.facts["attention_scale"] == 8.0


def test_the_token_that_sequences_begin_with_can_be_said(make: Make, tmp_path: Path) -> None:
    path, declared = written(tmp_path, by_head, make(**PLAIN), BY_HEAD)
    assert load(path, layout=str(declared)).bos is None
    assert load(path, layout=str(declared), model_args={"bos": 2}).bos == 2
    declared.write_text(declared.read_text().replace("[model]", "[model]\nbos = 1"))
    assert load(path, layout=str(declared)).bos == 1
    with pytest.raises(CheckpointRefused, match="bos = 100 in the configuration"):
        load(path, layout=str(declared), model_args={"bos": 100})


def test_what_a_layout_file_said_opens_the_same(make: Make, tmp_path: Path) -> None:
    path, declared = written(tmp_path, by_head, make(**PLAIN), BY_HEAD)
    subject = load(path, layout=str(declared), model_args={"bos": 2})
    declared.unlink()
    options = subject.source.options
    again = load(path, layout=options["declaration"], model_args=options["model_args"])
    assert (again.source.weights_sha256, again.bos) == (subject.source.weights_sha256, 2)
    assert again.source.layout == "declared"
    in_yaml = tmp_path / "layout.yaml"
    in_yaml.write_text(yaml.safe_dump(options["declaration"]))
    the_same = load(path, layout=str(in_yaml), model_args={"bos": 2})
    assert (the_same.source.weights_sha256, the_same.source.options) == (subject.source.weights_sha256, options)
    hostile = {**options["declaration"], "check": {"samples": "/etc/hostname"}}
    assert "declares no samples" in load(path, layout=hostile).source.notes[-1]
    with pytest.raises(UsageError, match="declared: 'tensor' is not known"):
        load(path, layout={"tensor": {}})
