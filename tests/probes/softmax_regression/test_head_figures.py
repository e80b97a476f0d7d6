"""Figures of heads, drawn from made-up measures of small and large models, show exactly their tables."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from mesascope.analyses.runs.aggregation import along_steps, mean_over
from mesascope.probes import Findings, Measure
from mesascope.probes.drawing import page
from mesascope.probes.measure import along, missing, without_interval
from mesascope.probes.softmax_regression.figures.heads import (
    CLOSER,
    FARTHER,
    MAPS,
    TITLES,
    heads_figure,
    layers_figure,
    trajectory_figure,
)
from mesascope.probes.softmax_regression.head_closeness import beyond_random
from mesascope.probes.softmax_regression.head_measures import DRAWS, ReadShifts, shift_measures
from mesascope.probes.softmax_regression.head_names import ALL, KEYS, LATER, RANDOM, UNITS, UNTRAINED, WORDS

Faults = Callable[..., list[str]]
BUILDERS = {"heads": heads_figure, "layers": layers_figure, "trajectory": trajectory_figure}
SIZES = {"page": page.STYLES["icml"], "column": page.style_of("acl", 3.25)}
STEPS = (0, 10, 100, 1000, 5000)
SIZE = {"shift_A": 0.15, "shift_x": 0.2, "share_of_bound_A": 0.006, "share_of_bound_x": 0.004}


def measures_of(layers: int, heads: int, seed: int = 0, grown: float = 1.0, n: int = 12) -> dict[str, Measure]:
    """Plausible numbers for a model of this shape; early in training, not grown, it shifts little."""
    rng = np.random.default_rng(seed)

    def drawn(name: str, *draws: int) -> np.ndarray:
        heads_differ = rng.normal(size=(1, layers, heads, *[1] * len(draws)))
        noise = rng.normal(size=(n, layers, heads, *draws))
        if name.startswith("shift_cosine"):
            return np.tanh((0.1 if draws else 0.4 * grown) * heads_differ + 0.2 * noise)
        return np.minimum(SIZE.get(name, 0.1) * grown * (2.5 if draws else 1) * np.exp(heads_differ / 2 + noise / 5), 1)

    own = {(name, keys): drawn(name) for name in WORDS for keys in KEYS}
    random = {(name, keys): drawn(name, DRAWS) for name, keys in own if name.startswith("sh")}
    fresh = [
        {at: (1 + number / 10) * values * (0.01 if at[0].startswith("shift") else 2) for at, values in own.items()}
        for number in range(2)
    ]
    return shift_measures(ReadShifts(own, random), fresh, seed)[0]


def over_seeds(**shape: Any) -> dict[str, Measure]:
    made = [measures_of(seed=seed, **shape) for seed in range(3)]
    return {name: mean_over("seed", [measures[name] for measures in made]) for name in made[0]}


def over_steps(make: Callable[..., dict[str, Measure]], **shape: Any) -> dict[str, Measure]:
    made = [make(grown=0.05 + number / 4, **shape) for number in range(len(STEPS))]
    return {name: along_steps(STEPS, [measures[name] for measures in made]) for name in made[0]}


@functools.cache
def findings(kind: str) -> Findings:
    make: dict[str, Callable[[], dict[str, Measure]]] = {
        "small": lambda: measures_of(3, 4),
        "one layer": lambda: measures_of(1, 1),
        "12 layers": lambda: measures_of(12, 12),
        "seeds": lambda: over_seeds(layers=3, heads=4),
        "steps": lambda: over_steps(measures_of, layers=4, heads=4),
        "seeds along steps": lambda: over_steps(over_seeds, layers=4, heads=4),
    }
    return Findings(make[kind](), {}, {})


HAS = {
    "small": ["heads", "layers"],
    "one layer": ["heads", "layers"],
    "12 layers": ["heads", "layers"],
    "seeds": ["layers"],
    "steps": ["heads", "layers", "trajectory"],
    "seeds along steps": ["layers", "trajectory"],
}


@functools.cache
def drawn(kind: str, name: str) -> tuple[Figure, pd.DataFrame]:
    """A figure as it is drawn, not laid out: that takes most of the time, and moves no mark."""
    found = page.compose(BUILDERS[name], findings(kind))
    assert found is not None
    found[0].set_layout_engine("none")
    return found


@pytest.mark.parametrize("kind", HAS)
def test_each_kind_of_report_has_its_figures(kind: str) -> None:
    shown = [name for name, build in BUILDERS.items() if page.compose(build, findings(kind)) is not None]
    assert shown == HAS[kind]


@pytest.mark.parametrize("style", SIZES)
@pytest.mark.parametrize("kind", ["one layer", "12 layers", "steps", "seeds along steps"])
def test_figures_are_legible_and_have_captions(kind: str, style: str, faults: Faults) -> None:
    for name in HAS[kind][-2:]:  # the last step looks as a single one
        build = BUILDERS[name]
        found = page.render(build, findings(kind), SIZES[style])
        assert found is not None
        figure, table = found
        assert faults(figure, table, build.__doc__ or "") == [], name
        assert figure.get_figwidth() <= SIZES[style].page
        assert figure.get_figheight() <= 9
        assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7


def test_of_tasks_or_of_nothing_there_is_no_figure() -> None:
    nothing = {name: missing(unit, "not applicable", "soft cap") for name, unit in UNITS.items()}
    of_tasks = {name: without_interval(np.array(0.3), "1", message="-", no_nulls="-") for name in TITLES}
    for measures in ({}, nothing, of_tasks):
        for build in BUILDERS.values():
            assert page.compose(build, Findings(measures, {}, {})) is None


# -- maps --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["small", "12 layers", "steps"])
def test_maps_are_the_measures_with_all_keys(kind: str) -> None:
    figure, table = drawn(kind, "heads")
    maps = {ax.get_title(): np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images}
    assert list(maps) == [TITLES[name] for name in MAPS]
    for name in MAPS:
        measure = findings(kind).measures[name]
        last = measure.at(step=-1) if "step" in measure.axes else measure
        np.testing.assert_array_equal(maps[TITLES[name]], last.sel(keys=ALL).values)
        rows = table[(table["panel"] == TITLES[name]) & (table["kind"] == "estimate")]
        np.testing.assert_array_equal(rows["value"], maps[TITLES[name]].ravel())
    bars = [ax for ax in figure.axes if not ax.images]
    assert [bar.get_xlabel() for bar in bars] == [UNITS[name] for name in MAPS]


def test_colours_of_cosines_diverge_from_0_and_those_of_lengths_begin_there() -> None:
    figure, _ = drawn("small", "heads")
    low, high = {ax.get_title(): ax.images[0].get_clim() for ax in figure.axes if ax.images}[TITLES["shift_cosine"]]
    assert low == -high
    assert {ax.images[0].get_clim()[0] for ax in figure.axes if ax.images} == {0, low}


def test_heads_beyond_random_directions_are_marked_on_the_cosine_alone() -> None:
    figure, table = drawn("12 layers", "heads")
    beyond = beyond_random(findings("12 layers").measures)
    assert beyond is not None
    marked = table[table["kind"] == "mark"]
    assert {*marked["panel"]} == {TITLES["shift_cosine"]}
    for look, held in ((CLOSER, beyond.above), (FARTHER, beyond.below)):
        assert held.any()
        expected = {f"L{layer}H{head}" for layer, head in np.argwhere(held)}
        assert {*marked[marked["message"] == look.label]["series"]} == expected
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert f"{CLOSER.label} ({int(beyond.above.sum())} heads)" in labels
    one = page.compose(heads_figure, findings("12 layers"), panel=TITLES["shift_A"])
    assert one is not None
    assert not one[0].legends


# -- curves ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["small", "seeds"])
def test_layers_are_means_with_their_own_intervals_and_nulls(kind: str) -> None:
    _, table = drawn(kind, "layers")
    assert [*dict.fromkeys(table["panel"])] == [*TITLES.values()]
    for name, title in TITLES.items():
        for keys, series in {ALL: "all keys", LATER: "without position 0"}.items():
            measure = findings(kind).measures[f"layer_{name}"].sel(keys=keys)
            rows = table[(table["panel"] == title) & (table["series"] == series)]
            estimate = rows[rows["kind"] == "estimate"]
            np.testing.assert_array_equal(
                estimate[["value", "low", "high"]], np.stack([measure.values, *measure.interval], 1)
            )
            nulls = {*rows["kind"]} - {"estimate", "replicate"}
            assert nulls == {f"null: {null}" for null in measure.nulls}
            assert f"null: {UNTRAINED}" in nulls
            assert (f"null: {RANDOM}" in nulls) == name.startswith("sh")


@pytest.mark.parametrize(
    ("kind", "name"), [("small", "layers"), ("steps", "trajectory"), ("seeds along steps", "trajectory")]
)
def test_curves_show_exactly_their_table(kind: str, name: str) -> None:
    figure, table = drawn(kind, name)
    points = {(float(x), float(y)) for ax in figure.axes for line in ax.lines for x, y in np.array(line.get_xydata())}
    assert {(row.at, row.value) for row in table.dropna(subset="value").itertuples()} <= points
    bands = np.concatenate([band.get_paths()[0].vertices for ax in figure.axes for band in ax.collections])
    for bound in ("low", "high"):
        shown = table[table["kind"] != "replicate"][["at", bound]].dropna()
        assert set(shown.itertuples(index=False, name=None)) <= {(float(x), float(y)) for x, y in bands}


def test_the_bound_is_drawn_where_shares_of_it_are() -> None:
    for name in ("layers", "trajectory"):
        figure, _ = drawn("steps", name)
        for ax in figure.axes:
            bounds = [line for line in ax.lines if set(line.get_ydata()) == {1.0} and line.get_linewidth() == 0.6]
            assert bool(bounds) == (ax.get_ylabel() == "share of bound")
            if bounds:
                assert (ax.get_yscale(), ax.get_ylim()[1] > 1) == ("log", True)


def test_lengths_are_on_a_logarithmic_axis_where_they_span_decades() -> None:
    """Both of them, so that they compare."""
    scale = lambda figure: [ax.get_yscale() for ax in figure.axes[:2]]  # noqa: E731
    assert scale(drawn("small", "layers")[0]) == ["log", "log"]
    measures = dict(findings("small").measures)
    for name, expected in {"layer_shift_A": ["log", "log"], "layer_shift_x": ["linear", "linear"]}.items():
        parts = measures[name].apart()
        near = {keys: replace(part, nulls={RANDOM: part.nulls[RANDOM]}) for keys, part in parts.items()}
        measures[name] = along("keys", near)
        found = page.compose(layers_figure, Findings(measures, {}, {}))
        assert found is not None
        assert scale(found[0]) == expected


def test_along_training_there_are_the_first_the_middle_and_the_last_layer() -> None:
    _, table = drawn("steps", "trajectory")
    rows = table[(table["panel"] == TITLES["shift_x"]) & (table["kind"] == "estimate")]
    measure = findings("steps").measures["layer_shift_x"].sel(keys=ALL)
    assert [*dict.fromkeys(rows["series"])] == ["layer 0", "layer 2", "layer 3"]
    for layer in (0, 2, 3):
        own = rows[rows["series"] == f"layer {layer}"]
        np.testing.assert_array_equal(own["at"], STEPS)
        np.testing.assert_array_equal(own["value"], measure.values[:, layer])


@pytest.mark.parametrize(("layers", "names"), [(1, ["layer 0"]), (2, ["layer 0", "layer 1"])])
def test_of_few_layers_all_are_drawn_once(layers: int, names: list[str]) -> None:
    found = page.compose(trajectory_figure, Findings(over_steps(measures_of, layers=layers, heads=2), {}, {}))
    assert found is not None
    assert [*dict.fromkeys(found[1].query("kind == 'estimate'")["series"])] == names


def test_a_single_layer_is_rows_whose_intervals_and_nulls_are_seen() -> None:
    figure, table = drawn("one layer", "layers")
    assert [ax.get_title() for ax in figure.axes] == [*TITLES.values()]
    xs = {float(x) for ax in figure.axes for line in ax.lines for x in line.get_xdata()}
    for name, title in TITLES.items():
        part = findings("one layer").measures[f"layer_{name}"].sel(keys=LATER).at(layer=0)
        rows = table[(table["panel"] == title) & (table["series"] == "without position 0")].set_index("kind")
        shown = rows.loc[["estimate", *(f"null: {null}" for null in part.nulls)], ["value", "low", "high"]]
        assert shown.loc["estimate"].tolist() == [part.estimate, *(float(end) for end in part.interval)]
        assert set(shown.to_numpy().ravel()) <= xs
    shares = [ax for ax in figure.axes if ax.get_xlabel() == "share of bound"]
    assert {ax.get_xscale() for ax in shares} == {"log"}
    assert all(any(set(line.get_xdata()) == {1.0} for line in ax.lines) for ax in shares)


def test_figures_and_tables_of_saved_reports_need_no_torch() -> None:
    package = "mesascope.probes.softmax_regression"
    names = ", ".join(f"{package}.{name}" for name in ("figures.heads", "heads", "head_definitions"))
    code = f"import sys, {names}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
