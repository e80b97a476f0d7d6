"""How long a run will take: counts that follow from shapes, times a speed that is stated or that of one batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope import models
from mesascope.analyses.runs import estimating
from mesascope.analyses.runs.estimating import Speed, in_words, stated_speed, timed_speed, work_of_a_token
from mesascope.models.constructed.induction import induction_circuit
from mesascope.models.opening.loading import load
from mesascope.models.own.attention_only import AttentionOnlyModel
from mesascope.models.subject import Subject
from mesascope.probes.attention_learning.probe import AttentionLearning
from mesascope.probes.gd_alignment.probe import GDAlignment
from mesascope.probes.induction_heads.probe import InductionHeads
from mesascope.probes.probe import Cost, Probe, weights_in_bytes
from mesascope.probes.token_norms.probe import TokenNorms


@pytest.fixture(scope="module")
def grammar() -> AttentionOnlyModel:
    model = load("tiny-grammar")
    assert isinstance(model, AttentionOnlyModel)
    return model


def test_a_speed_times_a_cost_is_a_sum() -> None:
    speed, cost = Speed(token=2, read_out=3, draw=5, operation=7), Cost(11, 13, 17, 19, (1, 1))
    assert speed.seconds(cost) == 2 * 11 + 3 * 13 + 5 * 17 + 7 * 19


def test_the_work_of_a_token_is_counted_by_hand(grammar: AttentionOnlyModel) -> None:
    """Two for each number of every matrix of a block, and four for each key and dimension of a head."""
    config = grammar.config
    attention, mlp = 4 * config.d_model * config.n_heads * config.d_head, 2 * config.d_model * (config.d_mlp or 0)
    keys = 4 * 100 * config.n_heads * config.d_head
    by_hand = config.n_layers * (2 * (attention + mlp) + keys)
    assert by_hand <= work_of_a_token(grammar, 100) <= 1.2 * by_hand, "norms, biases and positions are little beside"


def test_tied_layers_are_passed_again() -> None:
    once, twice = (load(name) for name in ("lsa-1layer", "lsa-2layer-recurrent"))
    assert weights_in_bytes(once) == weights_in_bytes(twice)
    assert work_of_a_token(twice, 11) == 2 * work_of_a_token(once, 11)


def test_the_stated_speed_grows_with_threads(grammar: AttentionOnlyModel) -> None:
    cost, before, found = Cost(1, 1, 1, 1, (8, 128)), torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(stated_speed(grammar, cost))
    finally:
        torch.set_num_threads(before)
    one, two = found
    assert two.read_out == one.read_out / 2 > 0
    assert one.read_out == 2 * grammar.shape.d_model * grammar.shape.d_vocab / estimating.RATE
    assert two.token < one.token
    assert (two.draw, two.operation) == (one.draw, one.operation)


@pytest.mark.parametrize(
    ("name", "probe"),
    [
        ("tiny-grammar", TokenNorms()),
        ("induction-2layer", InductionHeads()),
        ("lsa-1layer", GDAlignment()),
        ("copy-40of60-1head", AttentionLearning()),
    ],
)
def test_a_batch_is_timed_and_the_random_state_stays(name: str, probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that a second passes at every look: which seconds a machine needs is no matter of a test."""
    seconds = iter(range(10**6))
    monkeypatch.setattr(estimating.time, "perf_counter", lambda: next(seconds))
    subject, before = load(name), torch.get_rng_state()
    cost = probe.cost(subject, probe.batch_size)
    assert cost is not None
    speed, tokens = timed_speed(subject, cost), cost.batch[0] * cost.batch[1]
    assert speed.token == 2 / tokens
    assert speed.read_out == (2 / tokens if cost.read_outs else 0)
    assert torch.equal(torch.get_rng_state(), before)


def grows(probe: Probe, other: Probe, subject: Subject) -> bool:
    costs = [one.cost(subject, one.batch_size) for one in (probe, other)]
    memory = [one.memory(subject) for one in (probe, other)]
    speeds = [stated_speed(subject, cost).seconds(cost) for cost in costs if cost is not None]
    return speeds[0] < speeds[1] and (memory[0] or 0) <= (memory[1] or 0)


def test_costs_grow_with_what_is_asked_for(grammar: AttentionOnlyModel) -> None:
    assert grows(GDAlignment(limit=100), GDAlignment(limit=10_000), load("lsa-1layer"))
    assert grows(GDAlignment(), GDAlignment(steps=3), load("lsa-1layer"))
    assert grows(TokenNorms(limit=1_000), TokenNorms(limit=16_000), grammar)
    assert grows(TokenNorms(untrained=0), TokenNorms(), grammar)
    assert grows(TokenNorms(parts="none"), TokenNorms(parts="inner"), grammar)
    assert grows(InductionHeads(n_sequences=16), InductionHeads(n_sequences=64), grammar)
    assert grows(InductionHeads(ablate="nothing"), InductionHeads(ablate="called"), grammar)
    assert grows(InductionHeads(ablate="called"), InductionHeads(ablate="all"), grammar)


def test_sequences_are_counted_as_the_probe_spends_them() -> None:
    """What the repeats, the controls and the ablations of all heads take is known before; groups are not."""
    subject = induction_circuit(d_vocab=30, n_ctx=30)
    probe = InductionHeads(periods=(6, 4), n_sequences=8, ablate="all")
    spent = probe.measure(subject, 0, 16).measures["forward_passes"]
    counted = dict(zip(spent.labels("purpose"), spent.values, strict=True))
    nothing = InductionHeads(periods=(6, 4), n_sequences=8, ablate="nothing")
    cost, without = (one.cost(subject, 16) for one in (probe, nothing))
    assert cost is not None
    assert without is not None
    longest = cost.batch[1]
    heads = subject.shape.n_layers * subject.shape.n_heads
    assert counted["single-head ablations"] == 2 * heads * 8
    of_ablations = (cost.read_outs - without.read_outs) / 2 / longest
    groups = 2 * 2 * (1 + 8) * 8
    assert np.isclose(of_ablations, counted["single-head ablations"] / 2 + groups)


def test_probes_say_nothing_of_what_they_cannot_measure(grammar: AttentionOnlyModel) -> None:
    regressor = load("lsa-1layer")
    assert GDAlignment().cost(grammar, 8) is None
    assert TokenNorms().cost(regressor, 8) is InductionHeads().cost(regressor, 8) is None


def test_a_models_weights_are_counted_once() -> None:
    module = models.gd_transformer(n_context=4, learning_rate=1.0, d_in=3)
    by_hand = sum(weight.nelement() * weight.element_size() for weight in module.parameters())
    assert weights_in_bytes(models.from_transformer(module)) == by_hand > 0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.01, "about 1 s"), (42.4, "about 42 s"), (360, "about 6 min"), (9_000, "about 2.5 h"), (100_000, "about 28 h")],
)
def test_times_in_words(seconds: float, said: str) -> None:
    assert in_words(seconds) == said
