"""Regression transformers by a declared layout: their predictions by independent code, and what samples tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import CheckpointRefused, UsageError
from mesascope.models import load
from mesascope.models.regressors import TransformerRegressor
from torch import Tensor

D_IN, N_LAYERS, N_HEADS = 3, 2, 2
RNG = torch.Generator().manual_seed(0)
TASKS = torch.randn(6, 5, D_IN + 1, generator=RNG, dtype=torch.float64)
TASKS[:, -1, -1] = 0  # the query's label is not known


# ---- linear attention, written in columns as in Ahn et al. 2023 (arXiv 2306.00297) ----


def slow_predictions(
    P: list[np.ndarray], Q: list[np.ndarray], tasks: np.ndarray, readout: float, causal: bool = False
) -> np.ndarray:
    """Z <- Z + sum over heads P Z M Z^T Q Z for prompts Z [feature, token], number by number; M hides the query.

    causal:  and later tokens
    """
    answers = []
    for task in tasks:
        z = [row.copy() for row in task]
        for p_heads, q_heads in zip(P, Q, strict=True):
            new = [column.copy() for column in z]
            for t in range(len(z)):
                for p, q in zip(p_heads, q_heads, strict=True):
                    for i in range(min(t + 1, len(z) - 1) if causal else len(z) - 1):
                        new[t] += float(z[i] @ q @ z[t]) * (p @ z[i])
            z = new
        answers.append(readout * z[-1][-1])
    return np.array(answers)


DRAWN = 0.3 * np.random.default_rng(3).standard_normal((2, N_LAYERS, N_HEADS, D_IN + 1, D_IN + 1))
P, Q = list(DRAWN[0]), list(DRAWN[1])
PRODUCTS = """
[model]
task = "regression"
[tensors]
KQ = { name = "layers.{layer}.Q", axes = "head key query" }
PV = { name = "layers.{layer}.P", axes = "head write read" }
"""


def product_file() -> dict[str, Tensor]:
    return {f"layers.{n}.{name}": torch.from_numpy(held[n]) for name, held in (("P", P), ("Q", Q)) for n in range(2)}


def opened(folder: Path, tensors: dict[str, Tensor], layout: str, samples: dict[str, Any] | None = None) -> Any:
    torch.save({name: tensor.clone() for name, tensor in tensors.items()}, folder / "state.pt")
    if samples is not None:
        np.savez(folder / "samples.npz", **samples)
        layout += '[check]\nsamples = "samples.npz"\n'
    (folder / "layout.toml").write_text(layout)
    return load(folder / "state.pt", layout=str(folder / "layout.toml"))


def of_tasks(predictions: np.ndarray, tasks: Tensor = TASKS) -> dict[str, np.ndarray]:
    return {"inputs": tasks.numpy(), "predictions": predictions}


def test_products_of_linear_attention_answer_as_their_formula(tmp_path: Path) -> None:
    slow = slow_predictions(P, Q, TASKS.numpy(), -1)
    subject = opened(tmp_path, product_file(), PRODUCTS, of_tasks(slow))
    assert isinstance(subject, TransformerRegressor)
    np.testing.assert_allclose(subject.predict(TASKS)[:, 0], slow, rtol=1e-10)
    (note,) = subject.source.notes
    assert note.startswith("the layout was checked: it reproduces the predictions of samples.npz within")
    assert (subject.config.n_layers, subject.config.n_heads, subject.config.tied) == (2, 2, False)
    np.testing.assert_allclose(subject.weights().KQ[1, 0], Q[1][0].T, rtol=1e-12)
    np.testing.assert_allclose(subject.weights().PV[1, 0], P[1][0].T, rtol=1e-12)


def test_a_layout_may_declare_a_causal_mask(tmp_path: Path) -> None:
    slow = slow_predictions(P, Q, TASKS.numpy(), -1, causal=True)
    masked = PRODUCTS.replace("[tensors]", "causal = true\n[tensors]")
    subject = opened(tmp_path, product_file(), masked, of_tasks(slow))
    np.testing.assert_allclose(subject.predict(TASKS)[:, 0], slow, rtol=1e-10)
    assert subject.source.facts["causal"] is True
    with pytest.raises(CheckpointRefused, match="misses"):
        opened(tmp_path, product_file(), PRODUCTS, of_tasks(slow))


def projections(layered: bool) -> dict[str, Tensor]:
    """Weights of `nn.Linear`, [out, in], heads side by side, under names of their own."""
    rng = torch.Generator().manual_seed(5)
    blocks = range(2) if layered else range(1)
    found = {}
    for n in blocks:
        at = f"blocks.{n}." if layered else ""
        for role in ("query", "key", "value", "out"):
            found[f"{at}{role}.weight"] = 0.5 * torch.randn(4, 4, generator=rng, dtype=torch.float64)
    return found


def projected(at: str) -> str:
    rows = {"W_Q": "query", "W_K": "key", "W_V": "value"}
    lines = [
        f'{role} = {{ name = "{at}{name}.weight", axes = "(head d_head) d_model" }}' for role, name in rows.items()
    ]
    lines.append(f'W_O = {{ name = "{at}out.weight", axes = "d_model (head d_head)" }}')
    return "\n".join(['[model]\ntask = "regression"\nn_heads = 2\n#more\n[tensors]', *lines, ""])


def as_products(weights: dict[str, Tensor], at: str) -> tuple[np.ndarray, np.ndarray]:
    """P and Q of each head, from rows of W_Q, W_K, W_V and columns of W_O."""
    q, k, v, o = (weights[f"{at}{role}.weight"].numpy() for role in ("query", "key", "value", "out"))
    heads = [slice(0, 2), slice(2, 4)]
    return np.stack([o[:, h] @ v[h] for h in heads]), np.stack([k[h].T @ q[h] for h in heads])


@pytest.mark.parametrize("tied", [False, True])
def test_projections_of_other_names_answer_as_their_formula(tmp_path: Path, tied: bool) -> None:
    weights, at = projections(not tied), "" if tied else "blocks.{layer}."
    each = [as_products(weights, "" if tied else f"blocks.{n}.") for n in range(2)]
    slow = slow_predictions([p for p, _ in each], [q for _, q in each], TASKS.numpy(), -1)
    layout = projected(at).replace("#more", "n_layers = 2" if tied else "")
    subject = opened(tmp_path, weights, layout, of_tasks(slow))
    np.testing.assert_allclose(subject.predict(TASKS)[:, 0], slow, rtol=1e-10)
    assert (subject.config.tied, subject.config.n_layers, subject.config.d_head) == (tied, 2, 2)


def test_how_often_one_block_is_applied_has_to_be_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused, match=r"^state\.pt: holds one block of weights, and not how many layers"):
        opened(tmp_path, projections(False), projected(""))


def test_the_sign_of_the_readout_is_told_by_samples(tmp_path: Path) -> None:
    slow = slow_predictions(P, Q, TASKS.numpy(), +1)
    with pytest.raises(
        CheckpointRefused, match=r"misses .*they fit with order = 'joint', label_slot = 3, readout = '\+'"
    ):
        opened(tmp_path, product_file(), PRODUCTS, of_tasks(slow))
    plus = PRODUCTS.replace("[tensors]", 'readout = "+"\n[tensors]')
    subject = opened(tmp_path, product_file(), plus, of_tasks(slow))
    np.testing.assert_allclose(subject.predict(TASKS)[:, 0], -slow, rtol=1e-10)
    assert "have the other sign here" in subject.source.notes[1]
    assert subject.source.facts["readout"] == "+"
    with pytest.raises(CheckpointRefused, match=r"readout = '-'$"):
        opened(tmp_path, product_file(), plus, of_tasks(-slow))


def test_the_order_of_the_tokens_is_told_by_samples(tmp_path: Path) -> None:
    """The file's model reads [y ; x]; its residual stream is opened as [x ; y]."""
    swapped = torch.cat([TASKS[..., -1:], TASKS[..., :-1]], dim=-1)
    last = [3, 0, 1, 2]  # from [y ; x] to a slow pass that reads the last coordinate
    inverse = np.argsort(last)
    P_slow, Q_slow = ([w[:, inverse][:, :, inverse] for w in held] for held in (P, Q))
    slow = slow_predictions(P_slow, Q_slow, swapped.numpy()[..., inverse], -1)
    np.testing.assert_array_equal(swapped.numpy()[..., inverse], TASKS.numpy())
    with pytest.raises(CheckpointRefused, match=r"they fit with order = 'joint', label_slot = 0, readout = '-'"):
        opened(tmp_path, product_file(), PRODUCTS, of_tasks(slow))
    first = PRODUCTS.replace("[tensors]", "label_slot = 0\n[tensors]")
    subject = opened(tmp_path, product_file(), first, of_tasks(slow))
    np.testing.assert_allclose(subject.predict(TASKS)[:, 0], slow, rtol=1e-10)
    assert not subject.layout.declared, "its weights now have the label last"


