"""Reading a state out: the final norm, the unembedding, and the way back through both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...models.language_model import LanguageModel
from ...models.norms import Norm
from ...models.opening_check import TOLERANCES, relative_error
from ...models.subject import NotApplicable
from ...models.vocabulary_product import vocabulary_product

_FAR = 1e3  # logits so large that every cap in use bends them
_UNBOUNDED = 1e6


@dataclass(frozen=True, eq=False)
class ReadOut:
    """From states to logits: the final norm with the statistics of these states, and the unembedding,

        raw = norm(h) W_U + b,    logits = raw, or cap tanh(raw / cap)

    norm:  differentiable
    bias:  None: no bias
    cap:   of the logits (Gemma 2); None: they are not capped
    """

    W_U: Float[Tensor, "d_model d_vocab"]
    norm: Callable[[Tensor], Tensor] = field(default_factory=Norm)
    bias: Float[Tensor, "d_vocab"] | None = None
    cap: float | None = None

    @classmethod
    def of(cls, subject: LanguageModel) -> ReadOut | NotApplicable:
        """The read-out of a model, whose own logits are compared with it, of small states and of large ones."""
        W_U = subject.unembedding()
        if isinstance(W_U, NotApplicable):
            return W_U
        rng = torch.Generator().manual_seed(0)
        states = torch.randn(2, len(W_U), generator=rng).to(W_U)
        found = cls(W_U, subject.final_norm)
        products = found.of_normed(states)
        reach = products.abs().max()
        states, products = states / reach, (products / reach).nan_to_num(0.0)  # reach: beyond what float16 holds
        own = subject.unembed(torch.cat([0 * states[:1], _FAR * states]))  # one product: reading the matrix takes long
        at_zero, far = own[0], own[1:]
        bias = at_zero if at_zero.any() else None
        found = replace(found, bias=bias)
        if found._agrees(far, found._biased(_FAR * products)):
            return found
        cap = float(subject.unembed(_UNBOUNDED * states).abs().max())
        capped = replace(found, bias=None if bias is None else cap * (bias / cap).atanh(), cap=cap)
        if capped._agrees(subject.unembed(cap * states), capped.of_normed(cap * states)):
            return capped
        return NotApplicable("its logits are not a product of its output matrix, capped or not")

    def _agrees(self, own: Float[Tensor, "token d_vocab"], found: Float[Tensor, "token d_vocab"]) -> bool:
        return relative_error(own, found) <= TOLERANCES[self.W_U.dtype]

    @torch.no_grad()
    def ignores_length(self) -> bool:
        """Whether twice a state is read out as the state itself, as a final norm does; its epsilon apart."""
        states = _FAR * torch.ones(1, len(self.W_U)).cumsum(dim=1).to(self.W_U)
        return relative_error(self.norm(2 * states), self.norm(states)) <= TOLERANCES[self.W_U.dtype]

    def __call__(self, states: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_vocab"]:
        return self.of_normed(self.norm(states))

    def of_normed(self, normed: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_vocab"]:
        """Logits of normalised states."""
        return self._biased(vocabulary_product(normed, self.W_U.mT))

    def _biased(self, products: Float[Tensor, "token d_vocab"]) -> Float[Tensor, "token d_vocab"]:
        logits = products if self.bias is None else products + self.bias
        return logits if self.cap is None else self.cap * (logits / self.cap).tanh()

    def expected_rows(
        self, p: Float[Tensor, "token d_vocab"], logits: Float[Tensor, "token d_vocab"]
    ) -> Float[Tensor, "token d_model"]:
        """The sum over the vocabulary of p times the gradient of a logit with respect to the normalised state."""
        weighted = p if self.cap is None else p * self._slope(logits)
        return weighted.to(self.W_U.dtype) @ self.W_U.mT

    def rows(
        self, targets: Int[Tensor, " token"], logits: Float[Tensor, "token d_vocab"]
    ) -> Float[Tensor, "token d_model"]:
        """The gradient of each target's logit with respect to the normalised state."""
        rows = self.W_U.mT[targets]
        return rows if self.cap is None else rows * self._slope(logits.gather(-1, targets[:, None]))

    def _slope(self, logits: Float[Tensor, "token some"]) -> Float[Tensor, "token some"]:
        """Of the cap, from what it has made."""
        assert self.cap is not None
        return 1 - (logits / self.cap) ** 2
