"""Polynomials in λ without a constant term as filters: what an algorithm that multiplies by Xᵀ X so often can reach.

T steps of gradient descent are a polynomial of degree T; L layers of GD++ one of degree (3^L - 1)/2: a layer multiplies
what is left of a label by 1 - η c² λ, and its curving the inputs' c² by (1 - γ N c² λ)², so that the degree of c² goes
from n to 3 n + 2. k iterations of Newton's method have degree 2^(k + 1) (Giannou et al. 2024, arXiv 2403.03183).

Fitted by least squares to the modes of tuning tasks, on λ times the Chebyshev polynomials of [0, λ_max], one degree
after the other (Gram-Schmidt, twice), and judged on other tasks.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from .modes import Modes
from .names import MOST_DEGREES

NOTHING_NEW = 1e-12
"""Of the length of a basis function: less of it is rounding, where all eigenvalues are a few numbers."""


def left_by_degree(fitted: Modes, judged: Modes) -> Float[Tensor, "degree layer task"]:
    """The weighed square of what polynomials of degree 1, 2, … leave of the weights of judged tasks."""
    top = torch.maximum(fitted.eigenvalues.max(), judged.eigenvalues.max())
    rest, unseen = (_weighed(modes, modes.along).flatten(1) for modes in (fitted, judged))
    directions: list[tuple[Tensor, Tensor]] = []
    found = []
    for column, column_there in zip(_basis(fitted, top), _basis(judged, top), strict=True):
        new, new_there = column.flatten(), column_there.flatten()
        for _ in range(2):
            for direction, direction_there in directions:
                part = direction @ new
                new, new_there = new - part * direction, new_there - part * direction_there
        length = new.norm()
        if length > NOTHING_NEW * column.norm():
            new, new_there = new / length, new_there / length
            directions.append((new, new_there))
            size = rest @ new
            rest, unseen = rest - size[:, None] * new, unseen - size[:, None] * new_there
        found.append(unseen.square().unflatten(1, column_there.shape).sum(dim=(2, 3)) + judged.outside)
    return torch.stack(found)


def _basis(modes: Modes, top: Tensor) -> Iterator[Float[Tensor, "task rank d_out"]]:
    """λ T_j(2 λ / top - 1) times W* V_k, for j = 0, 1, …; λ W* V_k is (S Uᵀ Y)_k / N."""
    place = (2 * modes.eigenvalues / top - 1)[..., None]
    unit = _weighed(modes, modes.spectrum.projected_labels / modes.spectrum.n_context)
    before, here = torch.zeros_like(place), torch.ones_like(place)
    for degree in range(MOST_DEGREES):
        yield here * unit
        before, here = here, (place if degree == 0 else 2 * place * here - before)


def _weighed(modes: Modes, coordinates: Float[Tensor, "*layer task rank d_out"]) -> Tensor:
    return coordinates * modes.importance.sqrt()[..., None]
