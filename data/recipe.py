"""Recipes, which reproduce inputs, with their digests and named seeds. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import TaskError


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no blanks, no NaN. Digests are computed from it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Recipe:
    """Where inputs came from: enough to reproduce them and to notice a change.

    `sha256` is the digest of inputs and targets before any cast to the model's dtype.
    """

    family: str
    settings: Mapping[str, Any]
    seed: int | None
    n: int
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "family": self.family,
            "settings": dict(self.settings),
            "seed": self.seed,
            "n": self.n,
            "sha256": self.sha256,
        }


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file of inputs. It is part of a run's identity; the path is not."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TaskError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def named_seed(seed: int, *names: str | int) -> int:
    """A seed for one named purpose, so that different purposes do not share random numbers."""
    digest = hashlib.sha256(canonical_json([seed, *names]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
