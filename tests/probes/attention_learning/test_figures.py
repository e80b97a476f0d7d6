"""The figures of attention-learning, drawn from made-up measures: legible, and exactly what was measured."""

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
from matplotlib.text import Text
from mesascope.probes import Findings, Measure
from mesascope.probes.attention_learning import names
from mesascope.probes.attention_learning.figures import FIGURES
from mesascope.probes.drawing import page

from .made_up_findings import (
    KINDS,
    NEVER,
    PLACES,
    SEEDS,
    STEPS,
    copy_measures,
    crossings,
    findings,
    model_measures,
    outcomes,
    share,
)

Faults = Callable[..., list[str]]
SIZES = {"5.5": page.STYLES["neurips"], "3.25": page.style_of("icml", 3.25)}

HAS = {
    "copy": ["accuracies", "agreement", "attention"],
    "several heads": ["accuracies", "heads", "agreement", "attention"],
    "seeds": ["accuracies", "agreement", "attention", "outcomes"],
    "steps": [
        "accuracies", "agreement", "attention", "crossings", "trajectory", "trajectory_agreement",
        "trajectory_attention",
    ],
    "seeds over steps": [
        "accuracies", "agreement", "outcomes", "crossings", "trajectory", "trajectory_agreement",
        "trajectory_attention", "trajectory_outcomes",
    ],
    "several heads over steps": [
        "accuracies", "heads", "agreement", "trajectory", "trajectory_agreement", "trajectory_heads",
    ],
    "language model": ["heads", "agreement"],
    "larger language model": ["heads", "agreement"],
    "language model over steps": ["heads", "agreement", "trajectory", "trajectory_agreement", "trajectory_heads"],
}  # fmt: skip


# -- every figure ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_report_has_its_figures(kind: str) -> None:
    shown = [name for name, build in FIGURES.items() if page.compose(build, findings(kind)) is not None]
    assert shown == HAS[kind]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_is_legible(kind: str, size: str, faults: Faults) -> None:
    for name in HAS[kind]:
        made = page.render(FIGURES[name], findings(kind), SIZES[size])
        assert made is not None
        figure, table = made
        assert faults(figure, table, inspect.getdoc(FIGURES[name])) == [], name
        assert figure.get_figwidth() <= SIZES[size].page
        assert figure.get_figheight() <= 9
        assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7


@pytest.mark.parametrize("kind", KINDS)
def test_every_panel_is_drawn_alone_as_in_its_figure(kind: str) -> None:
    for name in HAS[kind]:
        whole = drawn(kind, name)[1]
        for title, rows in whole.groupby("panel", sort=False):
            alone = page.compose(FIGURES[name], findings(kind), panel=str(title))
            assert alone is not None
            pd.testing.assert_frame_equal(alone[1], rows.reset_index(drop=True), check_dtype=False)


@pytest.mark.parametrize("kind", ["steps", "language model over steps"])
def test_of_several_steps_the_last_is_shown(kind: str) -> None:
    last = {"steps": copy_measures, "language model over steps": model_measures}[kind](STEPS[-1])
    for name in {"accuracies", "heads", "agreement"} & {*HAS[kind]}:
        expected = page.compose(FIGURES[name], Findings(last, {}, {}, findings(kind).heads))
        assert expected is not None
        columns = ["panel", "series", "kind", "value", "low", "high"]
        pd.testing.assert_frame_equal(drawn(kind, name)[1][columns], expected[1][columns])


def test_figures_of_saved_reports_need_no_torch() -> None:
    code = "import sys, mesascope.probes.attention_learning.figures; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- what is drawn -----------------------------------------------------------------------------------------------------


@cache
def drawn(kind: str, name: str) -> tuple[Figure, pd.DataFrame]:
    """A figure as it is drawn, not laid out."""
    found = page.compose(FIGURES[name], findings(kind))
    assert found is not None
    return found


def panels(figure: Figure) -> dict[str, Axes]:
    return {ax.get_title(): ax for ax in figure.axes if not hasattr(ax, "_colorbar")}


def points(ax: Axes) -> set[tuple[float, float]]:
    return {(float(x), float(y)) for line in ax.lines for x, y in np.array(line.get_xydata())}


