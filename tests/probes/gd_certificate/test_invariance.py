"""What must not move a certificate: gauges, bases, the order of heads, dead entries, precision; and the other sign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import RegressionConfig, RegressionTransformer, from_transformer, gd_transformer
from mesascope.probes import Findings
from mesascope.probes.gd_certificate.probe import GDCertificate
from mesascope.probes.measure import flat

Weights = dict[str, torch.Tensor]
PLAIN = {"n_heads": 3}
DEEP = {"n_heads": 2, "n_layers": 2}


def measured(config: RegressionConfig, weights: Weights) -> Findings:
    subject = from_transformer(RegressionTransformer(config, weights))
    tasks = {"n_context": 7, "d_in": 3, "noise": 0.1, "input_range": 2.0}
    subject.source = replace(subject.source, record={"recipe": {"tasks": tasks}})
    return GDCertificate().measure(subject, 0, 1)


def same(a: Findings, b: Findings, tolerance: float = 1e-10, heads: bool = True) -> None:
    """Every value and, of the same shape, every null."""
    ones, others = flat(a.measures), flat(b.measures)
    assert ones.keys() == others.keys()
    assert sum(measure.has_number for measure in ones.values()) > 10
    for name in ones:
        if heads or not name.startswith("head"):
            np.testing.assert_allclose(ones[name].values, others[name].values, tolerance, 1e-12, err_msg=name)
    for name in a.arrays if heads else ():
        np.testing.assert_allclose(a.arrays[name], b.arrays[name], tolerance, 1e-12, err_msg=name)


def pieces(random_module: Callable[..., Any], **settings: Any) -> tuple[RegressionConfig, Weights]:
    module = random_module(scale=1.0, **settings)
    return module.config, {name: weight.detach().clone() for name, weight in module.named_parameters()}


@pytest.mark.parametrize("settings", [PLAIN, DEEP])
@pytest.mark.parametrize("roles", [("W_V", "W_K"), ("W_O", "W_Q"), ("W_Q", "W_K"), ("W_V", "W_O")])
def test_scales_that_cancel(
    settings: dict[str, Any], roles: tuple[str, str], random_module: Callable[..., Any]
) -> None:
    config, weights = pieces(random_module, **settings)
    factors = torch.linspace(-0.3, 4.0, config.n_heads, dtype=torch.float64)[None, :, None, None]
    scaled = weights | {roles[0]: weights[roles[0]] * factors, roles[1]: weights[roles[1]] / factors}
    same(measured(config, weights), measured(config, scaled))


@pytest.mark.parametrize("settings", [PLAIN, DEEP])
def test_a_basis_within_a_head(settings: dict[str, Any], random_module: Callable[..., Any]) -> None:
    config, weights = pieces(random_module, **settings)
    rng = torch.Generator().manual_seed(0)
    first, second = (
        torch.linalg.qr(torch.randn(config.n_heads, 4, 4, generator=rng, dtype=torch.float64)).Q for _ in range(2)
    )
    turned = {
        "W_Q": weights["W_Q"] @ first,
        "W_K": weights["W_K"] @ first,
        "W_V": weights["W_V"] @ second,
        "W_O": second.mT @ weights["W_O"],
    }
    same(measured(config, weights), measured(config, turned))


@pytest.mark.parametrize("settings", [PLAIN, DEEP])
def test_the_order_of_heads(settings: dict[str, Any], random_module: Callable[..., Any]) -> None:
    config, weights = pieces(random_module, **settings)
    order = [*range(1, config.n_heads), 0]
    plain = measured(config, weights)
    moved = measured(config, {name: weight[:, order] for name, weight in weights.items()})
    same(plain, moved, heads=False)
    sizes = plain.measures["head_step_size"].values
    np.testing.assert_allclose(moved.measures["head_step_size"].values, sizes[:, order], rtol=1e-12)
    np.testing.assert_allclose(sizes.sum(axis=1), plain.measures["step_size"].values, rtol=1e-12)


def test_a_head_in_two_halves(random_module: Callable[..., Any]) -> None:
    config, weights = pieces(random_module)
    twice = {name: weight.repeat(1, 2, 1, 1) for name, weight in weights.items()}
    twice["W_O"] = twice["W_O"] * torch.tensor([0.3, 0.7], dtype=torch.float64)[None, :, None, None]
    same(measured(config, weights), measured(replace(config, n_heads=2), twice), heads=False)


def test_dead_entries(random_module: Callable[..., Any]) -> None:
    """With one layer KQ's y rows and PV's x columns reach no prediction."""
    config, weights = pieces(random_module)
    edited = {name: weight.clone() for name, weight in weights.items()}
    edited["W_Q"][..., 3:, :] += 5
    edited["W_O"][..., :3] -= 7
    same(measured(config, weights), measured(config, edited))


def test_the_dampening_belongs_to_the_weights(random_module: Callable[..., Any]) -> None:
    config, weights = pieces(random_module, **DEEP)
    dampened = weights | {"W_O": weights["W_O"] / 0.4}
    same(measured(config, weights), measured(replace(config, dampening=0.4), dampened))


def test_single_precision_gives_the_same_to_its_digits(random_module: Callable[..., Any]) -> None:
    config, weights = pieces(random_module)
    single = {name: weight.float() for name, weight in weights.items()}
    same(measured(config, weights), measured(config, single), 1e-4)


def basis(d: int, size: int, form: str) -> np.ndarray:
    """What a form may be any sum of, [member, a, b, c, e], with one label."""
    members, y = [], size - 1
    steps = [np.eye(d)] if form in ("gd", "gdpp") else [np.outer(a, b) for a in np.eye(d) for b in np.eye(d)]
    for step in steps:
        members.append(np.zeros((size,) * 4))
        members[-1][:d, :d, y, y] = members[-1][:d, y, :d, y] = step
    if "pp" in form:
        members.append(np.zeros((size,) * 4))
        pairs = np.multiply.outer(np.eye(d), np.eye(d))
        members[-1][:d, :d, :d, :d] = pairs + pairs.transpose(0, 2, 1, 3)
    return np.stack(members).reshape(len(members), -1)


def test_distances_from_forms_are_those_of_least_squares(random_module: Callable[..., Any]) -> None:
    """Over the dense tensor of a random stack, in which everything is live."""
    config, weights = pieces(random_module, **DEEP)
    W_Q, W_K, W_V, W_O = (weights[f"W_{role}"][0].numpy() for role in "QKVO")
    T = np.einsum("hab,hce->abce", W_Q @ W_K.transpose(0, 2, 1), W_V @ W_O)
    T = (T + T.transpose(0, 2, 1, 3)).ravel()
    distances = measured(config, weights).measures["form_distance"]
    assert distances.labels("form") == ("gd", "preconditioned_gd", "gdpp", "preconditioned_gdpp")
    for form in distances.labels("form"):
        members = basis(3, 4, form)
        rest = T - np.linalg.lstsq(members.T, T, rcond=None)[0] @ members
        expected = np.linalg.norm(rest) / np.linalg.norm(T)
        assert distances.sel(form=form).values == pytest.approx([expected], rel=1e-10)


def test_a_change_that_matters_moves_it(random_module: Callable[..., Any]) -> None:
    config, weights = pieces(random_module)
    moved = weights | {"W_Q": weights["W_Q"].index_fill(-2, torch.tensor([0]), 0.3)}
    one, other = measured(config, weights).measures, measured(config, moved).measures
    for name in ("step_size", "identity_distance", "block_share", "optimum_distance", "expected_loss"):
        assert not np.allclose(one[name].values, other[name].values, rtol=1e-3), name


def test_a_file_that_reads_the_other_sign_is_turned() -> None:
    plain = gd_transformer(10, 4.0, 3)
    turned = {name: -weight if name == "W_O" else weight for name, weight in plain.named_parameters()}
    for n_layers, rate in ((1, 4.0), (2, -4.0)):
        subject = from_transformer(RegressionTransformer(replace(plain.config, n_layers=n_layers), turned))
        subject.source = replace(subject.source, facts={**subject.source.facts, "readout": "+"})
        found = GDCertificate(n_context=10).measure(subject, 0, 1).measures
        assert found["learning_rate"].values == pytest.approx([rate])
