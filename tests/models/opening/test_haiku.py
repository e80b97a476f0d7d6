"""The authors' parameter files: read as their code reads them, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models import gd_transformer, load, save_checkpoint
from mesascope.models.opening.catalogue import MODEL_ARGS

from .haiku_files import TIED, UNTIED, Arrays, D, K, Loops, embedding, mlp, norm, refusal, tied, untied, write


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
            for name in (f"transformer/l_norm_1/layer_norm/{part}", f"transformer/~trans_block/layer_norm/{part}"):
                if name in arrays:
                    layer[f"mlp_{part}"] = arrays[name]
        for name, ours in (("linear", "first"), ("linear_1", "second")):
            for place in ("transformer/mlp", "transformer/~trans_block/mlp"):
                if f"{place}/{name}/w" in arrays:
                    layer[ours] = arrays[f"{place}/{name}/w"]
        layers.append(layer)
    return layers


def variants(rng: np.random.Generator) -> dict[str, tuple[Arrays, int, dict[str, Any]]]:
    """(arrays, layers, what must be said beside them)."""
    l_norm = norm("transformer/l_norm/layer_norm", rng)
    norms = norm("transformer/~trans_block/norm_1", rng) | norm("transformer/~trans_block/norm_2", rng)
    block_mlp = mlp("transformer/~trans_block/mlp", rng) | norm("transformer/~trans_block/layer_norm", rng)
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
        "tied MLP": (tied(rng) | mlp("transformer/mlp", rng), 2, {"n_layers": 2}),
        "untied MLP": (untied(rng) | mlp("transformer/~trans_block/mlp", rng), 3, {}),
        "tied MLP, layer norms": (
            tied(rng) | l_norm | mlp("transformer/mlp", rng) | norm("transformer/l_norm_1/layer_norm", rng),
            2,
            {"n_layers": 2},
        ),
        "untied MLP, layer norms": (
            untied(rng) | norms | block_mlp,
            3,
            {},
        ),
        "one untied layer, MLP and its norm": (
            untied(rng, layers=1) | block_mlp,
            1,
            {},
        ),
        "embedding": (tied(rng) | embedding(rng, 2), 1, {"n_layers": 1}),
        "positions": (tied(rng), 2, {"n_layers": 2, "d_position": 2}),
        "separate tokens, softmax, then linear": (
            untied(rng, layers=2),
            2,
            {"softmax": True, "linear_from": 1, "d_position": 2, "token_order": "interleaved"},
        ),
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
    inputs = rng.normal(size=(3, 6, subject.d_in + subject.d_out))
    settings = {name: value for name, value in facts.items() if name != "n_layers"}
    if "transformer/emb/w" in arrays:
        theirs = {"emb": "emb/w", "first": "input_mlp/linear/w", "first_b": "input_mlp/linear/b"}
        theirs |= {"second": "input_mlp/linear_1/w", "second_b": "input_mlp/linear_1/b"}
        settings["embedding"] = {name: arrays[f"transformer/{path}"] for name, path in theirs.items()}
    expected = reference_transformer(inputs, layers_of(arrays, n_layers), **settings)
    found = subject.module.double().predict_layers(torch.from_numpy(inputs)).numpy()
    assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()
    assert subject.config.n_layers == n_layers
    assert subject.config.d_model == D


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
        "linear_from": None, "d_position": 0, "one_hot_positions": False, "token_order": "joint",
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
