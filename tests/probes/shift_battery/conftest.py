"""A battery small enough for every test, planted rules, and measures of any numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from mesascope.models import Regressor, TokenLayout, from_predictor
from mesascope.probes import Findings, Measure
from mesascope.probes.measure import along, missing, without_interval
from mesascope.probes.shift_battery import battery
from mesascope.probes.shift_battery.names import SHIFTS
from mesascope.probes.shift_battery.probe import ShiftBattery
from torch import Tensor

D, N = 3, 8
Answer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""X [task, M, d], y [task, M], query [task, d] -> [task]"""


@pytest.fixture(scope="session")
def planted() -> Callable[..., Regressor]:
    """(answer, d) -> a subject that reads [x ; y] and answers so, in float64."""

    def made(answer: Answer, d: int = D) -> Regressor:
        def predict(tokens: Tensor) -> Tensor:
            tokens = tokens.double()
            return answer(tokens[:, :-1, :d], tokens[:, :-1, d], tokens[:, -1, :d])[:, None]

        return from_predictor(predict, TokenLayout(d, order="joint", label_slot=d), "planted")

    return made


@pytest.fixture(scope="session")
def measured() -> Callable[..., Findings]:
    """(subject, tasks, null models, seed, batch size, settings) -> findings."""

    def found(
        subject: Regressor, n: int = 60, nulls: int = 2, seed: int = 0, batch_size: int = 64, **settings: Any
    ) -> Findings:
        law = {} if "tasks" in settings else {"n_context": N, "limit": n}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(battery, "UNTRAINED", nulls)
            return ShiftBattery(**(law | settings)).measure(subject, seed, batch_size)

    return found


# -- measures as the claim reads them, of any numbers ------------------------------------------------------------------

NOTHING = {"no_nulls": "none"}


def scalar(value: float, half: float = 0.0, unit: str = "share") -> Measure:
    ends = np.array(value - half), np.array(value + half)
    return Measure(np.array(value), unit, ends, "task", 500, no_nulls="none")


@pytest.fixture(scope="session")
def made_up() -> Callable[..., dict[str, Measure]]:
    """(shares of rules, one a shift or the same for all; half widths; numbers of steps; shares of untrained models;
    other measures) -> measures of one checkpoint.
    """

    def made(
        shares: Mapping[str, float | tuple[float, ...]],
        half: float = 0.0,
        steps: Mapping[str, int] | None = None,
        untrained: Mapping[str, float] | None = None,
        training: float = 0.001,
        **changed: Measure,
    ) -> dict[str, Measure]:
        names, coords = tuple(shift.name for shift in SHIFTS), {"shift": tuple(shift.name for shift in SHIFTS)}

        def worst(rule: str, held: Any) -> Measure:
            values = np.broadcast_to(np.array(held, dtype=float), (len(names),)).copy()
            null = {"untrained": np.full((3, len(names)), untrained[rule])} if untrained and rule in untrained else {}
            return Measure(
                values, "share", (values - half, values + half), "task", 500, ("shift",), coords, null,
                no_nulls="" if null else "none", message="why a rule has no number",
            )  # fmt: skip

        def curve(value: float, axis: str) -> Measure:
            values = np.full(3, value)
            at = {axis: (0.5, 1.0, 2.0)}
            return Measure(values, "share", (values, values), "task", 500, (axis,), at, no_nulls="none")

        found: dict[str, Measure] = {
            "worst_unexplained": along("candidate", {rule: worst(rule, held) for rule, held in shares.items()}),
            "scale_exponent": along("candidate", {"model": scalar(2.0, 0.01)}),
            "order_sensitivity": scalar(0.0),
            "steps": along("candidate", {
                rule: without_interval(np.array(float(count)), "step", message="searched", no_nulls="none")
                for rule, count in ({"gd": 1, "gdpp": 2} | dict(steps or {})).items()
            }),
            "readout_sign": without_interval(np.array(1.0), "sign", message="found", no_nulls="none"),
            "token_layout": without_interval(np.ones(1), "1: used", ("token_layout",), {"token_layout": ("joint-3",)},
                                             message="the layout was given, so none was tried", no_nulls="none"),
            "layout_gain": missing("share", "not applicable", "the layout was given, so none was tried"),
        }  # fmt: skip
        every = np.full((len(shares), len(shares), len(names)), 0.004)
        rules = {"candidate": tuple(shares), "other_candidate": tuple(shares), **coords}
        found["rule_distance"] = Measure(
            every, "share", (every, every), "task", 500, tuple(rules), rules, no_nulls="none"
        )
        for shift in SHIFTS:
            found[f"unexplained_{shift.name}"] = along(
                "candidate", {rule: curve(training, shift.axis) for rule in shares}
            )
            found[f"response_{shift.name}"] = along("candidate", {"model": curve(0.5, shift.axis)})
        return found | changed

    return made
