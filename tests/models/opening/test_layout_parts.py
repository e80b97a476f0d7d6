"""Parts of declared layouts and of old names: factors, one-hot tokens, and numbers that shapes show."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope.data import CheckpointRefused, UsageError
from mesascope.models import AttentionOnlyModel, load
from safetensors.torch import save_file
from torch import Tensor

Make = Callable[..., AttentionOnlyModel]
LAYOUT = """
[model]
norm = "none"
[tensors]
W_E = "E"
W_pos = "P"
W_U = "U"
W_Q = { name = "{layer}.Q", axes = "(head d_head) d_model" }
W_K = "{layer}.K"
W_V = "{layer}.V"
W_O = "{layer}.O"
b_O = "{layer}.bO"
"""
TOKENS = torch.randint(0, 5, (3, 6), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def make(random_language_model: Make) -> Make:
    return partial(random_language_model, d_vocab=5, n_ctx=6, d_model=8, n_heads=2, norm="none")


def file_of(model: AttentionOnlyModel) -> dict[str, Tensor]:
    p = {name: parameter.clone() for name, parameter in model.module.named_parameters()}
    found = {"E": p["W_E"], "P": p["W_pos"], "U": p["W_U"]}
    for layer in range(2):
        found |= {f"{layer}.{c}": p[f"W_{c}"][layer].clone() for c in "KVO"}
        found[f"{layer}.Q"] = p["W_Q"][layer].mT.reshape(8, 8).contiguous()
        found[f"{layer}.bO"] = p["b_O"][layer].clone()
    return found


def opened(folder: Path, tensors: dict[str, Tensor], layout: str) -> AttentionOnlyModel:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "a.safetensors")
    (folder / "layout.toml").write_text(layout)
    subject = load(folder / "a.safetensors", layout=str(folder / "layout.toml"))
    assert isinstance(subject, AttentionOnlyModel)
    return subject


def numpy_logits(tensors: dict[str, Tensor], rows: np.ndarray, write: float, embed: float) -> np.ndarray:
    """One sequence at a time; attention's write and the embeddings times their factors."""
    w = {name: tensor.numpy() for name, tensor in tensors.items()}
    answers = []
    for tokens in rows:
        h = embed * w["E"][tokens] + w["P"][: len(tokens)]
        for layer in range(2):
            added = np.tile(w[f"{layer}.bO"], (len(tokens), 1))
            for head in range(2):
                q = h @ w[f"{layer}.Q"][4 * head : 4 * head + 4].T
                scores = q @ (h @ w[f"{layer}.K"][head]).T / 2
                scores[np.triu_indices(len(tokens), 1)] = -np.inf
                weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
                added += weights @ h @ w[f"{layer}.V"][head] @ w[f"{layer}.O"][head]
            h = h + write * added
        answers.append(h @ w["U"])
    return np.array(answers)


def with_heads(layout: str) -> str:
    return layout.replace("[tensors]", "n_heads = 2\n[tensors]")


def test_a_declared_factor_scales_what_is_written(make: Make, tmp_path: Path) -> None:
    """A factor on attention's write is one on W_O and b_O; one on the embeddings is one on W_E alone."""
    tensors = file_of(make())
    layout = with_heads(LAYOUT)
    plain = opened(tmp_path, tensors, layout).logits(TOKENS)
    np.testing.assert_allclose(plain, numpy_logits(tensors, TOKENS.numpy(), 1, 1), rtol=1e-10)
    for role, name in (("W_O", "{layer}.O"), ("b_O", "{layer}.bO")):
        layout = layout.replace(f'{role} = "{name}"', f'{role} = {{ name = "{name}", scale = 0.5 }}')
    layout = layout.replace('W_E = "E"', 'W_E = { name = "E", scale = 3 }')
    subject = opened(tmp_path, tensors, layout)
    slow = numpy_logits(tensors, TOKENS.numpy(), 0.5, 3)
    assert not np.allclose(slow, plain, rtol=0.1), "the premise: factors matter"
    np.testing.assert_allclose(subject.logits(TOKENS), slow, rtol=1e-10)
    again = load(tmp_path / "a.safetensors", layout=subject.source.options["declaration"])
    assert again.source.weights_sha256 == subject.source.weights_sha256


@pytest.mark.parametrize("scale", ['"half"', "true", "[2]"])
def test_a_factor_is_a_number(make: Make, tmp_path: Path, scale: str) -> None:
    layout = with_heads(LAYOUT).replace('W_E = "E"', f'W_E = {{ name = "E", scale = {scale} }}')
    with pytest.raises(UsageError, match=r"layout\.toml: W_E = .*; expected a name or"):
        opened(tmp_path, file_of(make()), layout)


