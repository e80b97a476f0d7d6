"""Transformers whose weights are known, and identities that hold for any weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ...models.constructed.gradient_descent import gd_transformer, gdpp_transformer
from ...models.constructed.induction import induction_circuit
from ...models.constructed.norms import planted_norms
from ...models.own.attention_only import AttentionOnlyConfig, AttentionOnlyTransformer
from ...models.own.regression_config import RegressionConfig
from ...models.own.regression_transformer import initialise
from ...models.taps import Taps
from ...probes.induction_heads.scores import prefix_matching_score
from ...probes.regression import layer_weights
from ...probes.softmax_regression import formulas
from ...probes.token_norms.lengths import lengths
from .agreement import Agreement, Check, same
from .sources import DHERIN, ELHAGE, LI, OYAMA, VLADYMYROV, VON_OSWALD


def regression_tokens(d_in: int = 4, d_out: int = 2, n: int = 7, seed: int = 0) -> Tensor:
    """Random contexts and queries, whose labels are 0."""
    tokens = torch.randn(5, n + 1, d_in + d_out, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    tokens[:, -1, d_in:] = 0
    return tokens


def constructed_descent(device: torch.device) -> Iterator[Agreement]:
    """Layers written down as steps of gradient descent, after each layer."""
    tokens = regression_tokens()
    X, Y, query = tokens[:, :-1, :4].numpy(), tokens[:, :-1, 4:].numpy(), tokens[:, -1:, :4].numpy()
    answers = gd_transformer(7, 0.3, 4, 2, n_layers=12).to(device).predict_layers(tokens.to(device))
    w, steps = np.zeros((5, 4, 2)), []
    for _ in range(12):
        w = w - 0.3 / 7 * X.mT @ (X @ w - Y)
        steps.append((query @ w)[:, 0])
    yield same(answers, np.stack(steps))


def constructed_gdpp(device: torch.device) -> Iterator[Agreement]:
    """Layers that also curve their inputs, x ← (I - γ XᵀX) x, each with settings of its own."""
    tokens, rates, gammas = regression_tokens(), (0.3, 0.2, 0.4), (0.02, 0.01, 0.03)
    module = gdpp_transformer(7, rates, gammas, 4, 2, n_layers=3, tied=False).to(device)
    X, left, query = tokens[:, :-1, :4].numpy(), tokens[:, :-1, 4:].numpy(), tokens[:, -1:, :4].numpy()
    answer, steps = 0.0, []
    for rate, gamma in zip(rates, gammas, strict=True):
        update, turn = rate / 7 * X.mT @ left, np.eye(4) - gamma * X.mT @ X
        answer, left = answer + query @ update, left - X @ update
        X, query = X @ turn, query @ turn
        steps.append(answer[:, 0])
    yield same(module.predict_layers(tokens.to(device)), np.stack(steps))


def implicit_model(device: torch.device) -> Iterator[Agreement]:
    """Linear attention with any weights answers W_l x_q after layer l, where the W_l follow from weights and context:
    C ← C + Σ_heads C KQ CᵀC PV, T ← T + Σ_heads T KQ CᵀC PV from T = I, W_l = -T[x, y]ᵀ.
    """
    tokens = 0.6 * regression_tokens()
    for tied, heads in ((True, 1), (False, 3)):
        config = RegressionConfig(4, 2, 4, tied, heads, 3)
        module = initialise(config, 1.0, torch.Generator().manual_seed(heads))
        C, T, expected = tokens[:, :-1].numpy(), np.eye(6), []
        for layer in range(4):
            block, gram = 0 if tied else layer, C.mT @ C
            W_Q, W_K, W_V, W_O = (getattr(module, name)[block].numpy() for name in ("W_Q", "W_K", "W_V", "W_O"))
            moved = sum(q @ k.T @ gram @ v @ o for q, k, v, o in zip(W_Q, W_K, W_V, W_O, strict=True))
            C, T = C + C @ moved, T + T @ moved
            expected.append(-T[:, :4, 4:].mT)
        yield same(layer_weights.closed_form(module, tokens), np.stack(expected))
        answers = module.to(device).predict_layers(tokens.to(device))
        yield same(answers, (np.stack(expected) @ tokens[:, -1, :4, None].numpy())[..., 0])


def context_as_patch(device: torch.device) -> Iterator[Agreement]:
    """A block answers [context, x] as it answers x alone with W_in + A (ΔA W_in) / |A|², of rank 1, and b_out + ΔA. Its
    MLP reads A of x alone, and A + ΔA with the context. Softmax attention, GELU, skip connections, random weights.
    """
    config = AttentionOnlyConfig(
        d_vocab=20, n_ctx=9, d_model=8, n_layers=1, n_heads=2, d_head=4, d_mlp=32, norm="none", positions="none"
    )
    rng = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(shape, generator=rng, dtype=torch.float64) / config.d_model**0.5
        for name, shape in config.shapes.items()
    }
    tokens = torch.randint(20, (1, 9), generator=rng)
    block = AttentionOnlyTransformer(config, weights)
    whole, alone = (_read_by_mlp(block.to(device), part.to(device)) for part in (tokens, tokens[:, -1:]))
    added = whole - alone
    patch = torch.outer(alone, added @ weights["W_in"][0]) / alone.square().sum()
    yield Agreement(abs(float(np.linalg.matrix_rank(patch)) - 1))
    patched = {"W_in": weights["W_in"] + patch, "b_out": weights["b_out"] + added}
    answer = AttentionOnlyTransformer(config, {**weights, **patched}).to(device)(tokens[:, -1:].to(device))
    yield same(block(tokens.to(device))[:, -1], answer[:, -1])


def _read_by_mlp(block: AttentionOnlyTransformer, tokens: Tensor) -> Tensor:
    """A of the last token."""
    taps = Taps({"resid_mid": lambda states, layer: states[0, -1].cpu()}, None)
    block.states(tokens, taps)
    return taps.values["resid_mid"][0]


def softmax_gradient(_: torch.device) -> Iterator[Agreement]:
    """The gradient of ½|f(A, x) - b|² by hand, and by automatic differentiation."""
    rng = torch.Generator().manual_seed(0)
    A, x, b = (torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((6, 9, 4), (6, 4), (6, 9)))
    x.requires_grad_()
    f = torch.softmax((A @ x[..., None])[..., 0], dim=-1)
    (slope,) = torch.autograd.grad(0.5 * (f - b.softmax(dim=-1)).square().sum(), x)
    yield same(formulas.loss_gradient(A, formulas.softmax_of(A, x), b.softmax(dim=-1)), slope)


def planted_induction(device: torch.device) -> Iterator[Agreement]:
    """On BOS r r the head attends to what followed, and to nothing else."""
    model = induction_circuit()
    model.module.to(device)
    repeat = 1 + torch.randperm(29, generator=torch.Generator().manual_seed(0))[:20]
    tokens = torch.cat([torch.zeros(1, dtype=torch.long), repeat, repeat])[None]
    scores = model.run(tokens, watch={"attention": lambda held, layer: prefix_matching_score(held, 20)})
    yield same(scores.values["attention"][1][:, 0], torch.ones(1))


def planted_lengths(device: torch.device) -> Iterator[Agreement]:
    """Embeddings as long as their token is surprising, -log p."""
    frequencies = torch.arange(1, 51, dtype=torch.float64) / torch.arange(1, 51).sum()
    model = planted_norms(frequencies=frequencies)
    model.module.to(device)
    yield same(lengths(model.embedding()), -frequencies.log())


CHECKS = (
    Check("constructed descent", "12 GD layers", "a loop over steps", VON_OSWALD, constructed_descent),
    Check("constructed GD++", "3 GD++ layers", "a loop over layers", VON_OSWALD, constructed_gdpp),
    Check("implicit model", "answers of linear attention", "W_l x, W_l by a recursion", VLADYMYROV, implicit_model),
    Check("context as a patch", "a block on [context, x]", "with a rank-1 patch, on x", DHERIN, context_as_patch),
    Check("softmax regression", "its gradient", "automatic differentiation", LI, softmax_gradient),
    Check("planted induction", "prefix matching of the head", "1", ELHAGE, planted_induction),
    Check("planted lengths", "lengths of embeddings", "-log p", OYAMA, planted_lengths),
)
