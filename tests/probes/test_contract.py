"""What every probe owes its users, proved for each in the same words. A new probe joins by a case.

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
from dataclasses import dataclass
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
from mesascope.analyses.reports.parts import part
from mesascope.probes.drawing import page
from mesascope.probes.followed import Step, course_of
from mesascope.probes.icl_algorithm import contest
from mesascope.probes.icl_vs_gd import choosing
from mesascope.probes.implicit_weights import judging
from mesascope.probes.shift_battery import battery

from .contract_cases import CASES, Case

each_probe = pytest.mark.parametrize("name", list(CASES))


def report_of(case: Case, folder: Path, subject: models.Subject, batch_size: int | None = None) -> analyses.Report:
    report = analyses.run(subject, case.probe(folder), seed=0, batch_size=batch_size)
    assert isinstance(report, analyses.Report)
    return report


@pytest.fixture(scope="module", autouse=True)
def _few_nulls() -> Iterator[None]:
    """Of the probes that fit all their rules to each of them again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contest, "UNTRAINED", 1)
        patch.setattr(contest, "SHUFFLES", 1)
        patch.setattr(judging, "NULLS", 1)
        patch.setattr(battery, "UNTRAINED", 1)
        patch.setattr(choosing, "ADAM_RATES", (0.01,))
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


@each_probe
def test_what_is_followed_over_steps_is_measured(name: str, planted: Callable[[str], analyses.Report]) -> None:
    """Each measure with a null to clear, or no number at all and the reason of the report."""
    measures, some = planted(name).measures, False
    for followed in part(name, "followed").FOLLOWED:
        course = course_of(followed, {0: Step(measures)})
        assert course.measured.any() == np.isfinite(course.null).any(), followed
        if not course.measured.any():
            whole = measures[followed.measure]
            assert course.why[0] in (whole.message, *(one.message for one in whole.apart().values())), followed
        some = some or bool(course.measured.any())
    assert some


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
