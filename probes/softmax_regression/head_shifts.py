"""The two shifts of attention heads at one query, for keys and queries from anywhere.

A holds the keys that the query attends to, as the layer forms them (after its norm, bias, norm of keys and rotation);
x is the query times the scale of the scores. Then f(A, x) is the head's attention, exactly. A' and x' are the keys and
the query that the same head would form of other states.

    shift of A:  f(A, x) - f(A', x), at most |x|/2 per spectral norm of A' - A
    shift of x:  f(A, x) - f(A, x'), at most |A|/2 per length of x' - x

Random directions are the null of both. For the shift of A the query is turned before it meets what the keys gained:
(A' - A) R x, R a random rotation. All singular values of (A' - A) R are those of A' - A, so that it is as long in every
norm; and R x is a vector of the length of x in a random direction, which is all that has to be drawn. For the shift of
x, a vector of the length of x' - x takes its place. The null of the cosine is that of the model's own shift of x with
the shift of A in a random direction. It is 0 on average for small moves only: large ones take attention away from where
it was, wherever they lead to, and that much two shifts have in common.

A norm before the keys and the query shrinks both where the stream grows. Both shifts then flatten the attention, and
have that in common, too, even with random weights. So the cosine is also taken of the moves without their part along A
and along x, which only scales the scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from einops import einsum
from jaxtyping import Float
from torch import Tensor

from .formulas import SMALL_MOVE, cosine, scores_of, softmax_of, spectral_norm, tight_A, tight_x

OfHeads = Float[Tensor, "batch head"]
OfDraws = Float[Tensor, "batch head draw"]


@dataclass(frozen=True)
class MovedHeads:
    """Heads at one query before and after a move. Query head h uses key head h // (heads / key heads)."""

    A: Float[Tensor, "batch kv_head key d_head"]
    A_after: Float[Tensor, "batch kv_head key d_head"]
    x: Float[Tensor, "batch head d_head"]
    x_after: Float[Tensor, "batch head d_head"]

    @property
    def group(self) -> int:
        """Query heads that share a key head."""
        return self.x.shape[1] // self.A.shape[1]

    @cached_property
    def expanded(self) -> MovedHeads:
        """With one key head for each query head."""
        A, A_after = (each.repeat_interleave(self.group, dim=1) for each in (self.A, self.A_after))
        return MovedHeads(A, A_after, self.x, self.x_after)

    @cached_property
    def step_A(self) -> OfHeads:
        """|A' - A| of every query head; shared keys are measured once."""
        return spectral_norm(self.A_after - self.A).repeat_interleave(self.group, dim=1)

    @cached_property
    def step_x(self) -> OfHeads:
        """|x' - x|."""
        return (self.x_after - self.x).norm(dim=-1)

    @cached_property
    def by_A(self) -> Float[Tensor, "batch head key"]:
        """The shift of A."""
        each = self.expanded
        return softmax_of(each.A, each.x) - softmax_of(each.A_after, each.x)

    @cached_property
    def by_x(self) -> Float[Tensor, "batch head key"]:
        """The shift of x."""
        each = self.expanded
        return softmax_of(each.A, each.x) - softmax_of(each.A, each.x_after)

    @cached_property
    def unscaled(self) -> MovedHeads:
        """The same moves without their part along A and along x."""
        along_A, along_x = _part_along(self.A, self.A_after, (-2, -1)), _part_along(self.x, self.x_after, (-1,))
        return MovedHeads(self.A, self.A_after - along_A, self.x, self.x_after - along_x)

    @cached_property
    def bound_A(self) -> OfHeads:
        """The tight bound of a shift of A per |A' - A|."""
        return tight_A(self.x)

    @cached_property
    def bound_x(self) -> OfHeads:
        """The tight bound of a shift of x per |x' - x|."""
        return tight_x(self.A).repeat_interleave(self.group, dim=1)


def _part_along(start: Tensor, end: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The part of the move from start to end that is a multiple of the start."""
    multiple = (start * (end - start)).sum(dims, keepdim=True) / start.square().sum(dims, keepdim=True)
    return multiple * start


def head_shifts(heads: MovedHeads) -> dict[str, OfHeads]:
    """Both shifts, each with its ratio to the move, the tight bound of that ratio, the share of the bound, and whether
    the move is as small as the theorems ask (1) or not (0); and the cosine between the shifts, with and without what
    scales the scores. NaN where a head does not move.
    """
    each = heads.expanded
    return {
        **_sizes(heads, heads.by_A, heads.by_x),
        "bound_A": heads.bound_A,
        "bound_x": heads.bound_x,
        "premise_A": _is_small(scores_of(each.A_after - each.A, each.x)),
        "premise_x": _is_small(scores_of(each.A, each.x_after - each.x)),
        "shift_cosine": cosine(heads.by_x, heads.by_A),
        "shift_cosine_unscaled": cosine(heads.unscaled.by_x, heads.unscaled.by_A),
    }


def _sizes(
    heads: MovedHeads, by_A: Float[Tensor, "batch head *draw key"], by_x: Float[Tensor, "batch head *draw key"]
) -> dict[str, Float[Tensor, "batch head *draw"]]:
    """The length of each shift, its ratio to the move, and the share of that ratio's bound."""
    found: dict[str, Tensor] = {}
    moves = {"A": (by_A, heads.step_A, heads.bound_A), "x": (by_x, heads.step_x, heads.bound_x)}
    for of, (by, *lengths) in moves.items():
        shift = by.norm(dim=-1)
        step, bound = (length.reshape(*length.shape, *[1] * (shift.ndim - 2)) for length in lengths)
        found[f"shift_{of}"] = shift
        found[f"shift_ratio_{of}"] = shift / step
        found[f"share_of_bound_{of}"] = shift / step / bound
    return found


def _is_small(change: Float[Tensor, "batch head key"]) -> OfHeads:
    return (change.abs().amax(dim=-1) < SMALL_MOVE).to(change)


def random_shifts(heads: MovedHeads, directions: Float[Tensor, "batch draw d_head"]) -> dict[str, OfDraws]:
    """The same shifts, ratios, shares and cosines for moves in random directions, as far as the model's own moves go.

    directions:  vectors of length 1, the same for all heads
    """
    by_A, plain = _by_random_A(heads, directions), heads.unscaled
    return {
        **_sizes(heads, by_A, _shifted(heads, heads.A, heads.step_x, directions)),
        "shift_cosine": cosine(heads.by_x[:, :, None].expand_as(by_A), by_A),
        "shift_cosine_unscaled": cosine(plain.by_x[:, :, None].expand_as(by_A), _by_random_A(plain, directions)),
    }


def _by_random_A(
    heads: MovedHeads, directions: Float[Tensor, "batch draw d_head"]
) -> Float[Tensor, "batch head draw key"]:
    return _shifted(heads, heads.A_after - heads.A, heads.x.norm(dim=-1), directions)


def _shifted(
    heads: MovedHeads,
    A: Float[Tensor, "batch kv_head key d_head"],
    lengths: OfHeads,
    directions: Float[Tensor, "batch draw d_head"],
) -> Float[Tensor, "batch head draw key"]:
    """f before minus f after each score gains what A gives a query of this length in each direction."""
    each = heads.expanded
    gained = einsum(A, directions, "b head key d, b draw d -> b head draw key").repeat_interleave(heads.group, dim=1)
    scores = scores_of(each.A, each.x)[:, :, None]
    return scores.softmax(dim=-1) - (scores + lengths[..., None, None] * gained).softmax(dim=-1)
