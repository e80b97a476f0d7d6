"""Settings of the probe, what it costs, and inputs and models that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mesascope.data import TaskError, UsageError
from mesascope.models import AttentionOnlyModel, AttentionOnlyTransformer, NotApplicable, load, shipped
from mesascope.models.constructed.induction import (
    ANTI_INDUCTION,
    INDUCTION,
    PREVIOUS_TOKEN,
    induction_circuit,
    planted_model,
)
from mesascope.models.language_model import LanguageModel
from mesascope.probes import Findings
from mesascope.probes.induction_heads.ablation import Ablations
from mesascope.probes.induction_heads.passes import Sides
from mesascope.probes.induction_heads.probe import InductionHeads

SIZES = {"d_vocab": 24, "n_ctx": 24}
PROBE = InductionHeads()


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the null does not matter, one draw is enough."""
    monkeypatch.setattr("mesascope.probes.induction_heads.probe.NULL_DRAWS", (1, 1))


def measure(subject: LanguageModel, probe: InductionHeads = PROBE, batch: int = 16) -> Findings:
    return probe.measure(subject, 0, batch)


def test_heads_are_taken_away_as_asked() -> None:
    subject = planted_model([PREVIOUS_TOKEN], [INDUCTION, ANTI_INDUCTION], **SIZES)
    small: dict[str, Any] = {"periods": (6, 4), "n_sequences": 6}
    taken = {
        way: measure(subject, InductionHeads(**small, ablate=way)).measures for way in ("all", "called", "nothing")
    }
    assert np.isfinite(taken["all"]["ablation_zero"].values).all()
    called = taken["called"]["ablation_zero"].values
    assert np.isfinite(called).tolist() == [[True, False], [True, True]]  # L0H1 is silent
    assert taken["nothing"]["ablation_zero"].status == "not applicable"
    nobody = measure(load("induction-1layer"), InductionHeads(**small, ablate="called")).measures["ablation_mean"]
    assert nobody.status == "not applicable"
    assert nobody.message.startswith("no head has a verdict")
    assert taken["nothing"]["group_ablation_zero"].status == "not applicable"


