"""What watching costs: every layer's `resid_post` reduced to norms, over the plain Hugging Face pass.

The plain pass is that of the base model with sdpa attention, without logits, on the same random model of GPT-2 small's
shape. Both run in turns in one process; the ratio is the median over rounds, of CPU time and of the wall.

Memory is the peak of live tensor storage during a pass, counted exactly; what watching adds to it is shown for several
numbers of layers, and must not grow with them by more than the norms themselves.

    python benchmarks/watched_pass.py [--length 512] [--repeats 7] [--threads 1]

Fails when watching takes over 1.05 times the CPU time, or memory that grows with the layers.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from mesascope.models import HuggingFaceModel, from_module
from peak_memory import PeakMemory
from torch import Tensor
from transformers import GPT2Config, GPT2Model

LIMIT = 1.05
LAYERS = (2, 4, 8)


def make(layers: int) -> tuple[Callable[[Tensor], Any], Callable[[Tensor], Any]]:
    """A plain pass over a random model, and the watched one over the same weights."""
    module = GPT2Model(GPT2Config(n_layer=layers)).eval()
    module.set_attn_implementation("sdpa")
    subject: HuggingFaceModel = from_module(module)

    def norms(state: Tensor, layer: int) -> Tensor:
        return torch.linalg.vector_norm(state, dim=-1, dtype=torch.float64)

    def plain(tokens: Tensor) -> Any:
        with torch.no_grad():
            return module(input_ids=tokens, use_cache=False).last_hidden_state

    return plain, lambda tokens: subject.run(tokens, watch={"resid_post": norms})


def ratios(tokens: Tensor, repeats: int) -> tuple[float, float]:
    """Watched over plain, of CPU time and of the wall: medians over rounds, after one that warms both.

    A round is plain, watched, watched, plain, so that a machine that slows down or speeds up favours neither.
    """
    plain, watched = make(layers=12)
    rounds = []
    for _ in range(repeats + 1):
        first, second, third, fourth = (seconds(run, tokens) for run in (plain, watched, watched, plain))
        rounds.append([(b + c) / (a + d) for a, b, c, d in zip(first, second, third, fourth, strict=True)])
    of_the_cpu, on_the_wall = (statistics.median(column) for column in zip(*rounds[1:], strict=True))
    return of_the_cpu, on_the_wall


def seconds(run: Callable[[Tensor], Any], tokens: Tensor) -> tuple[float, float]:
    """Of the CPU and on the wall."""
    wall, cpu = time.perf_counter(), time.process_time()
    run(tokens)
    return time.process_time() - cpu, time.perf_counter() - wall


def added_memory(tokens: Tensor, layers: int) -> int:
    """Bytes that the watched pass takes at its peak beyond the plain one."""
    peaks = []
    for run in make(layers):
        run(tokens)
        with PeakMemory() as memory:
            run(tokens)
        peaks.append(memory.peak)
    return peaks[1] - peaks[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="with several, waiting for one another is CPU time too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    tokens = torch.randint(0, 50_257, (1, options.length))
    cpu, wall = ratios(tokens, options.repeats)
    print(f"12 layers, {options.length} tokens, float32, {options.threads} threads, median of {options.repeats} rounds")
    print(f"watched over plain: {cpu:.3f} of the CPU (limit {LIMIT}), {wall:.3f} on the wall")
    added = {layers: added_memory(tokens, layers) for layers in LAYERS}
    for layers, size in added.items():
        print(f"{layers:3} layers: {size:8} bytes added at the peak, {8 * options.length * layers} of them norms")
    grown = added[LAYERS[-1]] - added[LAYERS[0]] - 8 * options.length * (LAYERS[-1] - LAYERS[0])
    return int(cpu > LIMIT or grown > 0)


if __name__ == "__main__":
    sys.exit(main())
