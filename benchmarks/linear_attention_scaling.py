"""Time and memory of evaluating a linear-attention transformer on contexts of N = 10 to 10,000 tokens.

Attention is linear: (q k^T) v = q (k^T v), so both should grow ten times when N does. Memory is the peak of live tensor
storage during the evaluation, its inputs aside, counted exactly.

    python benchmarks/linear_attention_scaling.py [--layers 3] [--tasks 16] [--threads N]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from mesascope.models import RegressionConfig, RegressionTransformer, initialise
from peak_memory import PeakMemory
from torch import Tensor

SIZES = (10, 30, 100, 300, 1000, 3000, 10_000)
REPEATS = 9


def measure(model: RegressionTransformer, inputs: Tensor) -> tuple[float, int]:
    """Median seconds of one evaluation, and its peak of bytes."""
    times = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        model(inputs)
        times.append(time.perf_counter() - began)
    with PeakMemory() as memory:
        model(inputs)
    return statistics.median(times[1:]), memory.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = torch.Generator().manual_seed(0)
    model = initialise(RegressionConfig(d_in=10, n_layers=options.layers), 0.002, rng).float()
    print(f"{options.layers} layers, {options.tasks} tasks, d_in 10, float32, {options.threads} threads")
    print("     N    seconds   us/token    x time      bytes   bytes/token   x bytes   x N")
    before: tuple[int, float, int] | None = None
    for n in SIZES:
        inputs = torch.rand(options.tasks, n + 1, 11, generator=rng) - 0.5
        seconds, size = measure(model, inputs)
        tokens = options.tasks * (n + 1)
        growth = (seconds / before[1], size / before[2], n / before[0]) if before else (1.0, 1.0, 1.0)
        print(
            f"{n:6} {seconds:10.5f} {seconds / tokens * 1e6:10.3f} {growth[0]:9.2f} {size:10} {size / tokens:13.1f}"
            f" {growth[1]:9.2f} {growth[2]:5.2f}"
        )
        before = n, seconds, size


if __name__ == "__main__":
    main()
