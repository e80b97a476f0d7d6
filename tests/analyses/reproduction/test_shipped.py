"""The results that ship are complete, and the bounds as they stand now give their verdicts."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.reproduction.judging import Statistic, judge
from mesascope.analyses.reproduction.papers import VON_OSWALD_2023 as PAPER
from mesascope.analyses.training.recipes import RECIPES

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "reproductions" / PAPER.name


def record(number: int) -> dict[str, Any]:
    return json.loads((FOLDER / f"figure-{number:02d}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("number", sorted(PAPER.claims))
def test_a_figure_ships_with_all_that_its_verdict_rests_on(number: int) -> None:
    shipped, claim = record(number), PAPER.claims[number]
    assert {one["statistic"] for one in shipped["conditions"]} == {one.statistic for one in claim.conditions}
    assert [one["bounds"] for one in shipped["conditions"]] == [one.bounds for one in claim.conditions]
    assert set(shipped["made"]) == set(PAPER.of_figures[number])
    for suffix in (".pdf", ".csv"):
        assert (FOLDER / f"figure-{number:02d}{suffix}").stat().st_size > 0
    for made in shipped["made"].values():
        assert set(made["seeds"]) <= set(RECIPES[made["recipe"]].seeds)
        assert made["report"]


@pytest.mark.parametrize("number", sorted(PAPER.claims))
def test_its_verdict_is_a_function_of_its_numbers(number: int) -> None:
    shipped = record(number)
    statistics = {name: Statistic(**one) for name, one in shipped["statistics"].items()}
    short = {
        key
        for key, made in shipped["made"].items()
        for one in (made, made["twin"] or made)
        if one["steps"][-1] < RECIPES[one["recipe"]].steps
    }
    verdict = judge(PAPER.claims[number], statistics, shipped["lacking"], cut_short=short)
    assert shipped["verdict"] == {"outcome": verdict.outcome, "because": list(verdict.because)}


def test_what_is_less_than_the_recipes_says_so() -> None:
    """Sines take forty minutes a seed."""
    assert {number for number in PAPER.claims if record(number)["reduced"]} == {4}
    assert record(4)["reduced"] == "sine-mlp: 1 of 5 seeds; sine-mlp-gd: 3 of 5 seeds"


def test_the_table_of_verdicts_is_that_of_the_records() -> None:
    with (FOLDER / "verdicts.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number in PAPER.claims:
        assert {row["outcome"] for row in rows if row["figure"] == str(number)} == {
            record(number)["verdict"]["outcome"]
        }
