"""What every probe owes its users, proved for each in the same words. A new probe joins by a case in `CASES`.

found:    a planted mechanism is found
absent:   a model without it, or with a near miss, does not show it
unmoved:  what must not matter (a gauge of the weights, the batch size) changes no number
agrees:   a closed form, or NumPy, gives the same number
Beside these: figures with captions and legible texts, every file of a report, and a report made again bit by bit.
"""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from mesascope import analyses, models, probes
from mesascope.analyses.reports.figures import figures_of
from mesascope.data import LinearRegression, SoftmaxRegression
from mesascope.models.constructed.induction import induction_circuit, near_misses
from mesascope.models.constructed.norms import planted_norms
from mesascope.models.own.softmax_layer import SoftmaxLayerConfig, initialise_softmax_layer
from mesascope.probes import Probe
from mesascope.probes.drawing import page
from mesascope.probes.icl_algorithm import contest
from mesascope.probes.icl_algorithm.probe import ICLAlgorithm


@dataclass(frozen=True)
class Case:
    """A probe, models for it, and what has to come out.

    probe:    given a folder for its inputs
    shows:    whether a report says that the mechanism is there
    gauges:   pairs of parameters whose sizes may be exchanged without changing the function
    compared: measures that a gauge or another batch size must not move
    agrees:   (report, model) -> the number that was measured, and the same by other means
    """

    probe: Callable[[Path], Probe]
    planted: Callable[[], models.Subject]
    absent: Callable[[], models.Subject]
    shows: Callable[[analyses.Report], bool]
    gauges: tuple[tuple[str, str], ...]
    compared: tuple[str, ...]
    agrees: Callable[[analyses.Report, Any], tuple[float, float]]


# -- gd-alignment: one step of gradient descent, written down ----------------------------------------------------------

N_CONTEXT, D_IN, RATE = 8, 3, 2.0


def one_step() -> models.Subject:
    return models.from_transformer(models.gd_transformer(N_CONTEXT, RATE, D_IN))


def fresh() -> models.Subject:
    config = models.RegressionConfig(d_in=D_IN, d_head=D_IN + 1)
    return models.from_transformer(models.initialise(config, 0.5, torch.Generator().manual_seed(0)))


def loss_of_a_step(report: analyses.Report, model: Any) -> tuple[float, float]:
    """0.5 (y - η/N Σ y_i x_i.x)², task by task in NumPy."""
    recipe = report.recipes["evaluation"]
    tasks = LinearRegression(**recipe["settings"]).sample(recipe["n"], recipe["seed"])
    tokens, targets = tasks.inputs.double().numpy(), tasks.targets.double().numpy()[:, 0]
    losses = []
    for task, target in zip(tokens, targets, strict=True):
        x, y, query = task[:-1, :D_IN], task[:-1, D_IN], task[-1, :D_IN]
        losses.append(0.5 * (target - RATE / N_CONTEXT * np.sum(y * (x @ query))) ** 2)
    return report.measures["loss_model"].estimate, float(np.mean(losses))


# -- gd-certificate: the same step, read off its weights ---------------------------------------------------------------


def covariance(folder: Path) -> str:
    np.save(folder / "covariance.npy", np.eye(D_IN))
    return str(folder / "covariance.npy")


def loss_of_the_written_step(report: analyses.Report, model: Any) -> tuple[float, float]:
    """Half of d (1 - 2 η + η² (N + d + 1) / N), for Gaussian inputs."""
    expected = 0.5 * D_IN * (1 - 2 * RATE + RATE**2 * (N_CONTEXT + D_IN + 1) / N_CONTEXT)
    return report.measures["expected_loss"].estimate, expected


# -- induction-heads: a circuit of a previous-token and an induction head ----------------------------------------------

SMALL = {"d_vocab": 24, "n_ctx": 24}


def learned_in_context(report: analyses.Report, model: Any) -> tuple[float, float]:
    """Every token but BOS is equally likely in the first repeat, and certain in the second."""
    return report.measures["in_context_learning_score"].estimate, float(np.log(SMALL["d_vocab"] - 1))


# -- softmax-regression: one gradient step, made by a softmax layer ----------------------------------------------------


def softmax_step() -> models.Subject:
    return models.from_softmax_layer(models.softmax_gradient_layer(N_CONTEXT, 4 * RATE, D_IN))


def fresh_softmax_layer() -> models.Subject:
    rng = torch.Generator().manual_seed(0)
    return models.from_softmax_layer(initialise_softmax_layer(SoftmaxLayerConfig(D_IN), 0.5, rng))