def test_groups_are_chosen_on_the_even_and_on_the_odd_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on all of them, and in the order that the ablation counts on."""
    halves: list[slice] = []
    chosen: dict[str, Any] = {}
    of_half = Sides.of

    def of(self: Sides, which: slice) -> Sides:
        halves.append(which)
        return of_half(self, which)

    def groups(self: Ablations, given: dict[str, Any], n_heads: int) -> dict[str, Any]:
        chosen.update(given)
        return {}

    def verdicts(measures: dict[str, Any], thresholds: Any) -> dict[str, str]:
        found = ["none", "none"]
        if measures["excess"].n == 8:  # half of 16
            found[len(halves) - 1] = "induction"
        return dict(zip(("L0H0", "L1H0"), found, strict=True))

    monkeypatch.setattr(Sides, "of", of)
    monkeypatch.setattr(Ablations, "groups", groups)
    monkeypatch.setattr("mesascope.probes.induction_heads.probe.head_verdicts", verdicts)
    measure(induction_circuit(**SIZES), InductionHeads(periods=(6, 4), n_sequences=8))
    assert halves == [slice(0, None, 2), slice(1, None, 2)]
    assert chosen["induction"] == ([(0, 0)], [(1, 0)])


def test_the_cost_is_counted_in_sequences_whatever_the_batch() -> None:
    subject, probe = induction_circuit(**SIZES), InductionHeads(periods=(6, 4), n_sequences=8)
    costs = [measure(subject, probe, batch).measures["forward_passes"] for batch in (5, 16)]
    assert np.array_equal(costs[0].values, costs[1].values)
    spent = dict(zip(costs[0].labels("part"), costs[0].values, strict=True))
    assert spent["repeated"] == spent["controls"] == 16
    assert spent["null"] == 32
    assert spent["heads taken away"] == 2 * 2 * 8
    assert spent["own text"] == 0


def test_other_definitions_come_under_their_own_names() -> None:
    probe = InductionHeads(periods=(6, 4), n_sequences=8, ablate="nothing", compatibility_scores=True)
    found = measure(induction_circuit(**SIZES), probe).measures
    others = {name: m.values[1, 0] for name, m in found.items() if name.startswith("compatibility_")}
    # two rows more than the period: in one it rests on BOS, which is where that diagonal begins
    assert others["compatibility_arena_stripe"] == pytest.approx(7 / 8, abs=1e-6)
    assert others["compatibility_detect_head_induction_head_mul"] == pytest.approx(6 / 13, abs=0.01)
    assert not any(
        name.startswith("compatibility_")
        for name in measure(induction_circuit(**SIZES), InductionHeads(periods=6, n_sequences=12)).measures
    )


def test_memory_grows_with_the_model_and_with_the_period() -> None:
    small, large = (induction_circuit(d_vocab=size, n_ctx=size) for size in (12, 60))
    assert 0 < PROBE.memory(small) < PROBE.memory(large)
    assert InductionHeads(periods=4).memory(large) < InductionHeads(periods=(29, 4)).memory(large)
    assert PROBE.memory(load(next(name for name in shipped() if name.startswith("lsa")))) is None


def test_what_does_not_apply() -> None:
    subject = induction_circuit(**SIZES)
    assert PROBE.applies(subject) is None
    regressor = PROBE.applies(load(next(name for name in shipped() if name.startswith("lsa"))))
    assert isinstance(regressor, NotApplicable)
    assert "reads no tokens" in regressor.reason
    config = {**subject.config.as_dict(), "causal": False}
    both_ways = AttentionOnlyTransformer(
        type(subject.config).from_dict(config), dict(subject.module.named_parameters())
    )
    encoder = PROBE.applies(AttentionOnlyModel(both_ways, subject.source))
    assert isinstance(encoder, NotApplicable)
    assert "see those after them" in encoder.reason


def test_a_model_without_logits_has_attention_and_no_copying() -> None:
    class Headless(AttentionOnlyModel):
        def unembedding(self) -> Any:
            return NotApplicable("no head that predicts tokens")

        def unembed(self, state: Any) -> Any:
            raise UsageError("no logits, no head that predicts tokens")

    subject = induction_circuit(**SIZES)
    probe = InductionHeads(periods=(6, 4), n_sequences=8)
    found = measure(Headless(subject.module, subject.source), probe).measures
    assert found["prefix_matching_score"].values[1, 0] == pytest.approx(1, abs=1e-6)
    for name in ("ov_copying_score", "loss_second_repeat", "ablation_zero", "direct_logit_attribution"):
        assert found[name].status == "not applicable"
        assert "no head that predicts tokens" in found[name].message
    assert probe.heads(found) == {"L0H0": "previous-token", "L1H0": "first-token"}
    claim = probe.claim(found, (subject.source,))
    assert any("no head can be called" in limit for limit in claim.limits)


def test_a_model_that_shows_no_weights_has_its_attention_measured() -> None:
    class Hidden(AttentionOnlyModel):
        def weights(self, folded: bool = False) -> Any:
            return NotApplicable("its weights are not shown")

    subject = induction_circuit(**SIZES)
    probe = InductionHeads(periods=(6, 4), n_sequences=8)
    found = measure(Hidden(subject.module, subject.source), probe).measures
    for name in ("ov_copying_score", "k_composition", "k_composition_from_previous", "direct_logit_attribution"):
        assert found[name].message == "its weights are not shown"
    assert found["excess"].values[1, 0] == pytest.approx(1, abs=1e-6)
    assert "no weights that could be permuted" in found["excess"].no_nulls
    assert found["ablation_zero"].status == "ok"
    assert probe.heads(found) == {"L0H0": "previous-token", "L1H0": "first-token"}
    assert "L1H0: matches, but neither" in " ".join(probe.claim(found, (subject.source,)).limits)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"periods": 30}, "the model reads at most 24; the longest period that fits is 11"),
        ({"periods": (11, 1)}, r"periods = \[11, 1\]; expected a whole number of at least 2, a list"),
        ({"periods": ()}, r"periods = \[\]; expected at least one"),
        ({"repeats": 1}, "repeats = 1; expected a whole number of at least 2"),
        ({"n_sequences": 2}, "n_sequences = 2: with 2 heads the smallest p"),
        ({"ablate": "every"}, "ablate = 'every'"),
        ({"level": 1.5}, "level = 1.5; expected a number from 0.0001 to 1"),
        ({"level": float("nan")}, "level = nan; expected a number from 0.0001 to 1"),
        ({"level": 0.0}, "level = 0.0; expected a number from 0.0001 to 1"),
        ({"tolerance": 2.0}, "tolerance = 2.0; expected a number from 0 to 1"),
        ({"matching_threshold": -0.1}, "matching_threshold = -0.1; expected a number from 0 to 1"),
        ({"text": "a.txt", "tokens": "b.npy"}, "text and tokens are both given"),
        ({"text": "nowhere.txt"}, "nowhere.txt: cannot be read"),
    ],
)
def test_settings_that_cannot_be_met_are_refused_in_words(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        measure(induction_circuit(**SIZES), InductionHeads(**settings))


def test_a_vocabulary_smaller_than_the_period() -> None:
    with pytest.raises(TaskError, match="the vocabulary has 7 tokens to draw from"):
        measure(induction_circuit(d_vocab=8, n_ctx=40), InductionHeads(periods=12))
    heads = PROBE.heads(measure(induction_circuit(d_vocab=8, n_ctx=40)).measures)
    assert heads["L1H0"] == "induction"  # by default the period fits
