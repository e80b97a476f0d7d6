"""A record of each verdict, as a reproduction saves it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mesascope.analyses.reproduction.figure_numbers import FigureNumbers
from mesascope.analyses.reproduction.finding import Planned, planned
from mesascope.analyses.reproduction.judging import Condition, FigureClaim, Statistic, judge
from mesascope.analyses.reproduction.papers import VON_OSWALD_2023, Paper
from mesascope.analyses.reproduction.results import FigureResult, Made

NEED = "lsa-1layer-d5"
CONDITIONS = (
    Condition("gap", "the gap to <gradient> descent", least=-0.02, most=0.02),
    Condition("cosine", "the cosine", least=0.9, detail=True),
)
CLAIMS = {
    number: FigureClaim(number, f"Title {number} & more", f"A layer is step {number} <b>", CONDITIONS, note)
    for number, note in ((1, "The text says 5 | the code <1>."), (2, ""), (3, ""), (4, ""), (5, ""))
}
PAPER = Paper("a-paper", "Somebody 2023, A <paper>", CLAIMS, {}, dict.fromkeys(CLAIMS, ()))
"""Figures 1 to 5 are reproduced, differ, are not reproduced, are not measured, and nobody can tell."""


def plan(quick: bool) -> Planned:
    return planned(VON_OSWALD_2023.needs[NEED], quick, Path("nowhere"), None)


def record(number: int, statistics: Mapping[str, Statistic], quick: bool = False, **why: str) -> dict[str, Any]:
    numbers = FigureNumbers(statistics, (), why, (f"Note {number} <i>",))
    verdict = judge(CLAIMS[number], statistics, why)
    twin = planned(VON_OSWALD_2023.needs["lsa-1layer"], False, Path("nowhere"), None) if quick else None
    made = {NEED: Made(plan(quick), None, "the <disk> is full", twin=twin)}
    return {"paper": PAPER.name, **FigureResult(CLAIMS[number], verdict, numbers, made).as_dict()}


def records() -> list[dict[str, Any]]:
    small, large = Statistic(0.01, 0.0, 0.015, 5), Statistic(0.5, 0.4, 0.6, 5)
    return [
        record(1, {"gap": small, "cosine": Statistic(0.99, 0.98, 1.0, 5)}),
        record(2, {"gap": small, "cosine": large}, quick=True),
        record(3, {"gap": large, "cosine": large}),
        record(4, {"cosine": Statistic.of_one(0.99)}, gap="the layer has <no> gauge"),
        record(5, {"gap": Statistic(0.015, 0.005, 0.025, 5), "cosine": Statistic(0.99, 0.98, 1.0, 5)}),
    ]
