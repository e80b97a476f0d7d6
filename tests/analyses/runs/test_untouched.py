# ruff: noqa: NPY002 - the random state that everybody shares is what this is about
"""Whatever happens within the block: afterwards the model and the process are as they were."""

from __future__ import annotations

import random
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.analyses.runs.untouched import untouched
from torch import nn


class Merging(nn.Module):
    """As adapters that are merged into the weights by eval(), and taken out again by train()."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def train(self, mode: bool = True) -> Any:
        self.weight.data += 1e-3 if mode else -1e-3
        return super().train(mode)


@pytest.fixture
def model() -> nn.Module:
    """In training, one part frozen in every sense, with gradients of a first batch and a hook."""
    made = nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.BatchNorm1d(3), nn.Linear(3, 1))
    made[2].eval().requires_grad_(False)
    made(torch.ones(4, 2)).sum().backward()
    made[0].register_forward_hook(lambda *given: None)
    return made


def state(model: nn.Module) -> list[Any]:
    """All that a measurement could leave changed, gradients by their identity too."""
    parts, weights = list(model.modules()), list(model.parameters())
    return [
        [part.training for part in parts],
        [list(part._forward_hooks) for part in parts],
        [(id(weight.grad), weight.requires_grad) for weight in weights],
        [None if weight.grad is None else weight.grad.tolist() for weight in weights],
        [tensor.tolist() for tensor in model.state_dict().values()],
        random.getstate(),
        [np.asarray(part).tolist() for part in np.random.get_state()],
        torch.get_rng_state().tolist(),
        (torch.is_grad_enabled(), torch.get_num_threads(), torch.is_autocast_enabled("cpu")),
        (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.backends.cudnn.enabled),
    ]


def spoil(model: nn.Module) -> None:
    """The rudest probe."""
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    model(torch.ones(3, 2))
    model.train().requires_grad_(True)
    model[3](torch.ones(3, 3)).sum().backward()
    torch.set_grad_enabled(False)


def test_all_is_as_it_was(model: nn.Module) -> None:
    before = state(model)
    with untouched(model):
        spoil(model)
    assert state(model) == before


def test_also_after_an_exception(model: nn.Module) -> None:
    before = state(model)

    @untouched(model)
    def interrupted() -> None:
        spoil(model)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert state(model) == before


def test_the_next_draws_are_those_of_a_training_that_was_not_measured(model: nn.Module) -> None:
    drawn = []
    for measured in (False, True):
        random.seed(3), np.random.seed(3), torch.manual_seed(3)
        if measured:
            with untouched(model):
                spoil(model)
        drawn.append((random.random(), np.random.rand(), torch.rand(()).item(), model[1](torch.ones(9)).tolist()))
    assert drawn[0] == drawn[1]


def test_the_random_states_of_accelerators_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: nullcontext(asked.append(devices)))
    with untouched(None):
        pass
    assert asked == [[0, 1]]


def test_within_the_model_is_evaluated_and_its_weights_ask_for_no_gradient(model: nn.Module) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), untouched(model):
        assert not any(part.training for part in model.modules())
        assert not any(weight.requires_grad for weight in model.parameters())
        assert all(weight.grad is None for weight in model.parameters())
        assert torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")
        x = torch.ones(1, 2, requires_grad=True)
        assert torch.autograd.grad(model(x).sum(), x)[0].any()
    assert torch.is_grad_enabled()


def test_modes_are_set_without_calls_that_do_more() -> None:
    model = Merging()
    with untouched(model):
        assert not model.training
    assert model.training
    assert model.weight.tolist() == [1.0, 1.0]


def test_what_is_no_module_is_left_alone() -> None:
    with untouched(lambda x: x):
        pass
