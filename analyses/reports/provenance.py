"""Where a result came from: the key of all that can change a number, the code, the environment, the command."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data.recipe import canonical_json
from ...models.opening.catalogue import DECLARED, HAIKU, HUGGING_FACE, MODEL_ARGS, remakeable
from ...models.language_model import LanguageModel
from ...models.subject import Source, Subject
from ...probes.probe import Probe
from ...probes.findings import Findings
from ..commands.arguments import SETTING_FLAGS
from .records import measure_record, plain

PACKAGE = Path(__file__).resolve().parents[2]
LAYERS = ("analyses", "data", "models", "probes")
PACKAGES = (
    "mesascope", "torch", "numpy", "scipy", "einops", "safetensors", "pandas", "matplotlib", "seaborn", "jinja2",
)  # fmt: skip
NOT_ALONE = "the record alone does not open these weights: it can be verified only when the subject is passed again"


def provenance(subjects: Sequence[Subject], probe: Probe, seed: int, batch_size: int) -> dict[str, Any]:
    """How the result was made. All that may differ from machine to machine stands under "environment"."""
    first = subjects[0]
    layouts = {subject.source.layout for subject in subjects}
    loadable = all(remakeable(layout) for layout in layouts)
    return {
        "command": command(subjects, probe, seed, batch_size) if loadable and DECLARED not in layouts else None,
        "python": python(subjects, probe, seed, batch_size),
        "verification": "mesascope verify makes it again from the recorded checkpoint" if loadable else NOT_ALONE,
        "device": first.device.type,
        "dtype": _dtype(first),
        "batch_size": batch_size,
        **_of_language(first),
        "input_files": probe.fingerprint(),
        "code_sha256": code_sha256(type(probe)),
        "environment": _with_packages(environment(first.device), subjects),
    }


def _of_language(subject: Subject) -> dict[str, Any]:
    """How a language model's sequences begin, who reads its texts, and what its attention is computed by."""
    if not isinstance(subject, LanguageModel):
        return {}
    return {
        "bos": subject.bos,
        "tokenizer_sha256": subject.source.facts.get("tokenizer_sha256"),
        "attention_implementation": subject.attention_implementation,
    }


def _with_packages(environment: dict[str, Any], subjects: Sequence[Subject]) -> dict[str, Any]:
    """The versions that these subjects depend on, beside those that every result does."""
    more = {name: _version(name) for subject in subjects for name in subject.packages}
    return {**environment, "packages": {**environment["packages"], **more}}


