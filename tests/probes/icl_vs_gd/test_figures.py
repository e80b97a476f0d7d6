"""The figures of icl-vs-gd, drawn from made-up measures: legible, and exactly what was measured."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from mesascope.probes import Findings, Measure
from mesascope.probes.drawing import marks, page
from mesascope.probes.icl_vs_gd.figures import FIGURES
from mesascope.probes.measure import along, missing

from .made_up_findings import KINDS, STEPS, findings, measures

Faults = Callable[..., list[str]]
SIZES = {"5.5": page.STYLES["neurips"], "3.25": page.style_of("icml", 3.25)}
ALL = ["behaviour", "order", "contrast", "similarity", "patch"]
HAS = dict.fromkeys(KINDS, ALL) | {"no rule": ["behaviour", "order"]}
HAS |= {kind: [*ALL, "trajectory"] for kind in ("steps", "seeds over steps")}
RULES = {"gd": "GD", "lcgd": "layer-causal GD", "sgd": "stochastic GD"}
OF_CONTRAST = {
    "in context": "in context", "third rate": "a third of the rate", "adam": "Adam",
    "activation matching": "activation matching", "other": "another task", "random weights": "random weights",
}  # fmt: skip
OF_SIMILARITY = {
    "tuned": "true labels", "halves of demonstrations": "halves of demonstrations",
    "activation matching": "activation matching", "shuffled": "shuffled labels", "other": "another task",
    "random weights": "random weights", "endpoint": "random endpoint",
}  # fmt: skip


@cache
def drawn(kind: str, name: str) -> tuple[Figure, pd.DataFrame]:
    """A figure as it is drawn, not laid out."""
    found = page.compose(FIGURES[name], findings(kind))
    assert found is not None
    return found


def panels(figure: Figure) -> dict[str, Axes]:
    return {ax.get_title(): ax for ax in figure.axes}


def points(ax: Axes) -> set[tuple[float, float]]:
    return {(float(x), float(y)) for line in ax.lines for x, y in np.array(line.get_xydata())}


def dotted(ax: Axes) -> list[Line2D]:
    kept = marks.REFERENCE
    return [line for line in ax.lines if (line.get_color(), line.get_linewidth()) == (kept["color"], kept["lw"])]


def rows_of(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def shown(table: pd.DataFrame, **wanted: str) -> list[list[float]]:
    return rows_of(table, kind="estimate", **wanted)[["value", "low", "high"]].to_numpy(float).tolist()


def numbers(measure: Measure) -> list[list[float]]:
    """Value and interval, along the only axis or of the only number."""
    return np.stack([np.atleast_1d(array) for array in (measure.values, *measure.interval)], axis=1).tolist()


# -- every figure ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_report_has_its_figures(kind: str) -> None:
    found = [name for name, build in FIGURES.items() if page.compose(build, findings(kind)) is not None]
    assert found == HAS[kind]


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("one layer", "3.25"), ("three rules", "5.5"), ("three rules", "3.25"), ("12 layers", "3.25"),
        ("48 layers", "5.5"), ("one rule", "3.25"), ("no rule", "5.5"), ("seeds over steps", "5.5"),
        ("seeds over steps", "3.25"),
    ],
)  # fmt: skip
def test_every_figure_is_legible(kind: str, size: str, faults: Faults) -> None:
    for name in HAS[kind] if (kind, size) != ("seeds over steps", "5.5") else ["trajectory"]:
        made = page.render(FIGURES[name], findings(kind), SIZES[size])
        assert made is not None
        figure, table = made
        assert faults(figure, table, inspect.getdoc(FIGURES[name])) == [], name
        assert figure.get_figwidth() <= SIZES[size].page
        assert figure.get_figheight() <= 9
        assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7


@pytest.mark.parametrize("kind", ["two layers", "12 layers", "seeds over steps"])
def test_every_panel_is_drawn_alone_as_in_its_figure(kind: str) -> None:
    for name in HAS[kind]:
        for title, rows in drawn(kind, name)[1].groupby("panel", sort=False):
            alone = page.compose(FIGURES[name], findings(kind), panel=str(title))
            assert alone is not None
            pd.testing.assert_frame_equal(alone[1], rows.reset_index(drop=True), check_dtype=False)


@pytest.mark.parametrize("kind", ["two layers", "12 layers", "steps"])
def test_every_figure_stands_on_somebodys_own_axes(kind: str) -> None:
    with page.settings():
        for name in HAS[kind]:
            ax = Figure(figsize=(6, 3)).subplots()
            table = page.draw_on(FIGURES[name], findings(kind), ax)
            assert table is not None
            assert {*table["panel"]} == {ax.get_title()}
            assert ax.get_legend() is not None


def test_of_several_steps_the_last_is_shown() -> None:
    last = Findings(measures(accuracy={}), {}, {})
    for name in ALL:
        expected = page.compose(FIGURES[name], last)
        assert expected is not None
        columns = ["panel", "series", "kind", "value", "low", "high"]
        pd.testing.assert_frame_equal(drawn("steps", name)[1][columns], expected[1][columns])


def test_figures_of_saved_reports_need_no_torch() -> None:
    code = "import sys, mesascope.probes.icl_vs_gd.figures; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- answers -----------------------------------------------------------------------------------------------------------


def test_accuracies_are_those_of_their_rows_beside_chance() -> None:
    figure, table = drawn("three rules", "behaviour")
    ax = panels(figure)["accuracy"]
    labels = {
        "zero-shot": "zero-shot",
        "in context": "in context",
        "in context, shuffled labels": "in context, shuffled",
    }
    labels |= RULES | {"activation matching": "activation matching"}
    assert [label.get_text() for label in ax.get_yticklabels()] == list(labels.values())
    for y, (way, label) in enumerate(labels.items()):
        measure = findings("three rules").measures["accuracy"].sel(way=way)
        assert shown(table, panel="accuracy", series=label) == numbers(measure)
        assert {(number, y) for number in numbers(measure)[0]} <= points(ax)
    assert [float(line.get_xdata()[0]) for line in dotted(ax)] == [0.5]
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "chance"


def test_rivals_have_their_accuracies_beside_those_of_rules() -> None:
    held = findings("two layers").measures
    rivals = held["rival_distance"]
    found = page.compose(FIGURES["behaviour"], Findings({**held, "rival_accuracy": rivals}, {}, {}))
    assert found is not None
    for rival in rivals.labels("rival"):
        assert shown(found[1], panel="accuracy", series=rival) == numbers(rivals.sel(rival=rival))


def test_distances_start_where_their_panels_say() -> None:
    """Of tuned parameters of the rule in the title, or of answers in context."""
    _, table = drawn("three rules", "behaviour")
    held = findings("three rules").measures
    runs = {
        "in context": "in context",
        "third rate": "a third of the rate",
        "adam": "Adam",
        "half run": "half of the steps",
    }
    context = "distance from answers in context"
    for rule, title in RULES.items():
        apart = held["answer_distance"].sel(rule=rule)
        for run, label in runs.items():
            assert shown(table, panel=f"distance from {title}", series=label) == numbers(apart.sel(between=run))
        assert {*rows_of(table, panel=f"distance from {title}")["series"]} == {*runs.values()}
        assert shown(table, panel=context, series=title) == numbers(apart.sel(between="in context"))
        assert shown(table, panel=context, series=f"{title}, another task") == numbers(apart.sel(between="other"))
    for name in ("another order", "activation matching"):
        expected = held["answer_distance"].sel(rule="gd", between=name)
        assert shown(table, panel=context, series=name) == numbers(expected)
    for rival in held["rival_distance"].labels("rival"):
        assert shown(table, panel=context, series=rival) == numbers(held["rival_distance"].sel(rival=rival))


def test_without_rules_only_prompts_and_rivals_are_compared() -> None:
    _, table = drawn("no rule", "behaviour")
    assert [*dict.fromkeys(table["panel"])] == ["accuracy", "distance from answers in context"]
    assert not {*RULES.values()} & {*table["series"]}


def test_orders_stand_beside_descent_that_has_none() -> None:
    figure, table = drawn("three rules", "order")
    order = findings("three rules").measures["order_sensitivity"]
    assert list(panels(figure)) == ["clean demonstrations", "conflicting demonstrations"]
    for kind in ("clean", "conflicting"):
        panel = f"{kind} demonstrations"
        for way, label in {"in context": "in context"}.items() | RULES.items():
            part = order.sel(way=way, demonstrations=kind)
            np.testing.assert_array_equal(shown(table, panel=panel, series=label), numbers(part))
        assert [row[0] for label in ("GD", "layer-causal GD") for row in shown(table, panel=panel, series=label)] == [
            0,
            0,
        ]


def test_what_was_not_measured_is_said_in_its_row() -> None:
    held = findings("two layers").measures
    order = held["order_sensitivity"]
    none = missing(order.unit, "not applicable", "each label has one demonstration")
    parts = {way: along("demonstrations", {"clean": order.sel(way=way, demonstrations="clean"), "conflicting": none})
             for way in order.labels("way")}  # fmt: skip
    found = page.compose(FIGURES["order"], Findings({**held, "order_sensitivity": along("way", parts)}, {}, {}))
    assert found is not None
    ax = panels(found[0])["conflicting demonstrations"]
    assert [text.get_text() for text in ax.texts] == ["not applicable"] * 3
    rows = rows_of(found[1], panel="conflicting demonstrations")
    assert {*rows["message"]} == {"each label has one demonstration"}


# -- attention ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "measure", "labels"),
    [("contrast", "contrast", OF_CONTRAST), ("similarity", "output_similarity", OF_SIMILARITY)],
)
@pytest.mark.parametrize("kind", ["one layer", "three rules", "12 layers", "48 layers", "seeds"])
def test_attention_is_that_of_its_rule_and_layer(kind: str, name: str, measure: str, labels: dict[str, str]) -> None:
    _, table = drawn(kind, name)
    held = findings(kind).measures[measure]
    layers = held.values.shape[-1]
    assert len(table["panel"].unique()) == len(held.labels("rule")) * (layers if layers <= 2 else 1)
    for rule in held.labels("rule"):
        for between, label in labels.items():
            part = held.sel(rule=rule, between=between)
            if layers > 2:
                assert shown(table, panel=RULES[rule], series=label) == numbers(part)
                continue
            for layer in range(layers):
                panel = f"layer {layer}, {RULES[rule]}"
                assert shown(table, panel=panel, series=label) == numbers(part.at(layer=layer))


@pytest.mark.parametrize(("name", "measure"), [("contrast", "contrast"), ("similarity", "output_similarity")])
@pytest.mark.parametrize("kind", ["two layers", "12 layers"])
def test_untrained_models_stand_beside_what_they_are_the_null_of(kind: str, name: str, measure: str) -> None:
    figure, table = drawn(kind, name)
    of = {"contrast": "in context", "output_similarity": "tuned"}[measure]
    series = {"contrast": "in context", "output_similarity": "true labels"}[measure]
    nulls = rows_of(table, kind="null: untrained")
    assert {*nulls["series"]} == {series}
    for rule in ("gd", "lcgd"):
        part = findings(kind).measures[measure].sel(rule=rule, between=of)
        samples = part.nulls["untrained"]
        expected = np.stack([samples.mean(axis=0), samples.min(axis=0), samples.max(axis=0)], axis=1)
        wanted = nulls[nulls["panel"].str.endswith((f", {RULES[rule]}", RULES[rule])) & ~(
            nulls["panel"].str.contains("layer-causal") if rule == "gd" else False)]  # fmt: skip
        np.testing.assert_allclose(wanted[["value", "low", "high"]].to_numpy(float), expected)
        for layer, ax in enumerate(ax for ax in figure.axes if ax.get_title() in {*wanted["panel"]}):
            marks_drawn = points(ax)
            if kind == "two layers":
                assert any(np.allclose(mark, (expected[layer, 0], 0)) for mark in marks_drawn)
            else:
                assert all(any(np.allclose(mark, (n, value)) for mark in marks_drawn)
                           for n, value in enumerate(expected[:, 0]))  # fmt: skip
    assert any("untrained" in text.get_text() for text in figure.legends[0].get_texts())


@pytest.mark.parametrize(("name", "floor"), [("contrast", 0.0), ("similarity", 0.5)])
@pytest.mark.parametrize("kind", ["two layers", "12 layers"])
def test_the_dotted_line_is_what_no_mechanism_has_and_all_panels_share_their_ends(
    kind: str, name: str, floor: float
) -> None:
    figure, _ = drawn(kind, name)
    ends = set()
    for ax in figure.axes:
        (line,) = dotted(ax)
        upright = kind == "two layers"
        assert {float(at) for at in (line.get_xdata() if upright else line.get_ydata())} == {floor}
        ends.add(ax.get_xlim() if upright else ax.get_ylim())
    assert len(ends) == 1


@pytest.mark.parametrize("layers", [2, 12])
def test_intervals_wider_than_any_cosine_end_with_the_axis(layers: int) -> None:
    held = measures(layers=layers)["contrast"]
    wide = replace(held, interval=(held.values - 3, held.values + 3))
    found = page.compose(FIGURES["contrast"], Findings({"contrast": wide}, {}, {}))
    assert found is not None
    for ax in found[0].axes:
        low, high = ax.get_xlim() if layers == 2 else ax.get_ylim()
        assert -1.2 < low < -1 < 1 < high < 1.2


@pytest.mark.parametrize("kind", ["two layers", "12 layers"])
def test_patches_stand_beside_those_of_other_labels(kind: str) -> None:
    _, table = drawn(kind, "patch")
    held = findings(kind).measures
    drawn_as = {("size of the change", "patch"): held["patch_size"]}
    drawn_as[("overlap of two queries", "patch")] = held["patch_overlap"]
    along = {"true labels": "true labels", "shuffled labels": "shuffled labels", "other": "another task"}
    for between, label in along.items():
        drawn_as[("along gradient descent", label)] = held["patch_along_gradient"].sel(between=between)
    for (panel, series), measure in drawn_as.items():
        rows = rows_of(table, panel=panel, kind="estimate")
        of_series = rows["series"].str.startswith("layer" if series == "patch" else series)
        if kind == "12 layers":
            of_series = rows["series"] == series
        assert rows[of_series][["value", "low", "high"]].to_numpy(float).tolist() == numbers(measure)


@pytest.mark.parametrize("layers", [2, 12])
def test_a_rule_without_a_number_says_why(layers: int) -> None:
    held = measures(layers=layers)["contrast"]
    none = missing("cosine", "undefined", "no task has a number: labels move nothing")
    contrast = along("rule", {"gd": held.sel(rule="gd"), "lcgd": none})
    found = page.compose(FIGURES["contrast"], Findings({"contrast": contrast}, {}, {}))
    assert found is not None
    figure, table = found
    told = table["panel"].str.contains("layer-causal")
    assert {*table[told]["message"]} == {none.message}
    assert {*table[told]["kind"]} == {"words"}
    assert {*table[~told]["kind"]} >= {"estimate", "null: untrained"}
    words = [text.get_text().replace("\n", " ") for ax in figure.axes for text in ax.texts]
    assert words == (["undefined"] * 2 * len(OF_CONTRAST) if layers == 2 else [none.message])


# -- over training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["steps", "seeds over steps"])
def test_curves_over_training_are_their_measures_and_seeds_are_thin_lines(kind: str) -> None:
    figure, table = drawn(kind, "trajectory")
    held = findings(kind).measures
    curves = {
        ("accuracy", "zero-shot"): held["accuracy"].sel(way="zero-shot"),
        ("accuracy", "in context"): held["accuracy"].sel(way="in context"),
        ("accuracy", "in context, shuffled"): held["accuracy"].sel(way="in context, shuffled labels"),
    }
    for rule, title in {"gd": "GD", "lcgd": "layer-causal GD"}.items():
        apart = held["answer_distance"].sel(rule=rule, between="in context")
        curves["distance from answers in context", title] = apart
        curves[f"contrast above floor, {title}", "in context"] = held["contrast_above_floor"].sel(rule=rule)
        curves[f"contrast above floor, {title}", "another run of GD"] = held["planted_above_floor"].sel(rule=rule)
    assert list(panels(figure)) == list(dict.fromkeys(panel for panel, _ in curves))
    for panel, ax in panels(figure).items():
        level = {"accuracy": [0.5], "distance from answers in context": []}.get(panel, [0.0])
        assert [float(line.get_ydata()[0]) for line in dotted(ax)] == level
        assert (ax.get_ylim() == (-0.03, 1.03)) == ("contrast" not in panel)
    for (panel, series), measure in curves.items():
        assert shown(table, panel=panel, series=series) == numbers(measure)
        assert set(zip(STEPS, measure.values.tolist(), strict=True)) <= points(panels(figure)[panel])
        assert (measure.points is None) == (kind == "steps")
        for seed in measure.points if measure.points is not None else ():
            assert set(zip(STEPS, seed.tolist(), strict=True)) <= points(panels(figure)[panel])


def test_the_onset_is_shaded_where_it_is_known() -> None:
    held = findings("steps").measures
    label = "learning in context begins: steps 500 to 1000"
    figure, table = drawn("steps", "trajectory")
    assert label in {text.get_text() for text in figure.legends[0].get_texts()}
    spans = rows_of(table, kind="interval")
    assert spans[["low", "high"]].to_numpy(float).tolist() == [[500, 1000]] * len(figure.axes)
    assert all(len(ax.patches) == 1 for ax in figure.axes)
    for unknown in (replace(held["in_context_onset"], values=np.array([np.nan, 500.0])), None):
        others = {name: measure for name, measure in held.items() if name != "in_context_onset"}
        found = page.compose(
            FIGURES["trajectory"], Findings(others | ({"in_context_onset": unknown} if unknown else {}), {}, {})
        )
        assert found is not None
        assert rows_of(found[1], kind="interval").empty
