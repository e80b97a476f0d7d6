"""A softmax layer whose prediction is, to first order, one gradient step of softmax regression."""

from __future__ import annotations

import torch

from ..own.softmax_layer import SoftmaxLayer, SoftmaxLayerConfig


def softmax_gradient_layer(
    n_tokens: int, learning_rate: float, d_in: int, sharpness: float = 0.01, output_scale: float = 1.0
) -> SoftmaxLayer:
    """W_KQ = diag(sharpness, …, sharpness, 0), and w_V reads b. In float64.

    From x = 0 a gradient step of `learning_rate` makes the scores learning_rate / n sum_j (b_j - mean b) (a_i . a_j).
    Where sharpness a_i . a_j is small, the softmax over j is 1/n (1 + sharpness (a_i . a_j - their mean over j)), and a
    w_V of learning_rate / (n c sharpness) makes these scores, up to a constant that the read-out does not see. What is
    left falls linearly in the sharpness. A negative sharpness, with w_V negative too, serves as well.
    """
    config = SoftmaxLayerConfig(d_in, output_scale)
    W_KQ, w_V = (torch.zeros(shape, dtype=torch.float64) for shape in config.shapes.values())
    W_KQ.diagonal()[:d_in] = sharpness
    w_V[d_in] = learning_rate / (n_tokens * output_scale * sharpness)
    return SoftmaxLayer(config, {"W_KQ": W_KQ, "w_V": w_V})