def test_tokens_that_enter_as_unit_vectors(make: Make, tmp_path: Path) -> None:
    tensors = file_of(make())
    del tensors["E"]
    layout = with_heads(LAYOUT).replace('W_E = "E"\n', "")
    with pytest.raises(CheckpointRefused, match=r"lacks W_E, so its inputs are vectors, not token ids; .*'one-hot'"):
        opened(tmp_path, tensors, layout)
    one_hot = layout.replace("[tensors]", 'embedding = "one-hot"\nd_vocab = 5\n[tensors]')
    subject = opened(tmp_path, {**tensors, "U": tensors["U"]}, one_hot)
    slow = numpy_logits({**tensors, "E": torch.eye(5, 8, dtype=torch.float64)}, TOKENS.numpy(), 1, 1)
    np.testing.assert_allclose(subject.logits(TOKENS), slow, rtol=1e-10)
    every = opened(tmp_path, tensors, layout.replace("[tensors]", 'embedding = "one-hot"\n[tensors]'))
    assert every.config.d_vocab == 8


@pytest.mark.parametrize(
    ("said", "without", "message"),
    [
        (
            'embedding = "onehot"',
            "E",
            "embedding = 'onehot' in [model]; expected 'one-hot', and a file with W_Q and witho",
        ),
        (
            'embedding = "one-hot"',
            "",
            "embedding = 'one-hot' in [model]; expected 'one-hot', and a file with W_Q and wit",
        ),
        ('embedding = "one-hot"\nd_vocab = 9', "EU", "d_vocab = 9; expected 1 to d_model = 8 for one-hot embeddings"),
    ],
)
def test_a_one_hot_embedding_that_cannot_be(make: Make, tmp_path: Path, said: str, without: str, message: str) -> None:
    tensors, layout = file_of(make()), with_heads(LAYOUT).replace("[tensors]", f"{said}\n[tensors]")
    for name in without:
        del tensors[name]
        layout = layout.replace(f'W_{name} = "{name}"\n', "")
    with pytest.raises(CheckpointRefused) as caught:
        opened(tmp_path, tensors, layout)
    assert message in str(caught.value)


def test_the_number_of_heads_is_what_the_shape_shows(make: Make, tmp_path: Path) -> None:
    """Of separate heads, or with their width; otherwise what is missing is named."""
    tensors = file_of(make())
    widths = opened(tmp_path, tensors, LAYOUT.replace("[tensors]", "d_head = 4\n[tensors]"))
    assert torch.equal(widths.logits(TOKENS), opened(tmp_path, tensors, with_heads(LAYOUT)).logits(TOKENS))
    with pytest.raises(CheckpointRefused, match=r"'0\.Q' .* does not fit the axes .*; give n_heads or d_head in"):
        opened(tmp_path, tensors, LAYOUT)
    apart = tensors | {f"{n}.Q": tensors[f"{n}.Q"].reshape(2, 4, 8) for n in range(2)}
    shown = opened(tmp_path, apart, LAYOUT.replace("(head d_head) d_model", "head d_head d_model"))
    assert shown.config.n_heads == 2


def test_the_heads_of_a_native_model_are_what_the_shape_shows(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(2)
    shapes = {"embed.weight": (5, 8), "unembed.weight": (5, 8)}
    shapes |= {f"blocks.0.attn.{role}.weight": (8, 8) for role in "qkvo"}
    shapes |= {f"blocks.0.attn.{role}.bias": (8,) for role in "qkvo"}
    save_file({name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}, tmp_path / "n.safetensors")
    facts = {"normalization_type": None, "positional_embedding_type": "none", "n_ctx": 6}
    by_width, by_number = (
        load(tmp_path / "n.safetensors", layout="tl-native", model_config={**facts, **known})
        for known in ({"d_head": 4}, {"n_heads": 2})
    )
    assert isinstance(by_width, AttentionOnlyModel)
    assert isinstance(by_number, AttentionOnlyModel)
    assert by_width.config == by_number.config
    assert torch.equal(by_width.logits(TOKENS), by_number.logits(TOKENS))
    with pytest.raises(CheckpointRefused, match="expected the number of heads, or d_head"):
        load(tmp_path / "n.safetensors", layout="tl-native", model_config=facts)
    with pytest.raises(CheckpointRefused, match="d_head = 3 in the configuration; expected 4, as in the weights"):
        load(tmp_path / "n.safetensors", layout="tl-native", model_config={**facts, "d_head": 3})


def test_shortformer_positions_stand_in_folded_inputs_too(random_language_model: Make) -> None:
    """q of the folded weights, from the folded input, is the q of the pass; v never sees a position."""
    for norm in ("layer", "rms", "none"):
        model = random_language_model(positions="shortformer", norm=norm)
        tokens = TOKENS[:, :5]
        values = model.run(tokens, watch={"resid_pre": lambda h, layer: h, "q": lambda q, layer: q}).values
        folded = model.weights(folded=True)
        for layer in range(2):
            x = model.attention_input(values["resid_pre"][layer], layer, folded=True)
            assert folded.b_Q is not None
            q = torch.einsum("bpd,hdk->bhpk", x, folded.W_Q[layer]) + folded.b_Q[layer][:, None]
            torch.testing.assert_close(values["q"][layer], q, rtol=1e-10, atol=1e-10)
        moved = model.run(tokens.roll(1, 1), watch={"v": lambda v, layer: v if layer == 0 else None}).values["v"][0]
        still = model.run(tokens, watch={"v": lambda v, layer: v if layer == 0 else None}).values["v"][0]
        torch.testing.assert_close(moved, still.roll(1, 2))
