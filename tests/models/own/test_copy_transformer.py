"""The copy model by a plain pass in NumPy, and what must and must not matter to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import CheckpointRefused
from mesascope.models import CopyConfig, CopyTransformer, load, save_checkpoint
from mesascope.models.own.copy_transformer import copy_logits, copy_pattern
from mesascope.models.own.plain_pass import plain_copies
from torch import Tensor

CONFIG = CopyConfig(d_vocab=7, n_ctx=5, d_model=6, n_heads=3, d_head=2)
KINDS: dict[str, dict[str, Any]] = {
    "usual": {},
    "words alone in values": {"positions_in_values": False},
    "uniform": {"uniform_attention": True},
    "uniform, words alone": {"uniform_attention": True, "positions_in_values": False},
}


def drawn(config: CopyConfig, seed: int = 0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=rng, dtype=torch.float64) for name, shape in config.shapes.items()}


def model(seed: int = 0, **settings: Any) -> CopyTransformer:
    config = replace(CONFIG, **settings)
    return CopyTransformer(config, drawn(config, seed))


@pytest.fixture
def tokens() -> Tensor:
    return torch.tensor([[3, 0, 6, 2, 5], [1, 4, 2, 6, 0], [5, 5, 1, 0, 3]])


def plain(module: CopyTransformer, tokens: Tensor) -> tuple[np.ndarray, np.ndarray]:
    arrays = {name: weight.numpy() for name, weight in module.weights.items()}
    passes = [plain_copies(module.config, arrays, source) for source in tokens.numpy()]
    return np.stack([one.output for one in passes]), np.stack([one.patterns[0] for one in passes])


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("n", [5, 3])
def test_logits_and_patterns_are_those_of_a_plain_pass(settings: dict[str, Any], n: int, tokens: Tensor) -> None:
    module, given = model(**settings), tokens[:, :n]
    logits, patterns = plain(module, given)
    found = copy_pattern(module.config, module.weights, module.weights["W_E"][given])
    np.testing.assert_allclose(module(given), logits, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found, patterns, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(patterns.sum(axis=-1), 1)


def test_the_pattern_is_the_stated_one(tokens: Tensor) -> None:
    """One entry, written out: target 2, head 1, of the second source."""
    module = model()
    w = module.weights
    query = w["W_query"][2] @ w["W_Q"][1]
    scores = torch.stack([query @ ((w["W_E"][tokens[1, s]] + w["W_pos"][s]) @ w["W_K"][1]) for s in range(5)])
    found = copy_pattern(module.config, w, w["W_E"][tokens])
    torch.testing.assert_close(found[1, 1, 2], (scores / 2**0.5).softmax(dim=0))


def test_several_models_side_by_side_are_each_their_own(tokens: Tensor) -> None:
    modules = [model(seed) for seed in range(4)]
    stacked = {name: torch.stack([module.weights[name] for module in modules]) for name in CONFIG.shapes}
    together = copy_logits(CONFIG, stacked, torch.stack([module.weights["W_E"][tokens] for module in modules]))
    for module, logits in zip(modules, together, strict=True):
        torch.testing.assert_close(logits, module(tokens))


def test_no_target_sees_its_words_order_without_positions(tokens: Tensor) -> None:
    """With positions of 0, permuting a source changes nothing; with positions it does."""
    module, order = model(), torch.tensor([4, 2, 0, 1, 3])
    assert float((module(tokens[:, order]) - module(tokens)).abs().max()) > 0.1
    module.weights["W_pos"].zero_()
    torch.testing.assert_close(module(tokens[:, order]), module(tokens))


def test_a_gauge_changes_nothing(tokens: Tensor) -> None:
    module = model()
    logits = module(tokens)
    for one, other in (("W_Q", "W_K"), ("W_V", "W_O"), ("W_query", "W_Q"), ("W_O", "W_U")):
        module.weights[one].mul_(3.0)
        module.weights[other].div_(3.0)
    torch.testing.assert_close(module(tokens), logits)


def test_heads_have_no_order_and_are_averaged(tokens: Tensor) -> None:
    module = model()
    logits = module(tokens)
    turned = {name: w.roll(1, 0) if name in ("W_Q", "W_K", "W_V", "W_O") else w for name, w in module.weights.items()}
    torch.testing.assert_close(CopyTransformer(CONFIG, turned)(tokens), logits)
    alone = []
    for head in range(3):
        one = {name: w[head : head + 1] if w.shape[0] == 3 else w for name, w in module.weights.items()}
        alone.append(CopyTransformer(replace(CONFIG, n_heads=1), one)(tokens))
    torch.testing.assert_close(torch.stack(alone).mean(dim=0), logits)


def test_a_model_with_uniform_attention_has_no_queries() -> None:
    usual, uniform = CONFIG.shapes, replace(CONFIG, uniform_attention=True).shapes
    assert list(usual)[: len(uniform)] == list(uniform)
    assert set(usual) - set(uniform) == {"W_query", "W_Q", "W_K"}


@pytest.mark.parametrize("settings", [*KINDS.values(), {"n_heads": 1}])
def test_a_file_brings_it_back(settings: dict[str, Any], tokens: Tensor, tmp_path: Path) -> None:
    module = model(**settings)
    save_checkpoint(tmp_path / "x.safetensors", module.config, module.state_dict(), {"how": "drawn"})
    subject = load(tmp_path / "x.safetensors")
    assert subject.source.facts == module.config.as_dict()
    assert subject.source.record == {"how": "drawn"}
    assert torch.equal(subject.logits(tokens), module(tokens))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_vocab": 1}, "d_vocab"),
        ({"n_heads": 0}, "n_heads"),
        ({"n_layers": 2}, "'n_layers' is not known"),
        ({"uniform_attention": "yes"}, "uniform_attention"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointRefused, match=message):
        CopyConfig.from_dict({**CONFIG.as_dict(), **changes})


def test_weights_of_another_shape_are_refused() -> None:
    with pytest.raises(CheckpointRefused, match=r"W_O has shape \[3, 6, 2\]; expected \[3, 2, 6\]"):
        CopyTransformer(CONFIG, {**drawn(CONFIG), "W_O": torch.zeros(3, 6, 2)})
    with pytest.raises(CheckpointRefused, match=r"surplus \['W_K', 'W_Q', 'W_query'\]"):
        CopyTransformer(replace(CONFIG, uniform_attention=True), drawn(CONFIG))
