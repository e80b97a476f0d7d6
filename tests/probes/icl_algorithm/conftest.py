"""A contest small enough for every test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.models import Regressor, TokenLayout, from_predictor
from mesascope.probes import Findings, Measure
from mesascope.probes.icl_algorithm import contest, probe
from mesascope.probes.icl_algorithm.names import FAMILIES
from mesascope.probes.icl_algorithm.probe import ICLAlgorithm
from mesascope.probes.measure import along, missing, without_interval
from torch import Tensor

D, N = 3, 8
TRIED = {"gd": (1, 2, 3, 4, 8, 16), "momentum": (2, 4), "gdpp": (2,), "newton": (1, 2, 3), "cg": (1, 2)}
PLAIN = {family.name for family in FAMILIES if "kernel" not in family.words}
Answer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""X [task, N, d], y [task, N], query [task, d] -> [task]"""


@pytest.fixture(scope="session")
def planted() -> Callable[..., Regressor]:
    """(answer, d) -> a subject that reads [x ; y] and answers so."""

    def made(answer: Answer, d: int = D) -> Regressor:
        def predict(tokens: Tensor) -> Tensor:
            return answer(tokens[:, :-1, :d], tokens[:, :-1, d], tokens[:, -1, :d])[:, None]

        return from_predictor(predict, TokenLayout(d, order="joint", label_slot=d), "planted")

    return made


@pytest.fixture(scope="session")
def measured() -> Callable[..., Findings]:
    """(subject, names of rules; all but those with kernels, tasks, nulls of each kind, seed, settings) -> findings of a
    contest in which every family tries few numbers of steps.
    """

    def found(
        subject: Regressor, rules: Collection[str] = PLAIN, n: int = 60, nulls: int = 1, seed: int = 0, **settings: Any
    ) -> Findings:
        kept = [family for family in FAMILIES if family.name in rules]
        families = tuple(replace(family, tried=TRIED.get(family.name, family.tried[:1])) for family in kept)
        law = {} if "tasks" in settings else {"n_context": N}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(contest, "UNTRAINED", nulls)
            patch.setattr(contest, "SHUFFLES", nulls)
            patch.setattr(probe, "FAMILIES", families)
            return ICLAlgorithm(limit=n, **(law | settings)).measure(subject, seed, batch_size=64)

    return found


# -- measures as the claim reads them, of any numbers ------------------------------------------------------------------

SHARES = {"gd": 0.04, "preconditioned": 0.039, "ridge": 0.4, "min_norm": 0.9, "zero": 1.0}
SETTINGS = {
    "gd": 2,
    "preconditioned": 6,
    "preconditioned_steps": 7,
    "ridge": 1,
    "min_norm": 0,
    "zero": 0,
    "momentum": 3,
    "gdpp": 3,
    "newton": 2,
    "cg": 1,
    "task_set": 1,
}
STEPS = {
    "gd": (1, 1, 1),
    "preconditioned_steps": (2, 2, 2),
    "momentum": (4, 3, 6),
    "gdpp": (2, 2, 2),
    "newton": (2, 2, 2),
    "cg": (2, 2, 2),
}


def scalar(value: float, width: float = 0.0, **changed: Any) -> Measure:
    ends = np.array(value - width), np.array(value + width)
    fields: dict[str, Any] = {"unit": "label", "interval": ends, "replicate": "task", "n": 500, "no_nulls": "none"}
    return Measure(np.array(value), **(fields | changed))


@pytest.fixture(scope="session")
def one_number() -> Callable[..., Measure]:
    """(value, half width of its interval, fields) -> a measure."""
    return scalar


@pytest.fixture(scope="session")
def made_up() -> Callable[..., dict[str, Measure]]:
    """(shares, their half widths, half widths of gaps, distances of pairs, steps, changed measures) -> measures of one
    checkpoint. Rules are as far from each other as both are from the model, where nothing else is said.
    """

    def made(
        shares: Mapping[str, float] = SHARES,
        half: float = 0.005,
        gaps: float = 0.0005,
        near: Mapping[tuple[str, str], float] | None = None,
        steps: Mapping[str, tuple[int, int, int]] = STEPS,
        untrained: Mapping[str, list[float]] | None = None,
        **changed: Measure,
    ) -> dict[str, Measure]:
        names, column = tuple(shares), np.array(list(shares.values()))
        margins, distances = column[None, :] - column[:, None], column[None, :] + column[:, None]
        np.fill_diagonal(distances, 0.0)
        for pair, distance in (near or {("gd", "preconditioned"): 0.01}).items():
            if set(pair) <= set(names):
                i, j = map(names.index, pair)
                distances[i, j] = distances[j, i] = distance
        axes, coords = ("candidate", "other_candidate"), {"candidate": names, "other_candidate": names}
        square: dict[str, Any] = {"axes": axes, "coords": coords, "replicate": "task", "n": 500, "no_nulls": "none"}
        nulls = {name: {"untrained": np.array(drawn)} for name, drawn in (untrained or {}).items()}

        def each(values: Mapping[str, float], width: float = 0.01) -> Measure:
            return along("candidate", {name: scalar(value, width) for name, value in values.items()})

        counted = {name: without_interval(np.array(float(SETTINGS[name])), "number", message="counted", no_nulls="none")
                   for name in names}  # fmt: skip
        taken = {
            name: scalar(float(best), interval=(np.array(float(low)), np.array(float(high))), replicate="none", n=1)
            for name, (best, low, high) in (STEPS | dict(steps)).items()
        }  # fmt: skip
        share = {
            name: scalar(value, half, nulls=nulls.get(name, {}), no_nulls="" if name in nulls else "none")
            for name, value in shares.items()
        }
        return {
            "loss": each({"model": 0.1} | dict.fromkeys(names, 0.2)),
            "cosine": each(dict.fromkeys(names, 0.998)),
            "norm_ratio": each(dict.fromkeys(names, 0.97)),
            "prediction_difference": each({name: 0.5 * value for name, value in shares.items()}),
            "unexplained_share": along("candidate", share),
            "closeness_margins": Measure(margins, "label", (margins - gaps, margins + gaps), **square),
            "candidate_distance": Measure(distances, "share", (distances, distances), **square),
            "fitted_settings": along("candidate", counted),
            "steps": along("candidate", taken),
            "learning_rate": each(dict.fromkeys(taken, 2.0)),
            "order_share": scalar(1e-16, 0.0),
            "readout_sign": without_interval(np.array(1.0), "sign", message="found", no_nulls="none"),
            "token_layout": without_interval(np.ones(1), "1: used", ("token_layout",), {"token_layout": ("joint-3",)},
                                             message="the layout was given, so none was tried", no_nulls="none"),
            "layout_gain": missing("share", "not applicable", "the layout was given, so none was tried"),
        } | changed  # fmt: skip

    return made
