"""Two layers of linear attention on x and y in tokens of their own: copying, then a step of gradient descent.

Proposition 3 of von Oswald et al. 2023 (arXiv 2212.07677, appendix A.5), with slots of its own for what is copied. A
token is [x ; y ; e_j ; 0]: x or y is 0, and e_j is the one-hot code of its position. In the first layer it attends to
the next token alone, and copies its label into its own last slots. In the second, they are the labels of

    W_Q = W_K = 1 on x,   PV = -η/N on the last slots        a step of gradient descent, as in `gradient_descent`

Tokens of labels have no x, so they do not enter. No context token follows the query, so its slots start at 0.
"""

from __future__ import annotations

import torch

from ..own.regression_config import RegressionConfig
from ..own.regression_transformer import RegressionTransformer


def copying_transformer(n_context: int, learning_rate: float, d_in: int, d_out: int = 1) -> RegressionTransformer:
    """One step of gradient descent from 0 with rate η = `learning_rate`, for up to `n_context` pairs.

    The step adds (η/n_context) Σ, also where there are fewer pairs.
    """
    n_tokens = 2 * n_context + 1
    config = RegressionConfig(
        d_in=d_in, d_out=d_out, n_layers=2, tied=False, token_order="separate", one_hot_positions=True,
        d_position=n_tokens + d_out,
    )  # fmt: skip
    KQ, PV = torch.zeros(2, 2, 1, config.d_model, config.d_model, dtype=torch.float64)
    x, y = torch.arange(d_in), torch.arange(d_in, d_in + d_out)
    codes, copied = d_in + d_out + torch.arange(n_tokens), torch.arange(config.d_model - d_out, config.d_model)
    KQ[0, 0, codes[:-1], codes[1:]] = 1.0
    PV[0, 0, y, copied] = 1.0
    KQ[1, 0, x, x] = 1.0
    PV[1, 0, copied, copied] = -learning_rate / n_context
    return RegressionTransformer.from_products(config, KQ, PV)
