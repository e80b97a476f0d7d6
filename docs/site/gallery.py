"""The gallery: every figure of every registered probe, drawn by the commands that the page shows.

`gallery.toml` says which checkpoints are measured. A probe that it does not name is run on the first shipped family to
which it applies. Which figures there are is read off the probes, so a new figure is in the gallery without a line
here. One that no report draws is an error.
"""

from __future__ import annotations

import io
import shlex
import shutil
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from mesascope import models
from mesascope.analyses.commands import cli
from mesascope.analyses.reports.figures import figures_of
from mesascope.data.errors import MesascopeError
from mesascope.probes import PROBES, probe_class

RUNS = Path(__file__).with_name("gallery.toml")
INTRODUCTION = """# Gallery of figures

Every figure of every probe, with the commands that make it. Each command was run as it stands when this page was made.
The settings are small, so intervals are wide. `mesascope figures` draws from a saved report and measures nothing;
without `--formats` it writes PDF, SVG and PNG, with the caption and a table of exactly what is drawn
([more](cli.md#read-verify-and-compare-reports)).
"""


class Picture(NamedTuple):
    """A figure as a file, what drew it, and what it shows; `run` is the number of the run whose report it is of."""

    probe: str
    name: str
    run: int
    command: str
    caption: str
    file: Path


def write(folder: Path) -> None:
    """The page and its pictures. MesascopeError with every figure that stays without a picture."""
    runs = all_runs()
    with chdir(folder):
        made: dict[tuple[str, str], Picture] = {}
        for number, run in enumerate(runs):
            known = [name for probe, name in made if probe == run["probe"]]
            made |= {(picture.probe, picture.name): picture for picture in pictures(number, run, known)}
    in_order = [made[figure] for figure in expected(made)]
    (folder / "gallery.md").write_text(page(in_order, runs), encoding="utf-8")


def all_runs() -> list[dict[str, str]]:
    """Those of `gallery.toml`, and one for each probe that it does not name."""
    runs = tomllib.loads(RUNS.read_text(encoding="utf-8"))["run"]
    return [*runs, *(default_run(probe) for probe in PROBES if probe not in {run["probe"] for run in runs})]


def default_run(name: str) -> dict[str, str]:
    """A probe as it is, on the first and last step of the first shipped family to which it applies."""
    probe = probe_class(name)()
    subjects = {family: models.load(family) for family in models.shipped()}
    fitting = [family for family, subject in subjects.items() if probe.applies(subject) is None]
    if not fitting:
        raise MesascopeError(f"{name} applies to no shipped checkpoint: give the gallery a run in {RUNS.name}")
    last = subjects[fitting[0]].source.label.removeprefix(f"{fitting[0]}-")
    steps = f"{last.partition('-')[0]}-step0,{last}"
    return {"probe": name, "command": f"mesascope run {fitting[0]} --revisions {steps} -p {name} --figures none"}


def expected(made: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    """Every figure of every probe of this package, in their order. MesascopeError if one was not made."""
    figures = [(probe, name) for probe in PROBES for name in figures_of(probe)]
    if missing := [f"{name} of {probe}" for probe, name in figures if (probe, name) not in made]:
        raise MesascopeError(f"no picture of {', '.join(missing)}: add a run to {RUNS.name} whose report draws it")
    return figures


def pictures(number: int, run: Mapping[str, str], known: Collection[str]) -> Iterator[Picture]:
    """Every figure that the reports of a run draw, but those that are known."""
    before = set(saved_reports())
    exec(run.get("python", ""), {})
    follow(run["command"])
    reports = members_first([report for report in saved_reports() if report not in before])
    for name in [name for name in figures_of(run["probe"]) if name not in known]:
        for report in reports:
            command = f"mesascope figures {report} --only {name} --formats png"
            if follow(command, codes=(0, 2)) == 0:  # 2: this report has nothing to draw there
                yield Picture(run["probe"], name, number, command, *kept(run["probe"], name))
                break


def kept(probe: str, name: str) -> tuple[str, Path]:
    """The caption and the file of the figure that was just drawn, which is taken out of its folder."""
    (drawn,) = Path().glob(f"*-neurips/figures/{name}.png")
    caption = drawn.with_suffix(".txt").read_text(encoding="utf-8").strip()
    file = drawn.rename(f"{probe}-{name}.png")
    shutil.rmtree(drawn.parents[1])
    return caption, file


def saved_reports() -> list[str]:
    """The reports of this folder without their keys, in the order in which they were saved."""
    found = sorted(Path("reports").glob("*/*/*/report.json"), key=lambda path: path.stat().st_mtime_ns)
    return [path.parents[1].as_posix() for path in found]


def members_first(reports: Sequence[str]) -> list[str]:
    """Of a family the last member, those before it, and then the report over all, whose name begins theirs."""
    over_all = min(reports, key=len)
    return [*(report for report in reversed(reports) if report != over_all), over_all]


def follow(command: str, codes: Collection[int] = (0,)) -> int:
    """Run a command of mesascope's; its exit code. MesascopeError with what it said for a code not in `codes`."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = cli.main(shlex.split(command)[1:])
    if code not in codes:
        raise MesascopeError(f"{command}: exit code {code}\n{said.getvalue()}")
    return code


def page(made: Sequence[Picture], runs: Sequence[Mapping[str, str]]) -> str:
    parts = [INTRODUCTION]
    for probe in PROBES:
        parts.append(f"## {probe} {{#{probe}}}\n\nWhat is drawn: [the guide]({probe}.md).")
        for number in dict.fromkeys(picture.run for picture in made if picture.probe == probe):
            parts += [
                fenced("python", runs[number].get("python", "")),
                fenced("console", f"$ {runs[number]['command']}"),
            ]
            parts += [entry(picture) for picture in made if (picture.probe, picture.run) == (probe, number)]
    return "\n\n".join(part for part in parts if part) + "\n"


def entry(picture: Picture) -> str:
    heading = f"### {picture.name} {{#{picture.probe}-{picture.name}}}"
    image = f"![{picture.name} of {picture.probe}](gallery/{picture.file.name}){{ loading=lazy }}"
    return "\n\n".join([heading, image, picture.caption, fenced("console", f"$ {picture.command}")])


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.strip()}\n```" if text else ""
