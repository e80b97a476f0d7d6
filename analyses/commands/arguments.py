"""The command line's grammar: commands, flags, their values, and the configuration file that may hold them."""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from ...data.errors import UsageError, nearest
from ...models.opening.catalogue import HAIKU, LAYOUTS, MODEL_ARGS

LISTS = ("probes", "checkpoints", "tasks", "layouts", "recipes", "revisions")
FIGURES = ("none", "png", "paper")
FORMATS = ("pdf", "svg", "png")
DTYPES = ("float16", "bfloat16", "float32", "float64")
SETTING_FLAGS = ("tasks", "text", "tokens", "limit", "compatibility_scores")
"""Flags that are settings of the probes that have them."""
EXIT_CODES = """\
exit codes:
  0  done (also: a probe does not apply)         1  some items failed, or verify found a difference
  2  bad arguments, tasks or output folder       3  the checkpoint was refused
  130, 143  interrupted (Ctrl-C, SIGTERM)        141  the reader of the output went away"""
EXAMPLES = """\
examples:
  mesascope run lsa-1layer                       is it gradient descent? one report a seed, and one over all
  mesascope run weights.npz --layout von-oswald-haiku --model-args n_layers=2,activation_clip=2.0
  mesascope show reports/lsa-1layer/gd-alignment
  mesascope verify REPORT                        make it again, and compare field by field

"""


@dataclass(frozen=True)
class RunOptions:
    """What `mesascope run` was asked for. Defaults stand here and nowhere else."""

    models: tuple[str, ...]
    probe: tuple[str, ...] = ()
    revisions: tuple[str, ...] = ()
    layout: str | None = None
    model_config: str | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict)
    probe_args: Mapping[str, Any] = field(default_factory=dict)
    tasks: str | None = None
    text: str | None = None
    tokens: str | None = None
    limit: int | None = None
    compatibility_scores: bool | None = None
    seed: int = 0
    device: str = "cpu"
    dtype: str | None = None
    batch_size: int | None = None
    output_dir: str = "reports"
    figures: str = "paper"
    offline: bool = False
    force: bool = False
    dry_run: bool = False
    json: bool = False
    quiet: bool = False
    verbose: bool = False


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ours: one line, no usage block. Options that were not given leave no trace."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, argument_default=argparse.SUPPRESS, **settings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{self.prog} --help`")


