"""Numbers of tasks by names: those of consecutive tasks as those of all, and as arrays of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Named = Mapping[Any, Any]
"""Arrays with a first axis of tasks, by names, and by names of names."""


def together(parts: Sequence[Named]) -> dict[Any, Any]:
    """Of consecutive tasks, as those of all."""
    return {
        name: np.concatenate([part[name] for part in parts])
        if isinstance(own, np.ndarray)
        else together([part[name] for part in parts])
        for name, own in parts[0].items()
    }


def flat_arrays(numbers: Named) -> dict[str, np.ndarray]:
    """By the names that reports give the parts of a measure: "contrast_gd_in context"."""
    found: dict[str, np.ndarray] = {}
    for name, own in numbers.items():
        if isinstance(own, np.ndarray):
            found[name] = own
        else:
            found |= {f"{name}_{rest}": array for rest, array in flat_arrays(own).items()}
    return found