def test_what_nothing_fits_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused, match="may be in the wrong place; no other order of the tokens fits, and no"):
        opened(tmp_path, product_file(), PRODUCTS, of_tasks(np.ones(6)))
    assert opened(tmp_path, product_file(), PRODUCTS).source.notes[0].endswith("it declares no samples")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({"inputs": TASKS.numpy()}, "holds ['inputs']; expected inputs and predictions"),
        ({"inputs": np.ones((6, 5, 4), dtype=int), "predictions": np.ones(6)}, "expected inputs and predictions"),
        (of_tasks(np.ones(5)), "inputs [6, 5, 4] and predictions [5] do not fit"),
        (of_tasks(np.ones(6), TASKS[..., 1:]), "inputs [6, 5, 3] and predictions [6] do not fit"),
    ],
)
def test_samples_that_cannot_be_compared(tmp_path: Path, samples: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        opened(tmp_path, product_file(), PRODUCTS, samples)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[tensors]", 'order = "interleaved"\n[tensors]', "order = 'interleaved' in [model]; expected 'joint'"),
        ("[tensors]", "label_slot = 9\n[tensors]", "label_slot = 9; expected 0 to 3"),
        ("[tensors]", 'label_slot = "x"\n[tensors]', "label_slot = 'x' in [model]"),
        ("[tensors]", 'readout = "minus"\n[tensors]', "readout = 'minus' in [model]; expected '+' or '-'"),
        ("[tensors]", "softmax = true\n[tensors]", "KQ and PV with softmax = true"),
        ("[tensors]", "d_in = 7\n[tensors]", "d_in = 7 in [model]; expected 3"),
        ("[tensors]", "n_layers = 3\n[tensors]", "n_layers = 3 in [model]; expected 2"),
        ("[tensors]", "d_vocab = 4\n[tensors]", "d_vocab is no setting of a regression transformer without W_E"),
        ('PV = { name', 'W_O = { name = "layers.{layer}.P", axes = "head d_model d_head" }\n#', "holds the roles"),
        ("KQ =", 'W_Q = { name = "layers.{layer}.Q", axes = "head d_model d_head" }\nKQ =', "both KQ and W_Q or W_K"),
        ("KQ =", 'b_Q = { name = "layers.{layer}.Q", axes = "head d_head" }\nKQ =', "does not fit the axes"),
    ],
)  # fmt: skip
def test_a_regression_layout_that_does_not_fit(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in PRODUCTS
    with pytest.raises(CheckpointRefused, match=r"^state.pt: ") as caught:
        opened(tmp_path, product_file(), PRODUCTS.replace(old, new, 1))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (
            PRODUCTS.replace('"regression"', '"language"'),
            "task = 'language'; expected 'regression', or none for tokens",
        ),
        (PRODUCTS.replace('task = "regression"', ""), "role 'KQ' is not known"),
        ('[model]\nreadout = "+"\n', "[model] 'readout' is not known"),
    ],
)
def test_words_of_regression_belong_to_regression(tmp_path: Path, layout: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        opened(tmp_path, product_file(), layout)
    assert message in str(caught.value)


def test_roles_and_numbers_that_no_such_transformer_has(tmp_path: Path) -> None:
    biased = {**product_file(), **{f"layers.{n}.b": torch.zeros(4) for n in range(2)}}
    with pytest.raises(
        CheckpointRefused, match=r"b_O: a regression transformer without W_E has no such role; .*from_pre"
    ):
        opened(tmp_path, biased, PRODUCTS + 'b_O = "layers.{layer}.b"\n')
    infinite = {name: tensor / 0 for name, tensor in product_file().items()}
    with pytest.raises(CheckpointRefused, match=r"^state\.pt: 'W_Q' holds .*; expected finite weights"):
        opened(tmp_path, infinite, PRODUCTS)