def parse(argv: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The command, and the options that were given. `--batch_size` is read as `--batch-size`."""
    parser, commands = _parsers()
    first = next((word for word in argv if not word.startswith("-")), None)
    if first is not None and first not in commands:
        raise UsageError(f"command {first!r} is not known; {nearest(first, commands)}")
    namespace, rest = parser.parse_known_args([_hyphens(word) for word in argv])
    values = vars(namespace)
    command = values.pop("command", None)
    if command is None:
        raise UsageError(f"no command; expected one of {', '.join(commands)}; see `mesascope --help`")
    _place(rest, command, commands[command], values)
    return command, values


def run_options(values: Mapping[str, Any]) -> RunOptions:
    """Options of `run`, from the configuration file where the command line is silent."""
    given = dict(values)
    path = given.pop("config", None)
    merged: dict[str, Any] = {**(_read_config(Path(path)) if path else {}), **given}
    if not merged.get("models"):
        raise UsageError("run: no MODEL; expected a shipped name (`mesascope list checkpoints`) or a file")
    lists: dict[str, Any] = {name: tuple(value) for name, value in merged.items() if isinstance(value, list)}
    return RunOptions(**{**merged, **lists})


def pairs(text: str) -> dict[str, Any]:
    """`k=v,…` with values as in JSON, or bare words: true, none, 3, 0.5, gd+gdpp, [20,30]."""
    found: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in re.split(r",(?![^\[]*\])", text))):  # not within brackets
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{item!r}: expected name=value, several separated by commas")
        found[key.strip().replace("-", "_")] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.startswith("[") and text.endswith("]"):
        return [_value(name) for name in names(text[1:-1])]
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def names(text: str) -> list[str]:
    """`a,b,c`"""
    return [name.strip() for name in text.split(",") if name.strip()]


def one_of(flag: str, valid: Iterable[str]) -> Callable[[str], str]:
    """A value that must be one of a few."""
    choices = tuple(valid)

    def check(text: str) -> str:
        if text not in choices:
            raise UsageError(f"{flag} {text!r} is not known; {nearest(text, choices)}")
        return text

    return check


def some_of(flag: str, valid: Iterable[str]) -> Callable[[str], list[str]]:
    """Values, separated by commas, each of which must be one of a few."""
    check = one_of(flag, valid)
    return lambda text: [check(name) for name in names(text)]


def whole(flag: str, least: int) -> Callable[[str], int]:
    """A whole number that is not too small."""

    def check(text: str) -> int:
        if not text.removeprefix("-").isdecimal() or int(text) < least:
            raise UsageError(f"{flag} {text}: expected a whole number, at least {least}")
        return int(text)

    return check


def _hyphens(word: str) -> str:
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


def _place(rest: list[str], command: str, parser: Parser, values: dict[str, Any]) -> None:
    """Names after a flag belong to the names before it; a flag that nobody knows is an error that offers others."""
    if flags := [word for word in rest if word.startswith("-")]:
        name = flags[0].partition("=")[0]
        known = [option for option in parser._option_string_actions if option.startswith("--")]
        raise UsageError(f"{command}: option {name} is not known; {nearest(name, known)}")
    several = {"run": "models", "compare": "reports"}.get(command)
    if rest and several is None:
        raise UsageError(f"{command}: {rest[0]!r} is one argument too many")
    if several and rest:
        values[several] = [*values.get(several, []), *rest]


def _read_config(path: Path) -> dict[str, Any]:
    """The options of `run` from a TOML or JSON file, each checked as on the command line."""
    try:
        text = path.read_text(encoding="utf-8")
        loaded = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"--config {path}: not readable as TOML or JSON ({reason})") from error
    if not isinstance(loaded, dict):
        raise UsageError(f"--config {path}: expected a table of options, found a {type(loaded).__name__}")
    _, commands = _parsers()
    actions = {action.dest: action for action in commands["run"]._actions}
    known = {option.name for option in fields(RunOptions)}
    found: dict[str, Any] = {}
    for key, value in loaded.items():
        name = {"revision": "revisions", "model": "models", "probes": "probe"}.get(key, key.replace("-", "_"))
        if name not in known:
            raise UsageError(f"--config {path}: option {key!r} is not known; {nearest(name, known)}")
        found[name] = _config_value(f"--config {path}: {key}", value, actions[name])
    return found


def _config_value(place: str, value: Any, action: argparse.Action) -> Any:
    if isinstance(action.const, bool):
        if not isinstance(value, bool):
            raise UsageError(f"{place} = {value!r}: expected true or false")
        return value
    if action.type is pairs and isinstance(value, dict):
        return value
    if isinstance(value, bool | dict) or value is None:
        raise UsageError(f"{place} = {value!r}: not a value that this option can have")
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    if action.dest == "models":
        return names(text)
    return action.type(text) if callable(action.type) else text


def _parsers() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(
        prog="mesascope",
        description="Point measurements at a trained transformer; get a report that anyone can make again.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"mesascope {version('mesascope')}")
    sub = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    commands: dict[str, Parser] = {}
    for name, (build, description) in _COMMANDS.items():
        epilog = _MODEL_ARGS_HELP if name == "run" else None
        commands[name] = sub.add_parser(name, help=description, description=description, epilog=epilog)
        build(commands[name])
    return parser, commands


def _add_run(parser: Parser) -> None:
    default = RunOptions(models=())
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="a shipped name, a file, a directory or a cached hub id")
    add("-p", "--probe", "--probes", action="extend", type=names, metavar="NAME,…", help="default: those that apply")
    revisions = "of a family: seed3, step500, seed3-step500, several, or all (default: every seed's last step)"
    add("--revision", "--revisions", dest="revisions", action="extend", type=names, metavar="A,B,…", help=revisions)
    layouts = f"how names in the file are read: {', '.join(LAYOUTS)}, or a FILE.toml that declares it"
    add("--layout", type=_layout, metavar="NAME", help=layouts)
    add("--model-config", metavar="FILE.json", help="facts that are not in the weights, as a file")
    add("--model-args", type=pairs, metavar="K=V,…", help="facts that are not in the weights; keys below")
    add("--probe-args", type=pairs, metavar="K=V,…", help="settings of the probes; keys in `mesascope list probes`")
    add("--tasks", metavar="FILE.npz", help="your own tasks: inputs [task, token, d+1], targets [task]")
    add("--text", metavar="FILE", help="your own text: .txt, .jsonl, or a folder of .txt; needs a tokenizer")
    add("--tokens", metavar="FILE", help="your own token ids: .npy, .npz or .jsonl")
    add("--limit", type=whole("--limit", 1), metavar="N", help="the first N tasks or tokens, or N drawn tasks")
    add("--compatibility-scores", action="store_true", help="other definitions of induction scores as well")
    add("--seed", type=whole("--seed", 0), metavar="N", help=f"of everything drawn at random (default {default.seed})")
    add("--device", help=f"cpu, cuda, cuda:1, mps (default {default.device})")
    add("--dtype", type=one_of("--dtype", DTYPES), help=f"{', '.join(DTYPES)} (default: the checkpoint's own)")
    size = "tasks or sequences in one forward pass (default: the probe's own)"
    add("--batch-size", type=whole("--batch-size", 1), metavar="N", help=size)
    add("-o", "--output-dir", metavar="DIR", help=f"where reports go (default ./{default.output_dir})")
    figures = f"none, png, or paper: pdf, svg and png (default {default.figures})"
    add("--figures", type=one_of("--figures", FIGURES), metavar="KIND", help=figures)
    add("--config", metavar="FILE", help="these options in TOML or JSON; the command line wins")
    add("--offline", action="store_true", help="nothing is ever fetched; this tells the libraries so, too")
    add("--force", action="store_true", help="measure again what has a report already")
    add("--dry-run", action="store_true", help="say what would run, what does not apply, and about how much memory")
    _add_verbosity(parser)


def _layout(text: str) -> str:
    return text if text.endswith(".toml") else one_of("--layout", LAYOUTS)(text)


def _add_verbosity(parser: Parser) -> None:
    _add_json(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress; only where the results are")
    parser.add_argument("-v", "--verbose", action="store_true", help="every measure as well")


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="data as JSON on stdout, everything else on stderr")


def _add_list(parser: Parser) -> None:
    kinds = f"{', '.join(LISTS[:-1])}, or revisions MODEL (default: all of them)"
    check = one_of("list", LISTS)
    parser.add_argument("what", nargs="?", default=None, metavar="WHAT", type=check, help=kinds)
    parser.add_argument("model", nargs="?", default=None, metavar="MODEL", help="of `list revisions`")
    _add_json(parser)


def _add_report(parser: Parser) -> None:
    parser.add_argument("report", metavar="REPORT", help="a report's folder, or one that holds a single report")


def _add_show(parser: Parser) -> None:
    _add_report(parser)
    _add_json(parser)


def _add_verify(parser: Parser) -> None:
    _add_report(parser)
    weights = "the checkpoint, when it is not where the report says"
    parser.add_argument("--weights", metavar="PATH", help=weights)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    _add_json(parser)


def _add_compare(parser: Parser) -> None:
    parser.add_argument("reports", nargs="*", metavar="REPORT", help="two or more")
    _add_json(parser)


def _add_figures(parser: Parser) -> None:
    _add_report(parser)
    parser.add_argument("--style", metavar="NAME", help="whose column widths: neurips (default), iclr, icml, acl")
    formats = f"of {', '.join(FORMATS)} (default: all)"
    parser.add_argument("--formats", type=some_of("--formats", FORMATS), metavar="A,B,…", help=formats)
    where = "where they go (default ./LABEL-STYLE; the report itself stays as it is)"
    parser.add_argument("-o", "--output-dir", metavar="DIR", help=where)


def _add_train(parser: Parser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="see `mesascope list recipes`")
    parser.add_argument("-o", "--output", metavar="FILE", help="the checkpoint to write (default RECIPE.safetensors)")
    parser.add_argument("--seeds", type=_seeds, metavar="N,…", help="which seeds (default: the recipe's)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default cpu)")
    parser.add_argument("--force", action="store_true", help="train again, whatever is at FILE already")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def _seeds(text: str) -> list[int]:
    return [whole("--seeds", 0)(name) for name in names(text)]


_COMMANDS: dict[str, tuple[Callable[[Parser], None], str]] = {
    "run": (_add_run, "Measure checkpoints: one report each, and one over several of the same architecture."),
    "list": (_add_list, "What there is: probes, checkpoints, tasks, layouts, recipes, revisions of a family."),
    "show": (_add_show, "A report in the terminal: the claim, the verdict's numbers, their nulls."),
    "verify": (_add_verify, "Make a report again, somebody else's too, and compare field by field."),
    "compare": (_add_compare, "Reports side by side, with the differences and their intervals."),
    "figures": (_add_figures, "Draw a saved report's figures in another style or format."),
    "train": (_add_train, "Train a recipe's checkpoints; an interrupted training goes on where it was."),
}
_MODEL_ARGS_HELP = f"--model-args, for files of the layout {HAIKU}:\n" + "\n".join(
    f"  {name:<18}{description}" for name, description in MODEL_ARGS.items()
)
