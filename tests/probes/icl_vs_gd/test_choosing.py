"""What is chosen on tasks apart, and what is said where nothing can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from mesascope.data.errors import TaskError
from mesascope.models.differentiable import Differentiable
from mesascope.models.subject import NotApplicable
from mesascope.probes.icl_vs_gd import choosing
from mesascope.probes.icl_vs_gd.asked import Asked
from mesascope.probes.icl_vs_gd.choosing import Absent, choose
from mesascope.probes.icl_vs_gd.fine_tuned import Stepped
from mesascope.probes.icl_vs_gd.how import How
from mesascope.probes.icl_vs_gd.tuning import Cell, Tuned

Model = Callable[..., Differentiable]
Tasks = Callable[..., list[Asked]]
HOW = How(("gd", "lcgd"), "attention", (0.1,), (1, 2), 2, None, 0, True)


def fixed(called: str, rate: float) -> Tuned:
    return Tuned(called, Stepped(rate, 2), {Stepped(rate, 2): Cell(0.5, None)}, 2)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is computed: rules get .1, Adam .01, matching .001."""
    monkeypatch.setattr(choosing, "tuned", lambda model, tasks, rule, rates, steps: fixed(rule, rates[0]))
    monkeypatch.setattr(choosing, "tuned_adam", lambda model, tasks, rule, *grid: fixed(f"{rule} by Adam", 0.01))
    monkeypatch.setattr(choosing, "tuned_matching", lambda model, tasks, *grid: fixed("activation matching", 0.001))


def refusing(*rules: str) -> Callable[..., Any]:
    def tuned(model: Any, tasks: Any, rule: str, *grid: Any) -> Tuned:
        if rule in rules:
            raise TaskError(f"{rule}: no rate can be chosen")
        return fixed(rule, 0.1)

    return tuned


@pytest.mark.usefixtures("quick")
def test_every_choice_is_a_number_whose_message_says_how(random_model: Model, made_up: Tasks) -> None:
    tasks = made_up(2, n_queries=4)
    found = choose(random_model(), tasks, HOW, tasks).measures()
    rates = found["learning_rate"]
    assert rates.labels("rule") == ("gd", "lcgd", "gd by Adam", "lcgd by Adam", "activation matching")
    assert rates.values.tolist() == [0.1, 0.1, 0.01, 0.01, 0.001]
    assert rates.sel(rule="lcgd").message == str(fixed("lcgd", 0.1))
    assert found["steps"].values.tolist() == [2] * 5


def test_fitting_to_attention_takes_as_many_steps_as_rules_may(random_model: Model, made_up: Tasks) -> None:
    tasks = made_up(1, n_queries=4)
    found = choose(random_model(), tasks, replace(HOW, rules=("gd",), steps=(1, 3)), tasks)
    assert isinstance(found.matching, Tuned)
    assert found.matching.chosen.steps == 3
    by_adam = found.adam["gd"]
    assert isinstance(by_adam, Tuned)
    assert by_adam.chosen.steps == 3


@pytest.mark.usefixtures("quick")
def test_a_rule_without_a_setting_is_left_out_with_its_reason(
    random_model: Model, made_up: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "tuned", refusing("gd"))
    found = choose(random_model(), made_up(2), HOW, made_up(2))
    assert [setting.rule for setting in found.settings] == ["lcgd"]
    rate = found.measures()["learning_rate"]
    assert rate.sel(rule="gd").status == "undefined"
    assert rate.sel(rule="gd").message == "gd: no rate can be chosen"
    assert rate.labels("rule") == ("gd", "lcgd", "lcgd by Adam", "activation matching")
    monkeypatch.setattr(choosing, "tuned", refusing("gd", "lcgd"))
    assert choose(random_model(), made_up(2), HOW, made_up(2)).settings == []


@pytest.mark.usefixtures("quick")
def test_a_rule_stays_where_only_adam_went_too_far(
    random_model: Model, made_up: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "tuned_adam", refusing("gd"))
    gd, lcgd = choose(random_model(), made_up(2), HOW, made_up(2)).settings
    assert (gd.rule, gd.tuned, gd.adam) == ("gd", Stepped(0.1, 2), None)
    assert lcgd.adam == Stepped(0.1, 2)


@pytest.mark.usefixtures("quick")
def test_layers_that_cannot_be_read_out_have_no_layer_causal_rule(random_model: Model, made_up: Tasks) -> None:
    model = random_model()
    model.__dict__["no_cut"] = NotApplicable("layers have no answers of their own")
    found = choose(model, made_up(2), HOW, made_up(2))
    assert found.rules["lcgd"] == Absent("layers have no answers of their own", "not applicable")
    assert [setting.rule for setting in found.settings] == ["gd"]


@pytest.mark.usefixtures("quick")
def test_matching_is_not_applicable_where_it_is_not_asked_for_or_a_label_has_one_query(
    random_model: Model, made_up: Tasks
) -> None:
    model, two, one = random_model(), made_up(2, n_queries=4), made_up(1, n_queries=3)
    for how, tuning, measured, why in (
        (replace(HOW, matching=False), two, two, "matching = false"),
        (HOW, one, two, "one query"),
        (HOW, two, one, "one query"),
    ):
        found = choose(model, tuning, how, measured)
        assert found.matched is None
        rate = found.measures()["learning_rate"].sel(rule="activation matching")
        assert rate.status == "not applicable"
        assert why in rate.message
    assert choose(model, two, HOW, two).matched == Stepped(0.001, 2)


def test_what_is_chosen_depends_on_the_tuning_tasks_alone(random_model: Model, made_up: Tasks) -> None:
    model, tuning = random_model(), made_up(2, seed=5)
    how = replace(HOW, rules=("gd",), matching=False)
    one, other = (choose(model, tuning, how, made_up(3, seed=seed)) for seed in (0, 1))
    assert one == other
    assert isinstance(one.rules["gd"], Tuned)
    assert one.rules["gd"].n_tasks == 2
    assert set(one.rules["gd"].cells) == {Stepped(0.1, 1), Stepped(0.1, 2)}
