"""How much of a layer's weights lies outside of what the constructions fill (von Oswald et al. 2023, figure 9).

Constructed gradient descent fills KQ with a multiple of the inputs' identity, and PV with a multiple of the labels'
identity (one label: the last entry). GD++ fills PV with a multiple of the inputs' identity besides. A multiple is free,
so nothing here depends on the gauge, on a learning rate, or on the order of the inputs. Live entries only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .names import GD, GDPP

PATTERNS = (GD.name, GDPP.name)

Matrices = Float[Tensor, "block d_model d_model"]
Mask = Bool[Tensor, "block d_model d_model"]
ByLayer = Float[np.ndarray, " block"]


def outside_share(product: Matrices, live: Mask, filled: Sequence[slice]) -> ByLayer:
    """‖P − its nearest filled pattern‖_F / ‖P‖_F of each block; a pattern has a multiple of the identity at each slice
    of coordinates that it fills.
    """
    whole = product * live
    rest = whole.clone()
    for coordinates in filled:
        diagonal = rest[:, coordinates, coordinates].diagonal(dim1=1, dim2=2)  # a view of `rest`
        diagonal -= diagonal.mean(dim=1, keepdim=True)
    return (torch.linalg.norm(rest, dim=(1, 2)) / torch.linalg.norm(whole, dim=(1, 2))).numpy()


def spread_of_diagonal(product: Matrices, live: Mask, d_in: int) -> ByLayer:
    """Standard deviation over |mean| of the inputs' diagonal of each block; NaN where it is dead or has mean 0."""
    diagonal = (product * live).diagonal(dim1=1, dim2=2)[:, :d_in].numpy()
    mean = np.abs(diagonal.mean(axis=1))
    return np.divide(diagonal.std(axis=1), mean, out=np.full(len(mean), np.nan), where=mean > 0)


def filled_by(pattern: str, product: str, d_in: int) -> tuple[slice, ...]:
    """Coordinates at which a construction has a multiple of the identity."""
    inputs, labels = slice(0, d_in), slice(d_in, None)
    if product == "KQ":
        return (inputs,)
    return (labels,) if pattern == GD.name else (inputs, labels)
