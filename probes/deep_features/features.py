"""The features that an embedding makes, and three rules on them.

h are the tokens that attention reads first, [f ; s]: the last d_out numbers are the label's slot s, and all others are
features f. With N pairs of the context, F their features [N, f] and S their slots [N, d_out], the model of
von Oswald et al. 2023 (arXiv 2212.07677, section 4 and appendix A) reads its answer as -s of the query. So

    embedding      ŷ = -s_q                                          what is read before attention
    feature_gd     ŷ = -s_q + Σ_t (η/N) f_q F^T S_t,   S_0 = S,  S_{t+1} = S_t - (η/N) F F^T S_t
    attended_gd    ŷ = -s_q + (η/N) Σ_i y_i <h_i W_K, h_q W_Q>       y_i the true labels of the context
    feature_ridge  ŷ = f_q F^T (F F^T + λ I)⁻¹ Y

The first descends 1/(2N) Σ |W f_i - s_i|² from 0, as many steps as the model has layers: what a layer of linear
attention does with W_Q = W_K = diag(1, 0), W_V = diag(0, -1) and W_O = diag(0, η/N). A model that was trained may weigh
features by W_Q and W_K as it likes. `attended_gd` takes inner products as attention does, of keys and the query, and
asks whether its values are the labels; it is defined for one layer with one head of linear attention. Features of
context tokens may hold their labels, too, since an embedding reads x and y together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from ...models.own.regression_transformer import RegressionTransformer


@dataclass(frozen=True)
class Features:
    """What a model's embedding gives.

    tokens, asked:  h of the context and of the query
    labels:         the true ones of the context
    """

    tokens: Float[Tensor, "task pair d_model"]
    asked: Float[Tensor, "task d_model"]
    labels: Float[Tensor, "task pair d_out"]

    @classmethod
    def of(cls, module: RegressionTransformer, inputs: Float[Tensor, "task token feature"]) -> Features:
        """Differentiable by the query's token alone."""
        with torch.no_grad():
            tokens = module.embedded(inputs[:, :-1].detach())
        return cls(tokens, module.embedded(inputs[:, -1:])[:, 0], inputs[:, :-1, module.config.d_in :].detach())

    @property
    def place(self) -> int:
        """Of the label's slot in a token."""
        return self.tokens.shape[-1] - self.labels.shape[-1]

    @property
    def context(self) -> Float[Tensor, "task pair feature"]:
        return self.tokens[..., : self.place]

    @property
    def slots(self) -> Float[Tensor, "task pair d_out"]:
        return self.tokens[..., self.place :]

    @property
    def start(self) -> Float[Tensor, "task d_out"]:
        """The answer that is read before attention."""
        return -self.asked[:, self.place :]

    @cached_property
    def gram(self) -> Float[Tensor, "task pair pair"]:
        """Inner products of a context's features."""
        return self.context @ self.context.mT

    @cached_property
    def of_query(self) -> Float[Tensor, "task 1 pair"]:
        """Those of the query's with them."""
        return self.asked[:, None, : self.place] @ self.context.mT

    def descent(self, rate: float, steps: int) -> Float[Tensor, "task d_out"]:
        """Answers after so many steps of gradient descent."""
        counted, left, per = torch.zeros_like(self.slots), self.slots, rate / self.slots.shape[1]
        for step in range(steps):
            counted = counted + left
            if step < steps - 1:
                left = left - per * (self.gram @ left)
        return self.start + per * (self.of_query @ counted)[:, 0]

    def attended(
        self, W_K: Float[Tensor, "d_model d_head"], W_Q: Float[Tensor, "d_model d_head"], rate: float
    ) -> Float[Tensor, "task d_out"]:
        """Answers after one step on the true labels, with inner products of keys and the query."""
        scores = (self.asked[:, None] @ W_Q) @ (self.tokens @ W_K).mT
        return self.start + rate / self.labels.shape[1] * (scores @ self.labels)[:, 0]

    def ridge(self, penalty: float) -> Float[Tensor, "task d_out"]:
        """Answers of ridge regression; not finite where the penalty is 0 and there is no inverse."""
        gram = self.gram
        eye = torch.eye(gram.shape[-1], dtype=gram.dtype)
        return (self.of_query @ torch.linalg.solve_ex(gram + penalty * eye, self.labels).result)[:, 0]
