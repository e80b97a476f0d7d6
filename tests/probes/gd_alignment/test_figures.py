"""The figures of gd-alignment, drawn from made-up reports of every kind, are legible and show exactly their table."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
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
from mesascope.probes.measure import Claim, Measure, missing

D = 10
LOSS = "half squared label"
Faults = Callable[[Figure], list[str]]


@dataclass
class MadeUp:
    """Plausible numbers for a report on one checkpoint, on several seeds, or on several seeds at several steps."""

    n_layers: int = 1
    seeds: int = 0
    steps: tuple[int, ...] = ()
    measures: dict[str, Measure] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self._losses()
        self._alignment()
        self._curves()
        self._weights()

    def report(self) -> Report:
        settings = {"input_range": 1.0, "weight_scale": 1.0}
        sources = [{"name": f"lsa-{self.n_layers}layer", "revision": f"seed{i}"} for i in range(max(self.seeds, 1))]
        recipes = {"evaluation": Recipe("made up", settings, 0, 1, "0" * 64).as_dict()}
        return Report(
            "gd-alignment", "1", {}, tuple(sources), {}, recipes,
            Claim("", "", "", (), "", ()), self.measures, self.arrays, 0, "0" * 16,
        )  # fmt: skip

    @property
    def twins(self) -> list[str]:
        return ["gd"] if self.n_layers == 1 else ["gd", "gdpp"]

    @property
    def rivals(self) -> list[str]:
        return ["zero", "mean_label", "ridge", "min_norm", *(f"gd_{k + 1}" for k in range(2 * self.n_layers))]

    def put(self, name: str, values: Any, unit: str, spread: float = 0.01, **keywords: Any) -> None:
        """A measure around these values; over steps it approaches them from three times as much."""
        values = np.asarray(values, dtype=np.float64)
        axes = tuple(keywords.pop("axes", ()))
        if self.steps:
            fade = np.exp(-np.array(self.steps) / 1500.0).reshape(-1, *[1] * values.ndim)
            start = 0.0 if unit == "cosine" else 1.0 if name.startswith("loss_gd") else 2.0
            values = values * (1 - fade + start * fade)
            axes = ("step", *axes)
            keywords["coords"] = {"step": self.steps} | keywords.get("coords", {})
            keywords["nulls"] = {k: np.stack([v] * len(self.steps), 1) for k, v in keywords.get("nulls", {}).items()}
        half = spread * np.abs(values)
        if self.seeds:
            noise = self.rng.normal(size=(self.seeds, *values.shape)) * half
            keywords["points"] = values + noise
        replicate, n = ("seed", self.seeds) if self.seeds else ("task", 10_000)
        if not keywords.get("nulls"):
            keywords["no_nulls"] = "a loss is compared with rivals"
        interval = (np.asarray(values - half), np.asarray(values + half))
        self.measures[name] = Measure(np.asarray(values), unit, interval, replicate, n, axes=axes, **keywords)

    def _losses(self) -> None:
        level = {"model": 0.2062, "gd": 0.2064, "zero": 0.4167, "mean_label": 0.41, "ridge": 0.19, "min_norm": 0.31}
        level |= {f"gd_{k + 1}": 0.2064 * 0.8**k for k in range(2 * self.n_layers)}
        if self.n_layers > 1:
            level |= {"model": 0.121, "gd": 0.165, "gdpp": 0.1205}
        for name in ["model", *self.twins, *self.rivals]:
            self.put(f"loss_{name}", level[name], LOSS, 0.015)
            if name != "model":
                self.put(f"loss_difference_{name}", level["model"] - level[name], LOSS, 0.05)
        self.put("loss_interpolated", level["model"] * 1.002, LOSS)

    def _alignment(self) -> None:
        cosine = {"gd": 0.9993, "gdpp": 0.9962, "ridge": 0.991, "min_norm": 0.72, "gd_1": 0.9993, "gd_2": 0.97}
        cosine |= {"gd_3": 0.94, "gd_4": 0.91}
        if self.n_layers > 1:
            cosine |= {"gd": 0.952, "ridge": 0.988}
        untrained = self.rng.normal(0, 0.04, 50)
        shuffled = self.rng.normal(0.12, 0.003, 20)
        for name in [*self.twins, *self.rivals]:
            if name in ("zero", "mean_label"):
                self.measures[f"cosine_{name}"] = missing("cosine", "undefined", "its prediction ignores the query")
                self.measures[f"norm_ratio_{name}"] = missing("ratio", "undefined", "its prediction ignores the query")
            else:
                nulls = {"untrained": untrained, "shuffled labels": shuffled}
                self.put(f"cosine_{name}", cosine[name], "cosine", (1 - cosine[name]) / 10, nulls=nulls)
                self.put(f"norm_ratio_{name}", 1 + (1 - cosine[name]), "ratio")
            self.put(f"model_difference_{name}", 0.05 + 3 * (1 - cosine.get(name, 0.5)), "label / input", 0.05)
            self.put(f"prediction_difference_{name}", 0.01 + (1 - cosine.get(name, 0.5)), "label", 0.05)
        if self.seeds:
            self.put("cosine_other_seed", 0.9991, "cosine", 0.0002, no_nulls="it is the ceiling itself")
        matrix = np.array([[cosine.get(a, 0) * cosine.get(b, 0) for a in self.rivals] for b in self.rivals])
        matrix[:2] = matrix[:, :2] = np.nan
        np.fill_diagonal(matrix[2:, 2:], 1.0)
        names = tuple(self.rivals)
        coords = {"rival": names, "rival_2": names}
        message = "undefined where a prediction ignores the query"
        self.put("rival_cosines", matrix, "cosine", axes=("rival", "rival_2"), coords=coords, message=message)

    def _curves(self) -> None:
        scale = np.linspace(0.5, 2, 16)
        for i, name in enumerate(["model", *self.twins]):
            for test, x, y in (
                ("input_scale", scale, 0.2 * scale**2 * (1 + (0.3 + 0.1 * i) * (scale - 1) ** 4)),
                ("weight_scale", np.linspace(0.5, 5, 10), (0.2 + 0.01 * i) * np.linspace(0.5, 5, 10) ** 2),
                ("other_distributions", np.linspace(0.5, 5, 10), 0.001 * np.linspace(0.5, 5, 10) ** (6 + i)),
                ("other_distributions_weight_scale", np.linspace(0.5, 5, 10), 0.02 * np.linspace(0.5, 5, 10) ** 2),
            ):
                axis = "weight_scale" if "weight_scale" in test else "input_range"
                self.put(f"loss_{test}_{name}", y, LOSS, 0.05, axes=(axis,), coords={axis: tuple(x)})
            corrupted = {"axes": ("n_corrupted",), "coords": {"n_corrupted": (0, 2, 4, 6, 8)}}
            self.put(f"loss_noisy_labels_{name}", 0.2 + (0.08 + i / 100) * np.arange(5), LOSS, **corrupted)
        for name in ("model", "gd") if self.n_layers == 1 else ():
            self.put(f"loss_rollout_{name}", 0.06 + 0.35 * 0.9 ** np.arange(50), LOSS, axes=("rollout_step",))

    def _weights(self) -> None:
        t = np.linspace(0, 1, 21)
        axis: dict[str, Any] = {"axes": ("t",), "coords": {"t": tuple(t)}}
        for twin in self.twins:
            bump = t * (1 - t)
            self.put(f"loss_path_{twin}", 0.2062 + 0.0008 * t + 0.004 * bump, LOSS, 0.015, **axis)
            self.put(f"loss_path_{twin}_unaligned", 0.2062 + 1.9 * bump, LOSS, 0.015, **axis)
            self.put(f"loss_path_{twin}_wrong_rate", 0.2062 + 0.1 * t**2, LOSS, 0.015, **axis)
            self.put(f"loss_path_{twin}_rotated", 0.5 - 0.29 * t, LOSS, 0.015, **axis)
            for control, barrier in {"": 0.0008, "_unaligned": 0.486, "_wrong_rate": 0.0002, "_rotated": 0.003}.items():
                self.put(f"barrier_{twin}{control}", barrier, LOSS, 0.2)
                self.put(f"weight_distance_{twin}{control}", 0.06 + 50 * barrier, "relative Frobenius distance")
            self._products(twin)

    def _products(self, twin: str) -> None:
        kq, pv = np.diag([1.0] * D + [0.0]), np.diag([0.0] * D + [-0.606])
        if twin == "gdpp":
            pv = np.diag([-0.018] * D + [-0.5])
        for product, value in {"KQ": kq, "PV": pv}.items():
            stack = np.broadcast_to(value, (self.n_layers, 1, D + 1, D + 1)).copy()
            stack = np.stack([stack] * self.seeds) if self.seeds else stack
            self.arrays[f"{product}_{twin}"] = stack
            self.arrays[f"{product}_aligned"] = stack + 0.01 * self.rng.normal(size=(D + 1, D + 1))


KINDS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "two layers, five seeds": {"n_layers": 2, "seeds": 5},
    "five seeds over training": {"seeds": 5, "steps": (0, 500, 1000, 1500, 2000, 3000, 4000, 5000)},
    "two layers over training": {"n_layers": 2, "seeds": 3, "steps": (0, 1, 10, 100, 500, 1000, 5000)},
}
NAMES = list(figures.figures_of("gd-alignment"))


@pytest.fixture(scope="module", params=KINDS)
def report(request: pytest.FixtureRequest) -> Report:
    return MadeUp(**KINDS[request.param]).report()


@functools.cache
def rendered(report: Report, name: str, style: str = "neurips") -> tuple[Figure, pd.DataFrame] | None:
    return figures.render(report, name, style)


def drawn(report: Report, name: str) -> tuple[Figure, pd.DataFrame]:
    found = rendered(report, name)
    assert found is not None
    return found


@pytest.mark.parametrize("style", ["neurips", "acl"])  # the narrowest page, and the narrowest column
def test_no_text_is_cut_off_too_small_or_on_another(report: Report, style: str, faults: Faults) -> None:
    for name in NAMES:
        if (found := rendered(report, name, style)) is None:
            continue
        figure, _ = found
        assert faults(figure) == [], name
        assert figure.get_figwidth() <= page.STYLES[style].page
        assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7


def test_a_fault_in_a_figure_would_be_noticed(faults: Faults) -> None:
    with page.settings():
        figure = Figure((3, 2))
        figure.text(0.5, 0.5, "one")
        figure.text(0.5, 0.3, "apart")
        assert faults(figure) == []
        figure.text(0.52, 0.52, "two")
        figure.text(0.9, 0.9, "a long word at the edge")
    assert faults(figure) == ["'a long word at the edge' leaves the canvas", "'one' on 'two'"]


def line_points(figure: Figure) -> set[tuple[float, float]]:
    """Every vertex of every line, in data coordinates."""
    return {(float(x), float(y)) for ax in figure.axes for line in ax.lines for x, y in np.array(line.get_xydata())}


@pytest.mark.parametrize("name", ["loss", "alignment"])
def test_rows_show_exactly_their_table(report: Report, name: str) -> None:
    figure, table = drawn(report, name)
    xs = {x for x, _ in line_points(figure)}
    for kind, row in zip(table["kind"], table.itertuples(), strict=True):
        if kind == "words":
            continue
        assert row.value in xs
        if kind != "replicate" and "another seed" not in row.series:
            assert {row.low, row.high} <= xs
    estimates = table[(table["kind"] == "estimate") & (table["panel"] == "loss")]
    assert estimates["value"].is_monotonic_increasing


@pytest.mark.parametrize("name", ["path", "ood", "rollout", "trajectory"])
def test_curves_show_exactly_their_table(report: Report, name: str) -> None:
    found = rendered(report, name)
    if found is None:
        has_steps = "step" in report.measures["loss_model"].axes
        assert name == "rollout" or (name == "trajectory" and not has_steps)
        return
    figure, table = found
    assert {(row.at, row.value) for row in table.dropna(subset="value").itertuples()} <= line_points(figure)
    bands = np.concatenate([band.get_paths()[0].vertices for ax in figure.axes for band in ax.collections])
    for bound in ("low", "high"):
        shown = table[table["kind"] != "replicate"][["at", bound]].dropna()
        assert set(shown.itertuples(index=False, name=None)) <= {(float(x), float(y)) for x, y in bands}


def test_heat_maps_show_exactly_their_table(report: Report) -> None:
    figure, table = drawn(report, "rivals")
    cells = [float(text.get_text()) for text in figure.axes[0].texts]
    values = table[table["kind"] == "estimate"]["value"]
    np.testing.assert_allclose(cells, values, atol=5e-4)
    assert list(table[table["kind"] == "words"]["series"]) == ["zero predictor", "mean label"]
    figure, table = drawn(report, "weights")
    images = [np.asarray(image.get_array()) for ax in figure.axes for image in ax.images]
    np.testing.assert_array_equal(np.concatenate([image.ravel() for image in images]), table["value"])
    limits = [ax.images[0].get_clim() for ax in figure.axes if ax.images]
    assert all(low == -high for low, high in limits)
    assert len(set(limits)) == 2  # one scale for each product


def test_nulls_and_the_ceiling_are_drawn() -> None:
    report = MadeUp(seeds=5).report()
    _, table = drawn(report, "alignment")
    null = table[table["kind"] == "null: untrained"].iloc[0]
    samples = report.measures["cosine_gd"].nulls["untrained"]
    assert (null["low"], null["high"]) == tuple(np.percentile(samples, (2.5, 97.5)))
    ceiling = table[table["series"] == "another seed"].iloc[0]
    assert ceiling["value"] == report.measures["cosine_other_seed"].estimate


def test_over_training_the_other_figures_show_the_last_step() -> None:
    report = MadeUp(seeds=5, steps=(0, 1000, 5000)).report()
    _, table = drawn(report, "loss")
    shown = table[(table["kind"] == "estimate") & (table["panel"] == "loss")].set_index("series")["value"]
    assert shown["trained model"] == report.measures["loss_model"].values[-1]


def test_untied_layers_are_all_shown_and_tied_ones_once() -> None:
    made = MadeUp(n_layers=2)
    assert len(drawn(made.report(), "weights")[0].axes) == 6 + 2  # with the two colour bars
    made.arrays["KQ_aligned"] = made.arrays["KQ_aligned"] * np.array([1.0, 2.0]).reshape(2, 1, 1, 1)
    figure, table = drawn(made.report(), "weights")
    assert len(figure.axes) == 12 + 2
    assert "KQ, trained layer 2" in set(table["panel"])


def test_what_has_no_number_is_said_in_words(faults: Faults) -> None:
    made = MadeUp(n_layers=2, seeds=3)
    reason = "the diagonal of KQ averages to 1e-9: no scale aligns it"
    for name, measure in made.measures.items():
        if "path" in name or "barrier" in name or "input_scale" in name:
            made.measures[name] = missing(measure.unit, "undefined", reason)
    made.measures["cosine_ridge"] = missing("cosine", "not applicable", "no ridge here")
    report = made.report()
    for name in ("path", "ood"):
        figure, table = drawn(report, name)
        assert reason in set(table["message"])
        assert any(reason == " ".join(text.get_text().split()) for ax in figure.axes for text in ax.texts)
        assert faults(figure) == []
    figure, table = drawn(report, "alignment")
    assert "not applicable" in {text.get_text() for text in figure.axes[0].texts}
    assert faults(figure) == []


def test_figures_without_any_number_are_left_out_or_say_why() -> None:
    made = MadeUp(seeds=3, steps=(0, 10))
    made.arrays.clear()
    for name, measure in made.measures.items():
        made.measures[name] = missing(measure.unit, "not applicable", "a wrapped predictor has no weights")
    left = {name for name in NAMES if figures.render(made.report(), name) is not None}
    assert left == {"path"}
    made.measures.clear()
    assert not any(figures.render(made.report(), name) for name in NAMES)


def test_an_interpolated_loss_beyond_all_others_leaves_them_room() -> None:
    made = MadeUp(seeds=3, steps=(0, 10, 5000))
    made.measures["loss_interpolated"].values[0] = 1e10
    figure, table = drawn(made.report(), "trajectory")
    loss = next(ax for ax in figure.axes if ax.get_title() == "loss")
    assert loss.get_ylim()[1] < 1
    shown = table[(table["series"] == "interpolated") & (table["kind"] == "estimate")]["value"]
    assert np.isnan(shown.iloc[0])
    assert np.isfinite(shown.iloc[1:]).all()


def test_nothing_is_known_of_the_first_steps(faults: Faults) -> None:
    """Before training the gauge is undefined: those steps are gaps, not errors."""
    made = MadeUp(seeds=3, steps=(0, 10, 5000))
    for name in ("loss_interpolated", "weight_distance_gd", "cosine_gd"):
        measure = made.measures[name]
        for array in (measure.values, *measure.interval, *(samples.T for samples in measure.nulls.values())):
            array[0] = np.nan
    figure, table = drawn(made.report(), "trajectory")
    assert faults(figure) == []
    assert np.isnan(table[table["series"] == "interpolated"]["value"].iloc[0])
