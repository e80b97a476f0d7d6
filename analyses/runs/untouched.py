"""A live model and its process, measured and then as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn

_CUDNN_FLAGS = ("enabled", "benchmark", "deterministic")


@contextmanager
def untouched(model: object) -> Iterator[None]:
    """Within the block the model is in evaluation mode and its weights ask for no gradient.

    Afterwards all is as it was, also after an exception: the mode of every submodule; `grad` and `requires_grad` of
    every parameter; the random states of Python, NumPy and torch; the grad mode, autocast, threads and cuDNN's flags.
    """
    with ExitStack() as kept:
        kept.enter_context(_random_states_kept())
        kept.enter_context(_settings_kept())
        kept.enter_context(torch.enable_grad())  # as a probe finds it where nobody trains
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                kept.enter_context(torch.autocast(kind, enabled=False))
        if isinstance(model, nn.Module):
            kept.enter_context(_module_kept(model))
        yield


@contextmanager
def _random_states_kept() -> Iterator[None]:
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the state that others draw from
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002


@contextmanager
def _settings_kept() -> Iterator[None]:
    threads = torch.get_num_threads()
    flags = {name: getattr(torch.backends.cudnn, name) for name in _CUDNN_FLAGS}
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:  # setting a number, even the same, has effects of its own
            torch.set_num_threads(threads)
        for name, value in flags.items():
            setattr(torch.backends.cudnn, name, value)


@contextmanager
def _module_kept(module: nn.Module) -> Iterator[None]:
    """Modes are set one by one: eval() and train() of some modules do more, such as merging adapters into weights."""
    modes = [(part, part.training) for part in module.modules()]
    weights = [(weight, weight.grad, weight.requires_grad) for weight in module.parameters()]
    try:
        for part, _ in modes:
            part.training = False
        for weight, _, _ in weights:
            weight.grad = None  # else a gradient would be added to the tensor that is put back
            weight.requires_grad_(False)
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for weight, grad, wanted in weights:
            weight.requires_grad_(wanted)
            weight.grad = grad
