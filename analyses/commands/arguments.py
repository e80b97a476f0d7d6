"""The command line's grammar: commands and their options. What a value may be, typed settings say (`run_options.py`).

Options of `mesascope run` and `sweep` are their own and the settings of probes, each under its name. Settings are read
from the sources, so that help needs no torch; a probe of another package is imported when `-p` names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from ...data.errors import UsageError, nearest
from ...models.opening.catalogue import HAIKU, LAYOUTS, MODEL_ARGS
from ...probes import PROBES, probe_class, refuse_reserved, registered
from .run_options import ALL_PROBES, RunOptions
from .source_reading import REQUIRED, Setting, class_settings, describe
from .suggesting import FORMATS, LISTS, SHELLS, suggest
from .sweep_options import SweepOptions

EXIT_CODES = """\
exit codes:
  0  done (also: a probe does not apply)         1  some items failed, or verify found a difference
  2  bad arguments, tasks or output folder       3  the checkpoint was refused
  130, 143  interrupted (Ctrl-C, SIGTERM)        141  the reader of the output went away"""
EXAMPLES = """\
examples:
  mesascope run lsa-1layer                       is it gradient descent? one report a seed, and one over all
  mesascope run weights.npz --layout von-oswald-haiku --model-args n_layers=2,activation_clip=2.0
  mesascope run --predictor mine.py:predict --d-in 10     a function of yours from tasks to predictions
  mesascope sweep lsa-1layer --seeds 0-4 -p gd-alignment    all steps, on every core; goes on where it was
  mesascope show reports/lsa-1layer/gd-alignment
  mesascope verify REPORT                        make it again, and compare field by field"""


class SettingOption(click.Option):
    """A setting of one or several probes."""

    def __init__(self, setting: Setting) -> None:
        self.spelled = f"--{setting.name.replace('_', '-')}"
        negated = f"/--no-{self.spelled.removeprefix('--')}" if setting.switch else ""
        super().__init__([setting.name, self.spelled + negated], default=None, shell_complete=suggest)


class MeasuringCommand(click.Command):
    """`mesascope run` or `sweep` with the settings of probes, by probe."""

    def __init__(self, command: click.Command, settings: Mapping[str, tuple[Setting, ...]]) -> None:
        self.settings = settings
        distinct = {setting.name: setting for of_probe in settings.values() for setting in of_probe}
        params = [*command.params, *map(SettingOption, distinct.values())]
        super().__init__(command.name, callback=command.callback, params=params, help=command.help)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [param for param in self.get_params(ctx) if not isinstance(param, SettingOption | click.Argument)]
        with formatter.section("Options"):
            formatter.write_dl([record for param in own if (record := param.get_help_record(ctx))])
        for probe, settings in self.settings.items():
            with formatter.section(f"Settings of {probe}"):
                formatter.write_dl([_setting_help(setting) for setting in settings])
        with formatter.section(f"Keys of --model-args for files of the layout {HAIKU}"):
            formatter.write_dl(list(MODEL_ARGS.items()))


class Commands(click.Group):
    """The commands, of which `run` and `sweep` take the settings of probes as options."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in their own order, not the alphabet's

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        found = super().get_command(ctx, cmd_name)
        if found is None:
            raise UsageError(f"command {cmd_name!r} is not known; {nearest(cmd_name, self.commands)}")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in ("run", "sweep") and command is not None:
            command = MeasuringCommand(command, probe_settings(_named_probes(rest)))
        return name, command, rest


