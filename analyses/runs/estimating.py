"""How long a run will take: a probe's cost, in units that no machine enters, times a speed.

The speed is a stated one, by which the model's size decides, or that of one batch on this machine. Neither enters a
report.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ...models.copy_models import CopyModel
from ...models.language_model import LanguageModel, LanguageModelShape
from ...models.own.attention_only import AttentionOnlyConfig
from ...models.own.regression_config import RegressionConfig
from ...models.regressors import SequenceRegressor, TransformerRegressor
from ...models.softmax_regressors import SoftmaxRegressor
from ...models.subject import Regressor, Subject
from ...probes.probe import Cost, weights_of

RATE = 40e9
"""Multiplications and additions a second, on each thread: a core of a server with 256-bit vectors, in float32."""
NUMBERS = 1e9
"""Numbers a second that are read and written where products are too small to take the time."""
_NUMBERS_OF_A_LAYER = 20
"""That are read and written for every dimension of a token's state, about."""
DRAWS, OPERATIONS = 2.5e8, 5e4
"""Random numbers and small tensor operations a second."""
FIGURE_FILES = 3
"""Files of figures a second."""
_SHORT = 0.1  # seconds


def about_time(timed: bool) -> str:
    """What the times of a dry run are worth, in a sentence or two."""
    if timed:
        return "Time is an estimate: one batch was timed on this machine, as busy as it is now. It enters no report."
    return (
        f"Time is an estimate from the model's size, for {RATE / 1e9:.0f} billion operations a second on each"
        " thread. --time times one batch on this machine instead."
    )


@dataclass(frozen=True)
class Speed:
    """Seconds for one of each of the units of a `Cost`."""

    token: float
    read_out: float
    draw: float
    operation: float

    def seconds(self, cost: Cost) -> float:
        return (
            self.token * cost.tokens
            + self.read_out * cost.read_outs
            + self.draw * cost.draws
            + self.operation * cost.operations
        )


def stated_speed(subject: Subject, cost: Cost) -> Speed:
    """By the size of the model, with the threads that torch has now."""
    rate, sizes = RATE * torch.get_num_threads(), _sizes(subject)
    token = work_of_a_token(subject, cost.batch[1]) / rate
    if sizes is not None:
        token += _NUMBERS_OF_A_LAYER * sizes.n_layers * sizes.d_model / NUMBERS
    read_out = 2 * sizes.d_model * sizes.d_vocab / rate if isinstance(sizes, LanguageModelShape) else 0
    return Speed(token, read_out, 1 / DRAWS, 1 / OPERATIONS)


def _sizes(subject: Subject) -> LanguageModelShape | RegressionConfig | AttentionOnlyConfig | None:
    if isinstance(subject, LanguageModel):
        return subject.shape
    return subject.config if isinstance(subject, TransformerRegressor | SequenceRegressor) else None


def work_of_a_token(subject: Subject, length: int) -> int:
    """Multiplications and additions of one token's way through the layers, in a sequence of this length."""
    sizes, weights = _sizes(subject), weights_of(subject)
    if sizes is None:
        return 2 * sum(weight.numel() for weight in weights)
    vocabulary = None if isinstance(sizes, RegressionConfig) else sizes.d_vocab
    passed = sizes.n_layers // sizes.n_blocks if isinstance(sizes, RegressionConfig) else 1  # tied layers
    in_layers = sum(weight.numel() for weight in weights if vocabulary not in weight.shape)
    return 2 * passed * in_layers + 2 * 2 * length * sizes.n_heads * sizes.d_head * sizes.n_layers


@torch.no_grad()
def timed_speed(subject: Subject, cost: Cost) -> Speed:
    """Of one batch as the probe would send it, on this machine, as busy as it is now."""
    sequences, length = cost.batch
    rng = torch.Generator().manual_seed(0)
    draw = _time(lambda: torch.randn(2**20, generator=rng)) / 2**20
    small = torch.ones(8, 8)
    operation = _time(lambda: small @ small)
    if isinstance(subject, Regressor):
        tasks = torch.randn(sequences, length, subject.d_in + subject.d_out, generator=rng)
        tasks = tasks.to(subject.device, subject.dtype)
        return Speed(_time(lambda: subject.predict(tasks)) / tasks[..., 0].numel(), 0, draw, operation)
    if isinstance(subject, SoftmaxRegressor):
        A = torch.randn(sequences, length, subject.d_in, generator=rng).to(subject.device, subject.dtype)
        b = A[..., 0].softmax(dim=-1)
        return Speed(_time(lambda: subject.predict(A, b)) / b.numel(), 0, draw, operation)
    if isinstance(subject, CopyModel):
        words = torch.randint(subject.config.d_vocab, (sequences, length), generator=rng)
        return Speed(_time(lambda: subject.logits(words)) / words.numel(), 0, draw, operation)
    assert isinstance(subject, LanguageModel), "probes give a cost of these kinds"
    tokens = torch.randint(subject.shape.d_vocab, (sequences, length), generator=rng)
    states = subject.run(tokens).output
    token = _time(lambda: subject.run(tokens)) / tokens.numel()
    read_out = 0.0
    if cost.read_outs and subject.no_token_logits() is None:
        read_out = _time(lambda: subject.unembed(states)) / tokens.numel()
    return Speed(token, read_out, draw, operation)


def _time(work: Callable[[], object]) -> float:
    """Seconds of a call, of several where they are short. The first is left out: it also sets things up."""
    work()
    begun, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - begun < _SHORT:
        work()
        calls += 1
    return (time.perf_counter() - begun) / calls


def in_words(seconds: float) -> str:
    """About so long: "about 40 s", "about 6 min", "about 2.5 h"."""
    if seconds < 100:
        return f"about {max(seconds, 1):.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 100 * 60 else f"about {seconds / 3600:.2g} h"
