"""Rules that copy labels, and what every family has: parts of a context, titles, derivatives, a count of settings."""

from __future__ import annotations

import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.probes.algorithms.contexts import Contexts
from mesascope.probes.algorithms.copying import LAST_LABEL, MEAN_LABEL, NEAREST_LABEL, ZERO, Copying
from mesascope.probes.algorithms.families import Fitted, by_autograd
from mesascope.probes.algorithms.filtered import GRADIENT_DESCENT, NEWTON, RIDGE
from mesascope.probes.algorithms.fitting import Fit, given


@pytest.fixture(params=[1, 2], ids=["one output", "two outputs"])
def tasks(request: pytest.FixtureRequest) -> Contexts:
    """Of five labelled pairs, with a query whose label slot is not empty."""
    inputs = LinearRegression(5, 4, request.param).sample(6, seed=1).inputs.clone()
    inputs[:, -1, 4:] = 7.0
    return Contexts.of(inputs.float(), 4)


def test_a_context_has_parts(tasks: Contexts) -> None:
    assert tasks.inputs.dtype == torch.float64
    assert tasks.n_context == 5
    assert (tasks.X.shape, tasks.query.shape) == ((6, 5, 4), (6, 4))
    parts = torch.cat([tasks.X, tasks.Y], dim=2)
    assert torch.equal(parts, tasks.inputs[:, :5])
    assert torch.equal(tasks.query, tasks.inputs[:, 5, :4])
    assert torch.equal(tasks.first(2).inputs, tasks.inputs[:2])
    assert tasks.first(6) is tasks


def test_copies_are_those_of_a_loop(tasks: Contexts) -> None:
    for i, (X, Y, query) in enumerate(zip(tasks.X.numpy(), tasks.Y.numpy(), tasks.query.numpy(), strict=True)):
        nearest = min(range(5), key=lambda j: ((X[j] - query) ** 2).sum())
        for family, expected in ((NEAREST_LABEL, Y[nearest]), (LAST_LABEL, Y[4]), (MEAN_LABEL, sum(Y) / 5)):
            assert family.predict(tasks, Fitted())[i].numpy() == pytest.approx(expected)
    assert not ZERO.predict(tasks, Fitted()).any()


def test_of_two_nearest_the_first_counts(tasks: Contexts) -> None:
    inputs = tasks.inputs.clone()
    inputs[:, [1, 3], :4] = inputs[:, -1:, :4]
    assert torch.equal(NEAREST_LABEL.predict(Contexts(inputs, 4), Fitted()), inputs[:, 1, 4:])


@pytest.mark.parametrize("family", [ZERO, MEAN_LABEL, LAST_LABEL, NEAREST_LABEL], ids=lambda family: family.name)
def test_a_copy_does_not_move_with_the_query_and_has_no_settings(tasks: Contexts, family: Copying) -> None:
    fitted = family.fit(tasks, tasks.Y[:, 0])
    assert (fitted.n, fitted.at_end, family.free) == (0, False, 0)
    weights = family.weights(tasks, fitted)
    assert weights.shape == (6, tasks.Y.shape[2], 4)
    assert not weights.any()


def test_derivatives_are_each_outputs_own(tasks: Contexts) -> None:
    """Of W x + |x|² with another W for each task and output, beside one that does not read the query."""
    d_out = tasks.Y.shape[2]
    W = torch.randn(6, d_out, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def predict(shown: Contexts) -> torch.Tensor:
        return (W @ shown.query[..., None])[..., 0] + shown.query.square().sum(dim=1, keepdim=True)

    torch.testing.assert_close(by_autograd(predict, tasks), W + 2 * tasks.query[:, None])
    torch.testing.assert_close(by_autograd(lambda shown: shown.Y[:, 0] + 0 * shown.query[:, :1], tasks), 0 * W)


def test_titles_count_steps() -> None:
    assert [GRADIENT_DESCENT.title(k) for k in (1, 2)] == ["1 step of gradient descent", "2 steps of gradient descent"]
    assert [NEWTON.title(k) for k in (1, 2)] == ["1 iteration of Newton's method", "2 iterations of Newton's method"]
    assert RIDGE.title(0) == "ridge regression"


def test_settings_are_counted() -> None:
    end = Fit(1.0, 1.0, 1.0, n=3, at_end=True)
    two = {"width": given(2.0), "penalty": end}
    assert [one.n for one in (Fitted(), Fitted(3), Fitted(3, two), Fitted(matrix=torch.eye(3)))] == [0, 1, 3, 6]
    assert [one.at_end for one in (Fitted(), Fitted(3, two), Fitted(3, {"width": given(2.0)}))] == [False, True, False]
    assert Fitted(3, two).value("width") == 2.0
