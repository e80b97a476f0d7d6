"""The command `mesascope`: from words to a call, from errors to one line and an exit code.

Exit codes: 0 done; 1 some items failed, or verify found a difference; 2 bad arguments, tasks or output; 3 the
checkpoint was refused; 130 and 143 interrupted; 141 the reader of the output went away. What nobody expected keeps
its traceback. Nothing here imports torch before a command needs it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from annotated_types import Ge

from ...data.errors import MesascopeError, UsageError, nearest
from ...data.settings import read_settings
from ...probes import home_of
from ..runs.threads import largest_matrix, number_of_threads
from .arguments import FORMATS, LISTS, parse
from .completing import VARIABLE, answer, script
from .run_options import ALL_PROBES, RunOptions, Threads, refuse_threads, run_options
from .sweep_options import sweep_options
from .terminal import complain, print_json, print_table, printable, warn

Values = Mapping[str, Any]


@dataclass(frozen=True)
class FiguresOptions:
    """Options of `mesascope figures`."""

    report: str
    style: str = "neurips"
    formats: tuple[Literal["pdf", "svg", "png"], ...] = FORMATS
    only: tuple[str, ...] = ()
    panel: str | None = None
    width: float | None = None
    output_dir: str | None = None


@dataclass(frozen=True)
class TrainOptions:
    """Options of `mesascope train`."""

    recipe: str
    output: str | None = None
    seeds: tuple[Annotated[int, Ge(0)], ...] | None = None
    device: str = "cpu"
    threads: Threads = None
    force: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class ConvertOptions:
    """Options of `mesascope convert`."""

    source: str
    target: str
    separator: str = "/"
    force: bool = False
    quiet: bool = False


class Terminated(BaseException):
    """SIGTERM, raised where the program stands so that it cleans up behind itself."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter shows "?", not a traceback
    try:
        with _sigterm_as_exception():
            code = _command(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # what is still buffered would raise again when the interpreter closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return code


def _command(argv: Sequence[str]) -> int:
    try:
        if VARIABLE in os.environ:  # a shell asks, not a user
            return answer(os.environ[VARIABLE])
        command, values = parse(argv)
        return _COMMANDS[command](values)
    except MesascopeError as error:
        if stop := _stop_behind(error):
            return _stopped(stop)
        complain(error)
        return error.exit_code
    except SystemExit as stop:  # after --help and --version
        return int(stop.code or 0)
    except BaseException as error:
        stop = _stop_behind(error)
        if stop is None:
            raise
        return _stopped(stop)


def _stop_behind(error: BaseException | None) -> KeyboardInterrupt | Terminated | None:
    """What stopped the program. Where the stop came, a library may clean up what is half made, and raise of its own."""
    while error is not None and not isinstance(error, KeyboardInterrupt | Terminated):
        error = error.__context__
    return error


def _stopped(stop: KeyboardInterrupt | Terminated) -> int:
    """Say what is left, which the command knows if it is anything."""
    terminated = isinstance(stop, Terminated)
    how = "terminated (SIGTERM)" if terminated else "interrupted (Ctrl-C)"
    left = stop.args[0] if stop.args else "no half-written report is left"
    print(printable(f"mesascope: {how}; {left}"), file=sys.stderr)
    return 128 + (signal.SIGTERM if terminated else signal.SIGINT)


@contextmanager
def _sigterm_as_exception() -> Iterator[None]:
    def stop(number: int, frame: object) -> NoReturn:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: signals are somebody else's matter
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(values: Values) -> int:
    options = run_options(values)
    if options.offline:  # before anything is imported that reads it once
        os.environ["HF_HUB_OFFLINE"] = "1"
    _refuse_at_once(options)
    from .run_command import run_command

    return run_command(options)


def _refuse_at_once(options: RunOptions) -> None:
    """Raise what can be said of probes and of the only checkpoint without torch, which takes seconds to import. One
    of several that is refused does not stop the others, so they wait.
    """
    if options.time and not options.dry_run:
        raise UsageError("run: --time without --dry-run; expected both. A run that measures needs no estimate")
    for probe in options.probe:
        if probe != ALL_PROBES:
            home_of(probe)
    if options.predictor is not None:
        from ...models.predictor_code import PredictorCode

        PredictorCode.named(options.predictor)
    if len(options.models) != 1:
        return
    from ...models.opening.naming import named

    (model,) = options.models
    for revision in options.revisions or (None,):
        named(model, revision, options.layout, options.model_config, options.model_args)


def _sweep(values: Values) -> int:
    options = sweep_options(values)
    if options.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    for probe in options.probe:
        if probe != ALL_PROBES:
            home_of(probe)
    from .sweep_command import sweep_command

    try:
        return sweep_command(options)
    except (KeyboardInterrupt, Terminated) as stop:
        stop.args = ("finished reports stay, and the same command goes on from there",)
        raise


def _list(values: Values) -> int:
    from .listing import rows

    what = values.get("what")
    asked = [what] if what else [name for name in LISTS if name != "revisions"]
    found = {name: rows(name, values.get("model")) for name in asked}
    if values.get("json"):
        print_json(found[what] if what else found)
        return 0
    for name, table in found.items():
        print_table(name, [{key: cell for key, cell in row.items() if key != "details"} for row in table])
    for row in found[what] if what else ():
        if row.get("details"):
            print(printable(f"{row['name']}: {row['details']}\n"))
    return 0


def _show(values: Values) -> int:
    from .showing import find_reports, load, print_report, report_summary

    if len(find_reports(values["report"])) > 1:
        return _show_overview(Path(values["report"]), values)
    report, folder = load(values["report"])
    if values.get("json"):
        print_json(report_summary(report, folder))
    else:
        print_report(report, folder)
    return 0


def _show_overview(folder: Path, values: Values) -> int:
    """1 if any report cannot be read: the others are shown."""
    from ..reports.overview import rows
    from .showing import print_overview

    found = rows(folder)
    if values.get("json"):
        print_json([asdict(row) for row in found])
    else:
        print_overview(found, folder)
    for row in found:
        if row.edited:
            warn(f"{folder / row.folder}: report.json was changed after mesascope wrote it")
    unreadable = sum(row.problem is not None for row in found)
    if unreadable:
        complain(UsageError(f"{unreadable} of the {len(found)} reports in {folder} cannot be read; the list says why"))
    return 1 if unreadable else 0


def _verify(values: Values) -> int:
    from ..runs.verifying import verify
    from .progress import progress_bar
    from .showing import load

    _, folder = load(values["report"])
    with progress_bar(values.get("quiet", False)) as progress:
        found = verify(folder, values.get("weights"), progress=progress, predictor=values.get("predictor"))
    if values.get("json"):
        print_json({"report": str(folder), **asdict(found)})
    else:
        print(printable("\n".join([f"{found.verdict}: {folder}", *(f"  {line}" for line in found.differences)])))
    return 0 if found.verdict in {"bit-identical", "within tolerance"} else 1


def _timeline(values: Values) -> int:
    from .timeline_command import timeline_command

    return timeline_command(values)


def _compare(values: Values) -> int:
    from ..reports.records import json_value
    from ..runs.comparing import compare
    from .showing import load
    from .showing_comparison import print_comparison

    reports = [load(given)[0] for given in values.get("reports", [])]
    rows = compare(reports).to_dict("records")
    if values.get("json"):
        print_json(json_value(rows))
    else:
        print_comparison(reports, rows)
    return 0


def _export(values: Values) -> int:
    from .export_command import export_command

    return export_command(values)


def _figures(values: Values) -> int:
    from ..reports.escaping import slug
    from ..reports.figures import draw
    from ..reports.saving import publish_files
    from .showing import load

    options = read_settings(FiguresOptions, values, "figures: ", text=True)
    report, _ = load(options.report)
    folder = Path(options.output_dir or f"{slug(report.label)}-{slug(options.style)}")
    try:
        chosen = {"only": options.only, "panel": options.panel, "width": options.width}
        drawn = partial(draw, report, formats=options.formats, style=options.style, **chosen)
        paths = publish_files(folder, drawn)
    except OSError as error:
        raise UsageError(f"{folder}: the figures cannot be written ({error.strerror or error})") from error
    for path in paths:
        print(printable(str(path)))
    return 0


def _train(values: Values) -> int:
    refuse_threads(values, "train: ")
    from ..training.recipes import RECIPES
    from .progress import progress_bar

    options = read_settings(TrainOptions, values, "train: ", text=True)
    if options.recipe not in RECIPES:
        raise UsageError(f"recipe {options.recipe!r} is not known; {nearest(options.recipe, RECIPES)}")
    from ..reports.threads import threads_set
    from ..training.training import train

    recipe = RECIPES[options.recipe]
    sizes = recipe.config.as_dict()
    n_threads = number_of_threads(options.threads, largest_matrix(recipe.config.d_model, sizes.get("d_vocab", 0)))
    path = Path(options.output or f"{options.recipe}.safetensors")
    seeds = None if options.seeds is None else list(options.seeds)
    try:
        with progress_bar(options.quiet) as progress, threads_set(n_threads, n_threads):
            train(recipe, path, seeds, options.device, progress, options.force)
    except (KeyboardInterrupt, Terminated) as stop:
        stop.args = (f"{path}.partial holds the training so far; the same command goes on from there",)
        raise
    print(printable(str(path)))
    return 0


def _reproduce(values: Values) -> int:
    from .reproduce_command import reproduce_command

    try:
        return reproduce_command(values)
    except (KeyboardInterrupt, Terminated) as stop:
        stop.args = ("what was trained and measured stays, and the same command goes on from there",)
        raise


def _convert(values: Values) -> int:
    from ...models.opening.converting import convert

    options = read_settings(ConvertOptions, values, "convert: ", text=True)
    found = convert(options.source, options.target, options.separator, options.force)
    if found.left_out and not options.quiet:
        left_out = f"no arrays, so left out: {', '.join(found.left_out[:10])}"
        more = f", and {len(found.left_out) - 10} more" if len(found.left_out) > 10 else ""
        print(printable(left_out + more), file=sys.stderr)
    print(printable(str(found.path)))
    return 0


def _selftest(values: Values) -> int:
    from .selftest_command import selftest_command

    return selftest_command(values)


def _completion(values: Values) -> int:
    print(script(values["shell"]), end="")
    return 0


_COMMANDS: dict[str, Callable[[Values], int]] = {
    "run": _run,
    "sweep": _sweep,
    "list": _list,
    "show": _show,
    "verify": _verify,
    "timeline": _timeline,
    "compare": _compare,
    "export": _export,
    "figures": _figures,
    "train": _train,
    "reproduce": _reproduce,
    "convert": _convert,
    "selftest": _selftest,
    "completion": _completion,
}
