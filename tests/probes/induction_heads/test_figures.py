"""The figures of induction-heads, drawn from made-up reports of small and large models, show exactly their tables."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from mesascope.analyses.reports import figures
from mesascope.analyses.reports.report import Report
from mesascope.data import Recipe
from mesascope.probes.drawing import page
from mesascope.probes.findings import head_name
from mesascope.probes.induction_heads.figures import maps
from mesascope.probes.induction_heads.names import EVEN, GROUPS, NO_REPEATS, PERMUTED, RANDOM_HEADS, ROTATED, Verdict
from mesascope.probes.measure import Claim, Measure, along, missing

PERIODS = (50, 37, 25)
Faults = Callable[..., list[str]]


@dataclass
class MadeUp:
    """Plausible numbers for a model of this shape, on one checkpoint or along training."""

    layers: int = 2
    heads: int = 4
    steps: tuple[int, ...] = ()
    called: int = 4
    verdicts: dict[str, str] = field(default_factory=dict)
    measures: dict[str, Measure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(0)
        shape = (self.layers, self.heads)
        names = [head_name((layer, head)) for layer, head in np.ndindex(shape)]
        self.verdicts = dict.fromkeys(names, "none")
        called = ["previous-token", "duplicate-token", "anti-induction", "induction", "current-token", "fixed-offset"]
        called += ["first-token", "induction"]
        for i, place in enumerate(np.linspace(0, len(names) - 1, self.called).astype(int)):
            self.verdicts[names[place]] = called[i % len(called)]
        for name in ("prefix_matching", "duplicate_token", "previous_token", "current_token", "first_token"):
            permuted = 0.05 * self.rng.random((6, *shape))
            nulls = {EVEN: np.full((1, *shape), 0.02), NO_REPEATS: permuted, PERMUTED: permuted}
            self.put(f"{name}_score", self.rng.random(shape) ** 4, "probability", ("layer", "head"), nulls=nulls)
        self.put("excess", self.rng.random(shape) ** 4 - 0.05, "probability", ("layer", "head"))
        self.put("direct_logit_attribution", self.rng.normal(size=shape), "logit", ("layer", "head"))
        self.put("ov_copying_score", np.tanh(self.rng.normal(size=shape)), "1", ("layer", "head"), interval=False)
        self._offsets(shape)
        self._composition(shape)
        self._losses()
        self._ablations(shape)

    def report(self) -> Report:
        settings = {"periods": PERIODS, "repeats": 2, "bos": 0}
        recipes = {"evaluation": Recipe("made up", settings, 0, 1, "0" * 64).as_dict()}
        return Report(
            "induction-heads", "1", {}, ({"name": "tiny", "revision": None},), {},
            recipes, Claim("", "", "", (), "", ()), self.measures, {}, 0, "0" * 16,
            heads=self.verdicts,
        )  # fmt: skip

    def put(self, name: str, values: Any, unit: str, axes: tuple[str, ...] = (), **keywords: Any) -> None:
        self.measures[name] = self.made(values, unit, axes, **keywords)

    def made(
        self, values: Any, unit: str, axes: tuple[str, ...] = (), interval: bool = True, **keywords: Any
    ) -> Measure:
        """A measure around these values; over steps it grows into them."""
        values = np.asarray(values, dtype=np.float64)
        nulls = keywords.pop("nulls", {})
        if self.steps:
            grown = 1 - np.exp(-np.array(self.steps) / 1500.0).reshape(-1, *[1] * values.ndim)
            values, axes = values * grown, ("step", *axes)
            keywords["coords"] = {"step": self.steps} | keywords.get("coords", {})
            nulls = {k: np.stack([v] * len(self.steps), 1) for k, v in nulls.items()}
        half = 0.02 + 0.05 * np.abs(values) if interval else np.full(values.shape, np.nan)
        replicate, n = ("sequence", 96) if interval else ("none", 1)
        return Measure(
            values, unit, (np.asarray(values - half), np.asarray(values + half)), replicate, n, axes, nulls=nulls,
            no_nulls="made up", message="made up", **keywords,
        )  # fmt: skip

    def put_along(self, name: str, axis: str, parts: dict[Any, Measure]) -> None:
        self.measures[name] = self.stacked(axis, parts)

    def stacked(self, axis: str, parts: dict[Any, Measure]) -> Measure:
        """Measures along an axis, behind the steps where there are any."""
        return along(axis, parts, place=1 if self.steps else 0)

    def _offsets(self, shape: tuple[int, int]) -> None:
        parts = {}
        for period in PERIODS:
            values = self.rng.random((*shape, PERIODS[0] + 1)) ** 6
            values[..., period + 1 :] = np.nan  # offsets of longer periods only
            parts[period] = self.made(values, "probability", ("layer", "head", "offset"))
        self.put_along("attention_by_offset", "period", parts)

    def _composition(self, shape: tuple[int, int]) -> None:
        if np.prod(shape) > 256:
            self.measures["composition"] = missing("1", "not applicable", "too many pairs for a report")
            return
        axes = ("earlier_layer", "earlier_head", "layer", "head")
        parts = {}
        for read_by in ("queries", "keys", "values"):
            values = self.rng.random((*shape, *shape)) * 0.2
            for earlier, later in np.ndindex(self.layers, self.layers):
                if earlier >= later:
                    values[earlier, :, later] = np.nan
            nulls = {ROTATED: 0.12 + 0.005 * self.rng.normal(size=(20, *values.shape))} if np.prod(shape) <= 64 else {}
            parts[read_by] = self.made(values, "1", axes, interval=False, nulls=nulls)
        self.put_along("composition", "read_by", parts)

    def _losses(self) -> None:
        tokens = np.arange(1, 2 * PERIODS[0] + 1)
        loss = np.where(tokens <= PERIODS[0] + 1, 6.2, 0.4 + 2 * np.exp(-(tokens - PERIODS[0]) / 3.0))
        nulls = {NO_REPEATS: np.full((1, len(tokens)), 6.2)}
        self.put("loss_by_position", loss, "nat", ("position",), coords={"position": tuple(tokens)}, nulls=nulls)
        for name, value in {
            "loss_first_repeat": 6.2,
            "loss_second_repeat": 0.7,
            "in_context_learning_score": 5.5,
        }.items():
            self.put(name, value, "nat", nulls={NO_REPEATS: np.array([6.2, 6.3])})
        self.put("accuracy_second_repeat", 0.9, "probability", nulls={NO_REPEATS: np.array([0.0, 0.01])})

    def _ablations(self, shape: tuple[int, int]) -> None:
        alone, rises, left = {}, {}, {}
        for replacement, scale in {"zero": 1.0, "mean": 0.7}.items():
            values = scale * self.rng.random(shape) ** 8
            if np.prod(shape) > 64:  # only heads with a verdict are ablated alone
                for head in np.ndindex(shape):
                    values[head] = values[head] if self.verdicts[head_name(head)] != Verdict.NONE else np.nan
            alone[replacement] = self.made(values, "nat", ("layer", "head"))
            rises[replacement] = self._groups(scale * np.array([4.8, 5.1]), 0.2 * self.rng.random((8, 2)))
            left[replacement] = self._groups(np.array([0.7, 0.4]) / scale, 5.5 - 0.2 * self.rng.random((8, 2)))
        for name, parts in {
            "ablation": alone, "group_ablation": rises, "in_context_learning_without": left
        }.items():  # fmt: skip
            self.put_along(name, "replacement", parts)

    def _groups(self, values: np.ndarray, random: np.ndarray) -> Measure:
        parts = {
            group.value: self.made(value, "nat", nulls={RANDOM_HEADS: samples})
            for group, value, samples in zip(GROUPS, values, random.T, strict=True)
        }
        return self.stacked("group", parts)


STEPS = (0, 1, 10, 100, 500, 1000, 5000)
MODELS: dict[str, dict[str, Any]] = {
    "two layers": {},
    "12 x 12 heads": {"layers": 12, "heads": 12, "called": 16},
    "32 x 32 heads": {"layers": 32, "heads": 32, "called": 40},
    "along training": {"heads": 8, "called": 8, "steps": STEPS},
}
NAMES = list(figures.figures_of("induction-heads"))
SIZES = {"neurips": page.STYLES["neurips"], "column": page.style_of("acl", 3.25)}
OVER_STEPS = ["trajectory", "trajectory_losses"]


@functools.cache
def made(kind: str) -> Report:
    return MadeUp(**MODELS[kind]).report()


def built(report: Report, name: str) -> tuple[Figure, pd.DataFrame] | None:
    """A figure as it is drawn, not laid out: that takes most of the time, and moves no mark."""
    found = page.compose(figures.figures_of("induction-heads")[name], report.findings)
    if found is not None:
        found[0].set_layout_engine("none")
    return found


@functools.cache
def drawn(kind: str, name: str) -> tuple[Figure, pd.DataFrame]:
    found = built(made(kind), name)
    assert found is not None
    return found


def points(figure: Figure) -> set[tuple[float, float]]:
    """Every vertex of every line, in data coordinates."""
    return {(float(x), float(y)) for ax in figure.axes for line in ax.lines for x, y in np.array(line.get_xydata())}


def images(figure: Figure) -> np.ndarray:
    """All cells of all heat maps, panel after panel."""
    shown = [np.asarray(image.get_array()).ravel() for ax in figure.axes for image in ax.images]
    return np.concatenate(shown)


@pytest.mark.parametrize(
    ("kind", "style", "names"),  # on the narrowest page, and single panels in the narrowest column
    [
        ("two layers", "neurips", NAMES),
        ("two layers", "column", NAMES),
        ("12 x 12 heads", "neurips", ["heads"]),
        ("12 x 12 heads", "column", ["composition", "heads", "evidence"]),
        ("32 x 32 heads", "neurips", NAMES),
        ("along training", "neurips", OVER_STEPS),  # the others are those of the last step
        ("along training", "column", OVER_STEPS),
    ],
)
def test_no_text_is_cut_off_too_small_or_on_another(kind: str, style: str, names: list[str], faults: Faults) -> None:
    absent = ["text", "patterns", "value_weighted"]  # these have tests of their own, in drawing/test_attention_maps.py
    absent += [*["composition"] * (kind == "32 x 32 heads"), *([] if "steps" in MODELS[kind] else OVER_STEPS)]
    for name in names:
        found = page.render(figures.figures_of("induction-heads")[name], made(kind).findings, SIZES[style])
        assert (found is None) == (name in absent)
        if found is None:
            continue
        figure, table = found
        assert faults(figure, table, figures.caption(made(kind), name)) == [], name
        assert figure.get_figwidth() <= SIZES[style].page
        assert figure.get_figheight() <= 9  # a page of text is about as high
        assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7


@pytest.mark.parametrize("name", ["heads", "attention", "offsets"])
@pytest.mark.parametrize("kind", MODELS)
def test_maps_show_exactly_their_table(kind: str, name: str) -> None:
    figure, table = drawn(kind, name)
    np.testing.assert_array_equal(images(figure), table[table["kind"] == "estimate"]["value"])


def test_offsets_of_other_periods_are_not_drawn() -> None:
    """A period has offsets up to itself; those that only longer ones have hold no number, and no cell."""
    figure, table = drawn("two layers", "offsets")
    estimates = table[table["kind"] == "estimate"]
    assert np.isfinite(estimates["value"].astype(float)).all()
    for period, ax in zip(PERIODS, figure.axes, strict=False):
        assert ax.images[0].get_array().shape[1] == period + 1
        assert estimates[estimates["panel"] == f"$S$ = {period}"]["at"].max() == period


@pytest.mark.parametrize("name", ["evidence", "composition", "ablation"])
def test_rows_show_exactly_their_table(name: str) -> None:
    figure, table = drawn("two layers", name)
    xs = {x for x, _ in points(figure)}
    for row in table[table["kind"] != "words"].itertuples():
        assert row.value in xs
        assert {bound for bound in (row.low, row.high) if np.isfinite(bound)} <= xs


@pytest.mark.parametrize("name", OVER_STEPS)
def test_curves_show_exactly_their_table(name: str) -> None:
    figure, table = drawn("along training", name)
    assert {(row.at, row.value) for row in table.dropna(subset="value").itertuples()} <= points(figure)
    bands = np.concatenate([band.get_paths()[0].vertices for ax in figure.axes for band in ax.collections])
    for bound in ("low", "high"):
        shown = table[["at", bound]].dropna()
        assert set(shown.itertuples(index=False, name=None)) <= {(float(x), float(y)) for x, y in bands}


def test_heads_with_a_verdict_are_marked_and_no_others() -> None:
    made_up = MadeUp(layers=12, heads=12, called=16)
    _, table = drawn("12 x 12 heads", "heads")
    marked = table[(table["kind"] == "mark") & (table["panel"] == "OV copying")]
    expected = {head: verdict for head, verdict in made_up.verdicts.items() if verdict != "none"}
    assert dict(zip(marked["series"], marked["message"], strict=True)) == expected


def test_the_panels_of_a_row_name_the_same_heads() -> None:
    """Zero and mean ablation put heads in another order: the labels hold for both."""
    _, table = drawn("along training", "ablation")
    estimates = table[table["kind"] == "estimate"]
    panels = [estimates["panel"] == f"rise of the loss, {one} ablation" for one in ("zero", "mean")]
    orders = [list(estimates[panel]["series"]) for panel in panels]
    assert orders[0] == orders[1]
    measures = made("along training").measures
    for replacement in ("zero", "mean"):
        rows = estimates[estimates["panel"] == f"rise of the loss, {replacement} ablation"].set_index("series")["value"]
        assert rows["L0H0"] == measures["ablation"].sel(replacement=replacement).values[-1, 0, 0]
        group = measures["group_ablation"].sel(replacement=replacement, group="previous-token")
        assert rows["all previous-token heads"] == group.values[-1]


def test_few_heads_without_a_verdict_are_shown_and_the_most_important() -> None:
    report = MadeUp(layers=4, heads=16, called=3).report()
    found = built(report, "ablation")
    assert found is not None
    shown = set(found[1]["series"])
    values = report.measures["ablation"].sel(replacement="zero").values
    free = [head for head in np.ndindex(values.shape) if report.heads[head_name(head)] == "none"]
    largest = sorted(free, key=lambda head: -values[head])
    assert {head_name(head) for head in largest[:5]} <= shown
    assert not {head_name(head) for head in largest[5:]} & shown


def test_pairs_read_what_an_earlier_head_writes() -> None:
    made_up = MadeUp(layers=3, heads=2, called=0)
    made_up.verdicts |= {"L0H1": "previous-token", "L1H0": "induction", "L2H1": "previous-token", "L2H0": "none"}
    report = made_up.report()
    found = built(report, "composition")
    assert found is not None
    estimates = found[1][found[1]["kind"] == "estimate"]
    assert estimates["series"].tolist() == ["L0H1 → L1H0"]
    composition = report.measures["composition"].sel(read_by="keys")
    assert estimates["value"].item() == composition.values[0, 1, 1, 0]
    null = found[1][found[1]["kind"] == f"null: {ROTATED}"]
    assert null["value"].item() == composition.nulls[ROTATED][:, 0, 1, 1, 0].mean()


def test_one_null_looks_the_same_in_all_panels() -> None:
    """Scores have several nulls, the excess has one of them only."""
    made_up = MadeUp()
    scores = made_up.measures["prefix_matching_score"]
    made_up.put("excess", scores.values, "probability", ("layer", "head"), nulls={
        PERMUTED: scores.nulls[PERMUTED] + 1,
    })  # fmt: skip
    found = built(made_up.report(), "evidence")
    assert found is not None
    panels = found[0].axes[:2]
    key = next(
        handle
        for handle, text in zip(found[0].legends[0].legend_handles, found[0].legends[0].get_texts(), strict=True)
        if "permuted" in text.get_text()
    )
    colors = [{line.get_color() for line in ax.lines if line.get_marker() == key.get_marker()} for ax in panels]
    assert key.get_color() in colors[0]
    assert key.get_color() in colors[1]


def test_repeats_begin_where_the_loss_may_fall() -> None:
    figure, table = drawn("two layers", "loss")
    upright = [line.get_xdata()[0] for line in figure.axes[0].lines if len(set(line.get_xdata())) == 1]
    assert upright == [1, 1 + PERIODS[0]]
    loss = table[table["kind"] == "estimate"].set_index("at")["value"]
    assert loss[1 + PERIODS[0]] > 3 * loss[2 + PERIODS[0]]


def test_along_training_the_other_figures_show_the_last_step() -> None:
    _, table = drawn("along training", "heads")
    shown = table[(table["panel"] == "prefix matching") & (table["kind"] == "estimate")]["value"]
    np.testing.assert_array_equal(shown, made("along training").measures["prefix_matching_score"].values[-1].ravel())


def test_own_text_has_a_figure() -> None:
    made_up = MadeUp()
    for name in ("text_matching", "text_duplicate"):
        for kind in ("score", "excess"):
            made_up.put(f"{name}_{kind}", made_up.rng.random((2, 4)), "probability", ("layer", "head"))
    found = built(made_up.report(), "text")
    assert found is not None
    shown = [made_up.measures[name].values.ravel() for name in maps.TEXT]
    np.testing.assert_array_equal(images(found[0]), np.concatenate(shown))
    np.testing.assert_array_equal(images(found[0]), found[1][found[1]["kind"] == "estimate"]["value"])


def test_over_seeds_heads_have_no_figures_and_losses_do() -> None:
    made_up = MadeUp(steps=STEPS)
    for name, measure in made_up.measures.items():
        if "head" in measure.axes:
            made_up.measures[name] = missing(measure.unit, "not applicable", "heads have no order that seeds share")
    made_up.verdicts = {}
    shown = {name for name in NAMES if built(made_up.report(), name) is not None}
    assert shown == {"loss", "ablation", "trajectory_losses"}


def test_what_has_no_number_is_said_in_words_or_left_out(faults: Faults) -> None:
    made_up = MadeUp()
    reason = "this model normalises the output of attention before it enters the residual stream"
    made_up.measures["direct_logit_attribution"] = missing("logit", "not applicable", reason)
    found = figures.render(made_up.report(), "heads")
    assert found is not None
    assert reason in set(found[1]["message"])
    assert faults(found[0]) == []
    made_up.measures.clear()
    assert not any(built(made_up.report(), name) for name in NAMES)


def test_nothing_is_called_in_a_model_of_one_layer() -> None:
    made_up = MadeUp(layers=1, heads=4, called=0)
    absent = missing("1", "not applicable", "a model of one layer has no earlier heads")
    made_up.put_along("composition", "read_by", dict.fromkeys(("queries", "keys", "values"), absent))
    for name in ("group_ablation", "in_context_learning_without"):
        none = missing("nat", "not applicable", "no head is called induction on both halves of the sequences")
        made_up.put_along(name, "replacement", dict.fromkeys(("zero", "mean"), along("group", {"induction": none})))
    shown = {name for name in NAMES if built(made_up.report(), name) is not None}
    assert shown == {"heads", "attention", "loss", "ablation"}


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("heads", "evidence", "ablation"):  # every kind of mark
        again = built(MadeUp().report(), name)
        assert again is not None
        first, second = (
            page.save(figure, tmp_path / f"{name}_{copy}", ["pdf"])[0].read_bytes()
            for copy, figure in enumerate((drawn("two layers", name)[0], again[0]))
        )
        assert first == second
