"""Measures that differ in one respect, stacked along an axis: each comes back as it was, from anywhere in the house."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports.records import dumps, loads, measure_from, measure_record
from mesascope.analyses.reports.tidy import frame
from mesascope.analyses.runs.aggregation import along_steps, mean_over
from mesascope.analyses.runs.comparing import compare
from mesascope.analyses.runs.running import run
from mesascope.probes.measure import Measure, Measures, along, flat, missing

RNG = np.random.default_rng(7)


def curve(n: int = 5, **changed: Any) -> Measure:
    """A measure over three layers."""
    settings: dict[str, Any] = {"axes": ("layer",), "coords": {"layer": ("a", "b", "c")}, "no_nulls": "it has none"}
    low, values, high = np.sort(RNG.normal(size=(3, 3)), axis=0)
    return Measure(values, "label", (low, high), "task", n, **(settings | changed))


MODEL = curve(nulls={"untrained": RNG.normal(size=(4, 3)), "shuffled": RNG.normal(size=(2, 3))}, no_nulls="")
GD = curve(7, message="a note of its own", higher_is_better=False)
RIDGE = curve(nulls={"untrained": RNG.normal(size=(6, 3))}, no_nulls="", points=RNG.normal(size=(5, 3)))
DIVERGED = missing("label", "undefined", "its predictions are not finite")
PARTS = {"model": MODEL, "gd": GD, "ridge": RIDGE, "gd_2": DIVERGED}


def assert_same(one: Measure, other: Measure) -> None:
    """The same but for the shape of what has no number."""
    for field in fields(Measure):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name in ("values", "interval") or (field.name in ("axes", "coords") and other.status != "ok"):
            continue
        if isinstance(b, np.ndarray):
            np.testing.assert_array_equal(a, b)
        elif field.name == "nulls":
            assert list(a) == list(b)
            for name in b:
                np.testing.assert_array_equal(a[name], b[name])
        else:
            assert a == b, field.name
    for a, b in zip((one.values, *one.interval), (other.values, *other.interval), strict=True):
        assert np.array_equal(a, b) if other.status == "ok" else np.isnan(a).all()


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("label", list(PARTS))
def test_each_part_comes_back(label: str, place: int) -> None:
    stacked = along("candidate", PARTS, place)
    assert stacked.axes == (("candidate", "layer") if place == 0 else ("layer", "candidate"))
    assert_same(stacked.sel(candidate=label), PARTS[label])
    assert_same(stacked.apart()[label], PARTS[label])


@pytest.mark.parametrize("label", list(PARTS))
@pytest.mark.parametrize("order", [("path", "candidate"), ("candidate", "path")])
def test_stacks_of_stacks_come_back_in_any_order(label: str, order: tuple[str, str]) -> None:
    other = {name: replace(part, message=part.message or "the other path") for name, part in PARTS.items()}
    both = along("path", {"aligned": along("candidate", PARTS), "rotated": along("candidate", other)})
    for path, parts in (("aligned", PARTS), ("rotated", other)):
        chosen = {"path": path, "candidate": label}
        one_by_one = both.sel(**{order[0]: chosen[order[0]]}).sel(**{order[1]: chosen[order[1]]})
        assert_same(one_by_one, parts[label])
        assert_same(both.sel(**chosen), parts[label])


def test_what_is_not_there_is_refused_by_name() -> None:
    stacked = along("candidate", PARTS)
    with pytest.raises(ValueError, match=r"candidate 'newton' is not there; it has model, gd, ridge, gd_2"):
        stacked.sel(candidate="newton")
    with pytest.raises(ValueError, match=r"no axis 'head'; this measure has candidate, layer"):
        stacked.sel(head=0)
    with pytest.raises(ValueError, match="axes"):
        along("candidate", {"a": curve(), "b": replace(MODEL.sel(layer="a"))})


def test_a_part_has_a_name() -> None:
    measures = Measures({"loss": along("candidate", PARTS), "other": GD})
    assert list(measures) == ["loss", "other"]
    assert_same(measures["loss_gd"], GD)
    assert_same(measures["loss_gd_2"], DIVERGED)
    assert "loss_gd" in measures
    assert "loss_newton" not in measures
    with pytest.raises(KeyError, match="loss_newton"):
        _ = measures["loss_newton"]
    assert list(flat(measures)) == ["loss_model", "loss_gd", "loss_ridge", "loss_gd_2", "other"]


def test_a_stack_survives_json() -> None:
    both = along("path", {"aligned": along("candidate", PARTS), "rotated": along("candidate", PARTS)})
    again = measure_from(loads(dumps(measure_record(both))))
    for label, expected in PARTS.items():
        assert_same(again.sel(path="rotated", candidate=label), expected)


def test_over_seeds_each_candidate_is_averaged_by_itself() -> None:
    """One that no model has a part in keeps its interval over tasks; the others get one over seeds."""
    members = [along("candidate", {"model": curve(), "gd": GD}) for _ in range(3)]
    found = mean_over("seed", members)
    np.testing.assert_array_equal(found.sel(candidate="gd").interval, GD.interval)
    assert (found.sel(candidate="gd").replicate, found.sel(candidate="gd").n) == ("task", 7)
    assert "the same for every seed" in found.sel(candidate="gd").message
    model = found.sel(candidate="model")
    assert (model.replicate, model.n, model.message) == ("seed", 3, "")
    np.testing.assert_allclose(model.values, np.mean([m.sel(candidate="model").values for m in members], axis=0))


def test_a_candidate_of_some_seeds_only_is_averaged_over_those() -> None:
    first, second = curve(), curve()
    found = mean_over("seed", [along("candidate", {"a": first}), along("candidate", {"a": second, "b": GD})])
    assert found.labels("candidate") == ("a", "b")
    np.testing.assert_array_equal(found.sel(candidate="b").values, GD.values)
    assert "mean over the 1 of 2 seeds" in found.sel(candidate="b").message


def test_along_steps_the_step_leads() -> None:
    found = along_steps((10, 20), [along("candidate", PARTS), along("candidate", PARTS)])
    assert found.axes == ("step", "candidate", "layer")
    last = found.at(step=-1)
    for label in ("model", "gd", "ridge"):
        np.testing.assert_array_equal(last.sel(candidate=label).values, PARTS[label].values)
    assert last.sel(candidate="gd_2").status == "undefined"


def test_the_table_has_a_column_of_candidates(mean_answer: Any, make_subject: Any) -> None:
    report = replace(run(make_subject(), mean_answer()), measures={"loss": along("candidate", PARTS), "other": GD})
    table = frame(report)
    assert list(table.columns)[6:8] == ["metric", "candidate"]
    assert list(dict.fromkeys(table.metric)) == ["loss_model", "loss_gd", "loss_ridge", "loss_gd_2", "other"]
    assert set(table[table.metric == "loss_gd"].candidate) == {"gd"}
    assert table[table.metric == "other"].candidate.isna().all()
    rows = table[table.metric == "loss_model"]
    assert sorted(set(rows.null)) == ["shuffled", "untrained"]
    assert len(rows) == 6
    assert table[table.metric == "loss_gd"].null.isna().all()  # no row for a null that is the model's
    assert list(table[table.metric == "loss_gd_2"].status) == ["undefined"] * 3
    # many tests are adjusted within a candidate, as if each stood alone
    alone = frame(replace(report, measures={"loss_model": MODEL}))
    np.testing.assert_array_equal(rows.p_adjusted, alone.p_adjusted)


def test_reports_are_compared_candidate_by_candidate(mean_answer: Any, make_subject: Any) -> None:
    """Those that both have, whatever else one of them holds."""
    a, b = (
        replace(run(make_subject(rate, name), mean_answer()), measures={"loss": along("candidate", parts)}, arrays={})
        for rate, name, parts in ((1.0, "a", PARTS), (2.0, "b", {"ridge": GD, "newton": MODEL}))
    )
    table = compare([a, b])
    assert set(table.metric) == {"loss_ridge"}
    np.testing.assert_allclose(table.difference, GD.values - RIDGE.values)
