"""Wrapped predictors and in-memory transformers as subjects."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from mesascope.data import UsageError
from mesascope.models import (
    NotApplicable,
    RegressionTransformer,
    Source,
    TokenLayout,
    from_predictor,
    from_transformer,
)
from mesascope.models.weights import weights_sha256
from torch import Tensor, nn

Make = Callable[..., RegressionTransformer]


def test_joint_tokens_are_passed_on_unchanged() -> None:
    inputs = torch.randn(2, 4, 5)
    assert TokenLayout(d_in=3, d_out=2).arrange(inputs) is inputs


@pytest.mark.parametrize("d_out", [1, 2, 3])
def test_interleaved_tokens(d_out: int) -> None:
    """x_1, y_1, x_2, y_2, …, x_q, all as wide as x; y first in its token, then zeros; the query's label is left out."""
    inputs = torch.randn(2, 4, 3 + d_out)
    arranged = TokenLayout(d_in=3, d_out=d_out, order="interleaved").arrange(inputs)
    assert arranged.shape == (2, 7, 3)
    for task in range(2):
        for pair in range(4):
            assert arranged[task, 2 * pair].tolist() == inputs[task, pair, :3].tolist()
            if pair < 3:
                assert arranged[task, 2 * pair + 1].tolist() == inputs[task, pair, 3:].tolist() + [0.0] * (3 - d_out)


@pytest.mark.parametrize("order", ["joint", "interleaved"])
@pytest.mark.parametrize("width", [3, 5])
def test_tasks_of_another_width_do_not_fit(order: str, width: int) -> None:
    with pytest.raises(ValueError, match=f"{width} wide.*d_in = 3 and d_out = 1"):
        TokenLayout(d_in=3, order=order).arrange(torch.zeros(2, 4, width))  # type: ignore[arg-type]


def test_a_label_wider_than_the_inputs_cannot_be_interleaved() -> None:
    with pytest.raises(ValueError, match="d_out = 3"):
        TokenLayout(d_in=2, d_out=3, order="interleaved")


def test_an_order_that_does_not_exist() -> None:
    with pytest.raises(TypeError):
        TokenLayout(d_in=2, order="reversed")  # type: ignore[arg-type]


@pytest.mark.parametrize("keep_last", [True, False])
def test_a_wrapped_function_predicts_and_its_sensitivities_flow(keep_last: bool) -> None:
    """The mean label weighted by x.x_q, written for interleaved tokens."""

    def predict(tokens: Tensor) -> Tensor:
        x, y, query = tokens[:, :-1:2], tokens[:, 1::2, 0], tokens[:, -1]
        answer = torch.einsum("bnd,bd,bn->b", x, query, y) / y.shape[1]
        return answer[:, None] if keep_last else answer

    subject = from_predictor(predict, TokenLayout(d_in=3, order="interleaved"), name="mine")
    inputs = torch.randn(4, 6, 4, dtype=torch.float64, requires_grad=True)
    prediction = subject.predict(inputs)
    x, y = inputs[:, :-1, :3], inputs[:, :-1, 3]
    weight = torch.einsum("bnd,bn->bd", x, y) / 5
    assert prediction.shape == (4, 1)
    torch.testing.assert_close(prediction[:, 0], (weight * inputs[:, -1, :3]).sum(1))
    (gradient,) = torch.autograd.grad(prediction.sum(), inputs)
    torch.testing.assert_close(gradient[:, -1, :3], weight)
    assert (gradient[:, -1, 3] == 0).all()


@pytest.mark.parametrize("shape", [(4, 2), (3,), (1, 4), (4, 1, 1), ()])
def test_a_prediction_of_another_shape(shape: tuple[int, ...]) -> None:
    subject = from_predictor(lambda tokens: torch.zeros(shape), TokenLayout(d_in=3))
    with pytest.raises(UsageError) as caught:
        subject.predict(torch.zeros(4, 5, 4))
    assert str(list(shape)) in str(caught.value)
    assert "[4] or [4, 1]" in str(caught.value)


