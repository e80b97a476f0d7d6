"""The shell command, and the Python, that make a result again, whoever made it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ...data.recipe import canonical_json
from ...data.setting_text import written
from ...data.settings import setting_text
from ...models.opening.catalogue import DECLARED, HAIKU, HUGGING_FACE, MODEL_ARGS, PREDICTOR_FILE, remakeable
from ...models.subject import Source, Subject
from ...probes.probe import Probe

LAYOUT = ("d_in", "d_out", "order", "label_slot")
"""Facts of a predictor that are the settings of its `TokenLayout`."""


def dtype_name(subject: Subject) -> str:
    return str(subject.dtype).removeprefix("torch.")


def command(subjects: Sequence[Subject], probe: Probe, seed: int, batch_size: int) -> str:
    """The command without output folder, --force, -q and --json. Each setting of the probe that is not its default is
    a flag of its name.
    """
    first, sources = subjects[0], [subject.source for subject in subjects]
    words = ["mesascope", "run"]
    if first.source.layout == PREDICTOR_FILE:
        facts = first.source.facts
        words += ["--predictor", _predictor(first.source), "--d-in", str(facts["d_in"]), "--d-out", str(facts["d_out"])]
    else:
        words += dict.fromkeys(_model(source) for source in sources)
    if revisions := [revision for source in sources if (revision := source.revision or source.commit)]:
        words += ["--revision", ",".join(dict.fromkeys(revisions))]
    words += ["--probe", probe.name]
    told = told_beside(vars(sources[0]))
    if "layout" in told:
        words += ["--layout", told["layout"]]
    if told.get("model_args"):
        words += ["--model-args", written(told["model_args"])]
    for name, value in _changed_settings(probe).items():
        words += _option(type(probe), name, value)
    words += ["--seed", str(seed), "--batch-size", str(batch_size), "--dtype", dtype_name(first)]
    if first.device.type != "cpu":
        words += ["--device", first.device.type]
    return shlex.join(words)


def python(subjects: Sequence[Subject], probe: Probe, seed: int, batch_size: int) -> str:
    """The same in Python."""
    kind = type(probe)
    ours = kind.__module__.startswith("mesascope.probes.")
    settings = ", ".join(f"{name}={value!r}" for name, value in _changed_settings(probe).items())
    loads = [_load(subject) for subject in subjects]
    call = f"seed={seed}, batch_size={batch_size})"
    what = f"{'probes.' if ours else ''}{kind.__name__}({settings})"
    lines = ["import torch" for load in loads[:1] if "torch." in load]
    lines += ["from mesascope import analyses, models, probes"]
    lines += [] if ours else [f"from {kind.__module__} import {kind.__name__}"]
    if len(loads) == 1:
        lines += [f"subject = {loads[0]}", f"report = analyses.run(subject, {what}, {call}"]
    else:
        lines += ["subjects = [", *(f"    {load}," for load in loads), "]"]
        lines += [f"members, report = analyses.run_family(subjects, {what}, {call}"]
    return "\n".join(lines)


def _load(subject: Subject) -> str:
    source = subject.source
    if source.layout == PREDICTOR_FILE:
        given = [f"{name}={source.facts[name]!r}" for name in LAYOUT if name in source.facts]
        words = [repr(_predictor(source)), f"models.TokenLayout({', '.join(given)})"]
        words += [f"device={subject.device.type!r}"] if subject.device.type != "cpu" else []
        return f"models.from_predictor_file({', '.join(words)}, dtype=torch.{dtype_name(subject)})"
    if not remakeable(source.layout):
        return f"...  # {source.name!r}, to be opened as it was when this was made"
    words = [repr(_model(source))]
    revision = source.revision or source.commit
    words += [f"revision={revision!r}"] if revision else []
    words += [f"{name}={value!r}" for name, value in told_beside(vars(source)).items() if value]
    words += [f"device={subject.device.type!r}"] if subject.device.type != "cpu" else []
    return f"models.load({', '.join(words)}, dtype=torch.{dtype_name(subject)})"


def _model(source: Source) -> str:
    return source.path or source.name


def _predictor(source: Source) -> str:
    return f"{source.path}:{source.facts['function']}"


def told_beside(source: Mapping[str, Any]) -> dict[str, Any]:
    """What `models.load` has to be told beside a checkpoint's path, from its source's record."""
    layout = source["layout"]
    if layout in ("mesascope", HUGGING_FACE, PREDICTOR_FILE):
        return {}
    if layout == HAIKU:
        facts = source["facts"]
        return {"layout": HAIKU, "model_args": {name: facts[name] for name in MODEL_ARGS if name in facts}}
    options = json.loads(canonical_json(source["options"]))  # in one order, whoever wrote them
    return {"layout": options["declaration"] if layout == DECLARED else layout, "model_args": options["model_args"]}


def _option(probe: type[Probe], name: str, value: Any) -> list[str]:
    """A setting as `mesascope run` takes it: `--name value`; a switch as `--name` or `--no-name`."""
    spelled = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{spelled}"]
    return [f"--{spelled}", setting_text(probe, name, value)]


def _changed_settings(probe: Probe) -> dict[str, Any]:
    """Settings that differ from the probe's own defaults."""
    defaults = {name: field.default for name, field in type(probe).__dataclass_fields__.items()}
    return {name: value for name, value in probe.settings().items() if value != defaults[name]}
