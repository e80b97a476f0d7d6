"""Ablations as measures: what a head or a group costs, what is left, and words where there is no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data import RepeatedTokens
from mesascope.models import AttentionOnlyModel
from mesascope.models.constructed.induction import INDUCTION, PREVIOUS_TOKEN, SILENT, induction_circuit, planted_model
from mesascope.probes import Measure
from mesascope.probes.induction_heads.ablation import Ablations, Halves
from mesascope.probes.induction_heads.ablation_measures import Choice, ablation_measures, not_ablated
from mesascope.probes.induction_heads.experiment import Passes
from mesascope.probes.induction_heads.names import RANDOM_HEADS
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
    base, mean_z = NextTokenLoss(circuit), MeanZ()
    stream(circuit, [tokens], [base])
    stream(circuit, [LAW.control(6, seed=0).tokens], [mean_z])
    return Ablations(Passes(circuit, 4), LAW, tokens, base.arrays()["loss"], mean_z.mean(), seed=0)


def measured(ablations: Ablations, alone: list[tuple[int, int]], **groups: Halves) -> dict[str, Measure]:
    choice = Choice(alone, {name.replace("_", "-"): halves for name, halves in groups.items()})
    return ablation_measures(ablations, choice)


BOTH = Halves((SECOND,), (SECOND,))


@pytest.mark.parametrize("replacement", ["zero", "mean"])
def test_without_its_induction_head_the_circuit_cannot_predict_the_second_repeat(
    ablations: Ablations, replacement: str
) -> None:
    found = measured(ablations, [FIRST, SECOND], induction=BOTH)["ablation"].sel(replacement=replacement)
    assert found.axes == ("layer", "head")
    assert np.allclose(found.values, np.log(11), atol=0.02)  # every token but BOS is as likely
    instead = {"zero": "z replaced by zero;", "mean": "z replaced by its mean over sequences without repeats;"}
    assert found.message == f"{instead[replacement]} loss on the second repeat at period 5"


def test_heads_that_are_not_ablated_have_no_number(ablations: Ablations) -> None:
    found = measured(ablations, [SECOND], induction=BOTH)["ablation"].sel(replacement="zero")
    assert np.isnan(found.values[0, 0])
    assert found.values[1, 0] > 2
    assert found.message.endswith("; NaN for heads that were not ablated alone")


def test_groups_report_what_is_left_and_why_one_is_missing(ablations: Ablations) -> None:
    measures = measured(ablations, [], induction=BOTH, previous_token=Halves((FIRST,), ()))
    rises, left = (measures[name] for name in ("group_ablation", "in_context_learning_without"))
    assert rises.axes == left.axes == ("replacement", "group")
    assert rises.labels("group") == ("induction", "previous-token")
    rise = rises.sel(replacement="zero", group="induction")
    assert rise.estimate == pytest.approx(np.log(11), abs=0.02)
    assert left.sel(replacement="zero", group="induction").estimate == pytest.approx(0, abs=1e-6)
    assert "1 and 1 induction heads, each group chosen on one half" in rise.message
    assert not rise.nulls  # layers of one head have no others
    assert rise.no_nulls == "the layers of these heads have no other heads to compare with"
    empty = rises.sel(replacement="zero", group="previous-token")
    assert (empty.status, empty.message) == (
        "not applicable",
        "no head is called previous-token on both halves of the sequences",
    )
    assert measures["ablation"].status == "not applicable"
    assert measures["ablation"].message == "no head has a verdict by content, or is a previous-token head"


def test_nothing_is_ablated_and_the_reason_is_given() -> None:
    found = not_ablated("ablate = nothing")
    assert list(found) == ["ablation", "group_ablation", "in_context_learning_without"]
    for measure in found.values():
        part = measure.sel(replacement="mean")
        assert (part.status, part.message, part.unit) == ("not applicable", "ablate = nothing", "nat")


def with_heads(*kinds: object) -> Ablations:
    subject = planted_model([PREVIOUS_TOKEN], list(kinds), d_vocab=12, n_ctx=11)
    tokens, base = LAW.draw(4, seed=0).tokens, NextTokenLoss(subject)
    stream(subject, [tokens], [base])
    mean_z = torch.zeros(2, len(kinds), subject.shape.d_head, dtype=torch.float64)
    return Ablations(Passes(subject, 4), LAW, tokens, base.arrays()["loss"], mean_z, seed=0)


def test_random_groups_are_the_null_of_the_group() -> None:
    found = measured(with_heads(INDUCTION, SILENT, SILENT), [], induction=BOTH)["group_ablation"]
    rise = found.sel(replacement="zero", group="induction")
    assert rise.nulls[RANDOM_HEADS].shape == (8,)
    assert np.allclose(rise.nulls[RANDOM_HEADS], 0)
    assert rise.estimate > 2
    assert "random groups are smaller" not in rise.message


def test_random_groups_that_are_smaller_are_said() -> None:
    both = ((1, 0), (1, 1))
    found = measured(with_heads(INDUCTION, INDUCTION, SILENT), [], induction=Halves(both, both))["group_ablation"]
    rise = found.sel(replacement="zero", group="induction")
    assert "random groups are smaller, because their layers have fewer other heads" in rise.message
