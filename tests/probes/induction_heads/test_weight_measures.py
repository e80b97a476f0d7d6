"""Copying and composition of whole models: against another library, under folding, with rotary positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import RepeatedTokens
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source, from_bridge
from mesascope.models.constructed.induction import induction_circuit, near_misses
from mesascope.probes import Measure
from mesascope.probes.induction_heads import weight_measures as under_test
from mesascope.probes.induction_heads.access import Access
from mesascope.probes.induction_heads.composition import composition_measures
from mesascope.probes.induction_heads.experiment import Experiment, Passes
from mesascope.probes.induction_heads.inputs import period_inputs
from mesascope.probes.induction_heads.names import KEYS, PERMUTED_OV, QUERIES, READ_BY, ROTATED, VALUES

# third parties' own: TransformerLens and what it imports
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning:transformer_lens"
)
Make = Callable[..., AttentionOnlyModel]


def measured(subject: Any) -> dict[str, Measure]:
    periods = period_inputs((RepeatedTokens(4, subject.shape.d_vocab),), 1, seed=0)  # keys 3 tokens back
    experiment = Experiment(Passes(subject, 1), Access.to(subject), periods, seed=0)
    folded = under_test.Folded.of(subject, experiment.access)
    return under_test.copying_measures(experiment, folded) | composition_measures(experiment, folded)


@pytest.fixture(scope="module")
def make() -> Make:
    def model(**settings: Any) -> AttentionOnlyModel:
        sizes: dict[str, Any] = {"d_vocab": 13, "n_ctx": 9, "d_model": 12, "n_layers": 3, "n_heads": 2, "d_head": 4}
        config = AttentionOnlyConfig(**{**sizes, **settings})
        rng = torch.Generator().manual_seed(3)
        parameters = {
            name: 0.5 * torch.randn(shape, generator=rng, dtype=torch.float64) + name.endswith("scale")
            for name, shape in config.shapes.items()
        }
        return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))

    return model


@pytest.mark.parametrize("norm", [None, "LN"])
def test_numbers_are_those_of_transformer_lens_after_folding(norm: str | None) -> None:
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    sizes = {"d_model": 24, "d_head": 6, "n_heads": 3, "n_layers": 3, "n_ctx": 16, "d_vocab": 29, "seed": 0}
    config = TransformerBridgeConfig(**sizes, attn_only=True, normalization_type=norm)
    bridge, noise = TransformerBridge.boot_native(config).eval(), torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in bridge.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=noise))
    found = measured(from_bridge(bridge))
    if norm is not None:
        bridge.enable_compatibility_mode()
    for letter, read_by in zip("QKV", READ_BY, strict=True):
        theirs = bridge.all_composition_scores(letter).scores.detach().numpy()
        mine = found["composition"].sel(read_by=read_by).values
        assert np.nanmax(np.abs(mine - theirs)) < 1e-6
        assert np.array_equal(np.isnan(mine), theirs == 0)  # they say 0 where no head is earlier
    for layer, head in np.ndindex(3, 3):
        full = (bridge.W_E @ bridge.W_V[layer, head] @ bridge.W_O[layer, head] @ bridge.W_U).detach().double()
        eigenvalues = torch.linalg.eigvals(full - full.mean(dim=1, keepdim=True))
        score = eigenvalues.real.sum() / eigenvalues.abs().sum()
        assert found["ov_copying_score"].values[layer, head] == pytest.approx(score.item(), abs=1e-5)
        own = (full.argmax(dim=1) == torch.arange(29)).double().mean()
        assert found["ov_top1_share"].values[layer, head] == pytest.approx(own.item(), abs=1e-9)


def test_the_planted_circuit_composes_and_copies() -> None:
    found = measured(induction_circuit(d_vocab=14, n_ctx=30))
    copying = found["ov_copying_score"].values
    assert np.isnan(copying[0, 0])  # what it moves is for the next layer: the unembedding does not read it
    assert copying[1, 0] == pytest.approx(1.0, abs=1e-9)
    assert found["ov_top1_share"].values[1, 0] == pytest.approx(1.0)
    composition = found["composition"]
    k = composition.sel(read_by=KEYS)
    assert k.values[0, 0, 1, 0] > k.nulls[ROTATED][:, 0, 0, 1, 0].max()
    for read_by in (QUERIES, VALUES):
        assert composition.sel(read_by=read_by).values[0, 0, 1, 0] == pytest.approx(0, abs=1e-9)
    anti = measured(near_misses(5, d_vocab=14, n_ctx=30))["ov_copying_score"].values
    assert anti[1, 2] == pytest.approx(-1.0, abs=1e-9)


def test_scales_folded_by_hand_change_nothing(make: Make) -> None:
    """The norm's scale moved into the weights that read it, and the final one into W_U: the same function."""
    subject = make()
    parameters = {name: parameter.detach().clone() for name, parameter in subject.module.named_parameters()}
    for role in "QKV":
        parameters[f"W_{role}"] *= parameters["ln1_scale"][:, None, :, None]
    parameters["W_U"] *= parameters["ln_final_scale"][:, None]
    for name in ("ln1_scale", "ln_final_scale"):
        parameters[name] = torch.ones_like(parameters[name])
    folded = AttentionOnlyModel(AttentionOnlyTransformer(subject.config, parameters), subject.source)
    before, after = measured(subject), measured(folded)
    for name in ("ov_copying_score", "ov_top1_share", "composition"):
        assert np.allclose(before[name].values, after[name].values, equal_nan=True), name


def test_relabelled_heads_take_their_numbers_along(make: Make) -> None:
    subject = make(norm="none")
    parameters = {name: parameter.detach().clone() for name, parameter in subject.module.named_parameters()}
    for role in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V"):
        parameters[role] = parameters[role].flip(1)
    turned = AttentionOnlyModel(AttentionOnlyTransformer(subject.config, parameters), subject.source)
    before, after = measured(subject), measured(turned)
    assert np.allclose(before["ov_copying_score"].values, after["ov_copying_score"].values[:, ::-1])
    turned_back = after["composition"].values[:, :, ::-1, :, ::-1]
    assert np.allclose(before["composition"].values, turned_back, equal_nan=True)


def test_large_vocabularies_are_sampled_and_say_so(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_WHOLE", 10)
    monkeypatch.setattr(under_test, "_SAMPLE", 5)
    found = measured(make())["ov_top1_share"]
    assert "over 5 tokens drawn with the seed" in found.message
    assert set(np.unique((found.values * 5).round(9))) <= set(range(6))


def test_permuted_weights_copy_nothing(make: Make) -> None:
    null = measured(make())["ov_copying_score"].nulls[PERMUTED_OV]
    assert null.shape == (20, 3, 2)
    assert abs(null.mean()) < 0.15
