"""What the order of the pairs changes in a model's answers: no rule without an order can say it.

For a task with answers p_1, …, p_K to its pairs in K random orders, every rule that ignores the order gives one r, and

    mean_k |p_k - r|_2  >=  Σ_outputs mean_k |p_k - median_k p_k| / √d_out

(an equality at the best r where there is one output). So, of tasks whose pairs come in no particular order, this share
of the variation is a lower bound on the `unexplained_share` of every such rule. Fewer orders make it smaller.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.batch import generator
from ..comparing.unexplained import CONSTANT, NOT_FINITE, SHARE, variation
from ..measure import Measure, missing
from ..regression.examined import Examined, quick_predict
from ..regression.nulls import reordered
from ..regression.sensitivity import predictions
from ..statistics.bootstrap import bootstrap_means, percentile_interval

ORDERS = 4
NO_NULLS = "a bound for every rule without an order; only what the trained model answers enters"


def order_answers(examined: Examined) -> Float[Tensor, "order task d_out"]:
    """Predictions for the evaluation tasks, and for the same with the pairs of each in other orders."""
    predict, inputs = quick_predict(examined.subject), examined.inputs(examined.splits.evaluation)
    rng = generator(examined.seed, "orders of the pairs")
    asked = (inputs if number == 0 else reordered(inputs, rng) for number in range(ORDERS))
    return examined.sign * torch.stack([predictions(predict, one, examined.batch_size) for one in asked])


def order_share(answers: Float[Tensor, "order task d_out"], seed: int) -> Measure:
    """`order_share`, with its bootstrap interval over tasks. The first order is that of the contest."""
    between = (answers - answers.median(dim=0).values).abs().mean(dim=0).sum(dim=1) / answers.shape[2] ** 0.5
    columns = np.stack([between.numpy(), variation(answers[0]).numpy()], axis=1)
    if not np.isfinite(columns).all():
        return missing(SHARE, "undefined", NOT_FINITE)
    if not columns[:, 1].any():
        return missing(SHARE, "undefined", CONSTANT)
    resampled = bootstrap_means(columns, seed)
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample of the tasks that do not vary has no share
        ends = percentile_interval(resampled[:, 0] / resampled[:, 1])
    means = columns.mean(axis=0)
    return Measure(np.array(means[0] / means[1]), SHARE, ends, replicate="task", n=len(columns), no_nulls=NO_NULLS)
