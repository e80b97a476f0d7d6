"""Other definitions of the same heads that are in use, each under its own name.

Their numbers are not interchangeable, and none of their thresholds holds for another. On BOS + r + r, r of S tokens,
a head that does one thing alone scores:

    olsson_per_query   Olsson et al. 2022 (arXiv 2209.11895), appendix: attention to the tokens that follow earlier
                       occurrences of the current one, summed at each query, mean over the queries that have any: 1
    olsson_per_entry   the same sentence read as the mean over those entries of the pattern: 1, and with four repeats at
                       most 0.5
    arena_stripe       ARENA and the main demo of TransformerLens: mean of the diagonal at offset S - 1, with its first
                       queries, at which nothing repeats: S / (S + 2)
    detect_head mul    TransformerLens's `detect_head`: the share of all attention, over all queries, that falls on the
                       pattern that it expects: about a half
    detect_head abs    the same library: 1 - the mean over queries of |attention - expected|, rounded to 3 decimals as
                       there. A head that spreads its attention scores about -0.5

`detect_head` counts chance repeats in any text. Its patterns: every earlier occurrence of the current token
(duplicate_token_head), what followed it (induction_head), the token before (previous_token_head).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int, Shaped
from torch import Tensor

from ...data.errors import UsageError, nearest
from .scores import Attention, at_offset, beside, blocks, matches

HEADS = ("previous_token_head", "duplicate_token_head", "induction_head")
"""What `detect_head` knows by name."""


@dataclass(frozen=True)
class Overlap:
    """Sums over a pattern and over the zeros and ones that `detect_head` expects of it.

    Parts, in the last axis: all entries, column 0, the diagonal, and the entry that these two share.
    """

    shared: Float64[Tensor, "batch head part"]
    attention: Float64[Tensor, "batch head part"]
    expected: Float64[Tensor, "batch part"]
    with_any: Int[Tensor, "batch"]  # queries of which anything is expected
    queries: int

    def mul(self, exclude_bos: bool = False, exclude_current_token: bool = False) -> Float64[Tensor, "batch head"]:
        """Share of the attention that falls where it is expected."""
        left = self._left(exclude_bos, exclude_current_token)
        return self.shared @ left / (self.attention @ left)

    def abs(self, exclude_bos: bool = False, exclude_current_token: bool = False) -> Float64[Tensor, "batch head"]:
        """1 - mean over queries of the summed differences, rounded to 3 decimals."""
        left = self._left(exclude_bos, exclude_current_token)
        # |a - d| = a + d - 2 a d, where d is 0 or 1 and a between
        differences = self.attention @ left + (self.expected @ left)[:, None] - 2 * (self.shared @ left)
        return 1 - (differences / self.queries).round(decimals=3)

    def _left(self, exclude_bos: bool, exclude_current_token: bool) -> Float64[Tensor, "part"]:
        """How often each part counts in what is left: the entry that column 0 and the diagonal share goes once."""
        both = exclude_bos and exclude_current_token
        signs = (1, -int(exclude_bos), -int(exclude_current_token), int(both))
        return torch.tensor(signs, dtype=torch.float64, device=self.shared.device)


def detect_head(
    attention: Attention,
    tokens: Int[Tensor, "batch pos"],
    head: str,
    error_measure: str = "mul",
    exclude_bos: bool = False,
    exclude_current_token: bool = False,
) -> Float64[Tensor, "batch head"]:
    """What `transformer_lens.head_detector.detect_head` gives for one layer, sequence by sequence.

    Its scores are those of one prompt; for a list of prompts it takes their mean.
    """
    if head not in HEADS:
        raise UsageError(f"head {head!r} is not known; {nearest(head, HEADS)}")
    if error_measure not in ("mul", "abs"):
        raise UsageError(f"error measure {error_measure!r} is not known; expected 'mul' or 'abs'")
    overlap = overlaps(attention, tokens)[head]
    measure = overlap.mul if error_measure == "mul" else overlap.abs
    return measure(exclude_bos, exclude_current_token)


def arena_stripe(attention: Attention, period: int) -> Float64[Tensor, "batch head"]:
    """Mean of A[i, i - period + 1] over every query that has such a key."""
    return at_offset(attention, period - 1).mean(-1, dtype=torch.float64)


def compatibility_scores(
    attention: Attention, tokens: Int[Tensor, "batch pos"], period: int | None = None
) -> dict[str, Float64[Tensor, "batch head"]]:
    """All of them by name, from one walk over the pattern by blocks; the stripe where sequences repeat at a period.

    `detect_head` as it is called by default, with nothing excluded. The two readings of Olsson's definition are NaN
    where no token of a sequence has an earlier occurrence.
    """
    found = overlaps(attention, tokens)
    induction = found["induction_head"]
    scores = {
        "olsson_per_query": induction.shared[..., 0] / induction.with_any[:, None],
        "olsson_per_entry": induction.shared[..., 0] / induction.expected[:, :1],
    }
    if period is not None:
        scores["arena_stripe"] = arena_stripe(attention, period)
    for head, overlap in found.items():
        scores[f"detect_head_{head}_mul"], scores[f"detect_head_{head}_abs"] = overlap.mul(), overlap.abs()
    return scores


def overlaps(attention: Attention, tokens: Int[Tensor, "batch pos"]) -> dict[str, Overlap]:
    """A layer's attention beside each of the patterns that `detect_head` expects, by blocks of queries."""
    tokens = beside(attention, tokens)
    found: list[dict[str, Overlap]] = []
    for first, block in blocks(attention):
        whole, last = _parts(block, first), first + block.shape[2]
        found.append({})
        for head in HEADS:
            expected = _expected(head, tokens, first, last)
            shared = _parts(block[..., :last] * expected[:, None], first)
            with_any = expected.any(-1).sum(-1)
            found[-1][head] = Overlap(shared, whole, _parts(expected, first), with_any, last - first)
    return {head: _together([part[head] for part in found]) for head in HEADS}


def _expected(head: str, tokens: Int[Tensor, "batch pos"], first: int, last: int) -> Bool[Tensor, "batch query key"]:
    """Where `detect_head` expects attention of queries first … last - 1 to keys before `last`."""
    if head == "previous_token_head":
        queries = torch.arange(first, last, device=tokens.device)[:, None]
        return (queries - torch.arange(last, device=tokens.device) == 1).expand(len(tokens), -1, -1)
    return matches(tokens, 1 if head == "induction_head" else 0, first, last)


def _parts(block: Shaped[Tensor, "*batch query key"], first: int) -> Float64[Tensor, "*batch part"]:
    """Sums over a block whose queries are those from `first` on, and over the parts that may be excluded."""
    sums = [block, block[..., 0], block.diagonal(first, -2, -1), block[..., :1, 0] if first == 0 else block[..., :0, 0]]
    return torch.stack([part.flatten(block.ndim - 2).sum(-1, dtype=torch.float64) for part in sums], dim=-1)


def _together(blocks: list[Overlap]) -> Overlap:
    """The sums of all blocks of queries."""
    shared, attention, expected, with_any = (
        torch.stack([getattr(block, name) for block in blocks]).sum(0)
        for name in ("shared", "attention", "expected", "with_any")
    )
    return Overlap(shared, attention, expected, with_any, sum(block.queries for block in blocks))
