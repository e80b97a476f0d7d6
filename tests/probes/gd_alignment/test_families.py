"""The card over several checkpoints of a family: it ranks what all were compared with, and says what it left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.analyses.runs.aggregation import mean_over
from mesascope.models import Source, TokenLayout, from_predictor, gd_transformer
from mesascope.probes import Claim, Findings, Measure
from mesascope.probes.gd_alignment.claim import gd_claim
from mesascope.probes.gd_alignment.names import SEARCHED
from mesascope.probes.gd_alignment.ranking import ranking
from mesascope.probes.gd_alignment.steps import steps_measure
from mesascope.probes.regression import nulls
from mesascope.probes.regression.sign import sign_measure
from scipy import stats

Measured = Callable[..., Findings]
Found = Mapping[str, Measure]
LAW: dict[str, Any] = {"n": 60, "n_context": 6, "d_in": 3, "learning_rate": 3.0, "twins": "gd"}
RECORDED = Source("toy", "in-memory", record={"recipe": {"tasks": {"n_context": 6}}})


@pytest.fixture(scope="module")
def of_steps(on_tasks: Measured) -> Callable[[int], Found]:
    """Findings of a predictor that takes so many steps, which nothing says: their number is searched."""
    held: dict[int, Found] = {}

    def measures(steps: int) -> Found:
        if steps not in held:
            model = gd_transformer(6, 2.0 + 0.1 * steps, 3, n_layers=steps, dtype=torch.float32)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(nulls, "SHUFFLES", 2)
                held[steps] = on_tasks(from_predictor(model, TokenLayout(3, order="joint")), **LAW).measures
        return held[steps]

    return measures


@pytest.fixture(scope="module")
def nowhere(on_tasks: Measured) -> Found:
    """Findings of a model whose predictions are not finite."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nulls, "UNTRAINED", 2)
        patch.setattr(nulls, "SHUFFLES", 2)
        return on_tasks(gd_transformer(6, float("nan"), 3, n_layers=2), **LAW).measures


def family(*members: Found, replicate: str = "seed") -> dict[str, Measure]:
    return {name: mean_over(replicate, [member.get(name) for member in members]) for name in members[0]}


def card(measures: Found, sources: tuple[Source, ...] = (RECORDED, RECORDED)) -> Claim:
    return gd_claim(measures, sources)


def limit(claim: Claim, words: str) -> list[str]:
    return [found for found in claim.limits if words in found]


def test_seeds_are_ranked_by_what_all_of_them_were_compared_with(of_steps: Callable[[int], Found]) -> None:
    two, seven = of_steps(2), of_steps(7)
    order = ranking(measures := family(two, seven))
    assert order is not None
    assert order.left_out == ("gd_6", "gd_7", "gd_8")
    assert set(order.names) == set(two["loss"].labels("candidate")) - {"model"}
    claim = card(measures)
    left_out = "6 steps of gradient descent, 7 steps of gradient descent, 8 steps of gradient descent"
    assert f"Not ranked, with a number in fewer seeds than the others: {left_out}." in claim.limits
    assert "7 steps" not in claim.found + claim.rival
    assert limit(claim, "end of the search") == []  # more steps than those that are ranked were tried
    alike = card(family(two, two))
    assert limit(alike, "Not ranked") == limit(card(two, (RECORDED,)), "Not ranked") == []
    assert not any("not finite" in one.found for one in (claim, alike))


def test_the_gap_is_paired_by_seeds(of_steps: Callable[[int], Found]) -> None:
    members = of_steps(2), of_steps(7)
    order = ranking(family(*members))
    assert order is not None
    apart = [
        member[f"prediction_difference_{order.next}"].estimate
        - member[f"prediction_difference_{order.closest}"].estimate
        for member in members
    ]
    low, high = stats.t.interval(0.95, 1, np.mean(apart), stats.sem(apart))
    assert [order.gap.value, order.gap.low, order.gap.high] == pytest.approx([np.mean(apart), low, high])
    alone = ranking(members[0])
    assert alone is not None
    margin = members[0]["closeness_margins"].sel(candidate=alone.closest, other_candidate=alone.next)
    assert [alone.gap.value, alone.gap.low] == [margin.estimate, float(margin.interval[0])]  # paired by tasks


def test_constructed_models_of_several_depths_are_counted(of_steps: Callable[[int], Found]) -> None:
    assert "constructed to take 2 or 7 gradient steps (" in card(family(of_steps(2), of_steps(7))).methods
    assert "constructed to take 2 gradient steps (" in card(family(of_steps(2), of_steps(2))).methods


@pytest.mark.parametrize(("counts", "same"), [((2, 2), True), ((1, 3), False), ((2, 4), False)])
def test_steps_that_differ_are_no_one_hypothesis(
    of_steps: Callable[[int], Found], counts: tuple[int, int], same: bool
) -> None:
    """One and three are two on average, which nobody took; two and four are not two either."""
    members = [{**of_steps(2), "constructed_steps": steps_measure(count, SEARCHED)} for count in counts]
    order = ranking(family(*members))
    assert order is not None
    assert order.closest == "gd_2"
    assert order.same_hypothesis("gd") == same


@pytest.mark.parametrize("replicate", ["seed", "checkpoint"])
def test_the_card_says_over_what_it_is(of_steps: Callable[[int], Found], replicate: str) -> None:
    against = {**of_steps(7), "readout_sign": sign_measure(-1, {"shuffled labels": [1, 1]}, given=False)}
    claim = card(family(of_steps(2), against, replicate=replicate))
    assert claim.found.startswith(f"Sign turned in 1 of 2 {replicate}s. ")
    assert claim.evidence.startswith(f"2 {replicate}s. ")
    assert claim.methods.endswith(f"95 % confidence intervals: t-interval over 2 {replicate}s.")
    assert limit(claim, "Not ranked")[0].startswith(f"Not ranked, with a number in fewer {replicate}s ")
    alone = card(of_steps(2), (RECORDED,))
    assert alone.methods.endswith("95 % confidence intervals: paired bootstrap over 60 tasks.")
    assert replicate not in alone.found + alone.evidence


def test_seeds_that_are_not_finite_are_counted(of_steps: Callable[[int], Found], nowhere: Found) -> None:
    words = "The predictions of 1 of 3 seeds are not finite. Every number is that of the others."
    every, some = (card(family(*members, of_steps(2))) for members in ([of_steps(2)] * 2, [nowhere, of_steps(2)]))
    assert words in some.limits
    assert some.found == every.found
    assert limit(some, "Not ranked") == limit(every, "not finite") == limit(card(of_steps(2)), "not finite") == []
    unseeded = card(family(nowhere, of_steps(2), replicate="checkpoint"))
    assert words.replace("3 seeds", "2 checkpoints") in unseeded.limits
    none = card(family(nowhere, nowhere))
    assert none.found == "The model's predictions on these tasks are not finite, so mesascope compared nothing."
    assert none.limits == ()


def test_one_checkpoint_that_does_not_record_its_tasks_is_enough(of_steps: Callable[[int], Found]) -> None:
    measures, silent = family(of_steps(2), of_steps(2)), Source("toy", "in-memory")
    assert limit(card(measures, (RECORDED, silent)), "does not record its training tasks") != []
    assert limit(card(measures, (RECORDED, RECORDED)), "does not record its training tasks") == []
