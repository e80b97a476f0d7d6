"""`analyses.export`: what it takes, what it refuses, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mesascope import analyses
from mesascope.analyses import Report, export
from mesascope.analyses.exporting.latex_table import latex
from mesascope.analyses.exporting.markdown import markdown
from mesascope.analyses.exporting.saved import Saved, saved, without_members
from mesascope.analyses.exporting.tables import table
from mesascope.data.errors import UsageError

from .conftest import measure


def test_it_gives_the_text_of_the_table(two: Sequence[Report]) -> None:
    made = table(two, ["loss"])
    assert made is not None
    assert export(two, "markdown", measures=["loss"]) == markdown(made)
    assert export(iter(two), "latex", measures="loss") == latex(made)
    assert analyses.export is export


def test_saved_reports_and_reports_in_memory_give_the_same(two: Sequence[Report], tmp_path: Path) -> None:
    folder = two[0].save(tmp_path, figures="none")
    assert export([folder, two[1]], "markdown") == export([str(folder), two[1]], "markdown") == export(two, "markdown")
    assert export(folder, "latex") == export(two[0], "latex")


def test_each_probe_has_a_table_of_its_own_reports(two: Sequence[Report], make_report: Any) -> None:
    other = replace(make_report("gamma", {"speed": measure(2.5), "loss": measure(8.5)}), probe="another")
    text = export([two[0], other, two[1]], "markdown")
    first, second = text.split("### ")[1:]
    assert first.startswith("mean-answer\n")
    assert second.startswith("another\n")
    assert ("alpha" in first, "beta" in first, "gamma" in first) == (True, True, False)
    assert ("8.5" in first, "2.5 [" in second) == (False, True)
    only = export([two[0], other], "markdown", measures=["speed"])  # the other probe has nothing of it
    assert only.count("### ") == 1


def test_a_report_counts_once(two: Sequence[Report], tmp_path: Path) -> None:
    folder = two[0].save(tmp_path, figures="none")
    assert export([two[0], folder, two[1], two[0]], "markdown") == export(two, "markdown")
    changed = replace(two[0], measures={**two[0].measures, "loss": measure(99.0)})
    with pytest.raises(UsageError, match=f"two different reports have the key a{{16}}: {folder} and alpha in memory"):
        export([folder, changed], "markdown")


def test_members_are_told_from_their_family(two: Sequence[Report], make_report: Any) -> None:
    family = replace(make_report("family", two[0].measures), members=({"label": "beta", "key": "b" * 16},))
    kept = without_members([Saved(two[0]), Saved(family), Saved(two[1])])
    assert [one.report.label for one in kept] == ["alpha", "family"]
    other = replace(family, probe="another")
    assert len(without_members([Saved(other), Saved(two[1])])) == 2  # the member of another probe's family


@pytest.mark.parametrize(
    ("to", "options", "said"),
    [
        ("tensorboard", {}, "cannot export to 'tensorboard'; expected wandb, markdown or latex"),
        ("latex", {"project": "x"}, "export to latex: project belongs to wandb; leave it out"),
        ("markdown", {"offline": True}, "export to markdown: offline belongs to wandb; leave it out"),
        ("wandb", {"measures": ["loss"]}, "export to wandb: measures belongs to markdown and latex; leave it out"),
        ("latex", {"measures": ["loss", "lss"]}, "measure 'lss' is in no report; did you mean loss?"),
    ],
)
def test_what_cannot_be_is_refused_in_words(to: str, options: Any, said: str, two: Sequence[Report]) -> None:
    with pytest.raises(UsageError) as refused:
        export(two, to, **options)
    assert str(refused.value) == said


def test_what_is_no_report_is_refused(two: Sequence[Report], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="export: no report; expected the folder of at least one"):
        export([], "latex")
    with pytest.raises(UsageError, match=r"nowhere/report.json: cannot be read"):
        export(tmp_path / "nowhere", "latex")
    with pytest.raises(UsageError, match="export: a float; expected a report, or the folder of a saved one"):
        saved(1.5)
    folder = two[0].save(tmp_path, figures="none")
    (folder / "report.json").write_text("{")
    with pytest.raises(UsageError, match=r"report.json: damaged"):
        export([two[1], folder], "wandb", offline=True)
