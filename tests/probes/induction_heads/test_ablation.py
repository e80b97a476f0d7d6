"""Heads taken away: the edit is what weights of zero would do, groups are tested where they were not chosen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data import RepeatedTokens
from mesascope.models import AttentionOnlyModel, AttentionOnlyTransformer
from mesascope.models.constructed.induction import (
    INDUCTION,
    PREVIOUS_TOKEN,
    SILENT,
    induction_circuit,
    planted_model,
)
from mesascope.probes.induction_heads.ablation import EVEN, ODD, RANDOM, Ablations, others_like, taking_away
from mesascope.probes.induction_heads.losses import in_context_learning, of_run
from mesascope.probes.induction_heads.passes import Passes
from mesascope.probes.induction_heads.watchers import MeanZ, NextTokenLoss
from mesascope.probes.streaming import stream

LAW = RepeatedTokens(period=5, d_vocab=12, bos=0)
FIRST, SECOND = (0, 0), (1, 0)


@pytest.fixture(scope="module")
def circuit() -> AttentionOnlyModel:
    return induction_circuit(d_vocab=12, n_ctx=11)


@pytest.fixture
def ablations(circuit: AttentionOnlyModel) -> Ablations:
    tokens = LAW.draw(6, seed=0).tokens
    base, means = NextTokenLoss(circuit), MeanZ()
    stream(circuit, [tokens], [base])
    stream(circuit, [LAW.control(6, seed=0).tokens], [means])
    return Ablations(Passes(circuit, 4), LAW, tokens, base.arrays()["loss"], means.mean(), seed=0)


def test_zero_is_what_an_output_matrix_of_zeros_gives(circuit: AttentionOnlyModel, ablations: Ablations) -> None:
    parameters = {name: parameter.detach().clone() for name, parameter in circuit.module.named_parameters()}
    parameters["W_O"][1, 0] = 0
    without = AttentionOnlyModel(AttentionOnlyTransformer(circuit.config, parameters), circuit.source)
    watcher = NextTokenLoss(without)
    stream(without, [ablations.tokens], [watcher])
    assert np.allclose(ablations.losses("heads taken away", [SECOND], "zero"), watcher.arrays()["loss"])


def test_the_mean_stands_at_every_position_of_the_heads_that_are_named() -> None:
    z, instead = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 5)
    edit = taking_away([(1, 2), (1, 0)], instead)["z"]
    assert edit(z, 0) is z
    found = edit(z, 1)
    assert torch.equal(found[:, 1], z[:, 1])
    for head in (0, 2):
        assert torch.equal(found[:, head], instead[1, head].expand(2, 4, 5))


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_without_its_induction_head_the_circuit_knows_nothing_of_the_second_run(
    ablations: Ablations, kind: str
) -> None:
    found = ablations.single([FIRST, SECOND], (2, 1))[f"ablation_{kind}"]
    assert found.axes == ("layer", "head")
    assert np.allclose(found.values, np.log(11), atol=0.02)  # every token but BOS is as likely


def test_heads_that_stay_have_no_number(ablations: Ablations) -> None:
    found = ablations.single([SECOND], (2, 1))["ablation_zero"]
    assert np.isnan(found.values[0, 0])
    assert found.values[1, 0] > 2
    assert "NaN for heads that were not taken away" in found.message


@pytest.fixture
def with_silent_heads() -> Ablations:
    """An induction head L1H0 beside two that do nothing."""
    subject = planted_model([PREVIOUS_TOKEN], [INDUCTION, SILENT, SILENT], d_vocab=12, n_ctx=11)
    tokens, base = LAW.draw(4, seed=0).tokens, NextTokenLoss(subject)
    stream(subject, [tokens], [base])
    means = torch.zeros(2, 3, subject.shape.d_head, dtype=torch.float64)
    means[1, 0, 3] = 1.0  # raises the logit of token 3
    return Ablations(Passes(subject, 4), LAW, tokens, base.arrays()["loss"], means, seed=0)


def test_each_group_is_tested_on_the_sequences_that_did_not_choose_it(with_silent_heads: Ablations) -> None:
    """Chosen on the even ones: the head that matters; on the odd ones: a silent head. The odd ones suffer."""
    losses = with_silent_heads._cross_fitted(([SECOND], [(1, 1)]), "zero")
    rises = of_run(losses, LAW, 1) - of_run(with_silent_heads.base, LAW, 1)
    assert (rises[ODD] > 2).all()
    assert np.allclose(rises[EVEN], 0)


def test_the_mean_is_not_zero(with_silent_heads: Ablations) -> None:
    for kind, instead in (("zero", torch.zeros_like(with_silent_heads.means)), ("mean", with_silent_heads.means)):
        watcher = NextTokenLoss(with_silent_heads.passes.subject)
        edit = taking_away([SECOND], instead)
        stream(with_silent_heads.passes.subject, [with_silent_heads.tokens], [watcher], edit)
        assert np.allclose(with_silent_heads.losses("heads taken away", [SECOND], kind), watcher.arrays()["loss"])
    zero, mean = (with_silent_heads.losses("heads taken away", [SECOND], kind) for kind in ("zero", "mean"))
    assert not np.allclose(zero, mean)


def test_groups_report_what_is_left_and_why_one_is_missing(ablations: Ablations) -> None:
    found = ablations.groups({"induction": ([SECOND], [SECOND]), "previous-token": ([FIRST], [])}, n_heads=1)
    rise, left = found["group_ablation_zero"], found["in_context_learning_without_zero"]
    assert rise.axes == ("group",)
    assert rise.labels("group") == ("induction", "previous-token")
    assert rise.values[0] == pytest.approx(np.log(11), abs=0.02)
    assert left.values[0] == pytest.approx(0, abs=1e-6)
    assert np.isnan(rise.values[1])
    assert "no head was called previous-token on both halves" in rise.message
    assert not rise.nulls  # layers of one head have no others
    assert rise.no_nulls
    none = ablations.groups({"induction": ([], [])}, n_heads=1)["group_ablation_mean"]
    assert none.status == "not applicable"


def test_random_groups_come_from_the_same_layers_and_are_others() -> None:
    rng = np.random.default_rng(0)
    group = [(0, 1), (2, 0), (2, 3)]
    for _ in range(20):
        found = others_like(group, 4, rng)
        assert found is not None
        assert not set(found) & set(group)
        assert [layer for layer, _ in found] == [0, 2, 2]
        assert len(set(found)) == 3
    assert others_like([(1, 0), (1, 1), (1, 2)], 4, rng) == [(1, 3)]
    assert others_like([(0, 0)], 1, rng) is None


def test_random_groups_are_the_null_of_the_group(with_silent_heads: Ablations) -> None:
    found = with_silent_heads.groups({"induction": ([SECOND], [SECOND])}, n_heads=3)["group_ablation_zero"]
    assert np.allclose(found.nulls[RANDOM], 0)
    assert found.values[0] > 2


def test_runs_are_read_without_their_first_token() -> None:
    losses = np.arange(10.0)[None]  # of tokens 1 … 10: BOS, r at 1 … 5, again at 6 … 10
    assert of_run(losses, LAW, 0) == np.mean([1, 2, 3, 4])
    assert of_run(losses, LAW, 1) == np.mean([6, 7, 8, 9])
    assert in_context_learning(losses, LAW) == -5
    without_bos = RepeatedTokens(period=5, d_vocab=12)  # of tokens 1 … 9: r at 0 … 4, again at 5 … 9
    assert of_run(losses[:, :9], without_bos, 0) == np.mean([0, 1, 2, 3])
    assert of_run(losses[:, :9], without_bos, 1) == np.mean([5, 6, 7, 8])