def test_wide_predictions_need_their_axis() -> None:
    layout = TokenLayout(d_in=3, d_out=2)
    subject = from_predictor(lambda tokens: tokens[:, -1, 3:] + 1, layout)
    assert subject.predict(torch.zeros(4, 5, 5)).tolist() == [[1.0, 1.0]] * 4
    narrow = from_predictor(lambda tokens: tokens[:, -1, 3], layout)
    with pytest.raises(UsageError):
        narrow.predict(torch.zeros(4, 5, 5))


def test_a_bare_function_has_no_identity_and_says_so() -> None:
    subject = from_predictor(lambda tokens: tokens[:, -1, -1], TokenLayout(d_in=3), name="mine")
    assert subject.source.weights_sha256 is None
    assert subject.source.label == "mine"
    assert any("plain function" in note for note in subject.source.notes)
    assert any("pass it again" in note for note in subject.source.notes)
    assert subject.source.facts == {"d_in": 3, "d_out": 1, "order": None, "label_slot": None}
    answer = subject.weights()
    assert isinstance(answer, NotApplicable)
    assert "cannot read attention weights" in answer.reason


def test_a_module_is_known_by_its_state_its_dtype_and_its_device() -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 1).double()
            self.register_buffer("calls", torch.zeros(2, dtype=torch.int64))

        def forward(self, tokens: Tensor) -> Tensor:
            return self.linear(tokens[:, -1])

    module = Linear()
    subject = from_predictor(module, TokenLayout(d_in=3))
    assert subject.dtype == torch.float64
    assert subject.device == torch.device("cpu")
    assert subject.source.weights_sha256 == weights_sha256(module.state_dict())
    before = subject.source.weights_sha256
    with torch.no_grad():
        module.linear.bias += 1e-12
    assert from_predictor(module, TokenLayout(d_in=3)).source.weights_sha256 != before
    assert len(subject.source.notes) == 1


def test_a_transformer_built_here(random_model: Make) -> None:
    module = random_model(n_layers=2)
    subject = from_transformer(module, name="mine")
    inputs = torch.randn(3, 5, 4, dtype=torch.float64)
    assert torch.equal(subject.predict(inputs), module(inputs))
    assert (subject.d_in, subject.d_out, subject.dtype) == (3, 1, torch.float64)
    assert subject.source.weights_sha256 == weights_sha256(dict(module.named_parameters()))
    assert subject.source.facts == module.config.as_dict()
    assert subject.config is module.config
    assert torch.equal(subject.weights().W_Q, module.weights().W_Q)


def test_a_wrapped_transformer_predicts_as_the_transformer(random_model: Make) -> None:
    module = random_model(d_out=2)
    inputs = torch.randn(3, 5, 5, dtype=torch.float64)
    wrapped = from_predictor(module, TokenLayout(d_in=3, d_out=2))
    assert torch.equal(wrapped.predict(inputs), from_transformer(module).predict(inputs))


def test_the_digest_sees_names_types_shapes_and_bits() -> None:
    weight = torch.arange(6.0)
    variants = [
        {"a": weight},
        {"b": weight},
        {"a": weight.double()},
        {"a": weight.reshape(2, 3)},
        {"a": weight, "b": weight},
        {"a": -weight},  # its first entry differs in the sign of zero alone
        {"a": weight.int()},
        {"a": weight.bfloat16()},
        {"a": torch.zeros(0)},
        {"a": torch.zeros(())},
        {},
    ]
    assert len({weights_sha256(tensors) for tensors in variants}) == len(variants)
    assert weights_sha256({"a": weight, "b": -weight}) == weights_sha256({"b": -weight, "a": weight.clone()})
    assert weights_sha256({"a": weight.reshape(2, 3).T}) == weights_sha256({"a": weight.reshape(2, 3).T.contiguous()})


def test_a_label_is_a_name_with_its_revision() -> None:
    assert Source("lsa", layout="mesascope").label == "lsa"
    assert Source("lsa", layout="mesascope", revision="seed3-step10").label == "lsa-seed3-step10"
