"""Reports as runs at Weights & Biases: a run for each report.

Numbers are the run's summary; those of a report over training steps are its history, too, at the step of the training.
Tables, figures and the page are its media, settings and provenance its config, and the report's folder an artifact.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ...data.errors import UsageError
from ...probes.measure import Measure, flat, last_step
from ..reports.escaping import slug
from ..reports.figures import draw
from ..reports.heads import head_table
from ..reports.record import Record
from ..reports.report import Report
from .numbers import STEP, cells
from .saved import Saved

MOST_CELLS = 400
"""Numbers of a measure up to which each has a name of its own. The table has those of a larger one."""
MOST_ROWS = 10_000
"""Rows up to which Weights & Biases shows a table. The artifact has a longer one."""
CONFIG = ("label", "probe", "probe_version", "key", "seed", "settings", "claim", "provenance")
OF_SOURCES = ("name", "revision", "weights_sha256", "seed", "step")
SERVICE, NAME = "WANDB_SERVICE", "WANDB_NAME"
"""The first is set where wandb's background process runs for this process, or for the one that has started it."""
LEFT = "a run may be incomplete at Weights & Biases, or in ./wandb"


def send(found: Sequence[Saved], project: str | None, offline: bool) -> list[str]:
    """Send each report, and say where its run is: its address, or offline its folder."""
    with _library() as wandb:
        return [_send(wandb, one, project, offline) for one in found]


@contextmanager
def _library() -> Iterator[Any]:
    """wandb; afterwards the process is as it was, with a background process of wandb's only where the caller has one.
    What wandb refuses is a UsageError.
    """
    try:
        import wandb

        if not hasattr(wandb, "init"):  # the folder `wandb` that its runs have left here, which Python imports, too
            raise ImportError
        from wandb.errors import Error
    except ImportError as error:
        raise UsageError("export to wandb needs the package wandb: pip install 'mesascope[wandb]'") from error
    theirs, hooks = SERVICE in os.environ, (sys.exit, sys.excepthook)
    try:
        yield wandb
    except Error as error:
        raise UsageError(f"wandb: {error} `wandb login` signs in; --offline needs no account") from error
    except BaseException as stop:
        if not isinstance(stop, Exception):
            stop.args = (LEFT,)
        raise
    finally:
        if not theirs:
            wandb.teardown()
        sys.exit, sys.excepthook = hooks  # each run replaces both, for good


def _send(wandb: Any, one: Saved, project: str | None, offline: bool) -> str:
    report, code = one.report, 1
    with TemporaryDirectory(prefix="mesascope-") as drawn:
        folder = one.folder or report.save(drawn, figures="png")
        run = wandb.init(
            project=project,
            name=None if NAME in os.environ else f"{report.label} {report.probe}",
            job_type=report.probe,
            config=_config(report),
            mode="offline" if offline else None,
            reinit="create_new",  # a run of the caller's goes on
            settings=wandb.Settings(console="off", quiet=True, disable_git=True, save_code=False, x_disable_stats=True),
        )
        try:
            _log(run, report, _media(wandb, report, folder, Path(drawn)))
            artifact = wandb.Artifact(slug(f"{report.label}-{report.probe}-{report.key}"), "mesascope-report")
            artifact.add_dir(str(folder))
            run.log_artifact(artifact)
            code = 0
        finally:
            run.finish(exit_code=code)
    if run.disabled:
        return "nothing was sent: wandb is disabled"
    return str(Path(run.dir).parent) if run.offline else run.url


def _config(report: Record) -> dict[str, Any]:
    record = report.record()
    sources = [{name: source[name] for name in OF_SOURCES} for source in report.sources]
    return {**{name: record[name] for name in CONFIG}, "sources": sources}


def _log(run: Any, report: Record, media: dict[str, Any]) -> None:
    """Numbers over training at its steps, everything else at the last of them; the last numbers are the summary."""
    measures = flat(report.measures)
    stepped = {name: measure for name, measure in measures.items() if STEP in measure.axes}
    steps = next(iter(stepped.values())).labels(STEP) if stepped else ()
    logged: dict[str, float] = {}
    for step in steps:
        found = numbers(report.probe, {name: measure.sel(step=step) for name, measure in stepped.items()})
        logged |= dict.fromkeys(found, np.nan)
        run.log(found, step=step)
    run.log(media, step=steps[-1] if steps else None, commit=True)
    # what has no number at the last step would keep that of an earlier one
    run.summary.update(logged | numbers(report.probe, last_step(measures)))


def numbers(probe: str, measures: Mapping[str, Measure]) -> dict[str, float]:
    """Single numbers by name, `induction-heads/excess[layer=1,head=0]`; their intervals as NAME_low and NAME_high."""
    found = {}
    for name, measure in measures.items():
        if measure.values.size > MOST_CELLS:
            continue
        low, high = measure.interval
        for cell_name, cell in cells(name, measure).items():
            for suffix, array in (("", measure.values), ("_low", low), ("_high", high)):
                if np.isfinite(array[cell]):
                    found[f"{probe}/{cell_name}{suffix}"] = float(array[cell])
    return found


def _media(wandb: Any, report: Report, folder: Path, drawn: Path) -> dict[str, Any]:
    """Tables, figures and the page."""
    frames = {"tables/measures": report.to_frame()}
    if head_table(report) is not None:
        frames["tables/heads"] = report.heads_frame().reset_index()
    found = {name: _table(wandb, frame) for name, frame in frames.items() if len(frame) <= MOST_ROWS}
    pictures = sorted((folder / "figures").glob("*.png")) or draw(report, drawn, ("png",))
    for path in pictures:
        if path.suffix == ".png":
            words = path.with_suffix(".txt")  # lies beside each figure
            caption = words.read_text(encoding="utf-8").strip() if words.is_file() else None
            found[f"figures/{path.stem}"] = wandb.Image(str(path), caption=caption)
    page = folder / "report.html"
    if page.is_file():
        found["page"] = wandb.Html(str(page), inject=False)
    return {f"{report.probe}/{name}": item for name, item in found.items()}


def _table(wandb: Any, frame: Any) -> Any:
    """A pandas table; nothing where there is no number."""
    rows = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return wandb.Table(columns=list(frame.columns), data=rows, allow_mixed_types=True)
