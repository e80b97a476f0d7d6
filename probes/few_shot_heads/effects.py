"""Indirect effects of heads (Todd et al. 2024, arXiv 2310.15213; Vig et al. 2020 for the term).

    indirect effect   p(right | z_h <- patch) - p(right)        on a prompt whose labels carry no rule

z_h is the head's output, before W_O, at the last position. The patch is one of two:

    task mean    the mean of z_h over clean prompts of the task, as Todd et al. take it
    own prompt   z_h in the clean prompt of the very query (activation patching)

Todd et al. draw other prompts for the mean than for the effect. Here both are of the same queries, so the query's own
prompt is left out of its mean; and the mean is over labels first, so that every label has the same share. A head that
only carries the query's answer then has no effect by the task mean: it is the task's function that has. By the query's
own prompt, both have.

The same replacement from prompts whose labels are shuffled another time is the null: what a mean does to a head by
being a mean. The excess is the effect beyond it, query by query.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .rows import Rows


def mean_weights(right: tuple[int, ...], classes: bool) -> Float[Tensor, "query query"]:
    """The weight of each query's prompt (columns) in the mean that is patched in for a query (rows).

    right:    the label of each query
    classes:  labels are classes: every label has the same weight, shared by its queries, the query itself left out
              where its label has another. Otherwise all other queries have the same weight

    A task's single query is its own mean.
    """
    n = len(right)
    if n == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    others = ~torch.eye(n, dtype=torch.bool)
    if not classes:
        return others.double() / (n - 1)
    weights = torch.zeros(n, n, dtype=torch.float64)
    labels = torch.tensor(right)
    for label in labels.unique():
        of_label = labels == label
        for query in range(n):
            givers = of_label & others[query] if int(of_label.sum()) > 1 else of_label
            weights[query, givers] = 1 / int(givers.sum())
    return weights / len(labels.unique())


def task_means(
    z: Float[Tensor, "row layer head d_head"], rows: Rows, classes: tuple[bool, ...]
) -> Float[Tensor, "row layer head d_head"]:
    """What replaces each head's output by the task mean, row by row.

    classes:  of each task, whether its labels are classes
    """
    means = torch.empty_like(z)
    for task, of_classes in enumerate(classes):
        at = np.flatnonzero(rows.task == task)
        weights = mean_weights(tuple(int(place) for place in rows.right[at]), of_classes).to(z.device)
        means[at] = torch.tensordot(weights, z[at].double(), dims=1).to(z)
    return means


def mean_output(z: Float[Tensor, "row layer head d_head"], rows: Rows) -> Float[Tensor, "layer head d_head"]:
    """The mean over tasks of the mean over their queries: what replaces an ablated head's output."""
    by_task = [z[np.flatnonzero(rows.task == task)].double().mean(dim=0) for task in range(len(rows.labels))]
    return torch.stack(by_task).mean(dim=0).to(z)
