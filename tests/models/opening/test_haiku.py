"""The authors' parameter files: read as their code reads them, or refused by name."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import CheckpointRefused, LinearRegression, UsageError
from mesascope.models import gd_transformer, load, load_all, save_checkpoint
from mesascope.models.opening.catalogue import MODEL_ARGS

D, K = 5, 3  # token width, head width
Arrays = dict[str, np.ndarray]
Loops = Callable[..., np.ndarray]


def block(prefix: str, rng: np.random.Generator, n_heads: int = 1, dtype: str = "f8") -> Arrays:
    shapes = {"query": (D, n_heads * K), "key": (D, n_heads * K), "value": (D, n_heads * K), "linear": (n_heads * K, D)}
    return {f"{prefix}/{role}/w": (rng.normal(size=shape) * 0.4).astype(dtype) for role, shape in shapes.items()}


def norm(prefix: str, rng: np.random.Generator) -> Arrays:
    return {f"{prefix}/scale": 1 + 0.3 * rng.normal(size=D), f"{prefix}/offset": 0.3 * rng.normal(size=D)}


TIED = "transformer/multi_head_attention"
UNTIED = "transformer/~trans_block/layer_{}"


def tied(rng: np.random.Generator, **options: Any) -> Arrays:
    return block(TIED, rng, **options)


def untied(rng: np.random.Generator, layers: int = 3, **options: Any) -> Arrays:
    arrays: Arrays = {}
    for layer in range(layers):
        arrays |= block(UNTIED.format(layer), rng, **options)
    return arrays


def write(folder: Path, arrays: Arrays, name: str = "theirs.npz") -> Path:
    np.savez(folder / name, **arrays)
    return folder / name


def refusal(path: Path, error: type[Exception] = CheckpointRefused, **model_args: Any) -> str:
    with pytest.raises(error) as caught:
        load_all(path, model_args=model_args)
    message = str(caught.value)
    assert type(caught.value) is error
    assert "\n" not in message
    assert error is UsageError or path.name in message
    return message


def layers_of(arrays: Arrays, n_layers: int) -> list[Arrays]:
    """The raw arrays of each application, by the names in the file."""
    layers = []
    for number in range(n_layers):
        prefix = TIED if f"{TIED}/query/w" in arrays else UNTIED.format(number)
        layer = {role: arrays[f"{prefix}/{role}/w"] for role in ("query", "key", "value", "linear")}
        for part in ("scale", "offset"):
            for name in (f"transformer/l_norm/layer_norm/{part}", f"transformer/~trans_block/norm_{number}/{part}"):
                if name in arrays:
                    layer[part] = arrays[name]
        layers.append(layer)
    return layers


def variants(rng: np.random.Generator) -> dict[str, tuple[Arrays, int, dict[str, Any]]]:
    """(arrays, layers, what must be said beside them)."""
    l_norm = norm("transformer/l_norm/layer_norm", rng)
    norms = norm("transformer/~trans_block/norm_1", rng) | norm("transformer/~trans_block/norm_2", rng)
    return {
        "one layer": (tied(rng), 1, {"n_layers": 1}),
        "tied": (tied(rng), 3, {"n_layers": 3}),
        "untied": (untied(rng), 3, {}),
        "one untied layer": (untied(rng, layers=1), 1, {}),
        "heads": (tied(rng, n_heads=2), 2, {"n_layers": 2, "n_heads": 2}),
        "untied heads": (untied(rng, n_heads=3), 3, {"n_heads": 3}),
        "softmax": (untied(rng, n_heads=2), 3, {"n_heads": 2, "softmax": True}),
        "tied layer norm": (tied(rng) | l_norm, 3, {"n_layers": 3}),
        "untied layer norm": (untied(rng) | norms, 3, {}),
        "facts": (tied(rng), 2, {"n_layers": 2, "dampening": 0.75, "activation_clip": 0.4, "query_in_context": True}),
        "target only": (tied(rng), 3, {"n_layers": 3, "target_only": True, "d_out": 2}),
        "causal": (untied(rng), 3, {"causal": True}),
        "float32": (untied(rng, dtype="f4"), 3, {}),
        "big-endian": (tied(rng, dtype=">f8"), 1, {"n_layers": 1}),
        "in Fortran's order": ({name: np.asfortranarray(array) for name, array in untied(rng).items()}, 3, {}),
    }


@pytest.mark.parametrize("variant", list(variants(np.random.default_rng(0))))
def test_predictions_are_those_of_the_raw_arrays(
    tmp_path: Path, rng: np.random.Generator, reference_transformer: Loops, variant: str
) -> None:
    arrays, n_layers, facts = variants(rng)[variant]
    subject = load(write(tmp_path, arrays), model_args=facts)
    inputs = rng.normal(size=(3, 6, D))
    settings = {name: value for name, value in facts.items() if name != "n_layers"}
    expected = reference_transformer(inputs, layers_of(arrays, n_layers), **settings)
    found = subject.module.double().predict_layers(torch.from_numpy(inputs)).numpy()
    assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()
    assert subject.config.n_layers == n_layers
    assert subject.config.d_in == D - subject.config.d_out


@pytest.mark.parametrize("wrong", [{"n_heads": 1}, {"softmax": False}, {"n_layers": 1}])
def test_a_fact_told_wrong_is_another_model(
    tmp_path: Path, rng: np.random.Generator, reference_transformer: Loops, wrong: dict[str, Any]
) -> None:
    """The comparison above can fail."""
    facts: dict[str, Any] = {"n_layers": 2, "n_heads": 2, "softmax": True}
    arrays = tied(rng, n_heads=2)
    inputs = rng.normal(size=(3, 6, D))
    expected = reference_transformer(inputs, layers_of(arrays, 2), n_heads=2, softmax=True)[-1]
    found = load(write(tmp_path, arrays), model_args=facts | wrong).predict(torch.from_numpy(inputs)).numpy()
    assert np.abs(found - expected).max() > 1e-3


def test_heads_are_columns_and_rows(tmp_path: Path, rng: np.random.Generator) -> None:
    arrays = untied(rng, n_heads=3)
    weights = load(write(tmp_path, arrays), model_args={"n_heads": 3}).weights()
    assert weights.W_Q.shape == (3, 3, D, K)
    assert weights.W_O.shape == (3, 3, K, D)
    for layer in range(3):
        for head in range(3):
            columns = slice(head * K, (head + 1) * K)
            for role, ours in {"query": "W_Q", "key": "W_K", "value": "W_V"}.items():
                theirs = arrays[f"{UNTIED.format(layer)}/{role}/w"][:, columns]
                np.testing.assert_array_equal(getattr(weights, ours)[layer, head], theirs)
            np.testing.assert_array_equal(weights.W_O[layer, head], arrays[f"{UNTIED.format(layer)}/linear/w"][columns])


def test_the_authors_construction_in_their_file_is_gradient_descent(tmp_path: Path) -> None:
    """W_Q = W_K = diag(1, 0), W_V = [[0, W0^T], [0, -1]], P = diag(0, lr/N), as their create_weights writes them."""
    select = np.diag([1.0] * 10 + [0.0])
    value, linear = np.zeros((11, 11)), np.zeros((11, 11))
    value[10, 10], linear[10, 10] = -1.0, 0.6
    path = write(
        tmp_path,
        {f"Transformer_gd/multi_head_attention/{role}/w": w
         for role, w in {"query": select, "key": select, "value": value, "linear": linear}.items()},
    )  # fmt: skip
    batch = LinearRegression().sample(50, seed=0)
    found = load(path, model_args={"n_layers": 3}).predict(batch.inputs)
    torch.testing.assert_close(found, gd_transformer(10, 6.0, 10, n_layers=3)(batch.inputs), rtol=1e-12, atol=1e-13)


def test_where_the_weights_came_from_and_what_was_assumed(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write(tmp_path, tied(rng))
    source = load(path, model_args={"n_layers": 2, "softmax": False}).source
    assert (source.name, source.layout, source.path) == ("theirs", "von-oswald-haiku", str(path))
    assert source.facts["n_layers"] == 2
    defaults, unchecked = source.notes
    assert "n_heads=1" in defaults
    assert "dampening=1.0" in defaults
    assert "softmax" not in defaults
    assert "n_layers" not in defaults
    assert "not checked" in unchecked


def test_nothing_is_assumed_when_all_is_said(tmp_path: Path, rng: np.random.Generator) -> None:
    said = {
        "n_layers": 1, "tied": True, "n_heads": 1, "softmax": False, "dampening": 1, "activation_clip": None,
        "target_only": False, "query_in_context": False, "causal": False, "d_out": 1,
    }  # fmt: skip
    assert set(said) | {"prefix"} == set(MODEL_ARGS)
    assert len(load(write(tmp_path, tied(rng)), model_args=said).source.notes) == 1


def test_identity_does_not_depend_on_the_container(tmp_path: Path, rng: np.random.Generator) -> None:
    subject = load(write(tmp_path, untied(rng)))
    np.savez_compressed(tmp_path / "packed.npz", **untied(np.random.default_rng(20230531)))
    save_checkpoint(tmp_path / "ours.safetensors", subject.config, dict(subject.module.named_parameters()))
    digests = {load(tmp_path / name).source.weights_sha256 for name in ("theirs.npz", "packed.npz", "ours.safetensors")}
    assert digests == {subject.source.weights_sha256}


def test_two_models_in_one_file(tmp_path: Path, rng: np.random.Generator) -> None:
    one, twin = tied(rng), {name.replace("transformer", "Transformer_gd"): w for name, w in tied(rng).items()}
    path = write(tmp_path, one | twin)
    message = refusal(path)
    assert "['Transformer_gd', 'transformer']" in message
    assert "prefix=" in message
    for prefix, arrays in {"transformer": one, "Transformer_gd": twin}.items():
        query = load(path, model_args={"prefix": prefix, "n_layers": 1}).module.W_Q[0, 0].numpy()
        np.testing.assert_array_equal(query, arrays[f"{prefix}/multi_head_attention/query/w"])
    assert "Transformer_pg/" in refusal(path, prefix="Transformer_pg")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("transformer/mlp/linear/w", "'mlp/linear/w' is not understood"),
        ("transformer/~trans_block/mlp/linear_1/w", "'~trans_block/mlp/linear_1/w' is not understood"),
        ("transformer/emb/w", "'emb/w' is not understood"),
        ("transformer/input_mlp/linear/b", "not understood"),
        ("transformer/l_norm_1/layer_norm/scale", "not understood"),
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
