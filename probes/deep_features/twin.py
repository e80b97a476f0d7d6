"""The twin: another model of the same tasks, say one whose attention is a written step of gradient descent."""

from __future__ import annotations

from ...data.errors import UsageError
from ...models.opening.loading import load_seed, sha256_of
from ...models.subject import Regressor
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
    subject, twin = examined.subject, load_seed(named, examined.subject.source.seed)
    if not isinstance(twin, Regressor) or (twin.d_in, twin.d_out) != (subject.d_in, subject.d_out):
        kind = f"d_in = {twin.d_in}, d_out = {twin.d_out}" if isinstance(twin, Regressor) else "no regression model"
        raise UsageError(
            f"twin = {twin.source.label}: {kind}; expected a model of the same tasks as {subject.source.label}, d_in ="
            f" {subject.d_in} and d_out = {subject.d_out}"
        )
    return Twin(twin, readout_sign(examined, twin))


def twin_digest(named: str | None) -> dict[str, str]:
    """SHA-256 of the twin: part of a run's identity."""
    return {} if named is None else {"twin_sha256": sha256_of(named)}
