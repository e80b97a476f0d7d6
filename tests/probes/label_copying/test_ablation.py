"""Edits of the first layer: of the written model in closed form, of others by loops in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models import RegressionTransformer, gd_transformer
from mesascope.models.constructed.copied_labels import copying_transformer
from mesascope.probes.label_copying.ablation import edited_answers

N, D = 5, 3


def tasks(n: int = 4) -> torch.Tensor:
    return LinearRegression(n_context=N, d_in=D).sample(n, 0).inputs.double()


def test_the_written_model_needs_its_copies_and_nothing_else() -> None:
    found = edited_answers(copying_transformer(N, 2.0, D), tasks())
    step = gd_transformer(N, 2.0, D)(tasks())
    torch.testing.assert_close(found["copies_only"], step, rtol=1e-12, atol=1e-14)
    assert found["without_copies"].abs().max() < 1e-14
    assert found["ablated"].abs().max() == 0


def by_loops(module: RegressionTransformer, task: torch.Tensor, edit: str) -> np.ndarray:
    """A softmax layer whose x tokens read their own label, or any token any other one, as 0; then a linear layer."""
    config = module.config
    arranged = config.layout.arrange(task[None])[0].numpy()
    blank = task.clone()
    blank[:, D:] = 0
    without = config.layout.arrange(blank[None])[0].numpy()
    pairs, places = range(config.d_position // 2), range(len(arranged))
    angles = np.array([[place / 10_000 ** (2 * pair / config.d_position) for pair in pairs] for place in places])
    codes = np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(len(angles), -1)
    h, bare = (np.concatenate([tokens, codes], axis=1) for tokens in (arranged, without))
    after = h.copy()
    for head in range(config.n_heads):
        q, k, v, o = (module.get_parameter(f"W_{role}")[0, head].numpy() for role in "QKVO")
        for query in range(len(h)):
            scores = np.array([(h[query] @ q) @ (h[key] @ k) / np.sqrt(config.d_head) for key in range(len(h) - 1)])
            weights = np.exp(scores) / np.exp(scores).sum()
            for key, weight in enumerate(weights):
                copy = query % 2 == 0 and key == query + 1
                kept = copy if edit == "copies_only" else not copy
                after[query] += (edit != "ablated") * weight * ((h if kept else bare)[key] @ v) @ o
    final = after.copy()
    for head in range(config.n_heads):
        q, k, v, o = (module.get_parameter(f"W_{role}")[1, head].numpy() for role in "QKVO")
        for key in range(len(h) - 1):
            final[-1] += ((after[-1] @ q) @ (after[key] @ k)) * (after[key] @ v) @ o
    return -final[-1, -config.d_out :]


@pytest.mark.parametrize("order", ["interleaved", "separate"])
def test_edits_are_those_of_loops(order: str, random_model: Callable[..., RegressionTransformer]) -> None:
    module = random_model(token_order=order)
    found = edited_answers(module, tasks())
    assert (found["without_copies"] - found["copies_only"]).abs().min() > 1e-6
    for edit, answers in found.items():
        for task, answer in zip(tasks(), answers.numpy(), strict=True):
            np.testing.assert_allclose(answer, by_loops(module, task, edit), rtol=1e-12, atol=1e-13, err_msg=edit)


def test_tied_layers_are_edited_once(random_model: Callable[..., RegressionTransformer]) -> None:
    """The first application alone: the second one still attends."""
    module = random_model(tied=True, linear_from=None)
    found = edited_answers(module, tasks())["ablated"]
    first = module.run(tasks(), edit={"attn_out": lambda held, layer: 0 * held}).output
    assert (found - first).abs().min() > 1e-6
