"""Probes: measurements of a subject. A new one is a package, its tests, its guide page, and one line here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..data.errors import UsageError, nearest

if TYPE_CHECKING:
    from .findings import Findings
    from .induction_heads.scores import prefix_matching_score
    from .measure import Claim, Measure
    from .probe import Cost, Probe

PROBES = {
    "attention-learning": "mesascope.probes.attention_learning.probe:AttentionLearning",
    "deep-features": "mesascope.probes.deep_features.probe:DeepFeatures",
    "few-shot-heads": "mesascope.probes.few_shot_heads.probe:FewShotHeads",
    "gd-alignment": "mesascope.probes.gd_alignment.probe:GDAlignment",
    "gd-certificate": "mesascope.probes.gd_certificate.probe:GDCertificate",
    "icl-algorithm": "mesascope.probes.icl_algorithm.probe:ICLAlgorithm",
    "icl-vs-gd": "mesascope.probes.icl_vs_gd.probe:ICLvsGD",
    "implicit-weights": "mesascope.probes.implicit_weights.probe:ImplicitWeights",
    "induction-heads": "mesascope.probes.induction_heads.probe:InductionHeads",
    "label-copying": "mesascope.probes.label_copying.probe:LabelCopying",
    "shift-battery": "mesascope.probes.shift_battery.probe:ShiftBattery",
    "softmax-regression": "mesascope.probes.softmax_regression.probe:SoftmaxRegressionProbe",
    "spectral-filter": "mesascope.probes.spectral_filter.probe:SpectralFilter",
    "token-norms": "mesascope.probes.token_norms.probe:TokenNorms",
}
"""Every probe of this package, `name -> "module:Class"`; nothing is imported until one is used."""

RESERVED = frozenset({
    "models", "model", "predictor", "d_in", "d_out", "probe", "probes", "revision", "revisions", "layout",
    "model_config", "model_args", "probe_args", "settings", "seed", "device", "dtype", "batch_size", "output_dir",
    "figures", "config", "offline", "force", "dry_run", "time", "threads", "json", "quiet", "verbose", "help",
    "seeds", "engine", "workers", "timeout", "retries", "shard", "slurm", "wait", "ray_address", "retry_failed",
    "audit", "status",
})  # fmt: skip
"""Names of the own options of `mesascope run` and `sweep`. A setting of a probe is an option beside them, so it has
another name."""

_HOMES = {
    "Claim": "measure",
    "Cost": "probe",
    "Findings": "findings",
    "Measure": "measure",
    "Probe": "probe",
    "prefix_matching_score": "induction_heads.scores",
}
__all__ = [
    "PROBES",
    "Claim",
    "Cost",
    "Findings",
    "Measure",
    "Probe",
    "prefix_matching_score",
    "probe_class",
    "registered",
]


def registered() -> dict[str, str]:
    """Probes of this package and of others that declare the entry-point group `mesascope.probes`."""
    return {**_declared(tuple(sys.path)), **PROBES}


@cache
def _declared(path: tuple[str, ...]) -> Mapping[str, str]:
    """What the packages on a path declare. To read the entry points of them all takes 20 ms."""
    from importlib.metadata import entry_points  # which `--help` does without

    return {point.name: point.value for point in entry_points(group="mesascope.probes")}


def probe_class(name: str) -> type[Probe]:
    """The class registered under a name. UsageError for an unknown name, and for a setting whose name is reserved."""
    module, _, attribute = home_of(name).partition(":")
    kind = getattr(import_module(module), attribute)
    refuse_reserved(name, (field.name for field in fields(kind)))
    return kind


def home_of(name: str) -> str:
    """Where the class registered under a name is, as MODULE:CLASS; nothing is imported. UsageError for another name."""
    known = registered()
    if name not in known:
        raise UsageError(f"probe {name!r} is not known; {nearest(name, known)}")
    return known[name]


def refuse_reserved(probe: str, settings: Iterable[str]) -> None:
    """UsageError for a setting that `mesascope run` could not tell from an option of its own."""
    if taken := sorted(RESERVED & set(settings)):
        raise UsageError(
            f"probe {probe!r} has a setting {taken[0]!r}, which is an option of `mesascope run` or `sweep`; rename the"
            " setting"
        )


def __getattr__(name: str) -> Any:
    """Import on first use, so that naming the package does not import torch (PEP 562).

    `probes.GDAlignment` and every other class of `PROBES` is found here without a line of its own.
    """
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    for target in PROBES.values():
        module, _, kind = target.partition(":")
        if name == kind:
            return getattr(import_module(module), kind)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(target.partition(":")[2] for target in PROBES.values())])
