"""How GD++ curves the inputs: eigenvalues of Σ x xᵀ of the x parts that each layer reads.

A layer of GD++ moves every x to (I − γ X Xᵀ) x (von Oswald et al. 2023, appendix A.10), which turns an eigenvalue λ of
X Xᵀ into λ (1 − γ λ)². Where that flattens the spectrum, the next gradient step is better conditioned.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...models.own.regression_transformer import RegressionTransformer
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable
from ..comparing.by_candidate import MODEL
from .setup import Setup

CURVATURE_TASKS = 2_000

Spectra = dict[str, Float[np.ndarray, "task layer rank"]]
"""Of the model and constructed ones, by name; layers are those that read, largest eigenvalue first."""


def spectra_by_layer(setup: Setup, constructed: Mapping[str, RegressionTransformer]) -> Spectra | NotApplicable:
    """Eigenvalues of Σ x xᵀ of the context, as each layer reads it."""
    subject = setup.subject
    if not isinstance(subject, TransformerRegressor):
        return NotApplicable("a wrapped predictor has no layers whose inputs could be read")
    if not subject.config.as_given:
        return NotApplicable(
            f"this model's residual stream does not hold tokens [x ; y] as they are: it has"
            f" {subject.config.beside_attention}"
        )
    if subject.config.n_layers == 1:
        return NotApplicable("with one layer no layer reads inputs that another one has moved")
    if subject.d_in == 1:
        return NotApplicable("inputs of one number have one eigenvalue, whose spread is 0")
    inputs = setup.inputs(setup.splits.evaluation[:CURVATURE_TASKS])
    modules = {MODEL: subject.module} | dict(constructed)
    fewest = min(module.config.n_layers for module in modules.values())
    return {name: _spectra(module, inputs, setup.batch_size)[:, :fewest] for name, module in modules.items()}


def _spectra(
    module: RegressionTransformer, inputs: Float[Tensor, "task token feature"], batch_size: int
) -> Float[np.ndarray, "task layer rank"]:
    def spectrum(h: Tensor, _: int) -> Tensor:
        return eigenvalues(h[:, :-1, : module.config.d_in])

    with torch.no_grad():
        parts = [module.run(part, watch={"resid_pre": spectrum}) for part in inputs.split(batch_size)]
    return torch.cat([torch.stack(part.values["resid_pre"], dim=1) for part in parts]).numpy()


def eigenvalues(x: Float[Tensor, "task token d_in"]) -> Float[Tensor, "task d_in"]:
    """Those of Σ x xᵀ in float64, largest first; NaN in a task whose inputs are not finite."""
    x = x.double().cpu()
    moments = x.mT @ x
    finite = moments.isfinite().all(dim=(1, 2))
    moments[~finite] = 0.0  # the solver refuses infinities
    found = torch.linalg.eigvalsh(moments).flip(-1)
    found[~finite] = torch.nan
    return found


def spread(spectrum: Float[np.ndarray, "*axes rank"]) -> Float[np.ndarray, "*axes"]:
    """Standard deviation over mean of eigenvalues; NaN where all are 0."""
    mean = spectrum.mean(axis=-1)
    return np.divide(spectrum.std(axis=-1), mean, out=np.full(mean.shape, np.nan), where=mean > 0)
