"""The law of the tasks: from the checkpoint's record, or with the covariance and the N that the user gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data.errors import TaskError
from ...data.regression import LinearRegression
from ...data.task_arrays import read_arrays
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable
from ..regression.splits import law_of_tasks, recorded_law
from .optimum import PRESENT, Law, Matrix

SYMMETRIC = 1e-6
"""Of the largest entry may a covariance differ from its transpose: one that was computed in float32."""
NO_N = "the number of context pairs, N, is not recorded; give --n-context N"
NO_LAW = "the law of the inputs is not recorded; give --covariance FILE and --n-context N"
NOTHING = "the recorded law draws inputs or teachers that are all 0"
CORRUPTED = "the recorded law replaces labels by noise, for which mesascope has no closed form"


def context_length(subject: TransformerRegressor, n_context: int | None) -> int | None:
    """N, given or recorded; None where it is neither."""
    return n_context if n_context is not None else recorded_law(subject.source.record).get("n_context")


def law_of(subject: TransformerRegressor, covariance: str | None, n_context: int | None) -> Law | NotApplicable:
    """What is known of the tasks that the checkpoint was trained on, or why that is not enough."""
    given = None if covariance is None else read_covariance(Path(covariance), subject.d_in)
    recorded = recorded_law(subject.source.record)
    if given is None and not recorded:
        return NotApplicable(NO_LAW)
    n = context_length(subject, n_context)
    if n is None:
        return NotApplicable(NO_N)
    tasks = law_of_tasks(subject, {"n_context": n})
    if tasks.n_corrupted:
        return NotApplicable(CORRUPTED)
    if not tasks.weight_scale or (given is None and not any(tasks.variances)):
        return NotApplicable(NOTHING)
    law = _recorded(tasks)
    return law if given is None else replace(law, covariance=given, excess_kurtosis=0.0)


def _recorded(tasks: LinearRegression) -> Law:
    return Law(
        covariance=torch.diag(torch.tensor(tasks.variances, dtype=torch.float64)),
        n_context=tasks.n_context,
        excess_kurtosis=tasks.excess_kurtosis,
        weight_variance=tasks.weight_scale**2,
        noise_variance=tasks.noise**2,
    )


def read_covariance(path: Path, d_in: int) -> Matrix:
    """A covariance from a `.npz` with the array `covariance`, or from a `.npy`. It may be singular."""
    found = _npy(path) if path.suffix == ".npy" else read_arrays(path, "covariance")[0]
    if found.shape != (d_in, d_in):
        raise TaskError(
            f"{path.name}: the covariance has shape {list(found.shape)}; expected [{d_in}, {d_in}], the model's d_in"
        )
    if found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        raise TaskError(
            f"{path.name}: the covariance holds {found.dtype} with NaN or infinity; expected finite numbers"
        )
    matrix = torch.from_numpy(found.astype(np.float64))
    skew = float((matrix - matrix.mT).abs().max())
    if skew > SYMMETRIC * float(matrix.abs().max()):
        raise TaskError(
            f"{path.name}: the covariance differs from its transpose by {skew:.3g}; expected a symmetric one"
        )
    variances = torch.linalg.eigvalsh((matrix + matrix.mT) / 2)
    if not variances[-1] > 0 or variances[0] < -PRESENT * variances[-1]:
        raise TaskError(
            f"{path.name}: the covariance has eigenvalues from {float(variances[0]):.3g} to {float(variances[-1]):.3g};"
            " expected none below 0, and one above"
        )
    return (matrix + matrix.mT) / 2


def _npy(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except Exception as error:  # numpy raises many kinds on damaged bytes
        cause = " ".join(str(error).split())[:200]
        raise TaskError(
            f"{path.name}: not a readable .npy ({cause}); write it with np.save(FILE, covariance)"
        ) from error
