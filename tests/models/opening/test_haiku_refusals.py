"""The authors' parameter files: what is not theirs is refused by name."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import UsageError
from mesascope.models import load

from .haiku_files import TIED, UNTIED, Arrays, D, K, block, norm, refusal, tied, untied, write


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("transformer/mlp/linear/w", "lacks mlp/linear_1/w; expected the whole of an MLP"),
        ("transformer/~trans_block/mlp/linear_1/w", "an MLP in the names of untied layers beside attention blocks"),
        (
            "transformer/emb/w",
            "emb/w writes 3 numbers and position codes are 0 wide (--model-args); expected 5 together",
        ),
        ("transformer/input_mlp/linear/b", "holds input_mlp/linear/b, but not what it belongs to"),
        ("transformer/l_norm_1/layer_norm/scale", "holds l_norm_1/layer_norm/scale, but not what it belongs to"),
        ("transformer/mlp/linear/b", "'mlp/linear/b' is not understood"),
        ("transformer/mlp/linear_2/w", "not understood"),
        ("transformer/multi_head_attention/query/b", "not understood"),
        ("transformer/multi_head_attention/query/W", "not understood"),
        ("transformer/x\n\x1b[31m", "not understood"),
        ("transformer/~trans_block/layer_0/query/w", "expected one tied block"),
        ("transformer/~trans_block/layer_00/query/w", "not understood"),
        ("transformer/~trans_block/layer_²/query/w", "not understood"),
        (f"transformer/~trans_block/layer_{'9' * 5_000}/query/w", "not understood"),
        ("transformer/~trans_block/norm_1/scale", "layer norms"),
        ("transformer/l_norm/layer_norm/scale", "layer norms"),
        ("other/w", "several models"),
        ("", "several models"),
    ],
)
def test_a_name_that_is_not_understood_is_named(
    tmp_path: Path, rng: np.random.Generator, name: str, message: str
) -> None:
    path = write(tmp_path, tied(rng))
    np.save(tmp_path / "one.npy", np.ones((D, K)))
    with zipfile.ZipFile(path, "a") as archive:  # np.savez cannot write every name that a file can hold
        archive.write(tmp_path / "one.npy", name + ".npy")
    assert message in refusal(path)


def test_a_file_in_no_known_names(tmp_path: Path, rng: np.random.Generator) -> None:
    message = refusal(write(tmp_path, {"gpt/w": np.ones((3, 3))}))
    assert "von-oswald-haiku" in message
    assert "'gpt/w'" in message
    assert "holds 0 arrays; expected the parameters" in refusal(write(tmp_path, {}))


@pytest.mark.parametrize("role", ["query", "key", "value", "linear"])
def test_a_missing_matrix_is_named(tmp_path: Path, rng: np.random.Generator, role: str) -> None:
    for arrays, prefix in ((tied(rng), TIED), (untied(rng), UNTIED.format(1))):
        del arrays[f"{prefix}/{role}/w"]
        assert f"{role}/w" in refusal(write(tmp_path, arrays))


@pytest.mark.parametrize("role", ["query", "key", "value", "linear"])
@pytest.mark.parametrize("shape", [(D,), (K, D + 1), (D + 1, K), (D, K, 1), (), (0, K), (D, 0)])
def test_a_wrong_shape_is_refused(tmp_path: Path, rng: np.random.Generator, role: str, shape: tuple[int, ...]) -> None:
    arrays = tied(rng)
    arrays[f"{TIED}/{role}/w"] = np.zeros(shape)
    refusal(write(tmp_path, arrays))
    arrays = untied(rng)
    arrays[f"{UNTIED.format(2)}/{role}/w"] = np.zeros(shape)
    refusal(write(tmp_path, arrays))


@pytest.mark.parametrize("layers", [(0, 2), (1, 2), (1,)])
def test_layers_have_no_gaps(tmp_path: Path, rng: np.random.Generator, layers: tuple[int, ...]) -> None:
    arrays: Arrays = {}
    for layer in layers:
        arrays |= block(UNTIED.format(layer), rng)
    assert f"blocks {list(layers)}" in refusal(write(tmp_path, arrays))


def test_layer_norms_belong_to_their_layers(tmp_path: Path, rng: np.random.Generator) -> None:
    shifted = norm("transformer/~trans_block/norm_0", rng) | norm("transformer/~trans_block/norm_1", rng)
    assert "layer norms ['layer_0', 'layer_1']; expected ['layer_1', 'layer_2']" in refusal(
        write(tmp_path, untied(rng) | shifted)
    )
    half = norm("transformer/l_norm/layer_norm", rng)
    del half["transformer/l_norm/layer_norm/offset"]
    assert "layer norms" in refusal(write(tmp_path, tied(rng) | half))
    wide = {
        "transformer/l_norm/layer_norm/scale": np.ones(D + 1),
        "transformer/l_norm/layer_norm/offset": np.ones(D + 1),
    }
    assert "layer norm scale of tied has shape" in refusal(write(tmp_path, tied(rng) | wide))
    uneven = norm("transformer/~trans_block/norm_1", rng) | {
        "transformer/~trans_block/norm_2/scale": np.ones(D + 1), "transformer/~trans_block/norm_2/offset": np.ones(D)
    }  # fmt: skip
    assert "layer norm scale of layer_2 has shape" in refusal(write(tmp_path, untied(rng) | uneven))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(tmp_path: Path, rng: np.random.Generator, number: float) -> None:
    arrays = tied(rng)
    arrays[f"{TIED}/value/w"][2, 1] = number
    assert f"'W_V' holds {number}; expected finite weights" in refusal(write(tmp_path, arrays))


@pytest.mark.parametrize("dtype", ["i8", "u1", "?", "c16", "U3", "M8[s]", "g"])
def test_what_is_no_floating_point_number(tmp_path: Path, rng: np.random.Generator, dtype: str) -> None:
    arrays = tied(rng)
    arrays[f"{TIED}/value/w"] = np.ones((D, K)).astype(dtype)
    message = refusal(write(tmp_path, arrays))
    assert "multi_head_attention/value/w" in message
    assert "expected float16, float32 or float64" in message


def test_dtypes_are_not_mixed(tmp_path: Path, rng: np.random.Generator) -> None:
    arrays = untied(rng)
    name = f"{UNTIED.format(1)}/value/w"
    assert "dtypes" in refusal(write(tmp_path, arrays | {name: arrays[name].astype("f4")}))
    whole_role = {
        f"{UNTIED.format(layer)}/value/w": arrays[f"{UNTIED.format(layer)}/value/w"].astype("f4") for layer in range(3)
    }
    assert "dtypes" in refusal(write(tmp_path, arrays | whole_role))


def test_objects_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    arrays = tied(rng)
    arrays[f"{TIED}/value/w"] = np.array([{}], dtype=object)
    assert "pickle" in refusal(write(tmp_path, arrays))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"n_layer": 2}, "'n_layer' is not known; did you mean n_layers"),
        ({"heads": 2}, "'heads' is not known; did you mean n_heads"),
        ({"layer_norm": True}, "'layer_norm' is not known"),
        ({"n_layers": "2"}, "n_layers = '2'; expected a whole number"),
        ({"n_layers": 2.0}, "n_layers = 2.0; expected a whole number"),
        ({"n_layers": 0}, "n_layers = 0"),
        ({"n_layers": 10**12}, "n_layers"),
        ({"n_heads": True}, "n_heads = True; expected a whole number"),
        ({"n_heads": 0}, "n_heads = 0"),
        ({"d_out": None}, "d_out = None; expected a whole number"),
        ({"softmax": "yes"}, "softmax = 'yes'; expected true or false"),
        ({"dampening": float("nan")}, "dampening = nan"),
        ({"activation_clip": -1.0}, "activation_clip = -1.0"),
    ],
)
def test_a_wrong_model_argument_is_named(
    tmp_path: Path, rng: np.random.Generator, args: dict[str, Any], message: str
) -> None:
    """Said by the user, not by the file: bad usage."""
    for arrays in (tied(rng), untied(rng)):
        assert message in refusal(write(tmp_path, arrays), UsageError, **args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"n_heads": 2}, "3 columns; expected a multiple of n_heads = 2"),
        ({"d_out": D}, f"d_out = {D} (--model-args); expected less than the tokens' width {D}"),
        ({"n_layers": 2}, "blocks [0, 1, 2]; expected 0 to 1 for n_layers = 2"),
        ({"n_layers": 4}, "blocks [0, 1, 2]; expected 0 to 3 for n_layers = 4"),
        ({"tied": True}, "tied=True in --model-args, but the parameter names are those of untied layers"),
    ],
)
def test_an_argument_that_does_not_fit_the_file(
    tmp_path: Path, rng: np.random.Generator, args: dict[str, Any], message: str
) -> None:
    assert message in refusal(write(tmp_path, untied(rng)), **args)


def test_how_often_a_tied_block_is_applied_has_to_be_said(tmp_path: Path, rng: np.random.Generator) -> None:
    """One layer and two are different models of the same file. Where every layer has weights, the file says it."""
    message = refusal(write(tmp_path, tied(rng)))
    assert "holds one block of weights, and not how many layers apply it; expected n_layers" in message
    assert message.endswith("For one layer try --model-args n_layers=1")
    tokens = torch.from_numpy(rng.normal(size=(3, 6, D)))
    one, two = (load(write(tmp_path, tied(rng)), model_args={"n_layers": n}).predict(tokens) for n in (1, 2))
    assert not torch.allclose(one, two)
    assert load(write(tmp_path, untied(rng, layers=1))).config.n_layers == 1


def test_tied_names_are_tied(tmp_path: Path, rng: np.random.Generator) -> None:
    assert "tied=False in --model-args" in refusal(write(tmp_path, tied(rng)), tied=False, n_layers=2)


def test_every_truncation_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write(tmp_path, tied(rng))
    whole = path.read_bytes()
    for end in range(0, len(whole), len(whole) // 60):
        path.write_bytes(whole[:end])
        refusal(path)
