"""A batch of regression tasks, decomposed once: every algorithm of this room is a filter of its singular values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """The contexts X = U S V^T of a batch of tasks with their labels Y and queries x_q; float64 on the CPU.

    s2                [task, rank]         squared singular values of X, largest first
    projected_query   [task, rank]         x_q V
    projected_labels  [task, rank, d_out]  S U^T Y
    V                 [task, d_in, rank]
    mean_label        [task, d_out]
    n_context         N, the number of labelled pairs of a task

    Of s2 and the projections tasks come last in memory: every filter and every sum over ranks runs along long rows.
    """

    s2: Float[Tensor, "task rank"]
    projected_query: Float[Tensor, "task rank"]
    projected_labels: Float[Tensor, "task rank d_out"]
    V: Float[Tensor, "task d_in rank"]
    mean_label: Float[Tensor, "task d_out"]
    n_context: int

    @cached_property
    def without_filter(self) -> Float[Tensor, "task rank d_out"]:
        """What a filter multiplies, direction by direction: the sum over ranks is then a prediction."""
        return self.projected_query[..., None] * self.projected_labels


def decompose(inputs: Float[Tensor, "task token feature"], d_in: int) -> Spectrum:
    """Decompose every task's context. The first `d_in` features of a token are x, the rest y; the last is the query."""
    inputs = inputs.detach().cpu().double()
    X, Y, query = inputs[:, :-1, :d_in], inputs[:, :-1, d_in:], inputs[:, -1, :d_in]
    U, S, Vh = torch.linalg.svd(X, full_matrices=False)
    return Spectrum(
        s2=tasks_last(S**2),
        projected_query=tasks_last(einsum(Vh, query, "task rank d_in, task d_in -> task rank")),
        projected_labels=tasks_last(S[..., None] * (U.mT @ Y)),
        V=Vh.mT,
        mean_label=Y.mean(dim=1),
        n_context=X.shape[1],
    )


def tasks_last(values: Float[Tensor, "task *axes"]) -> Float[Tensor, "task *axes"]:
    """The same numbers, with tasks last in memory."""
    return values.movedim(0, -1).contiguous().movedim(-1, 0)
