"""What the README and the guide pages show is what happens: their commands and their Python run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from mesascope.analyses.commands import cli, planning
from mesascope.analyses.commands.arguments import EXIT_CODES, MESASCOPE, parse
from mesascope.analyses.training.embedding import initial_embedding
from mesascope.analyses.training.recipes import RECIPES
from mesascope.analyses.training.training import train
from mesascope.models import gd_transformer, save_checkpoint
from mesascope.models.opening.catalogue import MODEL_ARGS
from mesascope.models.opening.loading import load_all
from mesascope.models.subject import Subject
from mesascope.probes import PROBES
from mesascope.probes.gd_alignment import distribution_shift
from mesascope.probes.gd_alignment import figures as gd_figures
from mesascope.probes.icl_algorithm import contest
from mesascope.probes.regression import nulls

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.name for page in PAGES]
FEW = {
    "gd-certificate": [],
    "attention-learning": ["--n-sequences", "12"],
    "few-shot-heads": ["--n-tasks", "8", "--random-sets", "2"],
    "icl-vs-gd": [
        *("--n-tasks", "4", "--tuning-tasks", "2", "--rates", "1", "--steps", "16", "--orders", "2"),
        *("--untrained", "0", "--no-matching"),
    ],
}
"""What makes a run short, of probes without a limit; the first draws no tasks."""


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """The arguments of every `$ mesascope …` that a page shows."""
    lines = (line for block in blocks(page, "console") for line in block.splitlines())
    return [shlex.split(line)[2:] for line in lines if line.startswith("$ mesascope")]


def of_two_seeds(model: str, revision: str | None = None, **how: Any) -> list[Subject]:
    """`load_all`, of a family without a choice of seeds the two that the pages compare."""
    subjects = load_all(model, revision, **how)
    named = [subject for subject in subjects if subject.source.label.split("-")[2:3] in (["seed1"], ["seed3"])]
    return subjects if revision else named or subjects


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """What takes long and changes no line of a page: few points of curves, two seeds, one figure."""
    few = tuple(replace(curve, values=curve.values[:: len(curve.values) // 2]) for curve in distribution_shift.CURVES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution_shift, "CURVES", few)
        patch.setattr(planning, "load_all", of_two_seeds)
        for place in (contest, nulls):
            patch.setattr(place, "UNTRAINED", 1)  # every rule is fitted to each of them again
            patch.setattr(place, "SHUFFLES", 1)
        patch.setattr(gd_figures, "FIGURES", dict(list(gd_figures.FIGURES.items())[:1]))
        clean = {"commit": "c" * 40, "dirty": False}
        for place in ("reports.provenance", "runs.running"):  # sources that have changed reuse nothing
            patch.setattr(f"mesascope.analyses.{place}.source_state", lambda: clean)
        yield


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the commands of all pages are followed: a run finds what another page has run before."""
    return with_files(tmp_path_factory.mktemp("followed"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for one page alone."""
    monkeypatch.chdir(with_files(tmp_path))
    monkeypatch.setattr(mpl, "rcParams", mpl.rcParams.copy())
    mpl.use("agg")
    return tmp_path


def with_files(folder: Path) -> Path:
    """The folder with the files that the pages speak of."""
    weights = gd_transformer(n_context=10, learning_rate=6.0, d_in=10)
    roles = {"query": "W_Q", "key": "W_K", "value": "W_V", "linear": "W_O"}
    arrays = {f"transformer/multi_head_attention/{n}/w": weights.get_parameter(r)[0, 0] for n, r in roles.items()}
    tasks = torch.randn(20, 11, 11, generator=torch.Generator().manual_seed(0)).numpy()
    for name in ("weights", "my-model"):
        np.savez(folder / f"{name}.npz", **{name: array.numpy() for name, array in arrays.items()})
    for name in ("tasks", "my-tasks"):
        np.savez(folder / f"{name}.npz", inputs=tasks, targets=tasks[:, 0, 0])
    for name, step in (("sine-mlp", 4.0), ("sine-mlp-gd", 5.0)):  # in the place of two long trainings
        few = replace(RECIPES["sine-mlp-gd"], model={"d_embed": 4}, rate=step)
        weights_of = initial_embedding(few, torch.Generator().manual_seed(0))
        save_checkpoint(folder / f"{name}.safetensors", few.config, weights_of, {"recipe": few.as_dict()})
    frozen = replace(RECIPES["copy-40of60-1head-frozen-beta"], seeds=(0, 1), checkpoint_steps=(0, 20))
    train(frozen, folder / "without-knowledge.safetensors")
    for block in (block for language in ("toml", "python") for block in blocks(ROOT / "docs" / "cli.md", language)):
        (folder / block.splitlines()[0].removeprefix("# ")).write_text(block)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_python_of_a_page_runs(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec", dont_inherit=True), names)  # annotations as a user writes them


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_commands_of_a_page_run(
    page: Path, followed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(followed)
    for words in commands(page):
        command, _ = parse(words)
        if command == "train":
            continue  # minutes; its own tests train small recipes
        few = next((given for probe, given in FEW.items() if probe in words), ["--limit", "20"])
        small = [*few, "--figures", "none"] if command == "run" else []
        assert cli.main([*words, *small]) == 0, f"{' '.join(words)}: {capsys.readouterr().err}"


def test_the_page_of_the_command_line_is_complete() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [name for name in MODEL_ARGS if f"| `{name}` |" not in text] == []
    assert [code for code in re.findall(r"\b\d+\b", EXIT_CODES) if not re.search(rf"^\|.*\b{code}\b", text, re.M)] == []
    flags = re.findall(r"--[a-z-]+", text)
    shown = {flag for words in commands(ROOT / "docs" / "cli.md") for flag in words if flag.startswith("--")}
    assert shown <= set(flags)


@pytest.mark.parametrize("command", list(MESASCOPE.commands))
def test_every_option_of_a_command_stands_on_the_page(command: str) -> None:
    """Settings of probes are not there: help lists them, from their sources."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    options = {name for param in MESASCOPE.commands[command].params for name in param.opts if name.startswith("--")}
    assert sorted(option for option in options - {"--probes", "--revisions"} if option not in text) == []


def test_the_readme_lists_every_probe_and_its_links_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in PROBES if f"| `{name}` |" not in text] == []
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert [link for link in links if not (ROOT / link).is_file()] == []


@pytest.mark.parametrize("name", ["quickstart", "language-models"])
def test_the_notebooks_run(name: str, folder: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(ROOT / "docs" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells), "outputs are made by running, not kept"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in shown), "the figure is seen"
    assert any("text/html" in output.get("data", {}) for output in shown), "the report shows itself"