def parse(argv: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The command, and the options that were given. `--batch_size` is read as `--batch-size`.

    Raises UsageError for what the grammar does not have, SystemExit after `--help` and `--version`.
    """
    try:
        with MESASCOPE.make_context("mesascope", list(argv)) as context:
            return MESASCOPE.invoke(context)
    except click.exceptions.Exit as stop:
        raise SystemExit(stop.exit_code) from None
    except click.UsageError as error:
        raise UsageError(_in_our_words(error, argv)) from error


def probe_settings(named: Iterable[str] = ()) -> dict[str, tuple[Setting, ...]]:
    """Settings by probe: of ours from their sources, of others that are named by importing them."""
    found = {name: describe(target).settings for name, target in PROBES.items()}
    others = registered() if set(named) - set(found) else {}
    wanted = others if ALL_PROBES in named else [name for name in named if name in others]
    found |= {name: class_settings(probe_class(name)) for name in wanted if name not in found}
    for name, settings in found.items():
        refuse_reserved(name, (setting.name for setting in settings))
    return found


def _named_probes(args: Sequence[str]) -> list[str]:
    """The probes that `-p` names, whatever else stands beside it."""
    only = click.Command(
        "run", params=[_PROBE], context_settings={"ignore_unknown_options": True}, add_help_option=False
    )
    context = only.make_context("run", list(args), resilient_parsing=True, allow_extra_args=True)
    return [name for given in context.params["probe"] or () for name in given.split(",")]


def _setting_help(setting: Setting) -> tuple[str, str]:
    option = SettingOption(setting)
    spelled = ", ".join((*option.opts, *option.secondary_opts)) if setting.switch else f"{option.spelled} VALUE"
    untold = setting.default in ("None", "False", REQUIRED) or "default" in setting.meaning
    return spelled, setting.meaning if untold else f"{setting.meaning} (default {setting.default})"


def _in_our_words(error: click.UsageError, argv: Sequence[str]) -> str:
    command = next((word for word in argv if word in _COMMANDS), "")
    if isinstance(error, click.NoSuchOption) and error.ctx:
        known = [name for param in error.ctx.command.params for name in param.opts if name.startswith("--")]
        return f"{command or 'mesascope'}: option {error.option_name} is not known; {nearest(error.option_name, known)}"
    if not command:
        return f"no command; expected one of {', '.join(_COMMANDS)}; see `mesascope --help`"
    message = error.format_message().rstrip(".")
    return f"{command}: {message[:1].lower()}{message[1:]}; see `mesascope {command} --help`"


def _given(**values: Any) -> tuple[str, dict[str, Any]]:
    """The command's name, and its options without those that were not given."""
    name = click.get_current_context().info_name or ""
    joined = {"probe", "revisions", "model_args", "probe_args", "slurm", "figure"}  # may be given several times
    given = {option: value for option, value in values.items() if value not in (None, ())}
    return name, {option: ",".join(value) if option in joined else value for option, value in given.items()}


def _option(*names: str, metavar: str, help: str, several: bool = False) -> click.Option:
    return click.Option(names, metavar=metavar, help=help, multiple=several, shell_complete=suggest)


def _switch(*names: str, help: str) -> click.Option:
    return click.Option(names, is_flag=True, default=None, help=help)


_PROBE = _option(
    "probe", "-p", "--probe", "--probes", metavar="NAME,…", several=True,
    help=f"Probes to run, or {ALL_PROBES}. Default: those that apply and are quick.",
)  # fmt: skip
_JSON = _switch("--json", help="Print data as JSON on stdout, everything else on stderr.")
_QUIET = _switch("-q", "--quiet", help="Show no progress; print only where the results are.")
_THREADS = _option("--threads", metavar="N", help="Threads of torch, NumPy and SciPy. Default: OMP_NUM_THREADS if"
    " it is set; else 1 for small models, and one a core for others.")  # fmt: skip
_PREDICTOR = "FILE.py:FUNCTION"
_REPORT = click.Argument(["report"], metavar="REPORT", shell_complete=suggest)
RUN_PARAMETERS = [
    click.Argument(["models"], nargs=-1, metavar="MODEL...", shell_complete=suggest),
    _option(
        "--predictor", metavar=_PREDICTOR,
        help="In the place of MODEL: a function or nn.Module in a file of yours, from tokens [task, token, feature] to"
        " predictions. The file is run.",
    ),
    _option("--d-in", metavar="N", help="With --predictor: width of x in a token [x ; y]."),
    _option("--d-out", metavar="N", help="With --predictor: width of y. Default: 1."),
    _PROBE,
    _option(
        "revisions", "--revision", "--revisions", metavar="A,B,…", several=True,
        help="Checkpoints of a family: seed3, step500, seed3-step500, several, all. Default: every seed's last step.",
    ),
    _option(
        "--layout", metavar="NAME",
        help=f"How names in the file are read: {', '.join(LAYOUTS)}, or a FILE (TOML, YAML, JSON) that declares it.",
    ),
    _option("--model-config", metavar="FILE.json", help="Facts that the weights do not show, as a file."),
    _option(
        "--model-args", metavar="K=V,…", several=True, help="Facts that the weights do not show; keys are listed below."
    ),
    _option("--probe-args", metavar="K=V,…", several=True, help="Settings of the probes; also options of their names."),
    _option("--seed", metavar="N", help=f"Seed of everything drawn at random. Default: {RunOptions.seed}."),
    _option("--device", metavar="NAME", help=f"cpu, cuda, cuda:1 or mps. Default: {RunOptions.device}."),
    _option("--dtype", metavar="NAME", help="float16, bfloat16, float32 or float64. Default: the checkpoint's own."),
    _option("--batch-size", metavar="N", help="Tasks or sequences in one forward pass. Default: the probe's own."),
    _THREADS,
    _option("-o", "--output-dir", metavar="DIR", help=f"Folder for the reports. Default: ./{RunOptions.output_dir}."),
    _option("--figures", metavar="KIND", help="none, png, or paper: PDF, SVG and PNG; of a"
        f" family's members the main figure, as PNG. Default: {RunOptions.figures}."),
    _option("--config", metavar="FILE", help="These options in a TOML, YAML or JSON file; the command line wins."),
    _switch("--offline", help="Tell every library to stay offline. mesascope itself downloads nothing."),
    _switch("--force", help="Measure again, even if a finished report exists."),
    _switch("--dry-run", help="Say what would run, and about how much time and memory it takes; measure nothing."),
    _switch("--time", help="With --dry-run: time one batch on this machine, instead of going by the model's size."),
    _JSON,
    _QUIET,
    _switch("-v", "--verbose", help="Print every measure."),
]  # fmt: skip
_SWEPT_OTHERWISE = {"models", "predictor", "d_in", "d_out", "revisions", "threads", "dry_run", "time"}
SWEEP_PARAMETERS = [
    click.Argument(["models"], nargs=-1, metavar="MODEL...", shell_complete=suggest),
    _option(
        "revisions", "--revision", "--revisions", metavar="A,B,…", several=True,
        help="Checkpoints: seed3, step500, several, all. Braces stand for several: 'step{0,512,1000..9000..1000}'."
        " Default: all of a family, and all of a hub id that are cached.",
    ),
    _option("--seeds", metavar="N,…", help="Seeds of a family, as 0-9 or 0,2,5-7. Default: all."),
    *(param for param in RUN_PARAMETERS if param.name not in _SWEPT_OTHERWISE),
    _option("--engine", metavar="NAME", help="What starts workers: local, on this machine; slurm, as jobs; ray, on a"
        f" cluster that you have. Default: {SweepOptions.engine}."),
    _option("--workers", metavar="N", help="Processes, or jobs of Slurm. Default: one for each GPU, or as many as cores"
        " have room for; one job."),
    _option("--slurm", metavar="K=V,…", several=True, help="What each job asks for: partition=gpu,time=120,mem=32G."),
    _switch("--wait/--no-wait", help="Wait for Slurm's jobs, or return as soon as they are submitted. Default:"
        " --no-wait."),
    _option("--ray-address", metavar="ADDRESS", help=f"Of the Ray cluster. Default: {SweepOptions.ray_address}."),
    _option("--threads", metavar="N", help=f"Threads of each worker. Default: {SweepOptions.threads}."),
    _option("--timeout", metavar="TIME", help="Of a checkpoint with all its probes: 90s, 30m, 2h. Default: none."),
    _option("--retries", metavar="N", help="How often a checkpoint is tried again whose worker died or ran out of time."
        f" Default: {SweepOptions.retries}."),
    _option("--shard", metavar="I/N", help="Measure share I of N, from 0/N, in this process."),
    _switch("--retry-failed", help="Measure again what failed before."),
    _switch("--dry-run", help="Say what would run, what is finished and what holds the same weights; measure nothing."),
    _switch("--audit", help="Compare the checkpoints' weights, from their files; open no model."),
    _switch("--status", help="MODEL is the output folder of a sweep: say what is done, failed and left."),
]  # fmt: skip
_COMMANDS = {
    "run": (
        "Measure checkpoints: one report each, and one over several of the same architecture.\n\n"
        "MODEL is a shipped name (`mesascope list checkpoints`), a file, a directory saved by `save_pretrained`, or a"
        " hub id in the local cache. --predictor measures a function of yours instead.",
        RUN_PARAMETERS,
    ),
    "sweep": (
        "Measure many checkpoints, several at a time: one report each, and one over steps and seeds.\n\n"
        "MODEL as for `run`. What is finished is found again, so an interrupted sweep goes on where it was.",
        SWEEP_PARAMETERS,
    ),
    "list": (
        "List what there is: probes, checkpoints, tasks, layouts, recipes, revisions of a family.",
        [
            click.Argument(["what"], required=False, metavar=f"[{'|'.join(LISTS)}]", shell_complete=suggest),
            click.Argument(["model"], required=False, metavar="[MODEL]", shell_complete=suggest),
            _JSON,
        ],
    ),
    "show": (
        "Show a report in the terminal: the claim, its numbers, their null models; of a folder of several, a list.",
        [_REPORT, _JSON],
    ),
    "verify": (
        "Make a report again, also somebody else's, and compare field by field.",
        [
            _REPORT,
            _option("--weights", metavar="PATH", help="The checkpoint, if it has moved."),
            _option(
                "--predictor",
                metavar=_PREDICTOR,
                help="Of a report of your own function: the same file. It is run"
                " only if its SHA-256 is the recorded one.",
            ),
            _QUIET,
            _JSON,
        ],
    ),
    "timeline": (
        "Put the probes of a folder's reports on one time axis: when each begins, and which begins first.\n\n"
        "REPORT is a folder of reports over several steps, such as the output folder of `sweep`.",
        [_REPORT, _QUIET, _JSON],
    ),
    "compare": (
        "Set reports side by side, with the differences and their intervals.",
        [click.Argument(["reports"], nargs=-1, metavar="REPORT REPORT...", shell_complete=suggest), _JSON],
    ),
    "export": (
        "Put reports into one table for a paper or a page, or send them to Weights & Biases.",
        [
            click.Argument(["reports"], nargs=-1, metavar="REPORT...", shell_complete=suggest),
            _option("--to", metavar="PLACE", help="markdown, latex, or wandb: a run for each report."),
            _option("--measures", metavar="NAME,…", help="In the tables, as loss_model or excess[layer=1,head=0]."),
            _option("-o", "--output", metavar="FILE", help="For the tables. Default: print them."),
            _switch("--force", help="Write over FILE if it exists."),
            _option("--project", metavar="NAME", help="At Weights & Biases. Default: as its own settings say."),
            _switch("--offline", help="Write the runs to ./wandb and send nothing."),
        ],
    ),
    "figures": (
        "Draw a saved report's figures in another style or format.",
        [
            _REPORT,
            _option("--style", metavar="NAME", help="neurips (default), iclr, icml or acl: sets the column widths."),
            _option("--formats", metavar="A,B,…", help=f"Of {', '.join(FORMATS)}. Default: all."),
            _option("--only", metavar="NAME,…", help="Draw these figures and no others. Default: all."),
            _option("--panel", metavar="PANEL", help="Of the figure named by --only, one panel: its number or title."),
            _option("--width", metavar="INCHES", help="Width of every figure. Default: that of the style."),
            _option("-o", "--output-dir", metavar="DIR", help="Folder for the figures. Default: ./LABEL-STYLE."),
        ],
    ),
    "train": (
        "Train a recipe's checkpoints. An interrupted training goes on where it was.",
        [
            click.Argument(["recipe"], metavar="RECIPE", shell_complete=suggest),
            _option("-o", "--output", metavar="FILE", help="The checkpoint to write. Default: RECIPE.safetensors."),
            _option("--seeds", metavar="N,…", help="Seeds to train. Default: the recipe's."),
            _option("--device", metavar="NAME", help="cpu, cuda, cuda:1 or mps. Default: cpu."),
            _THREADS,
            _switch("--force", help="Train again, even if FILE exists."),
            _QUIET,
        ],
    ),
    "reproduce": (
        "Reproduce the figures of a paper: train or find what they need, measure it, judge each figure.\n\n"
        "PAPER is von-oswald-2023. Begins with an estimate. An interrupted reproduction goes on where it was.",
        [
            click.Argument(["paper"], metavar="PAPER", shell_complete=suggest),
            _option(
                "figure", "--figure", "--figures", metavar="N,…", several=True, help="Their numbers. Default: all."
            ),
            _switch("--quick", help="Reduced trainings and fewer seeds: minutes, and verdicts that say so."),
            _option(
                "-o",
                "--output-dir",
                metavar="DIR",
                help="Folder for figures, verdicts, checkpoints and reports. Default: ./PAPER.",
            ),
            _option(
                "--checkpoints",
                metavar="DIR",
                help="A folder with RECIPE.safetensors files, which are used where they are there.",
            ),
            _option("--workers", metavar="N", help="Processes that measure. Default: as many as cores have room for."),
            _switch("--dry-run", help="Say what would be trained and measured, and about how long it takes."),
            _JSON,
            _QUIET,
        ],
    ),
    "convert": (
        "Write the arrays of a pickle or an .npz as a .safetensors.\n\n"
        "Nothing in the file is run: a pickle that names anything but arrays is refused.",
        [
            click.Argument(["source"], metavar="FILE", shell_complete=suggest),
            click.Argument(["target"], metavar="OUT.safetensors", shell_complete=suggest),
            _option("--separator", metavar="TEXT", help="Between the names of nested parts. Default: /."),
            _switch("--force", help="Write over OUT if it exists."),
            _QUIET,
        ],
    ),
    "selftest": (
        "Compare what mesascope computes on this machine with closed forms of papers. About ten seconds.",
        [
            _option("--device", metavar="NAME", help="Where models run: cpu, cuda or cuda:1. Default: cpu."),
            _THREADS,
            _JSON,
            _switch("-q", "--quiet", help="Show no progress."),
        ],
    ),
    "completion": (
        "Print the script that completes words in a shell; a shell reads it when it starts.",
        [click.Argument(["shell"], metavar="|".join(SHELLS), shell_complete=suggest)],
    ),
}
MESASCOPE = click.version_option(package_name="mesascope", message="mesascope %(version)s")(
    Commands(
        "mesascope",
        commands=[
            click.Command(name, callback=_given, params=params, help=text, short_help=text.partition("\n")[0])
            for name, (text, params) in _COMMANDS.items()
        ],
        help="Point probes at a trained transformer; get a report that anyone can make again.",
        epilog="\b\n" + EXAMPLES + "\n\n\b\n" + EXIT_CODES,
        context_settings={
            "token_normalize_func": lambda token: token.replace("_", "-"),
            "help_option_names": ["-h", "--help"],
            "max_content_width": 100,
        },
        no_args_is_help=False,
    )
)
