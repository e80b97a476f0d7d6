"""Figures: legible at every width, for one layer, many, predictors, seeds and steps; their tables hold the numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from mesascope import analyses
from mesascope.models import TokenLayout, from_predictor, from_transformer, gd_transformer, gdpp_transformer
from mesascope.probes import Findings
from mesascope.probes.drawing import page
from mesascope.probes.implicit_weights import judging
from mesascope.probes.implicit_weights.figures import FIGURES
from mesascope.probes.implicit_weights.probe import ImplicitWeights

from ..drawn_figures import NARROW, WIDE, drawn_of

D, N = 3, 8
WIDTHS = {"5.5": WIDE, "3.25": NARROW, "6.3": page.STYLES["acl"]}
drawn = partial(drawn_of, FIGURES)
each_width = pytest.mark.parametrize("style", list(WIDTHS.values()), ids=list(WIDTHS))


def averaging(tokens: torch.Tensor) -> torch.Tensor:
    return (tokens[:, :-1, D:] * (tokens[:, :-1, :D] * tokens[:, -1:, :D]).sum(-1, keepdim=True)).mean(dim=1)


def subject(kind: str) -> Any:
    if kind == "predictor":
        return from_predictor(averaging, TokenLayout(D, order="joint", label_slot=D))
    return from_transformer(gdpp_transformer(N, [4.0], [0.2], D, n_layers=int(kind)))


@pytest.fixture(scope="module")
def findings() -> Callable[[str], Findings]:
    @cache
    def found(kind: str) -> Findings:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(judging, "NULLS", 2)
            patch.setattr(judging, "NULL_TASKS", 20)
            return ImplicitWeights(limit=40, n_context=N).measure(subject(kind), 0, 64)

    return found


@pytest.mark.parametrize(("name", "kinds"), [
    ("distances", ("1", "2", "10", "predictor")),
    ("layers", ("2", "10")),
    ("weights", ("1", "2", "10", "predictor")),
    ("exchange", ("2", "10")),
])  # fmt: skip
@each_width
def test_every_figure_is_legible(
    name: str,
    kinds: tuple[str, ...],
    style: page.Style,
    findings: Callable[[str], Findings],
    faults: Callable[..., list[str]],
) -> None:
    for kind in kinds:
        figure, table = drawn(name, findings(kind), style)
        assert faults(figure, table, inspect.getdoc(FIGURES[name])) == [], kind


def test_what_there_is_not_is_not_drawn(findings: Callable[[str], Findings]) -> None:
    for name in ("layers", "exchange", "trajectory"):
        assert page.render(FIGURES[name], findings("1")) is None
        assert page.render(FIGURES[name], findings("predictor")) is None
    closed = from_predictor(torch.no_grad()(averaging), TokenLayout(D, order="joint", label_slot=D))
    nothing = ImplicitWeights(limit=40, n_context=N).measure(closed, 0, 64)
    assert [name for name in FIGURES if page.render(FIGURES[name], nothing) is not None] == []


def test_tables_hold_what_was_measured(findings: Callable[[str], Findings]) -> None:
    held = findings("2")
    _, table = drawn("distances", held)
    estimates = table[(table["kind"] == "estimate") & (table["panel"] == "layer 2")].set_index("series")["value"]
    distance = held.measures["weight_distance"]
    assert estimates["ridge"] == distance.sel(rule="ridge").values[1]
    assert estimates["GD++ (2)"] == distance.sel(rule="gdpp").values[1]
    _, table = drawn("weights", held)
    first = table[(table["panel"] == "layer 1") & (table["series"] == "task 1") & (table["kind"] == "estimate")]
    assert list(first["value"]) == list(held.arrays["weights"][0, 0].ravel())
    assert list(first["at"]) == list(held.arrays["weights_gd"][0, 0].ravel())
    _, table = drawn("exchange", held)
    shown = table[(table["kind"] == "estimate") & (table["panel"] == "predicted by descent")].set_index("series")
    assert shown["value"]["context"] == held.measures["exchange_followed"].sel(place="context").values[0]


def test_many_layers_are_cut_and_said_so(findings: Callable[[str], Findings]) -> None:
    figure, table = drawn("distances", findings("10"))
    panels = table["panel"].unique()
    assert (len(panels), panels[0], panels[-1]) == (8, "layer 1", "layer 10")
    assert figure.get_suptitle() == "8 of 10 layers"
    _, table = drawn("layers", findings("10"))
    assert list(table[(table["panel"] == "loss") & (table["kind"] == "estimate")]["at"]) == list(range(1, 11))


@pytest.fixture(scope="module")
def over_training() -> analyses.Report:
    """Two seeds at three steps."""
    members = []
    for seed in (0, 1):
        for step, rate in ((0, 0.5), (400, 2.0), (5000, 3.0)):
            made = from_transformer(gd_transformer(N, rate + 0.2 * seed, D, n_layers=2), f"m{seed}-{step}")
            made.source = replace(made.source, seed=seed, step=step)
            members.append(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "NULLS", 1)
        patch.setattr(judging, "NULL_TASKS", 20)
        answer = analyses.run_family(members, ImplicitWeights(limit=30, n_context=N))
    assert isinstance(answer, tuple)
    return answer[1]


@each_width
def test_a_family_over_training_is_legible(
    style: page.Style, over_training: analyses.Report, faults: Callable[..., list[str]]
) -> None:
    for name, build in FIGURES.items():
        figure, table = drawn(name, over_training.findings, style)
        assert faults(figure, table, inspect.getdoc(build)) == [], name


def test_a_family_is_told_at_its_last_step(over_training: analyses.Report) -> None:
    assert over_training.claim.found.startswith("At step 5000: After layers 1 to 2: 1 to 2 steps of gradient descent")
    _, table = drawn("trajectory", over_training.findings)
    shown = table[(table["panel"] == "loss") & (table["series"] == "layer 2") & (table["kind"] == "estimate")]
    assert list(shown["at"]) == [0, 400, 5000]
