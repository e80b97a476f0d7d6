"""What the attention of a head is pushed towards, for tensors from anywhere (Snell et al. 2021, arXiv 2103.07601).

Source s says beta_ts = log(q / (1 - q)) about the target word y_t: the log-odds of y_t when all attention of t is on s,
where q is the model's probability of y_t then. Of logits z that is z_y - log of the sum of exp(z_o) over the other
words o, which stays exact where q rounds to 1.

A score that is linear in what attention brings, sum_s alpha_ts beta_ts with alpha = softmax(a), has the gradient
alpha_ts (beta_ts - sum_k alpha_tk beta_tk) by the attention logit a_ts: gradient ascent moves attention to sources that
say more about the target than attention now brings.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor


def log_odds(logits: Float[Tensor, "*rows d_vocab"], targets: Int64[Tensor, "*rows"]) -> Float64[Tensor, "*rows"]:
    """log q - log(1 - q) of each row's target, without a clamp; infinite only where its logits are."""
    places = targets[..., None]
    logits = logits.double()
    others = logits.scatter(-1, places, -torch.inf).logsumexp(dim=-1)
    return logits.gather(-1, places)[..., 0] - others


def attention_push(
    alpha: Float[Tensor, "*rows source"], beta: Float[Tensor, "*rows source"]
) -> Float64[Tensor, "*rows source"]:
    """alpha_s (beta_s - sum_k alpha_k beta_k); NaN, and not in the sum, at sources where alpha or beta is NaN."""
    alpha, beta = alpha.double(), beta.double()
    return alpha * (beta - (alpha * beta).nansum(dim=-1, keepdim=True))
