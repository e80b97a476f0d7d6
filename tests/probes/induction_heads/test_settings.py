"""Settings of the probe, what it costs, and inputs and models that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mesascope.data import TaskError, UsageError
from mesascope.models import AttentionOnlyModel, AttentionOnlyTransformer, NotApplicable, load, shipped
from mesascope.models.constructed.induction import induction_circuit
from mesascope.models.language_model import LanguageModel
from mesascope.probes import Findings
from mesascope.probes.induction_heads.probe import InductionHeads

SIZES = {"d_vocab": 24, "n_ctx": 24}
PROBE = InductionHeads()


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the null does not matter, one draw is enough."""
    monkeypatch.setattr("mesascope.probes.induction_heads.observations.NULL_DRAWS", (1, 1))


def measure(subject: LanguageModel, probe: InductionHeads = PROBE, batch: int = 16) -> Findings:
    return probe.measure(subject, 0, batch)


def test_the_cost_is_counted_in_sequences_whatever_the_batch() -> None:
    subject, probe = induction_circuit(**SIZES), InductionHeads(periods=(6, 4), n_sequences=8)
    costs = [measure(subject, probe, batch).measures["forward_passes"] for batch in (5, 16)]
    assert np.array_equal(costs[0].values, costs[1].values)
    spent = dict(zip(costs[0].labels("purpose"), costs[0].values, strict=True))
    assert spent["repeated"] == spent["controls"] == 16
    assert "permuted weights" not in spent  # their attention is computed beside these passes
    assert spent["single-head ablations"] == 2 * 2 * 8
    assert spent["group ablations"] == 2 * 2 * 8  # both groups, and no others in layers of one head
    assert spent["own text"] == 0
    assert costs[0].message == f"{sum(spent.values()):.0f} sequences were passed through the model to score 16"


def test_other_definitions_are_an_axis() -> None:
    probe = InductionHeads(periods=(6, 4), n_sequences=8, ablate="nothing", compatibility_scores=True)
    found = measure(induction_circuit(**SIZES), probe).measures["compatibility_score"]
    assert found.axes == ("definition", "layer", "head")
    # two rows more than the period: in one it rests on BOS, which is where that diagonal begins
    assert found.sel(definition="arena_stripe").values[1, 0] == pytest.approx(7 / 8, abs=1e-6)
    by_library = found.sel(definition="detect_head_induction_head_mul")
    assert by_library.values[1, 0] == pytest.approx(6 / 13, abs=0.01)
    assert by_library.message == "period 6"
    only = measure(induction_circuit(**SIZES), InductionHeads(periods=6, n_sequences=12, ablate="nothing"))
    assert "compatibility_score" not in only.measures
    assert only.measures["ablation"].sel(replacement="zero").message == "ablate = nothing"


def test_the_stages_are_reported_in_order() -> None:
    told: list[tuple[str, float]] = []
    probe = InductionHeads(periods=(6, 4), n_sequences=8)
    probe.measure(induction_circuit(**SIZES), 0, 16, lambda stage, fraction: told.append((stage, fraction)))
    assert [stage for stage, _ in told] == [
        "weights", "repeats and controls", "repeats and controls", "statistics", "ablations", "done",
    ]  # fmt: skip
    assert [fraction for _, fraction in told] == sorted(fraction for _, fraction in told)
    assert told[-1][1] == 1


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
    assert regressor.reason.startswith(
        "this model predicts no next token. Induction heads are defined for causal language"
    )
    config = {**subject.config.as_dict(), "causal": False}
    both_ways = AttentionOnlyTransformer(
        type(subject.config).from_dict(config), dict(subject.module.named_parameters())
    )
    encoder = PROBE.applies(AttentionOnlyModel(both_ways, subject.source))
    assert isinstance(encoder, NotApplicable)
    assert encoder.reason == (
        "this model's attention is bidirectional. Induction heads are defined for causal language models."
    )


def test_a_model_without_logits_has_attention_and_no_copying() -> None:
    class Headless(AttentionOnlyModel):
        def unembedding(self) -> Any:
            return NotApplicable("no head that predicts tokens")

        def _require_head(self) -> None:
            raise UsageError("no logits, no head that predicts tokens")

    subject = induction_circuit(**SIZES)
    probe = InductionHeads(periods=(6, 4), n_sequences=8)
    found = measure(Headless(subject.module, subject.source), probe).measures
    assert found["prefix_matching_score"].values[1, 0] == pytest.approx(1, abs=1e-6)
    for name in ("ov_copying_score", "loss_second_repeat", "ablation", "direct_logit_attribution"):
        assert found[name].status == "not applicable"
        assert "no head that predicts tokens" in found[name].message
    assert probe.heads(found) == {"L0H0": "previous-token", "L1H0": "first-token"}
    claim = probe.claim(found, (subject.source,))
    assert any("can call no head an induction head" in limit for limit in claim.limits)


def test_a_model_that_shows_no_weights_has_its_attention_measured() -> None:
    class Hidden(AttentionOnlyModel):
        def weights(self, folded: bool = False) -> Any:
            return NotApplicable("its weights are not shown")

    subject = induction_circuit(**SIZES)
    probe = InductionHeads(periods=(6, 4), n_sequences=8)
    found = measure(Hidden(subject.module, subject.source), probe).measures
    for name in ("ov_copying_score", "composition", "k_composition_from_previous", "direct_logit_attribution"):
        assert found[name].message == "its weights are not shown"
    assert found["excess"].values[1, 0] == pytest.approx(1, abs=1e-6)
    assert "cannot read this model's weights" in found["excess"].no_nulls
    assert found["ablation"].status == "ok"
    assert probe.heads(found) == {"L0H0": "previous-token", "L1H0": "first-token"}
    assert "L1H0 matches, but neither" in " ".join(probe.claim(found, (subject.source,)).limits)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"periods": 30}, "this model reads at most 24; the longest period that fits is 11"),
        ({"periods": (11, 1)}, r"periods = \[11, 1\]; expected a whole number of at least 2, a list"),
        ({"periods": ()}, r"periods = \[\]; expected at least one"),
        ({"repeats": 1}, "repeats = 1; expected a whole number of at least 2"),
        (
            {"n_sequences": 2},
            "n_sequences = 2: too few for 2 heads to pass a false discovery rate of 0.05; expected at least 3",
        ),
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


def test_another_way_to_ablate_is_refused() -> None:
    """By the settings' types: by us, or first by the types' checker of the tests."""
    with pytest.raises((UsageError, TypeError), match="ablate"):
        InductionHeads(ablate="every")


def test_a_vocabulary_smaller_than_the_period() -> None:
    with pytest.raises(TaskError, match="expected at most 7 each, the size of the vocabulary without BOS"):
        measure(induction_circuit(d_vocab=8, n_ctx=40), InductionHeads(periods=12))
    heads = PROBE.heads(measure(induction_circuit(d_vocab=8, n_ctx=40)).measures)
    assert heads["L1H0"] == "induction"  # by default the period fits
