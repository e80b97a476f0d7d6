"""What heads would do by their weights alone: copying, and composition with heads of earlier layers.

Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits". Row convention throughout: a token t enters as
row t of W_E, a head turns it into W_E[t] W_V W_O, and W_U makes logits of that. All products go through d_head: nothing
of the vocabulary squared is ever formed.

Copying: the eigenvalues λ of W_E W_V W_O W_U say whether a head raises the logits of the tokens that it attends to;
Σ Re λ / Σ |λ| is 1 where it raises them all, -1 where it lowers them all, near 0 for random weights. Composition:
|L R| / (|L| |R|) in Frobenius norms says how much of what an earlier head writes (L, its OV product) a later one reads
(R: its QK product, that transposed, or its OV product).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...models.attention import in_float32
from ...models.norms import Norm

_BLOCK = 2048  # tokens of the vocabulary at a time
_ROUNDING = 1e-10


def folded_output(
    W_O: Float[Tensor, "*heads d_head d_model"], final_norm: Norm
) -> Float[Tensor, "*heads d_head d_model"]:
    """W_O as the unembedding reads it, the final norm's division apart: centred where it centres, and scaled."""
    written = in_float32(W_O)
    if final_norm.kind == "layer":
        written = written - written.mean(dim=-1, keepdim=True)
    return written if final_norm.scale is None else written * final_norm.scale


def vocabulary_product(
    W_U: Float[Tensor, "d_model d_vocab"], W_E: Float[Tensor, "d_vocab d_model"]
) -> Float[Tensor, "d_model d_model"]:
    """W_U W_E in float64, accumulated over blocks of the vocabulary.

    The mean over the vocabulary is taken out of W_U first: it adds the same to all logits and moves no probability.
    """
    total = W_U.new_zeros(len(W_U), W_E.shape[1], dtype=torch.float64)
    embedded = W_E.sum(dim=0, dtype=torch.float64)
    for first in range(0, len(W_E), _BLOCK):
        total += W_U[:, first : first + _BLOCK].double() @ W_E[first : first + _BLOCK].double()
    return total - torch.outer(W_U.mean(dim=1, dtype=torch.float64), embedded)


def eigenvalue_score(matrices: Float[Tensor, "*heads d d"]) -> Float[Tensor, "*heads"]:
    """Σ Re λ / Σ |λ| over the eigenvalues, in [-1, 1]; NaN where all of them are 0."""
    eigenvalues = torch.linalg.eigvals(matrices.double())
    return eigenvalues.real.sum(dim=-1) / eigenvalues.abs().sum(dim=-1)


def ov_copying_score(
    W_V: Float[Tensor, "*heads d_model d_head"],
    W_O: Float[Tensor, "*heads d_head d_model"],
    product: Float[Tensor, "d_model d_model"],
) -> Float[Tensor, "*heads"]:
    """The eigenvalue score of W_E W_V W_O W_U, from the d_head x d_head product W_O (W_U W_E) W_V, whose non-zero
    eigenvalues are the same.

    product:  W_U W_E, see `vocabulary_product`

    NaN for a head that writes nothing that the unembedding reads, up to rounding.
    """
    W_V, W_O, product = W_V.double(), W_O.double(), product.double()
    through = W_O @ product @ W_V
    scale = W_O.norm(dim=(-2, -1)) * product.norm() * W_V.norm(dim=(-2, -1))
    nothing = through.norm(dim=(-2, -1)) <= _ROUNDING * scale
    return eigenvalue_score(through).masked_fill(nothing, torch.nan)