def environment(device: torch.device) -> dict[str, Any]:
    """The machine, the versions, and the state of the sources."""
    return {
        **source_state(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _dtype(subject: Subject) -> str:
    return str(subject.dtype).removeprefix("torch.")


# -- the code ---------------------------------------------------------------------------------------------------------


def source_state() -> dict[str, Any]:
    """The commit of these sources, and whether they differ from it; null where nobody knows."""
    try:
        # installed into somebody's checkout, the package must not take that checkout's commit
        if Path(_git("rev-parse", "--show-toplevel")).resolve() == PACKAGE:
            return {"commit": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain", "--", *LAYERS))}
    except (OSError, subprocess.CalledProcessError):
        pass
    baked = PACKAGE / "analyses" / "_build.json"
    return json.loads(baked.read_text(encoding="utf-8")) if baked.is_file() else {"commit": None, "dirty": None}


def _git(*arguments: str) -> str:
    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    line = ["git", "-c", f"safe.directory={PACKAGE}", "-C", str(PACKAGE), *arguments]
    return subprocess.run(line, capture_output=True, check=True, text=True, env=elsewhere).stdout.strip()


@cache
def code_sha256(probe: type[Probe]) -> str:
    """Digest of the sources that can change a number: models, data, probes, the aggregation over a family, and the
    file of a probe from elsewhere.
    """
    files = [path for layer in ("data", "models", "probes") for path in sorted((PACKAGE / layer).rglob("*.py"))]
    files += [PACKAGE / "analyses" / "runs" / name for name in ("aggregation.py", "family.py")]
    own = inspect.getsourcefile(probe)
    if own is not None and Path(own).resolve() not in files:
        files.append(Path(own))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


# -- the key ----------------------------------------------------------------------------------------------------------


def key(subject: Subject, probe: Probe, seed: int, batch_size: int, findings: Findings | None = None) -> str:
    """Digest of all that can change a number. A subject that hides its weights is told apart by what was found."""
    fingerprint = probe.fingerprint()
    by_content = {name.removesuffix("_sha256") for name in fingerprint}
    source = subject.source
    identity = {
        "weights": source.weights_sha256 or _findings_sha256(findings),
        "layout": DECLARED if source.layout.endswith(".toml") else source.layout,  # what it says is in the facts
        "facts": source.facts,
        "record": source.record,
        "probe": [probe.name, probe.version, code_sha256(type(probe))],
        "settings": {name: value for name, value in probe.settings().items() if name not in by_content},
        "files": fingerprint,
        "seed": seed,
        "dtype": _dtype(subject),
        "device": subject.device.type,
        "batch_size": batch_size,
    }
    return _digest(identity)


def family_key(keys: Sequence[str]) -> str:
    """The key of a report over several checkpoints, from the keys of their own."""
    return _digest({"family": list(keys)})


def _digest(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(plain(identity)).encode()).hexdigest()[:16]


def _findings_sha256(findings: Findings | None) -> str | None:
    if findings is None:
        return None
    digest = hashlib.sha256()
    for name, measure in findings.measures.items():
        digest.update(canonical_json([name, measure_record(measure)]).encode())
    for name, array in sorted(findings.arrays.items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


# -- the command ------------------------------------------------------------------------------------------------------


def command(subjects: Sequence[Subject], probe: Probe, seed: int, batch_size: int) -> str:
    """The shell command that makes the result, whoever made it: without output folder, --force, -q and --json."""
    first, sources = subjects[0], [subject.source for subject in subjects]
    words = ["mesascope", "run", *dict.fromkeys(_model(source) for source in sources)]
    if revisions := [revision for source in sources if (revision := source.revision or source.commit)]:
        words += ["--revision", ",".join(dict.fromkeys(revisions))]
    words += ["--probe", probe.name]
    told = told_beside(vars(sources[0]))
    if "layout" in told:
        words += ["--layout", told["layout"]]
    if told.get("model_args"):
        words += ["--model-args", _pairs(told["model_args"])]
    changed = _changed_settings(probe)
    for name in (name for name in SETTING_FLAGS if name in changed):
        value, flag = changed.pop(name), f"--{name.replace('_', '-')}"
        words += [flag] if value is True else [flag, str(value)]
    if changed:
        words += ["--probe-args", _pairs(changed)]
    words += ["--seed", str(seed), "--batch-size", str(batch_size), "--dtype", _dtype(first)]
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
    if not remakeable(source.layout):
        return f"...  # {source.name!r}, to be opened as it was when this was made"
    words = [repr(_model(source))]
    revision = source.revision or source.commit
    words += [f"revision={revision!r}"] if revision else []
    words += [f"{name}={value!r}" for name, value in told_beside(vars(source)).items() if value]
    words += [f"device={subject.device.type!r}"] if subject.device.type != "cpu" else []
    return f"models.load({', '.join(words)}, dtype=torch.{_dtype(subject)})"


def _model(source: Source) -> str:
    return source.path or source.name


def told_beside(source: Mapping[str, Any]) -> dict[str, Any]:
    """What `models.load` has to be told beside a checkpoint's path, from its source's record."""
    layout = source["layout"]
    if layout in ("mesascope", HUGGING_FACE):
        return {}
    if layout == HAIKU:
        facts = source["facts"]
        return {"layout": HAIKU, "model_args": {name: facts[name] for name in MODEL_ARGS if name in facts}}
    options = json.loads(canonical_json(source["options"]))  # in one order, whoever wrote them
    return {"layout": options["declaration"] if layout == DECLARED else layout, "model_args": options["model_args"]}


def _changed_settings(probe: Probe) -> dict[str, Any]:
    """Settings that differ from the probe's own defaults."""
    defaults = {name: field.default for name, field in type(probe).__dataclass_fields__.items()}
    return {name: value for name, value in probe.settings().items() if value != defaults[name]}


def _pairs(values: Mapping[str, Any]) -> str:
    words = {True: "true", False: "false", None: "none"}

    def word(value: Any) -> str:
        if isinstance(value, list | tuple):
            return f"[{','.join(map(word, value))}]"
        return words[value] if value is None or isinstance(value, bool) else str(value)

    return ",".join(f"{name}={word(value)}" for name, value in values.items())