def rows_of(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def numbers(measure: Measure) -> list[float]:
    return [measure.estimate, *(float(bound) for bound in measure.interval)]


@pytest.mark.parametrize("kind", ["copy", "seeds"])
def test_accuracies_are_those_of_their_rows_beside_chance(kind: str) -> None:
    figure, table = drawn(kind, "accuracies")
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["KTIW", "attention", "task"]
    for y, (quantity, label) in enumerate(names.QUANTITIES.items()):
        measure = findings(kind).measures[f"{quantity}_accuracy"]
        estimate = rows_of(table, series=label, kind="estimate")
        assert estimate[["value", "low", "high"]].to_numpy().tolist() == [pytest.approx(numbers(measure))]
        assert {(number, y) for number in numbers(measure)} <= points(ax)
        assert rows_of(table, series=label, kind="null: chance")["value"].item() == pytest.approx(1 / PLACES)
        assert (1 / PLACES, y) in points(ax)


def test_each_pair_stands_beside_its_own_nulls() -> None:
    figure, table = drawn("copy", "agreement")
    (ax,) = figure.axes
    for y, (name, pair) in enumerate(names.PAIRS.items()):
        part = findings("copy").measures["agreement"].sel(pair=name)
        rows = rows_of(table, series=pair.label)
        if part.status != "ok":
            assert (rows["kind"].item(), rows["message"].item()) == ("words", part.message)
            assert (0.05, y, part.status) in {(*text.get_position(), text.get_text()) for text in ax.texts}
            continue
        assert rows_of(rows, kind="estimate")["value"].item() == part.estimate
        for place, null in enumerate((names.SHUFFLED, names.OTHER_TARGETS)):
            samples = part.nulls[null]
            drawn_null = rows_of(rows, kind=f"null: {null}")[["value", "low", "high"]].to_numpy()[0]
            assert drawn_null == pytest.approx([samples.mean(), samples.min(), samples.max()])
            assert (samples.mean(), y + 0.22 * place) in points(ax)


@pytest.mark.parametrize("kind", ["several heads", "language model"])
def test_heads_stand_in_order_beside_their_own_nulls(kind: str) -> None:
    figure, table = drawn(kind, "heads")
    title = names.BETA.label
    measure = findings(kind).measures["head_agreement"].sel(pair="beta")
    expected = [f"L{layer}H{head}" for layer, head in np.ndindex(measure.values.shape)]
    assert [label.get_text() for label in panels(figure)[title].get_yticklabels()] == expected
    rows = rows_of(table, panel=title, kind="estimate")
    assert list(rows["series"]) == expected
    np.testing.assert_array_equal(rows["value"], measure.values.ravel())
    for null in (names.SHUFFLED, names.OTHER_TARGETS):
        of_null = rows_of(table, panel=title, kind=f"null: {null}")
        np.testing.assert_allclose(of_null["value"], measure.nulls[null].mean(axis=0).ravel())
    others = {"attention accuracy", "KTIW accuracy"} if kind == "several heads" else set()
    assert others <= {*table["panel"]}
    for title, name in zip(sorted(others), ("head_ktiw_accuracy", "head_attention_accuracy"), strict=False):
        values = rows_of(table, panel=title, kind="estimate")["value"]
        np.testing.assert_array_equal(values, findings(kind).measures[name].values.ravel())


def test_many_heads_are_maps_with_their_verdicts() -> None:
    figure, table = drawn("larger language model", "heads")
    for name, pair in names.PAIRS.items():
        if pair.label in panels(figure):
            expected = findings("larger language model").measures["head_agreement"].sel(pair=name).values
            image = panels(figure)[pair.label].images[0]
            np.testing.assert_array_equal(np.asarray(image.get_array()), expected)
            assert image.get_clim() == (0, max(0.5, expected.max()))
    marked = table[table["kind"] == "mark"][["series", "message"]].drop_duplicates()
    assert {tuple(row) for row in marked.to_numpy()} == {("L1H0", names.FOLLOWS), ("L0H2", names.AGAINST)}


# -- over training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["steps", "seeds over steps"])
def test_accuracies_share_a_panel_and_seeds_have_one_each(kind: str) -> None:
    figure, table = drawn(kind, "trajectory")
    single = [f"{label}, seed by seed" for label in names.QUANTITIES.values()] if kind == "seeds over steps" else []
    assert list(panels(figure)) == ["accuracy", *single]
    for quantity, label in names.QUANTITIES.items():
        measure = findings(kind).measures[f"{quantity}_accuracy"]
        curve = rows_of(table, panel="accuracy", series=label, kind="estimate")
        np.testing.assert_array_equal(curve["at"], STEPS)
        np.testing.assert_array_equal(curve["value"], measure.values)
        assert set(zip(STEPS, measure.values.tolist(), strict=True)) <= points(panels(figure)["accuracy"])
        for seed in measure.points if measure.points is not None else ():
            thin = set(zip(STEPS, seed.tolist(), strict=True))
            assert thin <= points(panels(figure)[f"{label}, seed by seed"])
            assert not thin <= points(panels(figure)["accuracy"])
    assert all(-0.1 <= end <= 1.1 for ax in panels(figure).values() for end in ax.get_ylim())


def test_of_a_language_model_the_task_stands_beside_its_agreement_with_beta() -> None:
    figure, table = drawn("language model over steps", "trajectory")
    measures = findings("language model over steps").measures
    assert list(panels(figure)) == ["accuracy", names.BETA.label]
    for title, measure in {
        "accuracy": measures["task_accuracy"], names.BETA.label: measures["agreement"].sel(pair="beta")
    }.items():  # fmt: skip
        np.testing.assert_array_equal(rows_of(table, panel=title, kind="estimate")["value"], measure.values)


@pytest.mark.parametrize("kind", ["steps", "seeds over steps"])
def test_a_star_is_where_each_accuracy_passes_one_half(kind: str) -> None:
    figure, table = drawn(kind, "trajectory")
    first = findings(kind).measures["first_crossing"]
    lines = [line for line in panels(figure)["accuracy"].lines if line.get_marker() == "*"]
    stars = {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines}
    assert stars == {(step, names.HALF) for step in first.values}
    told = table[table["kind"] == "mark"].set_index("series")["at"].to_dict()
    assert told == {label: first.sel(quantity=name).estimate for name, label in names.QUANTITIES.items()}


def test_agreements_over_training_have_their_own_nulls_and_pushes_their_own_steps() -> None:
    _, table = drawn("seeds over steps", "trajectory_agreement")
    held = [names.BETA, names.OWN_PROXY, names.OWN_SALIENCY]
    assert [*dict.fromkeys(table["panel"])] == [*(pair.label for pair in held), r"push $\to$ change of attention"]
    for pair in held:
        part = findings("seeds over steps").measures["agreement"].sel(pair=pair.name)
        np.testing.assert_array_equal(rows_of(table, panel=pair.label, kind="estimate")["value"], part.values)
        for null, samples in part.nulls.items():
            shown = rows_of(table, panel=pair.label, kind=f"null: {null}")
            np.testing.assert_allclose(shown["value"], samples.mean(axis=0))
    push = rows_of(table, panel=r"push $\to$ change of attention", kind="estimate")
    np.testing.assert_array_equal(push["at"], STEPS[:-1])
    np.testing.assert_array_equal(push["value"], findings("seeds over steps").measures["agreement_push"].values)


def test_heads_over_training_are_curves_of_those_with_a_verdict_or_of_each_of_few() -> None:
    _, table = drawn("language model over steps", "trajectory_heads")
    rows = rows_of(table, panel=names.BETA.label)
    assert set(rows_of(rows, kind="estimate")["series"]) == {"L1H0", "L0H2"}
    assert "other heads" in set(rows["series"])
    measure = findings("language model over steps").measures["head_agreement"].sel(pair="beta").at(layer=1, head=0)
    np.testing.assert_array_equal(rows_of(rows, kind="estimate", series="L1H0")["value"], measure.values)
    alike = findings("several heads over steps")
    for heads in (alike.heads, {}):
        found = page.compose(FIGURES["trajectory_heads"], replace(alike, heads=heads))
        assert found is not None
        assert set(found[1]["series"].dropna()) == {f"L0H{head}" for head in range(8)}
        labels = [text.get_text() for text in found[0].legends[0].get_texts()]
        assert labels[:8] == [f"L0H{head}" for head in range(8)]


# -- several seeds -----------------------------------------------------------------------------------------------------


def test_outcomes_are_shares_of_seeds_with_their_intervals() -> None:
    _, table = drawn("seeds", "outcomes")
    for name in names.OUTCOMES:
        shown = rows_of(table, series=name, kind="estimate")[["value", "low", "high"]].to_numpy().tolist()
        assert shown == [numbers(findings("seeds").measures["outcome"].sel(outcome=name))]
    _, table = drawn("seeds over steps", "trajectory_outcomes")
    measures = findings("seeds over steps").measures
    for label, measure in {
        "learned": measures["learned"], names.ANTI_ATTENTION: measures["outcome"].sel(outcome=names.ANTI_ATTENTION)
    }.items():  # fmt: skip
        curve = rows_of(table, panel=label, kind="estimate")
        np.testing.assert_array_equal(curve[["value", "low", "high"]], np.stack([measure.values, *measure.interval], 1))


def test_one_seed_has_no_shares() -> None:
    alone = {name: share(np.array(held.values), held.axes, 1) for name, held in outcomes(100).items()}
    assert page.compose(FIGURES["outcomes"], Findings(copy_measures() | alone, {}, {})) is None


def test_crossings_are_seeds_and_their_medians_and_those_that_never_do_stand_at_the_end() -> None:
    figure, table = drawn("seeds over steps", "crossings")
    first, ax = findings("seeds over steps").measures["first_crossing"], figure.axes[0]
    assert first.points is not None
    for y, (quantity, label) in enumerate(names.QUANTITIES.items()):
        column = list(names.QUANTITIES).index(quantity)
        shown = rows_of(table, panel=ax.get_title(), series=label)
        np.testing.assert_array_equal(rows_of(shown, kind="replicate")["value"], first.points[:, column])
        assert (rows_of(shown, kind="replicate")["message"] != "").tolist() == [seed in NEVER for seed in SEEDS]
        assert (first.values[column], y) in points(ax)
        circles = {(x, round(place)) for x, place in points(ax) if place != y}
        assert {(step, y) for step in first.points[:, column] if np.isfinite(step)} <= circles
        (arrow,) = (line for line in ax.lines if line.get_marker() == ">" and line.get_ydata()[0] == y)
        assert arrow.get_xdata()[0] == 1.0
        assert (1.03, y, "2 of 7") in {(*text.get_position(), text.get_text()) for text in ax.texts}
    assert figure.get_suptitle().replace("\N{NO-BREAK SPACE}", " ") == "Of 7 seeds: KTIW first in 5, neither in 2"


def test_the_heading_counts_seeds_by_order() -> None:
    order = share(np.array([1, 47, 1, 0]) / 49, ("order",), 49, order=names.ORDERS)
    found = page.compose(FIGURES["crossings"], Findings(crossings() | {"crossing_order": order}, {}, {}))
    assert found is not None
    words = found[0].get_suptitle().replace("\N{NO-BREAK SPACE}", " ").replace("\n", " ")
    assert words == "Of 49 seeds: KTIW first in 1, attention first in 47, together in 1"


def test_seeds_are_drawn_where_their_median_is_not_known() -> None:
    first = crossings()["first_crossing"]
    assert first.points is not None
    first.points[:4] = np.nan
    nothing = np.full(3, np.nan)
    for ends, label in {40.0: "95 % interval of the median of 7 seeds", np.nan: "one seed"}.items():
        unknown = replace(first, values=nothing, interval=(np.full(3, ends), nothing))
        found = page.compose(FIGURES["crossings"], Findings({"first_crossing": unknown}, {}, {}))
        assert found is not None
        assert {text.get_text() for text in found[0].axes[0].texts} == {"5 of 7"}
        assert found[0].legends[0].get_texts()[0].get_text() == label
        circles = {x for x, _ in points(found[0].axes[0]) if np.isfinite(x)}
        assert {float(step) for step in first.points[np.isfinite(first.points)]} <= circles


def test_an_open_interval_reaches_to_the_end_of_the_axis() -> None:
    ax = drawn("seeds over steps", "crossings")[0].axes[0]
    bars = {float(line.get_ydata()[0]): tuple(line.get_xdata()) for line in ax.lines if line.get_linewidth() == 1.2}
    low = findings("seeds over steps").measures["first_crossing"].interval[0]
    assert bars == {0.0: (low[0], 60), 1.0: (low[1], 60), 2.0: (low[2], ax.get_xlim()[1])}
    assert ax.get_xlim()[1] > STEPS[-1]