def ov_top1_share(
    embedded: Float[Tensor, "token d_model"],
    tokens: Int[Tensor, " token"],
    W_V: Float[Tensor, "head d_model d_head"],
    W_O: Float[Tensor, "head d_head d_model"],
    W_U: Float[Tensor, "d_model d_vocab"],
) -> Float[Tensor, " head"]:
    """Share of these tokens whose own logit is the largest in their row of W_E W_V W_O W_U.

    embedded:  their rows of W_E
    """
    values, W_O = in_float32(embedded) @ in_float32(W_V), in_float32(W_O)  # values [head, token, d_head]
    own = torch.einsum("htd,hdt->ht", values, W_O @ in_float32(W_U[:, tokens]))
    leads = torch.ones_like(own, dtype=torch.bool)
    for first in range(0, W_U.shape[1], _BLOCK):
        heads = leads.any(dim=-1)  # the others cannot come to lead again
        logits = values[heads] @ (W_O[heads] @ in_float32(W_U[:, first : first + _BLOCK]))
        here = (tokens >= first) & (tokens < first + _BLOCK)
        logits[:, here, tokens[here] - first] = -torch.inf  # rounding must not let a token beat itself
        leads[heads] &= own[heads] > logits.amax(dim=-1)
    return leads.double().mean(dim=-1)


def composition_scores(
    W_V: Float[Tensor, "earlier d_model d_head"],
    W_O: Float[Tensor, "earlier d_head d_model"],
    left: Float[Tensor, "later d_model d_later"],
    right: Float[Tensor, "later d_later d_model"],
) -> Float[Tensor, "earlier later"]:
    """|L R| / (|L| |R|) of every pair in Frobenius norms, L = W_V W_O and R = left right; NaN where one of them is 0.

    left, right:  factors of the QK products (Q-composition), of those transposed (K-composition), or W_V and W_O of
                  later heads (V-composition)

    Orthogonal factors on the outside change no norm: with L = Q1 A and R = B Q2 it is |A B| / (|A| |B|), and A and B
    are [d_head, d_model] and [d_model, d_head].
    """
    A, B = _reduced(W_V, W_O), _reduced(right.mT, left.mT)
    products = (A.flatten(0, 1) @ B.flatten(0, 1).mT).unflatten(0, A.shape[:2]).unflatten(-1, B.shape[:2])
    squares = products.double().square().sum(dim=(1, 3))
    norms = [factor.double().square().sum(dim=(1, 2)).sqrt() for factor in (A, B)]
    return squares.sqrt() / (norms[0][:, None] * norms[1])


def rotated_composition_scores(
    W_V: Float[Tensor, "earlier d_model d_head"],
    W_O: Float[Tensor, "earlier d_head d_model"],
    left: Float[Tensor, "later d_model d_later"],
    right: Float[Tensor, "later d_later d_model"],
    draws: int,
    rng: torch.Generator,
    width: int | None = None,
) -> Float[Tensor, "draw earlier later"]:
    """The same with a random rotation between L and R: what heads have that know nothing of each other.

    width:  of the space that is turned: d_model, or one less where a layer norm takes the mean out of every state

    The root mean square over rotations is 1 / sqrt(width). One rotation serves all pairs of a draw.
    """
    width = W_O.shape[-1] if width is None else width
    shares = []
    for factor in (_reduced(W_V, W_O), _reduced(right.mT, left.mT)):
        squares = torch.linalg.svdvals(factor.double()).square()[:, :width]
        shares.append(squares / squares.sum(dim=-1, keepdim=True))
    earlier, later = shares
    found = []
    for _ in range(draws):
        normal = torch.randn(width, later.shape[-1], generator=rng, dtype=torch.float64)
        cosines = torch.linalg.qr(normal).Q[: earlier.shape[-1]].to(W_O.device)
        found.append((earlier @ cosines.square() @ later.mT).sqrt())
    return torch.stack(found)


def _reduced(
    left: Float[Tensor, "head rows d_head"], right: Float[Tensor, "head d_head columns"]
) -> Float[Tensor, "head rank columns"]:
    """left @ right up to an orthogonal factor on its left, which changes no norm."""
    return torch.linalg.qr(in_float32(left), mode="r").R @ in_float32(right)