def loss_of_a_softmax_layer(report: analyses.Report, model: Any) -> tuple[float, float]:
    """0.5 |f - b|², task by task in NumPy: every query [a_i ; 0] attends to all tokens [a_j ; b_j]."""
    recipe = report.recipes["evaluation"]
    tasks = SoftmaxRegression(**recipe["settings"]).sample(recipe["n"], recipe["seed"])
    W_KQ, w_V = (weight.detach().numpy() for weight in (model.module.W_KQ, model.module.w_V))
    losses = []
    for A, b in zip(tasks.inputs.numpy(), tasks.targets.numpy(), strict=True):
        tokens = np.column_stack([A, b])
        scores = []
        for a in A:
            attended = np.exp(np.append(a, 0) @ W_KQ @ tokens.T)
            scores.append(len(A) * attended @ tokens @ w_V / attended.sum())
        f = np.exp(scores) / np.exp(scores).sum()
        losses.append(0.5 * np.sum((f - b) ** 2))
    return report.measures["loss_model"].estimate, float(np.mean(losses))


# -- token-norms: attention that rests on the first token --------------------------------------------------------------


def mean_embedding(report: analyses.Report, model: Any) -> tuple[float, float]:
    rows = model.embedding().detach().numpy()
    measured = report.measures["norm_rows_W_E"].sel(statistic="mean").estimate
    return measured, float(np.mean([np.sqrt(np.sum(row**2)) for row in rows]))


def some_tokens(folder: Path) -> str:
    """Twelve documents of independent tokens; token 0, BOS, is not drawn."""
    path = folder / "tokens.npy"
    np.save(path, np.random.default_rng(5).integers(1, 50, size=(12, 63)))
    return str(path)


CASES = {
    "gd-alignment": Case(
        probe=lambda folder: probes.GDAlignment(limit=40, n_context=N_CONTEXT),
        planted=one_step,
        absent=fresh,
        shows=lambda report: report.measures["cosine_gd"].estimate > 0.999,
        gauges=(("W_Q", "W_O"),),
        compared=("cosine_gd", "loss_model", "prediction_difference_ridge"),
        agrees=loss_of_a_step,
    ),
    "gd-certificate": Case(
        probe=lambda folder: probes.GDCertificate(covariance=covariance(folder), n_context=N_CONTEXT),
        planted=one_step,
        absent=fresh,
        shows=lambda report: report.claim.badge.startswith("One step of gradient descent"),
        gauges=(("W_Q", "W_K"), ("W_V", "W_O"), ("W_Q", "W_O")),
        compared=("learning_rate", "form_distance_gd", "optimum_distance", "expected_loss"),
        agrees=loss_of_the_written_step,
    ),
    "icl-algorithm": Case(
        probe=lambda folder: ICLAlgorithm(limit=40, n_context=N_CONTEXT),
        planted=one_step,
        absent=fresh,
        shows=lambda report: report.claim.badge.startswith("Agrees with 1 step of gradient descent"),
        gauges=(("W_Q", "W_O"),),
        compared=("unexplained_share_ridge", "squared_share_cg", "error_cosine_min_norm", "loss_model", "cosine_gd"),
        agrees=loss_of_a_step,
    ),
    "induction-heads": Case(
        probe=lambda folder: probes.InductionHeads(n_sequences=12),
        planted=lambda: induction_circuit(**SMALL),
        absent=lambda: near_misses(period=11, **SMALL),
        shows=lambda report: "induction" in report.heads.values(),
        gauges=(("W_Q", "W_K"), ("b_Q", "b_K"), ("W_V", "W_O")),
        compared=("prefix_matching_score", "ov_copying_score", "loss_second_repeat"),
        agrees=learned_in_context,
    ),
    "softmax-regression": Case(
        probe=lambda folder: probes.SoftmaxRegressionProbe(limit=40, n_tokens=N_CONTEXT),
        planted=softmax_step,
        absent=fresh_softmax_layer,
        shows=lambda report: report.measures["cosine_gd"].estimate > 0.99,
        gauges=(),
        compared=("cosine_gd", "loss_model", "prediction_difference_copy", "shift_A", "shift_cosine"),
        agrees=loss_of_a_softmax_layer,
    ),
    "token-norms": Case(
        probe=lambda folder: probes.TokenNorms(tokens=some_tokens(folder), untrained=1),
        planted=lambda: begins_with_bos(planted_norms(sink=True)),
        absent=lambda: begins_with_bos(planted_norms()),
        shows=lambda report: report.measures["sink_metric"].estimate > 90,
        gauges=(("W_Q", "W_K"), ("b_Q", "b_K"), ("W_V", "W_O")),
        compared=("sink_metric", "mixing_ratio", "next_token_loss"),
        agrees=mean_embedding,
    ),
}


def begins_with_bos(model: Any) -> models.Subject:
    model.source = replace(model.source, facts={**model.source.facts, "bos": 0})
    return model


# -- the contract ------------------------------------------------------------------------------------------------------

each_probe = pytest.mark.parametrize("name", list(CASES))


def report_of(case: Case, folder: Path, subject: models.Subject, batch_size: int | None = None) -> analyses.Report:
    report = analyses.run(subject, case.probe(folder), seed=0, batch_size=batch_size)
    assert isinstance(report, analyses.Report)
    return report


