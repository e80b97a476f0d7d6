"""What MLPs read, and by which parameters: a change of these for one state is a change of state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.data import UsageError
from mesascope.models import NotApplicable, from_language_model, from_module
from mesascope.models.differentiable import Differentiable, differentiable
from mesascope.models.mlp_reading import MlpReading, reading_name
from torch import Tensor

Make = Callable[..., Any]
OWN: dict[str, dict[str, Any]] = {
    "plain": {"d_mlp": 8},
    "gated, rms": {"d_mlp": 8, "gated_mlp": True, "norm": "rms", "activation": "silu"},
    "no norm": {"d_mlp": 8, "norm": "none"},
}
READ_BY: dict[str, tuple[str, ...]] = {
    "gpt2": ("transformer.h.{}.mlp.c_fc.weight",),
    "gpt_neox serial": ("gpt_neox.layers.{}.mlp.dense_h_to_4h.weight",),
    "opt": ("model.decoder.layers.{}.fc1.weight",),
    "llama": ("model.layers.{}.mlp.gate_proj.weight", "model.layers.{}.mlp.up_proj.weight"),
    "phi3": ("model.layers.{}.mlp.gate_up_proj.weight",),
    "gemma2": ("model.layers.{}.mlp.gate_proj.weight", "model.layers.{}.mlp.up_proj.weight"),
    "olmo2": ("model.layers.{}.mlp.gate_proj.weight", "model.layers.{}.mlp.up_proj.weight"),
    "bloom": ("transformer.h.{}.mlp.dense_h_to_4h.weight",),
    "bart": ("model.decoder.layers.{}.fc1.weight",),
}
"""Conv1D, gates, fused ones; norms before, after and around; tokens in one row; no rule for tasks."""


@pytest.fixture
def make(subject_of: Make, random_language_model: Make) -> Callable[[str], Any]:
    return lambda name: random_language_model(**OWN[name]) if name in OWN else subject_of(name)


def passes_of(subject: Any) -> Differentiable:
    found = differentiable(subject, "mlp input", torch.float64)
    assert isinstance(found, Differentiable)
    return found


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", [*OWN, *READ_BY])
def test_a_change_of_the_matrices_for_one_state_is_a_change_of_state(name: str, make: Callable[[str], Any]) -> None:
    """True only if the matrices are all that multiplies what is read, and what is read is all that the MLP sees."""
    model, shape = passes_of(make(name)), make(name).shape
    here, there = draw(2, shape.n_layers, 1, shape.d_model)
    (read, written), (wanted, expected) = model.mlp({}, here), model.mlp({}, there)
    changed = {}
    for layer, (own, W) in enumerate(model.start.items()):
        assert own == reading_name(layer)
        assert W.shape[0] == shape.d_model
        a, b = read[layer, 0], wanted[layer, 0]
        changed[own] = W + torch.outer(a, b @ W - a @ W) / a.dot(a)
    again, found = model.mlp(changed, here)
    torch.testing.assert_close(again, read, rtol=0, atol=0)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert all(float(x) > 0.01 for x in (written - expected).abs().amax(dim=(1, 2)))


@pytest.mark.parametrize("family", READ_BY)
def test_matrices_of_a_family_are_those_of_its_modules(family: str, subject_of: Make) -> None:
    subject = subject_of(family)
    parameters = dict(subject.module.named_parameters())
    places = subject.mlp_reading()
    matrices = places.read(parameters)
    assert len(matrices) == subject.shape.n_layers
    for layer in range(subject.shape.n_layers):
        own = [parameters[name.format(layer)] for name in READ_BY[family]]
        expected = torch.cat([W if family == "gpt2" else W.mT for W in own], dim=1)
        assert torch.equal(matrices[reading_name(layer)], expected)
    moved = {name: W + 1 for name, W in matrices.items()}
    written = places.write(moved, parameters)
    assert set(written) == {name.format(layer) for layer in range(len(matrices)) for name in READ_BY[family]}
    assert all(torch.equal(W, parameters[name] + 1) for name, W in written.items())


def test_matrices_of_own_models_are_gate_and_the_other_side_by_side(random_language_model: Make) -> None:
    subject = random_language_model(**OWN["gated, rms"])
    parameters = dict(subject.module.named_parameters())
    found = subject.mlp_reading().read(parameters)
    for layer in range(2):
        W_gate, W_in = parameters["W_gate"][layer], parameters["W_in"][layer]
        assert torch.equal(found[reading_name(layer)], torch.cat([W_gate, W_in], dim=1))
    written = subject.mlp_reading().write({name: 2 * W for name, W in found.items()}, parameters)
    assert set(written) == {"W_gate", "W_in"}
    assert all(torch.equal(written[name], 2 * parameters[name]) for name in written)


@pytest.mark.parametrize("family", ["gpt2", "llama", "olmo2", "opt"])
def test_passes_show_what_the_modules_read(family: str, tiny: Make) -> None:
    subject = from_module(tiny(family).double())
    tokens = torch.randint(0, 53, (3, 6), generator=torch.Generator().manual_seed(4))
    read: list[Tensor] = []
    module = subject.module.get_submodule(READ_BY[family][0].format(1).removesuffix(".weight"))
    hook = module.register_forward_pre_hook(lambda _, args: read.append(args[0].reshape(3, 6, -1)))
    answers = passes_of(subject).run({}, tokens, (-1, 2), ("mlp_in", "resid_post"))
    hook.remove()
    assert answers.mlp_in is not None
    assert answers.mlp_in.shape == (subject.shape.n_layers, 3, 2, subject.shape.d_model)
    torch.testing.assert_close(answers.mlp_in[1], read[0][:, [5, 2]], rtol=1e-12, atol=1e-12)
    whole = differentiable(subject)
    assert isinstance(whole, Differentiable)
    assert torch.equal(whole.run({}, tokens, (-1, 2), ("mlp_in",)).mlp_in, answers.mlp_in)
    by_task = passes_of(subject).run_tasks({n: W[None] for n, W in passes_of(subject).start.items()}, tokens[None],
                                           (-1, 2), ("mlp_in",)).mlp_in  # fmt: skip
    assert by_task is not None
    torch.testing.assert_close(by_task[0], answers.mlp_in, rtol=1e-6, atol=1e-6)  # norms are in float32


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("gpt_neox", "side by side"),
        ("gptj", "side by side"),
        ("falcon", "side by side"),
        ("mixtral", "mixtures of experts"),
        ("gpt_oss", "mixtures of experts"),
        ("deepseek_v3", "mixtures of experts"),
        ("llama4", "mixtures of experts"),
    ],
)
def test_other_blocks_say_why_they_are_left_out(family: str, said: str, subject_of: Make) -> None:
    found = differentiable(subject_of(family), "mlp input")
    assert isinstance(found, NotApplicable)
    assert said in found.reason


def test_models_without_such_matrices_say_so(random_language_model: Make, tiny: Make, subject_of: Make) -> None:
    attention_only = random_language_model()
    found = attention_only.mlp_reading()
    assert isinstance(found, NotApplicable)
    assert "has no MLPs" in found.reason
    wrapped = from_language_model(lambda tokens: torch.zeros(*tokens.shape, 7), d_vocab=7)
    assert "by which matrices" in wrapped.mlp_reading().reason  # type: ignore[union-attr]
    assert isinstance(differentiable(subject_of("bert"), "mlp input"), NotApplicable)
    module = tiny("llama")
    module.model.layers[1].mlp.up_proj.weight = module.model.layers[0].mlp.up_proj.weight
    shared = from_module(module).mlp_reading()
    assert "layers.0.mlp.up_proj.weight is no parameter of its own" in shared.reason  # type: ignore[union-attr]
    model = differentiable(attention_only)
    assert isinstance(model, Differentiable)
    with pytest.raises(UsageError, match="mlp_in of tiny is not shown: tiny has no MLPs"):
        model.run({}, torch.tensor([[1, 2]]), watch=("mlp_in",))


def test_an_untrained_model_of_a_family_reads_by_the_same_modules(subject_of: Make) -> None:
    places = subject_of("llama").untrained(0).mlp_reading()
    assert isinstance(places, MlpReading)
