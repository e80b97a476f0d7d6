"""What `mesascope run` is asked for, and what `mesascope sweep` is beside its own options (`sweep_options.py`): by the
command line, and by a configuration file where that is silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Le

from ...data.errors import UsageError
from ...data.setting_files import read_tables
from ...data.setting_text import pairs
from ...data.settings import read_settings
from ..runs.threads import MOST_THREADS

ALL_PROBES = "all"
Threads = Annotated[int, Ge(1), Le(MOST_THREADS)] | None
_SYNONYMS = {"model": "models", "revision": "revisions", "probes": "probe"}


@dataclass(frozen=True)
class MeasuringOptions:
    """Options of every command that measures. Defaults stand here and nowhere else.

    settings:  of the probes: names and texts of the command line, or values of the configuration file
    """

    models: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    revisions: tuple[str, ...] = ()
    layout: str | None = None
    model_config: str | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: Annotated[int, Ge(0)] = 0
    device: str = "cpu"
    dtype: Literal["float16", "bfloat16", "float32", "float64"] | None = None
    batch_size: Annotated[int, Ge(1)] | None = None
    threads: Threads = None
    output_dir: str = "reports"
    figures: Literal["none", "png", "paper"] = "paper"
    offline: bool = False
    force: bool = False
    dry_run: bool = False
    json: bool = False
    quiet: bool = False
    verbose: bool = False


@dataclass(frozen=True)
class RunOptions(MeasuringOptions):
    """Options of `mesascope run`.

    predictor:    FILE.py:function, in the place of models
    d_in, d_out:  widths of its x and y; d_out is 1 unless it is given
    """

    predictor: str | None = None
    d_in: Annotated[int, Ge(1)] | None = None
    d_out: Annotated[int, Ge(1)] | None = None
    time: bool = False


Options = TypeVar("Options", bound=MeasuringOptions)


@dataclass(frozen=True)
class _ThreadsOption:
    threads: Threads = None


def option_names(kind: type[MeasuringOptions]) -> frozenset[str]:
    """What a configuration file may call the options of a command."""
    return frozenset(option.name for option in fields(kind)) - {"settings"}


def options_of(kind: type[Options], given: Mapping[str, Any], where: str) -> Options:
    """Options by name, as the command line has them. What is no option of the command is a setting of a probe.

    Raises UsageError for a value that an option cannot have.
    """
    names = option_names(kind)
    line = _sorted({name: value for name, value in given.items() if name != "config"}, names)
    file = _sorted(read_tables(Path(given["config"])), names) if "config" in given else {}
    merged = {**file, **line, "settings": {**file.get("settings", {}), **line["settings"]}}
    refuse_threads(merged, where)
    return read_settings(kind, merged, where, text=True)


def run_options(given: Mapping[str, Any]) -> RunOptions:
    """Options of `mesascope run`. UsageError also where no model is named."""
    options = options_of(RunOptions, given, "run: ")
    if options.predictor is None:
        _refuse_without_predictor(options)
    else:
        _refuse_beside_predictor(options)
    return options


def _refuse_without_predictor(options: RunOptions) -> None:
    for name in ("d_in", "d_out"):
        if getattr(options, name) is not None:
            raise UsageError(f"run: {_flag(name)} without --predictor; leave it out: a checkpoint says its own widths")
    if not options.models:
        raise UsageError(
            "run: no MODEL; expected a shipped name (`mesascope list checkpoints`), a file or a hub id, or a function"
            " of yours with --predictor FILE.py:function --d-in N"
        )


def _refuse_beside_predictor(options: RunOptions) -> None:
    """UsageError for what says how a checkpoint is opened, and for a predictor of tokens of unknown width."""
    if options.models:
        raise UsageError(
            f"run: MODEL {options.models[0]} and --predictor {options.predictor} are both given; expected one of them"
        )
    for name in ("revisions", "layout", "model_config", "model_args"):
        if getattr(options, name):
            raise UsageError(f"run: {_flag(name)} with --predictor; leave it out: it is for checkpoints")
    if options.d_in is None:
        raise UsageError(
            "run: --predictor without --d-in; expected the width of x in its tokens [x ; y], such as --d-in 10"
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def refuse_threads(values: Mapping[str, Any], where: str) -> None:
    """UsageError for a number of threads that nobody can take."""
    try:
        read_settings(_ThreadsOption, {name: values[name] for name in ("threads",) if name in values}, where, text=True)
    except UsageError as error:
        raise UsageError(f"{error}; leave --threads out, and mesascope chooses by the model's shapes") from error


def _sorted(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """Options by name, and under "settings" everything that belongs to a probe."""
    options: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        name = _SYNONYMS.get(name, name)
        if name == "probe_args":
            settings |= _by_name(value, keep_text=True)
        elif name == "model_args":
            options[name] = _by_name(value)
        elif name == "slurm" and name in names:
            options[name] = _by_name(value, keep_text=True)
        elif name in names:
            options[name] = value
        else:
            settings[name] = value
    return {**options, "settings": settings}


def _by_name(value: Any, keep_text: bool = False) -> Any:
    """`name=value,…` as a mapping; each value still as text where its type is not known here."""
    if not isinstance(value, str):
        return value
    return pairs(value, str) if keep_text else pairs(value)
