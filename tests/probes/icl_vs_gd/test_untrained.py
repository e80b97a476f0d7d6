"""Untrained models as nulls: those that are drawn, what is measured of them, and where it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mesascope.models import NotApplicable
from mesascope.models import differentiable as passes
from mesascope.models.differentiable import Differentiable
from mesascope.models.weights import weights_sha256
from mesascope.probes.icl_vs_gd.asked import Asked
from mesascope.probes.icl_vs_gd.fine_tuned import Setting, Stepped
from mesascope.probes.icl_vs_gd.inside import inside
from mesascope.probes.icl_vs_gd.inside_measures import inside_measures
from mesascope.probes.icl_vs_gd.runs import runs_of
from mesascope.probes.icl_vs_gd.tuning import tuned
from mesascope.probes.icl_vs_gd.untrained import Null, beside_untrained, nulls, of_null
from mesascope.probes.measure import Measure, missing

Model = Callable[..., Differentiable]
Tasks = Callable[..., list[Asked]]
RATES, STEPS = (0.1, 0.5), (1, 2)


def drawn(model: Differentiable, n: int, seed: int = 0) -> list[Differentiable]:
    found = list(nulls(model, n, seed))
    assert all(isinstance(one, Differentiable) for one in found)
    return found  # type: ignore[return-value]


def digest(model: Differentiable) -> str:
    return weights_sha256(model.subject.module.state_dict())  # type: ignore[attr-defined]


# --- models


def test_models_of_the_same_shape_with_fresh_weights(random_model: Model) -> None:
    model = random_model()
    before = digest(model)
    one, other = drawn(model, 2)
    assert {name: x.shape for name, x in one.start.items()} == {name: x.shape for name, x in model.start.items()}
    assert len({digest(some) for some in (model, one, other)}) == 3
    assert [digest(some) for some in drawn(model, 2)] == [digest(one), digest(other)]
    assert digest(drawn(model, 1, seed=1)[0]) not in (digest(one), digest(other))
    assert digest(model) == before
    assert (one.parameters, one.least) == (model.parameters, model.least)
    assert drawn(model, 0) == []


def test_a_reason_ends_the_drawing(random_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model, reason = random_model(), NotApplicable("nobody knows how")
    monkeypatch.setattr(type(model.subject), "untrained", lambda self, seed: reason)
    assert list(nulls(model, 3, 0)) == [reason]


# --- numbers


def test_numbers_are_those_of_all_passes(random_model: Model, made_up: Tasks) -> None:
    model, tasks, tuning = random_model(seed=5), made_up(3), made_up(2, seed=9)
    null = of_null(model, tasks, tuning, ["gd", "lcgd"], RATES, STEPS)
    assert null.reasons == {}
    for rule in ("gd", "lcgd"):
        assert null.tuned[rule] == tuned(model, tuning, rule, RATES, STEPS)
        setting = Setting(rule, null.tuned[rule].chosen, None)
        whole = inside([runs_of(model, tasks, [setting], 0)], rule, 0)
        for name, what in (("contrast", "in context"), ("output_similarity", "tuned")):
            np.testing.assert_allclose(null.numbers[rule][name], whole[name][what], atol=1e-9)


def test_how_many_tasks_run_together_changes_nothing(
    random_model: Model, made_up: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tasks = random_model(), made_up(3)
    together = of_null(model, tasks, tasks[:1], ["gd"], RATES, STEPS)
    monkeypatch.setattr(passes, "HELD", 1)
    apart = of_null(model, tasks, tasks[:1], ["gd"], RATES, STEPS)
    for name, own in together.numbers["gd"].items():
        np.testing.assert_allclose(apart.numbers["gd"][name], own, atol=1e-9)


def test_a_rule_without_a_setting_has_a_reason(random_model: Model, made_up: Tasks) -> None:
    tasks = made_up(2)
    null = of_null(random_model(norm="none"), tasks, tasks, ["gd"], (1e200,), (2,))
    assert (null.numbers, null.tuned) == ({}, {})
    assert "no rate from 1e+200 to 1e+200 can be chosen" in null.reasons["gd"]


# --- beside the measures


@pytest.fixture(scope="module")
def measured(random_model: Model, made_up: Tasks) -> dict[str, Measure]:
    settings = [Setting(rule, Stepped(0.5, 2), None) for rule in ("gd", "lcgd")]  # type: ignore[arg-type]
    some = runs_of(random_model(), made_up(4), settings, 0)
    return inside_measures({setting.rule: inside([some], setting.rule, 0) for setting in settings}, 0)


def made_null(seed: int, *rules: Any) -> Null:
    rng = np.random.default_rng(seed)
    names = ("contrast", "output_similarity")
    numbers: Any = {rule: {name: rng.normal(0, 0.1, (4, 2)) for name in names} for rule in rules}
    return Null(numbers, {}, {})


def test_nulls_stand_beside_what_is_compared_in_context_and_nowhere_else(measured: dict[str, Measure]) -> None:
    some = [made_null(0, "gd", "lcgd"), made_null(1, "gd")]
    found = beside_untrained(measured, some, "")
    for name, what in (("contrast", "in context"), ("output_similarity", "tuned")):
        by_layer = found[name].sel(rule="gd", between=what).nulls["untrained"]
        np.testing.assert_allclose(by_layer, [null.numbers["gd"][name].mean(axis=0) for null in some])
        over = found[f"{name}_mean"].sel(rule="gd", between=what).nulls["untrained"]
        np.testing.assert_allclose(over, [null.numbers["gd"][name].mean() for null in some])
        alone = found[name].sel(rule="lcgd", between=what).nulls["untrained"]
        np.testing.assert_allclose(alone, [some[0].numbers["lcgd"][name].mean(axis=0)])
        for other in set(found[name].labels("between")) - {what}:
            assert found[name].sel(rule="gd", between=other).nulls == {}
        np.testing.assert_array_equal(found[name].values, measured[name].values)
    assert found.keys() == measured.keys()
    assert all(found[name] is measured[name] for name in ("raw_output_similarity", "contrast_above_floor"))


def test_layers_without_a_number_have_no_null(measured: dict[str, Measure]) -> None:
    null = made_null(0, "gd")
    null.numbers["gd"]["contrast"][:, 0] = np.nan  # type: ignore[index]
    found = beside_untrained(measured, [null], "")["contrast"].sel(rule="gd", between="in context").nulls["untrained"]
    assert np.isnan(found[0, 0])
    assert found[0, 1] == pytest.approx(null.numbers["gd"]["contrast"][:, 1].mean())
    null.numbers["gd"]["contrast"][:] = np.nan  # type: ignore[index]
    assert beside_untrained(measured, [null], "")["contrast"].nulls == {}


def test_without_untrained_models_the_reason_stands_there(measured: dict[str, Measure]) -> None:
    for none, why in (([], "nobody knows how"), ([Null({}, {}, {"gd": "nobody knows how"})], "")):
        found = beside_untrained(measured, none, why)
        for name in ("contrast", "contrast_mean", "output_similarity"):
            assert found[name].no_nulls == "no untrained model: nobody knows how"
            assert found[name].nulls == {}
    absent = {name: missing("cosine", "undefined", "nothing") for name in measured}
    for some in ([], [made_null(0, "gd")]):
        assert beside_untrained(absent, some, "nobody knows how") == absent
