"""mesascope: point probes at a trained transformer; get a report that anyone can make again.

    import mesascope as ms

    model = ms.load("lsa-1layer")
    report = ms.run(model, "gd-alignment")

What most scripts need is here; everything else is in `ms.models`, `ms.probes`, `ms.analyses` and `ms.data`. Nothing
heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analyses import Callback, Report, compare, export, overview, run, run_family, train, verify
    from .models import (
        NotApplicable,
        as_subject,
        from_bridge,
        from_language_model,
        from_module,
        from_predictor,
        load,
        load_all,
    )

__version__: str

_FOLDERS = ("analyses", "data", "models", "probes")
_HOMES = {
    "Callback": "analyses",
    "NotApplicable": "models",
    "Report": "analyses",
    "as_subject": "models",
    "compare": "analyses",
    "export": "analyses",
    "from_bridge": "models",
    "from_language_model": "models",
    "from_module": "models",
    "from_predictor": "models",
    "load": "models",
    "load_all": "models",
    "overview": "analyses",
    "run": "analyses",
    "run_family": "analyses",
    "train": "analyses",
    "verify": "analyses",
}
__all__ = [
    "Callback",
    "NotApplicable",
    "Report",
    "__version__",
    "as_subject",
    "compare",
    "export",
    "from_bridge",
    "from_language_model",
    "from_module",
    "from_predictor",
    "load",
    "load_all",
    "overview",
    "run",
    "run_family",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that naming the package does not import torch (PEP 562)."""
    if name in _FOLDERS:
        return import_module(f".{name}", __name__)
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("mesascope")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_FOLDERS])
