"""Where a result came from: the key of all that can change a number, and the environment it was made in."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from ...data.recipe import canonical_json
from ...models.language_model import LanguageModel
from ...models.opening.catalogue import DECLARED, PREDICTOR_FILE, is_declared, remakeable
from ...models.subject import Source, Subject
from ...probes.findings import Findings
from ...probes.probe import Probe
from .code import code_sha256, family_code_sha256, source_state
from .command import command, dtype_name, python
from .records import json_value, measure_record
from .threads import blas_threads

PACKAGES = (
    "mesascope", "torch", "numpy", "scipy", "einops", "safetensors", "pandas", "matplotlib", "seaborn", "jinja2",
)  # fmt: skip
ANYONE = "`mesascope verify REPORT` opens the recorded checkpoint, runs the probe again and compares every number"
WITH_PREDICTOR = (
    "`mesascope verify REPORT --predictor FILE.py:function` runs the same file and the probe again, and compares every"
    " number; without the file nothing is run"
)
NOT_ALONE = "this model was in memory: only its owner can verify the report, analyses.verify(report, subject=…)"


def provenance(subjects: Sequence[Subject], probe: Probe, seed: int, batch_size: int) -> dict[str, Any]:
    """How the result was made. All that may differ from machine to machine stands under "environment"."""
    first = subjects[0]
    layouts = {subject.source.layout for subject in subjects}
    loadable = all(remakeable(layout) for layout in layouts)
    of_file = len(subjects) == 1 and layouts == {PREDICTOR_FILE}
    told = not first.source.facts.keys() & {"order", "label_slot"} if of_file else loadable and DECLARED not in layouts
    return {
        "command": command(subjects, probe, seed, batch_size) if told else None,
        "python": python(subjects, probe, seed, batch_size),
        "verification": ANYONE if loadable else WITH_PREDICTOR if of_file else NOT_ALONE,
        "device": first.device.type,
        "dtype": dtype_name(first),
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
        "blas_threads": blas_threads(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


# -- the key ----------------------------------------------------------------------------------------------------------


def key(subject: Subject, probe: Probe, seed: int, batch_size: int, findings: Findings | None = None) -> str:
    """Digest of all that can change a number. A subject that nothing identifies is told apart by what was found."""
    return key_of(subject.source, probe, seed, batch_size, subject.device.type, dtype_name(subject), findings)


def key_of(
    source: Source,
    probe: Probe,
    seed: int,
    batch_size: int,
    device: str,
    dtype: str,
    findings: Findings | None = None,
) -> str:
    """The key of a report, by what is known of the subject.

    device:  its kind, such as cuda
    dtype:   of the weights as they compute, such as float32
    """
    fingerprint = probe.fingerprint()
    by_content = {name.removesuffix("_sha256") for name in fingerprint}
    identity = {
        "weights": source.weights_sha256 if identified(source) else _findings_sha256(findings),
        "layout": DECLARED if is_declared(source.layout) else source.layout,  # what it says is in the facts
        "facts": source.facts,
        "record": source.record,
        "probe": [probe.name, probe.version, code_sha256(type(probe))],
        "settings": {name: value for name, value in probe.settings().items() if name not in by_content},
        "files": fingerprint,
        "seed": seed,
        "dtype": dtype,
        "device": device,
        "batch_size": batch_size,
    }
    return _digest(identity)


def identified(source: Source) -> bool:
    """Whether a model is told from every other before it is measured: by its weights, or by its code in the facts."""
    return source.weights_sha256 is not None or source.layout == PREDICTOR_FILE


def family_key(keys: Sequence[str]) -> str:
    """The key of a report over several checkpoints, from the keys of their own and the code that aggregates them."""
    return _digest({"family": list(keys), "code": family_code_sha256()})


def _digest(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(json_value(identity)).encode()).hexdigest()[:16]


def _findings_sha256(findings: Findings | None) -> str | None:
    if findings is None:
        return None
    digest = hashlib.sha256()
    for name, measure in findings.measures.items():
        digest.update(canonical_json([name, measure_record(measure)]).encode())
    for name, array in sorted(findings.arrays.items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
