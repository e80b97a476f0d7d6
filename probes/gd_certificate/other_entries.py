"""What the weights of one layer beside those of its step add to its expected loss. Exact, without a draw.

With v = Σ Q[b,c] S_bc + Σ q[c,e] (Y^T Y)_ce and S = X^T X, the prediction is x_q^T (M X^T y + v). A task with -w and -ε
has the same v, and the opposite of all else. So the mean loss is that of M, with half the mean of (x_q^T v)² on top:

    E[S_ab S_cd] = N² Λ_ab Λ_cd + N (Λ_ac Λ_bd + Λ_ad Λ_bc) + N k Λ_aa² δ_abcd
    E[(Y^T Y)_ab (Y^T Y)_cd | X] = t² δ_ab δ_cd + u (δ_ac δ_bd + δ_ad δ_bc)
    with t = τ² tr S + σ² N and u = tr (τ² X X^T + σ² I)²
"""

from __future__ import annotations

from einops import einsum

from .layer import Layer, step_matrix, step_tensor
from .optimum import Law, excess_loss, optimal_matrix


def other_loss(layer: Layer, law: Law) -> float:
    """What all weights beside the step cost, over all labels."""
    return mixing_loss(layer, law) + even_loss(layer, law)


def mixing_loss(layer: Layer, law: Law) -> float:
    """Of several labels: what a step of its own for each, and from one to another, costs."""
    tensor, M, optimum = step_tensor(layer), step_matrix(layer), optimal_matrix(law)
    labels = range(tensor.shape[-1])
    return sum(excess_loss(tensor[:, :, c, e] - (c == e) * M + optimum, law) for c in labels for e in labels)


def even_loss(layer: Layer, law: Law) -> float:
    """Half the mean of (x_q^T v)²: of entries that pair x with x, and labels with labels."""
    d, L, n, k = layer.d_in, law.covariance, law.n_context, law.excess_kurtosis
    tau, sigma = law.weight_variance, law.noise_variance
    KQ, PV = einsum(law.root, layer.KQ[:, :d], "i a, head a b -> head i b"), layer.PV[..., d:]
    Q = einsum(KQ[..., :d], PV[:, :d], "head i b, head c e -> i e b c")
    q = einsum(KQ[..., d:], PV[:, d:], "head i b, head c e -> i e b c")
    Q, q = (Q + Q.mT) / 2, (q + q.mT) / 2
    trace, own, variances = q.diagonal(dim1=-2, dim2=-1).sum(-1), Q.diagonal(dim1=-2, dim2=-1), L.diagonal()
    inner, size, square = (Q * L).sum(dim=(-2, -1)), L.trace(), L.square().sum()
    fourth = k * variances.square()

    t_squared = tau**2 * (n**2 * size**2 + 2 * n * square + n * fourth.sum()) + 2 * tau * sigma * n**2 * size
    t_squared = t_squared + sigma**2 * n**2
    u = tau**2 * n * ((n + 1) * square + size**2 + fourth.sum()) + 2 * tau * sigma * n * size + sigma**2 * n
    of_inputs = n**2 * inner**2 + 2 * n * (Q @ L * (L @ Q)).sum(dim=(-2, -1)) + n * (own.square() @ fourth)
    of_both = tau * (n**2 * inner * size + 2 * n * (Q * (L @ L)).sum(dim=(-2, -1)) + n * (own @ fourth))
    of_both = of_both + sigma * n**2 * inner
    of_labels = t_squared * trace**2 + 2 * u * q.square().sum(dim=(-2, -1))
    return 0.5 * float((of_inputs + 2 * of_both * trace + of_labels).sum())
