"""The figures of token-norms, drawn from made-up reports of small and large models, show exactly their tables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from mesascope.analyses.reports import figures
from mesascope.analyses.reports.report import Report
from mesascope.probes.drawing import page
from mesascope.probes.measure import Claim, Measure, along, missing
from mesascope.probes.token_norms.names import STATISTICS as COMPARED

Faults = Callable[[Figure], list[str]]
PLACES = ("first", "later")
STATISTICS = ("mean", "rms", "p5", "median", "p95")
COVARIATES = (
    "position", "log_frequency", "next_token_probability", "surprisal", "entropy", "true_log_frequency", "true_entropy",
)  # fmt: skip
RATIOS = ("Attn-W", "AttnRes-W", "Attn-N", "AttnRes-N", "AttnResLn-N")
MATRICES = ("W_E", "W_U", "W_E whitened")
BLOCK_QUANTITIES = ("attn_out", "mlp_out", "write_norm", "mixing_ratio")
LATER = 1


@dataclass
class MadeUp:
    """Plausible numbers for a model of this shape, on one checkpoint, on several seeds, or along training."""

    layers: int = 3
    heads: int = 4
    steps: tuple[int, ...] = ()
    seeds: int = 0
    measures: dict[str, Measure] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self._norms()
        self._predictions()
        self._attention()
        self._outliers()
        how: dict[str, Any] = {"interval": False, "nulls": "untrained"}
        parts = {name: self.made(0.5, statistic.unit, **how) for name, statistic in COMPARED.items()}
        self.measures["untrained_comparison"] = along("statistic", parts, place=1 if self.steps else 0)
        self._tokens()

    def report(self) -> Report:
        sources = tuple({"name": "tiny", "revision": f"seed{seed}"} for seed in range(max(self.seeds, 1)))
        claim = Claim("", "", "", (), "", ())
        return Report("token-norms", "2", {}, sources, {}, {}, claim, self.measures, self.arrays, 0, "0" * 16)

    def made(
        self, values: Any, unit: str, axes: tuple[str, ...] = (), interval: bool = True, nulls: str = "", **coords: Any
    ) -> Measure:
        """A measure around these values, beside nineteen samples of a null if it has one; over steps it grows."""
        values = np.asarray(values, dtype=np.float64)
        samples = 0.3 * values + 0.01 * self.rng.random((19, *values.shape)) * np.abs(values)
        if self.steps:
            grown = 1 - 0.9 * np.exp(-np.array(self.steps) / 1500.0).reshape(-1, *[1] * values.ndim)
            values, axes, coords = values * grown, ("step", *axes), {"step": self.steps, **coords}
            samples = np.stack([samples] * len(self.steps), axis=1)
        half = 0.04 * np.abs(values) if interval else np.full(values.shape, np.nan)
        points = (
            values + 0.04 * np.abs(values) * self.rng.normal(size=(self.seeds, *values.shape)) if self.seeds else None
        )
        replicate, n = ("seed", self.seeds) if self.seeds else ("document", 33) if interval else ("none", 1)
        return Measure(
            values, unit, (np.asarray(values - half), np.asarray(values + half)), replicate, n, axes, coords,
            {nulls: samples} if nulls else {}, "made up", points, message="made up",
        )  # fmt: skip

    def put(self, name: str, values: Any, unit: str, axes: tuple[str, ...] = (), **how: Any) -> None:
        self.measures[name] = self.made(values, unit, axes, **how)

    def put_along(
        self, axis: str, name: str, values: Mapping[str, Any], unit: str, axes: tuple[str, ...], **how: Any
    ) -> None:
        parts = {label: self.made(of_one, unit, axes, **how) for label, of_one in values.items()}
        self.measures[name] = along(axis, parts, place=1 if self.steps else 0)

    def _norms(self) -> None:
        of_tokens = {"position": PLACES, "statistic": STATISTICS}
        spread = np.array([1.0, 1.1, 0.7, 0.95, 1.6]) * np.array([[30.0], [1.0]])
        axes = ("layer", "position", "statistic")
        by_block = np.exp(np.linspace(0, 3, self.layers))[:, None, None] * spread
        self.put_along(
            "site", "norm", dict.fromkeys(("attn_out", "resid_mid", "mlp_out"), by_block), "norm", axes, **of_tokens
        )
        stream = np.exp(np.linspace(0, 4, self.layers + 1))[:, None, None] * spread
        self.put("stream_norm", stream, "norm", axes, **of_tokens)
        outside = dict.fromkeys(("embed", "final_norm"), spread)
        self.put_along("site", "norm_outside_blocks", outside, "norm", axes[1:], **of_tokens)
        rows = dict.fromkeys(("W_E", "W_U"), spread[1])
        of_weights = {"interval": False, "nulls": "untrained"}
        self.put_along("matrix", "norm_rows", rows, "norm", ("statistic",), statistic=STATISTICS, **of_weights)
        self.put("norm_growth", [1.2, 1.045], "factor per layer", ("position",), position=PLACES)
        self.put("norm_growth_r2", [0.5, 0.97], "R²", ("position",), position=PLACES)
        rho = [0.44, 0.08, -0.31]
        self.put("spearman_rows_frequency", rho, "rank correlation", ("matrix",), nulls="untrained", matrix=MATRICES)
        deciles = np.linspace(0.9, 1.3, 10)[:, None] * np.array([1.0, 1.1, 0.2])
        self.put("norm_rows_by_decile", deciles, "norm", ("decile", "matrix"), matrix=MATRICES, **of_weights)

    def _predictions(self) -> None:
        places = {"position": PLACES}
        falling = np.linspace(6, 2.5, self.layers + 1)[:, None] * np.array([1.02, 1.0])
        self.put("next_token_loss", falling[-1], "nat", ("position",), **places)
        self.put("inner_loss", falling, "nat", ("layer", "position"), **places)
        self.put("radial_push", 0.01 / falling, "nat / norm", ("layer", "position"), **places)
        self.put("step_gain", -np.diff(falling, axis=0), "nat", ("layer", "position"), **places)
        self.put("step_first_order", -3 * np.diff(falling, axis=0), "nat", ("layer", "position"), **places)
        cosine = 0.1 + 0.1 * self.rng.random((self.layers, 2))
        self.put("step_cosine", cosine, "cosine", ("layer", "position"), nulls="shuffled targets", **places)
        coords, axes = {"covariate": COVARIATES, "position": ("all", "later")}, ("layer", "covariate", "position")
        for kind in ("", "partial_"):
            self.put(f"{kind}stream_spearman", self._correlations(self.layers + 1), "rank correlation", axes, **coords)
            of_blocks = {name: self._correlations(self.layers) for name in BLOCK_QUANTITIES}
            self.put_along("quantity", f"{kind}spearman", of_blocks, "rank correlation", axes, **coords)

    def _correlations(self, layers: int) -> np.ndarray:
        return np.tanh(self.rng.normal(size=(layers, len(COVARIATES), 2)))

    def _attention(self) -> None:
        shape, heads = (self.layers, self.heads), ("layer", "head")
        for name in ("attention_to_first", "sink_importance", "bos_attention"):
            self.put(name, self.rng.random(shape) ** 2, "probability", heads)
        self.put("weighted_attention_to_first", self.rng.random(shape) ** 4, "share of norm", heads)
        self.put("write_norm", 5 * self.rng.random((*shape, 2)), "norm", (*heads, "position"), position=PLACES)
        self.put("write_norm_variation", self.rng.random(shape), "standard deviation / mean", heads)
        for name in ("value_drain", "key_drain"):
            self.put(name, np.exp(self.rng.normal(size=shape)), "first / later", ("layer", "kv_head"))
        self.put("sink_metric", 63.0, "%")
        self.put("bos_attention_mean", 0.56, "probability")
        ratios = np.linspace(0.3, 0.9, 5)[:, None] * self.rng.random((self.layers, 1, 2))
        axes = ("layer", "ratio", "position")
        self.put("mixing_ratio", ratios, "ratio", axes, ratio=RATIOS, position=PLACES)
        self.arrays["head_summed_norms"] = np.tril(self.rng.random((2, self.layers, 150, 150)))

    def _outliers(self) -> None:
        layers = np.exp(np.linspace(0, 6, self.layers + 1))
        top = layers[:, None, None] * np.array([[10.0], [1.0]]) * np.array([1.0, 0.5, 0.3])
        self.put("massive_activation", top, "activation", ("layer", "position", "rank"), position=PLACES)
        self.put("median_activation", 0.1 * layers, "activation", ("layer",))
        self.put("massive_ratio", top[..., 0] / 0.1, "times the median", ("layer", "position"), position=PLACES)
        dimensions = np.full((self.layers + 1, 3), np.nan)
        dimensions[1:, 0], dimensions[-1, 1] = 138, 378
        self.put("massive_dimension", dimensions, "dimension", ("layer", "rank"), interval=False)
        self.put("state_peak", np.linspace(1, 30, self.layers + 1), "first / later", ("layer",))
        axes = ("layer", "dimensions", "position")
        coords = {"dimensions": ("all dimensions", "without rogue", "standardised"), "position": ("all", "later")}
        self.put("anisotropy", 0.9 * self.rng.random((self.layers + 1, 3, 2)), "cosine", axes, **coords)
        share = np.sort(self.rng.random((self.layers + 1, 3)) / 3)[:, ::-1]
        self.put("rogue_share", share, "share of the anisotropy", ("layer", "rank"), interval=False)

    def _tokens(self) -> None:
        n = 200
        self.arrays["token_resid"] = 10 + self.rng.normal(size=(n, self.layers + 1))
        self.arrays["token_position"] = self.rng.integers(1, 128, n).astype(np.float64)
        self.arrays["token_log_frequency"] = self.rng.exponential(3, n)
        for name in ("surprisal", "entropy"):
            self.arrays[f"token_{name}"] = self.rng.exponential(3, (n, 1))
            self.arrays[f"token_{name}"][::50] = np.nan  # the last of each window has no next token


STEPS = (0, 1, 10, 100, 500, 1000, 5000)
KINDS: dict[str, dict[str, Any]] = {
    "three layers": {},
    "32 layers": {"layers": 32, "heads": 32},
    "along training": {"steps": STEPS},
    "three seeds along training": {"steps": STEPS, "seeds": 3},
}
NAMES = list(figures.figures_of("token-norms"))
OVER_STEPS = {"trajectory", "trajectory_attention"}
SIZES = {"neurips": page.STYLES["neurips"], "column": page.style_of("acl", 3.25)}


def names_of(kind: str) -> list[str]:
    """The figures that a report of this kind has."""
    return [name for name in NAMES if name not in OVER_STEPS or "steps" in KINDS[kind]]


@functools.cache
def made(kind: str) -> Report:
    return MadeUp(**KINDS[kind]).report()


def built(report: Report, name: str) -> tuple[Figure, pd.DataFrame] | None:
    """A figure as it is drawn, not laid out: that takes most of the time, and moves no mark."""
    found = page.compose(figures.figures_of("token-norms")[name], report.findings)
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


@pytest.mark.parametrize(
    ("kind", "style", "names"),  # on the narrowest page, and a single panel in the narrowest column
    [
        ("three layers", "neurips", names_of("three layers")),
        ("three layers", "column", names_of("three layers")),
        ("32 layers", "neurips", names_of("32 layers")),
        ("32 layers", "column", ["mixing", "norms", "attention"]),
        ("along training", "neurips", sorted(OVER_STEPS)),  # the others are those of the last step
        ("along training", "column", sorted(OVER_STEPS)),
    ],
)
def test_no_text_is_cut_off_too_small_or_on_another(kind: str, style: str, names: list[str], faults: Faults) -> None:
    for name in names:
        found = page.render(figures.figures_of("token-norms")[name], made(kind).findings, SIZES[style])
        assert found is not None
        figure, table = found
        assert faults(figure, table, figures.caption(made(kind), name)) == [], name
        assert figure.get_figwidth() <= SIZES[style].page
        assert figure.get_figheight() <= 9  # a page of text is about as high
        assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7


@pytest.mark.parametrize("kind", ["three layers", "32 layers"])
@pytest.mark.parametrize("name", sorted(OVER_STEPS))
def test_without_steps_nothing_is_drawn_along_training(kind: str, name: str) -> None:
    assert built(made(kind), name) is None


CURVES = ["correlations_by_layer", "vocabulary", "inner", "mixing", "outliers", "trajectory", "trajectory_attention"]


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, n) for kind in ("three layers", "three seeds along training") for n in names_of(kind) if n in CURVES],
)
def test_curves_show_exactly_their_table(kind: str, name: str) -> None:
    figure, table = drawn(kind, name)
    assert {(row.at, row.value) for row in table.dropna(subset="value").itertuples()} <= points(figure)
    bands = np.concatenate([band.get_paths()[0].vertices for ax in figure.axes for band in ax.collections])
    for bound in ("low", "high"):
        shown = table[table["kind"] != "replicate"][["at", bound]].dropna()
        assert set(shown.itertuples(index=False, name=None)) <= {(float(x), float(y)) for x, y in bands}


@pytest.mark.parametrize("name", ["attention", "sinks", "maps"])
@pytest.mark.parametrize("kind", ["three layers", "32 layers"])
def test_maps_show_exactly_their_table(kind: str, name: str) -> None:
    figure, table = drawn(kind, name)
    shown = np.concatenate([np.asarray(image.get_array()).ravel() for ax in figure.axes for image in ax.images])
    np.testing.assert_array_equal(shown[np.isfinite(shown)], table["value"].dropna())


def test_drains_diverge_from_one() -> None:
    figure, _ = drawn("three layers", "sinks")
    limits = {ax.get_title(): ax.images[0].get_clim() for ax in figure.axes if ax.images}
    assert limits["value norm at position 0"] == (0, 2)
    sinks = made("three layers").measures["sink_importance"].values
    assert limits["attention to position 0, queries 0–63"] == (0, sinks.max())  # as far as there are any


def test_norms_are_those_of_the_measures_with_position_0_apart() -> None:
    figure, table = drawn("three layers", "norms")
    measure = made("three layers").measures["stream_norm"]
    stream = table[table["panel"].str.startswith("residual stream") & (table["kind"] == "estimate")]
    expected = {
        "position 0": (0, "mean"),
        "after position 0": (LATER, "mean"),
        "5th percentile of tokens": (LATER, "p5"),
        "95th percentile of tokens": (LATER, "p95"),
    }
    for series, (place, statistic) in expected.items():
        values = measure.values[:, place, STATISTICS.index(statistic)]
        np.testing.assert_array_equal(stream[stream["series"] == series]["value"], values)
    assert figure.axes[0].get_title().startswith("residual stream (× 1.045 a layer")


def test_correlations_are_those_of_the_last_layer_without_position_0() -> None:
    figure, table = drawn("three layers", "correlations")
    estimates = table[table["kind"] == "estimate"].set_index(["panel", "series"])["value"]
    measures = made("three layers").measures
    for panel, name in {"Spearman": "stream_spearman", "partial Spearman": "partial_stream_spearman"}.items():
        last = measures[name].values[-1, COVARIATES.index("surprisal"), LATER]
        assert estimates[panel, "surprisal"] == last
    xs = {x for x, _ in points(figure)}
    assert set(table[table["kind"] != "words"][["value", "low", "high"]].to_numpy().ravel()) <= xs


def test_tokens_are_points_with_their_correlation() -> None:
    figure, table = drawn("three layers", "tokens")
    arrays, measures = made("three layers").arrays, made("three layers").measures
    assert {(row.at, row.value) for row in table.itertuples()} == points(figure)
    known = np.isfinite(arrays["token_surprisal"][:, 0])
    panel = table[table["panel"].str.startswith("surprisal")]
    np.testing.assert_array_equal(panel["at"], arrays["token_surprisal"][known, 0])
    np.testing.assert_array_equal(panel["value"], arrays["token_resid"][known, -1])
    rho = measures["stream_spearman"].values[-1, COVARIATES.index("surprisal"), LATER]
    titles = [ax.get_title() for ax in figure.axes]
    assert any(title.startswith(f"surprisal: ρ = {rho:.2f}".replace("-", "−")) for title in titles)


def test_massive_dimensions_are_named() -> None:
    figure, _ = drawn("three layers", "outliers")
    assert figure.get_suptitle() == "massive activations: dimensions 138, 378"
    made_up = MadeUp()
    points = np.stack([np.full((4, 3), 7.0), np.full((4, 3), np.nan), np.full((4, 3), 3.0)])
    made_up.measures["massive_dimension"] = replace(made_up.measures["massive_dimension"], points=points)
    found = built(made_up.report(), "outliers")
    assert found is not None
    assert found[0].get_suptitle() == "massive activations: dimensions 3, 7"  # of single seeds, and no mean of them
    made_up.measures["massive_dimension"] = missing("dimension", "undefined", "none")
    found = built(made_up.report(), "outliers")
    assert found is not None
    assert found[0].get_suptitle() == "no massive activations"


def test_large_layers_are_few_in_the_maps() -> None:
    figure, table = drawn("32 layers", "maps")
    assert [ax.get_title() for ax in figure.axes if ax.images] == ["layer 0", "layer 10", "layer 21", "layer 31"]
    assert table["at"].max() == 127


def test_along_training_layers_are_the_first_the_middle_and_the_last() -> None:
    _, table = drawn("along training", "trajectory")
    inner = table[(table["panel"] == "inner loss") & (table["kind"] == "estimate")]
    measure = made("along training").measures["inner_loss"]
    for series, layer in {"first layer": 0, "middle layer": 2, "last layer": 3}.items():
        np.testing.assert_array_equal(inner[inner["series"] == series]["value"], measure.values[:, layer, LATER])


def test_what_has_no_number_is_left_out() -> None:
    made_up, why = MadeUp(), "this model has no unembedding"
    for name, measure in made_up.measures.items():
        if name.startswith(("inner", "step", "radial", "next")):
            made_up.measures[name] = missing(measure.unit, "not applicable", why)
    for axis, name, label in (("matrix", "norm_rows", "W_U"), ("site", "norm", "mlp_out")):
        parts = made_up.measures[name].apart()
        made_up.measures[name] = along(axis, parts | {label: missing("norm", "not applicable", why)})
    assert built(made_up.report(), "inner") is None
    found = built(made_up.report(), "norms")
    assert found is not None
    assert "rows of $W_E$" in set(found[1]["series"])
    assert "rows of $W_U$" not in set(found[1]["series"])
    assert "written by attention" in set(found[1]["panel"])
    assert "written by MLPs" not in set(found[1]["panel"])


@pytest.mark.parametrize("name", NAMES)
def test_a_report_of_nothing_has_no_figure(name: str) -> None:
    made_up = MadeUp()
    made_up.measures.clear()
    made_up.arrays.clear()
    assert built(made_up.report(), name) is None


def test_over_seeds_single_tokens_and_heads_are_in_each_ones_own_report() -> None:
    made_up = MadeUp(seeds=3)
    for name, measure in made_up.measures.items():
        if "head" in measure.axes:
            made_up.measures[name] = missing(measure.unit, "not applicable", "heads have no order that seeds share")
    made_up.arrays = {name: np.stack([array] * 3) for name, array in made_up.arrays.items()}
    shown = {name for name in NAMES if built(made_up.report(), name) is not None}
    assert shown == set(NAMES) - OVER_STEPS - {"tokens", "attention", "maps"}


@pytest.mark.parametrize("name", ["norms", "tokens", "sinks"])
def test_the_same_report_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    written = []
    for stem in ("a", "b"):
        found = built(MadeUp().report(), name)
        assert found is not None
        written.append([path.read_bytes() for path in page.save(found[0], tmp_path / stem, ["pdf"])])
    assert written[0] == written[1]


def test_the_title_of_sinks_is_their_number() -> None:
    figure, _ = drawn("three layers", "sinks")
    assert figure.get_suptitle() == "attention sinks: 63.0 % of heads and windows"
    made_up = MadeUp()
    del made_up.measures["sink_metric"]
    found = built(made_up.report(), "sinks")
    assert found is not None
    assert found[0].get_suptitle() == ""
