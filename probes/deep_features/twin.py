"""The twin: another model of the same tasks, say one whose attention is a written step of gradient descent."""

from __future__ import annotations

from pathlib import Path

from ...data.errors import UsageError
from ...data.recipe import file_sha256
from ...models.opening.catalogue import find, shipped
from ...models.opening.loading import load
from ...models.subject import Regressor, Subject
from ..regression.examined import Examined
from ..regression.sign import readout_sign
from .reading import Twin

NO_TWIN = "no twin was given: train one (mesascope train sine-mlp-gd -o FILE) and name it (--twin FILE)"


def twin_of(examined: Examined, named: str | None) -> Twin | None:
    """The last step of the twin's seed of the same number; of its first seed, where it has no such one.

    Raises UsageError for a model of other tasks, and CheckpointRefused for one that cannot be opened.
    """
    if named is None:
        return None
    subject, twin = examined.subject, _of_seed(named, examined.subject.source.seed)
    if not isinstance(twin, Regressor) or (twin.d_in, twin.d_out) != (subject.d_in, subject.d_out):
        kind = f"d_in = {twin.d_in}, d_out = {twin.d_out}" if isinstance(twin, Regressor) else "no regression model"
        raise UsageError(
            f"twin = {twin.source.label}: {kind}; expected a model of the same tasks as {subject.source.label}, d_in ="
            f" {subject.d_in} and d_out = {subject.d_out}"
        )
    return Twin(twin, readout_sign(examined, twin))


def _of_seed(named: str, seed: int | None) -> Subject:
    if seed is not None:
        try:
            return load(named, f"seed{seed}")
        except UsageError:  # a single checkpoint, or another seed
            pass
    return load(named)


def twin_digest(named: str | None) -> dict[str, str]:
    """SHA-256 of the twin's file: part of a run's identity."""
    if named is None:
        return {}
    if named in shipped() or Path(named).is_file():
        return {"twin_sha256": file_sha256(find(named))}
    return {"twin_sha256": str(load(named).source.weights_sha256)}
