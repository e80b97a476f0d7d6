"""The figures of few-shot-heads, drawn from made-up measures: legible, and exactly what was measured."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache

import pytest
from matplotlib.text import Text
from mesascope.probes import Findings, Measure
from mesascope.probes.drawing import page
from mesascope.probes.few_shot_heads.figures import FIGURES
from mesascope.probes.few_shot_heads.names import DROP, EFFECT, FUNCTION_VECTOR, GROUP, PATCH, TASK_MEAN

from .made_up import findings_of, made_up, over_seeds, over_steps

Faults = Callable[..., list[str]]
SIZES = {"5.5": page.STYLES["neurips"], "3.25": page.style_of("icml", 3.25)}
ONE = ["heads", "ablation", "sets", "answers"]
HAS = {
    "one": ONE,
    "given": ONE,
    "many heads": ONE,
    "nothing learned": ONE,
    "no random sets": ONE,
    "seeds": ["ablation", "sets", "answers"],
    "steps": [*ONE, "trajectory", "trajectory_heads"],
    "many heads over steps": [*ONE, "trajectory", "trajectory_heads"],
}
MANY = (12, 12)


@cache
def findings(kind: str) -> Findings:
    kinds: Mapping[str, Callable[[], Mapping[str, Measure]]] = {
        "one": made_up,
        "given": lambda: made_up(given=((0, 1), (1, 2))),
        "many heads": lambda: made_up(shape=MANY),
        "nothing learned": lambda: made_up(learned=False, task=0.0, own=0.0, cost=0.0),
        "no random sets": lambda: made_up(n_random=0),
        "seeds": over_seeds,
        "steps": over_steps,
        "many heads over steps": lambda: over_steps(shape=MANY),
    }
    return findings_of(kinds[kind]())


@pytest.mark.parametrize("kind", HAS)
def test_each_kind_of_report_has_its_figures(kind: str) -> None:
    shown = [name for name, build in FIGURES.items() if page.compose(build, findings(kind)) is not None]
    assert shown == HAS[kind]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", HAS)
def test_every_figure_is_legible(kind: str, size: str, faults: Faults) -> None:
    for name in HAS[kind]:
        made = page.render(FIGURES[name], findings(kind), SIZES[size])
        assert made is not None
        figure, table = made
        assert faults(figure, table, inspect.getdoc(FIGURES[name])) == [], name
        assert figure.get_figwidth() <= SIZES[size].page
        assert figure.get_figheight() <= 9
        assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7


def test_tables_hold_what_was_measured() -> None:
    measures = findings("one").measures
    _, heads = page.compose(FIGURES["heads"], findings("one")) or (None, None)
    effect = measures[EFFECT].sel(**{PATCH: TASK_MEAN}).values
    assert heads is not None
    rows = heads[(heads.panel == "from the task mean") & (heads.kind == "estimate")].set_index("series").value
    assert rows["L1H0"] == effect[1, 0]
    _, costs = page.compose(FIGURES["ablation"], findings("one")) or (None, None)
    assert costs is not None
    drop = measures[DROP].sel(**{GROUP: FUNCTION_VECTOR}).estimate
    rows = costs[(costs.panel == "fall of the accuracy") & (costs.kind == "estimate")].set_index("series").value
    assert rows["function-vector heads"] == drop


def test_nothing_is_drawn_of_a_report_without_numbers() -> None:
    empty = Findings({}, {}, {})
    assert all(page.compose(build, empty) is None for build in FIGURES.values())