@pytest.fixture(scope="module", autouse=True)
def _few_nulls() -> Iterator[None]:
    """Of the probe that fits all its rules to each of them again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contest, "UNTRAINED", 1)
        patch.setattr(contest, "SHUFFLES", 1)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def planted(folder: Path) -> Callable[[str], analyses.Report]:
    """The report of the planted model, made once a probe."""
    return cache(lambda name: report_of(CASES[name], folder, CASES[name].planted()))


def test_every_probe_is_under_contract() -> None:
    assert set(CASES) == set(probes.PROBES)


@each_probe
def test_the_planted_mechanism_is_found(name: str, planted: Callable[[str], analyses.Report]) -> None:
    assert CASES[name].shows(planted(name))


@each_probe
def test_its_absence_is_not(name: str, folder: Path) -> None:
    assert not CASES[name].shows(report_of(CASES[name], folder, CASES[name].absent()))


@each_probe
def test_what_must_not_matter_does_not(name: str, folder: Path, planted: Callable[[str], analyses.Report]) -> None:
    """The same function in another gauge, at another batch size."""
    case = CASES[name]
    subject: Any = case.planted()
    weights = dict(subject.module.named_parameters())
    with torch.no_grad():
        for one, other in case.gauges:
            weights[one].mul_(2)
            weights[other].div_(2)
    again = report_of(case, folder, subject, batch_size=5)
    for metric in case.compared:
        measured, before = again.measures[metric].values, planted(name).measures[metric].values
        np.testing.assert_allclose(measured, before, rtol=1e-9, atol=1e-9, err_msg=metric)


@each_probe
def test_other_means_give_the_same_number(name: str, planted: Callable[[str], analyses.Report]) -> None:
    measured, expected = CASES[name].agrees(planted(name), CASES[name].planted())
    assert measured == pytest.approx(expected, rel=1e-6)


@dataclass(frozen=True)
class Saved:
    """A report's folder, and the figures that were drawn for it, by name."""

    folder: Path
    figures: dict[str, Figure]


@pytest.fixture(scope="module")
def saved(
    tmp_path_factory: pytest.TempPathFactory, planted: Callable[[str], analyses.Report]
) -> Callable[[str], Saved]:
    """The report of the planted model, saved once a probe. Other widths, and models of other sizes, are drawn in the
    tests of each probe's figures.
    """
    write = page.save

    @cache
    def save(name: str) -> Saved:
        figures: dict[str, Figure] = {}

        def noted(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
            figures[stem.name] = figure
            return write(figure, stem, formats)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(page, "save", noted)
            folder = planted(name).save(tmp_path_factory.mktemp(name), figures="png")
        return Saved(folder, figures)

    return save


@each_probe
def test_every_figure_is_legible_and_has_a_caption(
    name: str, saved: Callable[[str], Saved], faults: Callable[..., list[str]]
) -> None:
    assert saved(name).figures
    for figure, canvas in saved(name).figures.items():
        assert inspect.getdoc(figures_of(name)[figure])
        table = pd.read_csv(saved(name).folder / "figures" / f"{figure}.csv")
        caption = (saved(name).folder / "figures" / f"{figure}.txt").read_text()
        assert faults(canvas, table, caption) == [], figure


def cells(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Every row, with nothing where there is nothing: of a column without any, a larger table makes other types."""
    return [tuple(None if pd.isna(cell) else cell for cell in row) for row in table.itertuples(index=False)]


@each_probe
def test_every_panel_is_drawn_alone_as_in_its_figure(name: str, planted: Callable[[str], analyses.Report]) -> None:
    """On a page of its own and on somebody's axes: the same rows of the table, no other panel, a legend of its own."""
    findings = planted(name).findings
    for figure, build in figures_of(name).items():
        whole = page.compose(build, findings)
        if whole is None:
            continue
        of_panel = dict(tuple(whole[1].groupby("panel", sort=False)))
        assert len(of_panel) == len([ax for ax in whole[0].axes if not hasattr(ax, "_colorbar")]), figure
        for number, (title, rows) in enumerate(of_panel.items(), 1):
            alone = page.compose(build, findings, panel=str(number))
            assert alone is not None
            assert cells(alone[1]) == cells(rows)
            ax = Figure((5, 3), layout="constrained").add_subplot()
            table = page.draw_on(build, findings, ax, title)
            assert table is not None
            assert set(table["panel"]) == {title}
            assert ax.has_data() or ax.texts


@each_probe
def test_a_saved_report_is_whole_and_is_made_again_bit_by_bit(name: str, saved: Callable[[str], Saved]) -> None:
    folder, figures = saved(name).folder, set(saved(name).figures)
    assert {path.stem for path in (folder / "figures").glob("*.png")} == figures
    tables = {path.stem: pd.read_csv(path) for path in (folder / "figures").glob("*.csv")}
    assert set(tables) == figures
    assert min(map(len, tables.values())) > 0
    assert list((folder / "tables").glob("*.tex"))
    text = html.unescape((folder / "report.html").read_text())
    for figure in figures:
        assert " ".join((inspect.getdoc(figures_of(name)[figure]) or "").split())[:40] in text
    assert analyses.verify(folder, subject=CASES[name].planted()).verdict == "bit-identical"
