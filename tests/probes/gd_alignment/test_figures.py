"""The figures of gd-alignment, drawn from made-up reports of every kind, are legible and show exactly their table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
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
from mesascope.probes.gd_alignment.figures.shifts import SHIFTS
from mesascope.probes.measure import Claim, Measure, along, missing

D = 10
AXES = {
    **dict.fromkeys(
        ("loss", "loss_difference", "cosine", "norm_ratio", "model_difference", "prediction_difference"),
        ("candidate",),
    ),
    **{f"loss_{test}": ("candidate",) for test in (*SHIFTS, "rollout")},
    "loss_path": ("candidate", "path"),
    "barrier": ("candidate", "path"),
    "weight_distance": ("candidate", "control"),
}
LOSS = "half squared label"
Faults = Callable[[Figure], list[str]]


@dataclass
class MadeUp:
    """Plausible numbers for a report on one checkpoint, on several seeds, or on several seeds at several steps."""

    n_layers: int = 1
    seeds: int = 0
    steps: tuple[int, ...] = ()
    parts: dict[tuple[str, ...], Measure] = field(default_factory=dict)
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
            Claim("", "", "", (), "", ()), self.measures(), self.arrays, 0, "0" * 16,
        )  # fmt: skip

    def measures(self) -> dict[str, Measure]:
        """The parts, put together as the probe puts them."""
        found: dict[str, Any] = {}
        for (metric, *labels), part in self.parts.items():
            held = found
            for label in (metric, *labels)[:-1]:
                held = held.setdefault(label, {})
            held[(metric, *labels)[-1]] = part
        return {metric: self._stacked(held, AXES.get(metric, ())) for metric, held in found.items()}

    def _stacked(self, held: Any, axes: tuple[str, ...]) -> Measure:
        if isinstance(held, Measure):
            return held
        axis, *inner = axes
        parts = {label: self._stacked(part, tuple(inner)) for label, part in held.items()}
        leading = any(part.axes[:1] == ("step",) for part in parts.values())
        return along(axis, parts, place=1 if leading else 0)

    @property
    def constructed(self) -> list[str]:
        return ["gd"] if self.n_layers == 1 else ["gd", "gdpp"]

    @property
    def algorithms(self) -> list[str]:
        return ["zero", "mean_label", "ridge", "min_norm", *(f"gd_{k + 1}" for k in range(2 * self.n_layers))]

    def put(self, name: str | tuple[str, ...], values: Any, unit: str, spread: float = 0.01, **keywords: Any) -> None:
        """A measure around these values; over steps it approaches them from three times as much."""
        name = (name,) if isinstance(name, str) else name
        values = np.asarray(values, dtype=np.float64)
        axes = tuple(keywords.pop("axes", ()))
        if self.steps:
            fade = np.exp(-np.array(self.steps) / 1500.0).reshape(-1, *[1] * values.ndim)
            start = 0.0 if unit == "cosine" else 1.0 if name in (("loss", "gd"), ("loss", "gdpp")) else 2.0
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
            keywords["no_nulls"] = "a loss is compared with candidates"
        interval = (np.asarray(values - half), np.asarray(values + half))
        self.parts[name] = Measure(np.asarray(values), unit, interval, replicate, n, axes=axes, **keywords)

    def _losses(self) -> None:
        level = {"model": 0.2062, "gd": 0.2064, "zero": 0.4167, "mean_label": 0.41, "ridge": 0.19, "min_norm": 0.31}
        level |= {f"gd_{k + 1}": 0.2064 * 0.8**k for k in range(2 * self.n_layers)}
        if self.n_layers > 1:
            level |= {"model": 0.121, "gd": 0.165, "gdpp": 0.1205}
        for name in ["model", *self.constructed, *self.algorithms]:
            self.put(("loss", name), level[name], LOSS, 0.015)
            if name != "model":
                self.put(("loss_difference", name), level["model"] - level[name], LOSS, 0.05)
        self.put("loss_interpolated", level["model"] * 1.002, LOSS)

    def _alignment(self) -> None:
        cosine = {"gd": 0.9993, "gdpp": 0.9962, "ridge": 0.991, "min_norm": 0.72, "gd_1": 0.9993, "gd_2": 0.97}
        cosine |= {"gd_3": 0.94, "gd_4": 0.91}
        if self.n_layers > 1:
            cosine |= {"gd": 0.952, "ridge": 0.988}
        untrained = self.rng.normal(0, 0.04, 50)
        shuffled = self.rng.normal(0.12, 0.003, 20)
        for name in [*self.constructed, *self.algorithms]:
            if name in ("zero", "mean_label"):
                self.parts["cosine", name] = missing("cosine", "undefined", "its prediction ignores the query")
                self.parts["norm_ratio", name] = missing("ratio", "undefined", "its prediction ignores the query")
            else:
                nulls = {"untrained": untrained, "shuffled labels": shuffled}
                self.put(("cosine", name), cosine[name], "cosine", (1 - cosine[name]) / 10, nulls=nulls)
                self.put(("norm_ratio", name), 1 + (1 - cosine[name]), "ratio")
            self.put(("model_difference", name), 0.05 + 3 * (1 - cosine.get(name, 0.5)), "label / input", 0.05)
            self.put(("prediction_difference", name), 0.01 + (1 - cosine.get(name, 0.5)), "label", 0.05)
        if self.seeds:
            self.put("cosine_between_seeds", 0.9991, "cosine", 0.0002, no_nulls="it is the ceiling itself")
        matrix = np.array([[cosine.get(a, 0) * cosine.get(b, 0) for a in self.algorithms] for b in self.algorithms])
        matrix[:2] = matrix[:, :2] = np.nan
        np.fill_diagonal(matrix[2:, 2:], 1.0)
        names = tuple(self.algorithms)
        coords = {"candidate": names, "other_candidate": names}
        message = "undefined where a prediction ignores the query"
        self.put("candidate_cosines", matrix, "cosine", axes=tuple(coords), coords=coords, message=message)

    def _curves(self) -> None:
        scale = np.linspace(0.5, 2, 16)
        for i, name in enumerate(["model", *self.constructed]):
            for test, x, y in (
                ("input_scale", scale, 0.2 * scale**2 * (1 + (0.3 + 0.1 * i) * (scale - 1) ** 4)),
                ("weight_scale", np.linspace(0.5, 5, 10), (0.2 + 0.01 * i) * np.linspace(0.5, 5, 10) ** 2),
                ("other_distributions", np.linspace(0.5, 5, 10), 0.001 * np.linspace(0.5, 5, 10) ** (6 + i)),
                ("other_distributions_weight_scale", np.linspace(0.5, 5, 10), 0.02 * np.linspace(0.5, 5, 10) ** 2),
            ):
                axis = "weight_scale" if "weight_scale" in test else "input_range"
                self.put((f"loss_{test}", name), y, LOSS, 0.05, axes=(axis,), coords={axis: tuple(x)})
            corrupted = {"axes": ("n_corrupted",), "coords": {"n_corrupted": (0, 2, 4, 6, 8)}}
            self.put(("loss_noisy_labels", name), 0.2 + (0.08 + i / 100) * np.arange(5), LOSS, **corrupted)
        for name in ("model", "gd") if self.n_layers == 1 else ():
            self.put(("loss_rollout", name), 0.06 + 0.35 * 0.9 ** np.arange(50), LOSS, axes=("rollout_step",))

    def _weights(self) -> None:
        t = np.linspace(0, 1, 21)
        axis: dict[str, Any] = {"axes": ("t",), "coords": {"t": tuple(t)}}
        for name in self.constructed:
            bump = t * (1 - t)
            self.put(("loss_path", name, "aligned"), 0.2062 + 0.0008 * t + 0.004 * bump, LOSS, 0.015, **axis)
            self.put(("loss_path", name, "unaligned"), 0.2062 + 1.9 * bump, LOSS, 0.015, **axis)
            self.put(("loss_path", name, "wrong_rate"), 0.2062 + 0.1 * t**2, LOSS, 0.015, **axis)
            self.put(("loss_path", name, "rotated"), 0.5 - 0.29 * t, LOSS, 0.015, **axis)
            barriers = {"aligned": 0.0008, "unaligned": 0.486, "wrong_rate": 0.0002, "rotated": 0.003}
            for path, barrier in barriers.items():
                self.put(("barrier", name, path), barrier, LOSS, 0.2)
            for control, distance in {"trained": 0.1, "wrong_rate": 0.07, "rotated": 0.21}.items():
                self.put(("weight_distance", name, control), distance, "relative Frobenius distance")
            self._products(name)

    def _products(self, name: str) -> None:
        kq, pv = np.diag([1.0] * D + [0.0]), np.diag([0.0] * D + [-0.606])
        if name == "gdpp":
            pv = np.diag([-0.018] * D + [-0.5])
        for product, value in {"KQ": kq, "PV": pv}.items():
            stack = np.broadcast_to(value, (self.n_layers, 1, D + 1, D + 1)).copy()
            stack = np.stack([stack] * self.seeds) if self.seeds else stack
            self.arrays[f"{product}_{name}"] = stack
            self.arrays[f"{product}_aligned"] = stack + 0.01 * self.rng.normal(size=(D + 1, D + 1))


KINDS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "two layers, five seeds": {"n_layers": 2, "seeds": 5},
    "five seeds over training": {"seeds": 5, "steps": (0, 500, 1000, 1500, 2000, 3000, 4000, 5000)},
    "two layers over training": {"n_layers": 2, "seeds": 3, "steps": (0, 1, 10, 100, 500, 1000, 5000)},
}
NAMES = list(figures.figures_of("gd-alignment"))
AT_ONE_STEP = [name for name in NAMES if name != "trajectory"]
DRAWN = {
    "one layer": AT_ONE_STEP,
    "two layers, five seeds": [name for name in AT_ONE_STEP if name != "rollout"],
    # the others show the last step, as one of those above: see below
    "five seeds over training": ["trajectory"],
    "two layers over training": ["trajectory"],
}
"""The figures of each kind of report."""


def drawn_among(names: Collection[str]) -> pytest.MarkDecorator:
    """A test of every kind of report and each of these figures that it has."""
    pairs = [(kind, name) for kind, held in DRAWN.items() for name in held if name in names]
    return pytest.mark.parametrize(("kind", "name"), pairs)


@functools.cache
def made_up(kind: str) -> Report:
    return MadeUp(**KINDS[kind]).report()


@functools.cache
def rendered(report: Report, name: str, style: str = "neurips") -> tuple[Figure, pd.DataFrame] | None:
    return figures.render(report, name, style)


def drawn(report: Report, name: str, style: str = "neurips") -> tuple[Figure, pd.DataFrame]:
    found = rendered(report, name, style)
    assert found is not None
    return found


@pytest.mark.parametrize("width", [5.5, 3.25])  # the narrowest page, and a narrow column
@drawn_among(NAMES)
def test_no_text_is_cut_off_too_small_or_on_another(kind: str, name: str, width: float, faults: Faults) -> None:
    report = made_up(kind)
    found = page.render(figures.figures_of("gd-alignment")[name], report.findings, page.style_of("acl", width))
    assert found is not None
    figure, table = found
    assert faults(figure, table, figures.caption(report, name)) == []
    assert figure.get_figwidth() <= width
    assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_measured_is_not_drawn(kind: str) -> None:
    report = made_up(kind)
    if "step" not in report.measures["loss"].axes:
        assert rendered(report, "trajectory") is None
    assert (rendered(report, "rollout") is None) is ("loss_rollout" not in report.measures)


def line_points(figure: Figure) -> set[tuple[float, float]]:
    """Every vertex of every line, in data coordinates."""
    return {(float(x), float(y)) for ax in figure.axes for line in ax.lines for x, y in np.array(line.get_xydata())}


@drawn_among(["loss", "alignment"])
def test_rows_show_exactly_their_table(kind: str, name: str) -> None:
    figure, table = drawn(made_up(kind), name)
    xs = {x for x, _ in line_points(figure)}
    for row in table[table["kind"] != "words"].itertuples():
        assert row.value in xs
        if row.kind != "replicate" and "another seed" not in row.series:
            assert {row.low, row.high} <= xs
    estimates = table[(table["kind"] == "estimate") & (table["panel"] == "loss")]
    assert estimates["value"].is_monotonic_increasing


@drawn_among(["path", "ood", "rollout", "trajectory"])
def test_curves_show_exactly_their_table(kind: str, name: str) -> None:
    figure, table = drawn(made_up(kind), name)
    assert {(row.at, row.value) for row in table.dropna(subset="value").itertuples()} <= line_points(figure)
    bands = np.concatenate([band.get_paths()[0].vertices for ax in figure.axes for band in ax.collections])
    for bound in ("low", "high"):
        shown = table[table["kind"] != "replicate"][["at", bound]].dropna()
        assert set(shown.itertuples(index=False, name=None)) <= {(float(x), float(y)) for x, y in bands}


@drawn_among(["candidates"])
def test_the_matrix_shows_exactly_its_table(kind: str, name: str) -> None:
    figure, table = drawn(made_up(kind), name)
    cells = [float(text.get_text()) for text in figure.axes[0].texts]
    estimates = table[table["kind"] == "estimate"]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    shown = dict(zip(((row, column) for row in names for column in names), cells, strict=True))
    for row in estimates.itertuples():
        assert shown[row.series, row.at] == pytest.approx(row.value, abs=5e-4)
    assert len(estimates) == len(cells)
    assert list(table[table["kind"] == "words"]["series"].dropna()) == ["mean label", "zero predictor"]
    model = estimates[(estimates["series"] == "trained model") & (estimates["at"] == "ridge")]
    assert model["value"].item() == made_up(kind).measures["cosine"].sel(candidate="ridge").estimate
    cosines = made_up(kind).measures["candidate_cosines"]
    cell = table[(table["series"] == "ridge") & (table["at"] == "GD, 2 steps")].iloc[0]
    assert cell["value"] == cosines.sel(candidate="ridge", other_candidate="gd_2").estimate


@drawn_among(["weights"])
def test_heat_maps_show_exactly_their_table(kind: str, name: str) -> None:
    figure, table = drawn(made_up(kind), name)
    images = [np.asarray(image.get_array()) for ax in figure.axes for image in ax.images]
    np.testing.assert_array_equal(np.concatenate([image.ravel() for image in images]), table["value"].dropna())
    limits = [ax.images[0].get_clim() for ax in figure.axes if ax.images]
    assert all(low == -high for low, high in limits)
    assert len(set(limits)) == 2  # one scale for each product


def test_the_legend_of_paths_has_the_barrier_of_each() -> None:
    figure, _ = drawn(made_up("one layer"), "path")
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][:4] == [
        "aligned: 0.0008 [0.00064, 0.00096]",
        "not aligned: 0.49 [0.39, 0.58]",
        "wrong rate: 0.0002 [0.00016, 0.00024]",
        "rotated KQ: 0.003 [0.0024, 0.0036]",
    ]


def test_nulls_and_the_ceiling_are_drawn() -> None:
    report = MadeUp(seeds=5).report()
    _, table = drawn(report, "alignment")
    null = table[table["kind"] == "null: untrained"].iloc[0]
    samples = report.measures["cosine_gd"].nulls["untrained"]
    assert (null["low"], null["high"]) == tuple(np.percentile(samples, (2.5, 97.5)))
    ceiling = table[table["series"] == "another seed"].iloc[0]
    assert ceiling["value"] == report.measures["cosine_between_seeds"].estimate


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
    for name, measure in made.parts.items():
        if name[0] in ("loss_path", "barrier", "loss_input_scale"):
            made.parts[name] = missing(measure.unit, "undefined", reason)
    made.parts["cosine", "ridge"] = missing("cosine", "not applicable", "no ridge here")
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
    for name, measure in made.parts.items():
        made.parts[name] = missing(measure.unit, "not applicable", "a wrapped predictor has no weights")
    left = {name for name in NAMES if figures.render(made.report(), name) is not None}
    assert left == {"path"}
    made.parts.clear()
    assert not any(figures.render(made.report(), name) for name in NAMES)


def test_an_interpolated_loss_beyond_all_others_leaves_them_room() -> None:
    made = MadeUp(seeds=3, steps=(0, 10, 5000))
    made.parts["loss_interpolated",].values[0] = 1e10
    figure, table = drawn(made.report(), "trajectory")
    loss = next(ax for ax in figure.axes if ax.get_title() == "loss")
    assert loss.get_ylim()[1] < 1
    shown = table[(table["series"] == "interpolated") & (table["kind"] == "estimate")]["value"]
    assert np.isnan(shown.iloc[0])
    assert np.isfinite(shown.iloc[1:]).all()


def test_nothing_is_known_of_the_first_steps(faults: Faults) -> None:
    """Before training the gauge is undefined: those steps are gaps, not errors."""
    made = MadeUp(seeds=3, steps=(0, 10, 5000))
    for name in (("loss_interpolated",), ("weight_distance", "gd", "trained"), ("cosine", "gd")):
        made.parts[name] = measure = replace(made.parts[name], message="the gauge is undefined at step 0")
        for array in (measure.values, *measure.interval, *(samples.T for samples in measure.nulls.values())):
            array[0] = np.nan
    figure, table = drawn(made.report(), "trajectory")
    assert faults(figure) == []
    assert np.isnan(table[table["series"] == "interpolated"]["value"].iloc[0])
