"""Which models it is for, in words; a user's tasks; what a run takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.data.errors import TaskError
from mesascope.models import (
    NotApplicable,
    RegressionTransformer,
    TokenLayout,
    from_predictor,
    from_transformer,
    gd_transformer,
)
from mesascope.models.constructed.copied_labels import copying_transformer
from mesascope.models.constructed.induction import induction_circuit
from mesascope.probes import GDAlignment, ImplicitWeights, Probe
from mesascope.probes.label_copying.memory import sensitive_tasks
from mesascope.probes.label_copying.probe import LabelCopying

N, D = 5, 3
Random = Callable[..., RegressionTransformer]


def refusal(subject: Any) -> str:
    found = LabelCopying().applies(subject)
    assert isinstance(found, NotApplicable)
    return found.reason


def test_models_without_tokens_of_their_own_are_refused_in_words(random_model: Random) -> None:
    assert LabelCopying().applies(from_transformer(random_model())) is None
    assert LabelCopying().applies(from_transformer(random_model(token_order="separate"))) is None
    assert "tokens hold x together with y" in refusal(from_transformer(gd_transformer(N, 1.0, D)))
    layout = TokenLayout(D, 1, order="separate")
    predictor = from_predictor(lambda tokens: tokens.sum(dim=(1, 2)), layout, "someone")
    assert "cannot read the attention" in refusal(predictor)
    assert "does not answer linear-regression" in refusal(induction_circuit(d_vocab=24, n_ctx=24))
    assert "attention is causal" in refusal(from_transformer(random_model(causal=True)))
    assert "embeds its tokens" in refusal(from_transformer(random_model(d_embed=6)))


@pytest.mark.parametrize("probe", [LabelCopying, ImplicitWeights, GDAlignment])
def test_more_tokens_than_positions_are_refused_in_words(probe: Callable[..., Probe]) -> None:
    subject = from_transformer(copying_transformer(N, 1.0, D), "short")
    with pytest.raises(TaskError, match=r"tasks of 13 tokens; expected at most 12, .*fewer pairs \(--n-context\)"):
        probe(n_context=N + 1, limit=20).measure(subject, 0, 32)


def test_fewer_pairs_than_positions_are_read(copied: Callable[..., Any]) -> None:
    assert copied(copying_transformer(N + 2, 4.0, D)).standing.called == "copies"


def test_a_users_tasks_are_judged_at_the_rate_of_the_other_half(copied: Callable[..., Any], tmp_path: Path) -> None:
    batch = LinearRegression(n_context=N, d_in=D).sample(50, 0)
    np.savez(tmp_path / "own.npz", inputs=batch.inputs.numpy(), targets=batch.targets.numpy())
    found = copied(copying_transformer(N, 4.0, D), tasks=str(tmp_path / "own.npz"), n=50)
    assert found["loss"].n == found["learning_rate"].n == 50
    assert "supplied by the user" in found.claim.methods
    X, y = batch.inputs[:, :-1, :D].double().numpy(), batch.inputs[:, :-1, D].double().numpy()
    step = np.einsum("tnd,tn,td->t", X, y, batch.inputs[:, -1, :D].double().numpy()) / N
    target = batch.targets[:, 0].double().numpy()
    rates = [(step * target)[half].sum() / (step**2)[half].sum() for half in (slice(25, 50), slice(0, 25))]
    errors = 0.5 * (np.repeat(rates, 25) * step - target) ** 2
    assert found.loss("gd") == pytest.approx(errors.mean(), rel=1e-9)
    pooled = (step * target).sum() / (step**2).sum()  # untrained models stand beside one step on all of these tasks
    loss, gap = (found[name].sel(candidate="ablated").nulls["untrained"] for name in ("loss", "loss_gap"))
    np.testing.assert_allclose(gap, loss / np.mean(0.5 * (pooled * step - target) ** 2) - 1, rtol=1e-9)


def test_several_outputs(copied: Callable[..., Any]) -> None:
    found = copied(copying_transformer(N, 4.0, D, 2))
    assert found.standing.called == "copies"
    assert found.to("next") == pytest.approx(np.sqrt(2))


@pytest.mark.parametrize("bad", [float("nan"), 1e300])
def test_weights_that_are_not_finite_have_no_verdict(bad: float, copied: Callable[..., Any]) -> None:
    module = copying_transformer(N, 4.0, D)
    with torch.no_grad():
        module.W_O[1] *= bad
        module.W_Q[1] *= 1e10
    found = copied(module, n=20)
    assert found.claim.badge == "Not finite"
    assert not found["loss_gap"].sel(candidate="model").has_number


def test_arrays_are_what_measures_are_means_of(copied: Callable[..., Any]) -> None:
    found = copied(copying_transformer(N, 4.0, D))
    arrays = found.findings.arrays
    for name in ("copy_sensitivity_next", "loss_model", "loss_without_copies", "loss_gd"):
        assert arrays[name].mean() == pytest.approx(found[name].estimate, rel=1e-12), name
    assert arrays["attention"].shape == (2, 1, 2 * N + 1, 2 * N)
    assert arrays["sensitivity"].shape == (2 * N - 1, 2 * N + 1)
    assert arrays["attention"][0, 0, 0].tolist() == [0, 1, *[0] * (2 * N - 2)]


def test_what_a_run_takes_grows_with_its_tasks(random_model: Random) -> None:
    subject, few, more = from_transformer(random_model()), LabelCopying(limit=100), LabelCopying(limit=10_000)
    assert 0 < few.memory(subject) < more.memory(subject)
    assert few.memory(subject) < LabelCopying(limit=100, n_context=40).memory(subject)
    assert few.cost(subject, 2048).tokens < more.cost(subject, 2048).tokens
    assert few.cost(subject, 2048).batch == (100, 7)
    assert [sensitive_tasks(n) for n in (10, 20, 5_000)] == [2_000, 1_024, 20]
    assert sensitive_tasks(10, null=True) == 100
    other = induction_circuit(d_vocab=24, n_ctx=24)
    assert few.memory(other) is few.cost(other, 1) is None
