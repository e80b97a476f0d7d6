"""What the probes of regression models take together, on a deep stack of linear attention.

    python benchmarks/regression_battery.py [--layers 16] [--tasks 1000] [--threads 1] [--only icl-algorithm,…]

The model: layers of linear attention (d_model 21, 41 labelled pairs), each one step of gradient descent with noise in
all of its weights. Measured are `icl-algorithm`, `gd-certificate`, `implicit-weights`, `spectral-filter` and
`shift-battery`, without figures; then the same at half as many layers, and at half as many tasks, which shows how the
cost grows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch
from mesascope import models, probes

D_IN, N_CONTEXT, BATCH = 20, 41, 512
NAMES = ("icl-algorithm", "gd-certificate", "implicit-weights", "spectral-filter", "shift-battery")


def stack(layers: int) -> models.TransformerRegressor:
    """Untied layers, each a step of gradient descent and a little noise."""
    one = models.gd_transformer(N_CONTEXT, 1.0, D_IN)
    KQ, PV = ((one.W_Q @ one.W_K.mT).double(), (one.W_V @ one.W_O).double())
    rng = torch.Generator().manual_seed(0)

    def noisy(product: torch.Tensor) -> torch.Tensor:
        size = 0.01 * product.abs().max()
        held = product.expand(layers, -1, -1, -1)
        return (held + size * torch.randn(held.shape, generator=rng, dtype=held.dtype)).float()

    config = models.RegressionConfig(d_in=D_IN, n_layers=layers, tied=False)
    return models.from_transformer(models.RegressionTransformer.from_products(config, noisy(KQ), noisy(PV)))


def measured(name: str, layers: int, tasks: int) -> tuple[float, float]:
    """CPU and wall seconds."""
    kind = getattr(probes, probes.PROBES[name].partition(":")[2])
    settings = {} if name == "gd-certificate" else {"limit": tasks}
    probe, subject = kind(n_context=N_CONTEXT, **settings), stack(layers)
    cpu, wall = time.process_time(), time.perf_counter()
    probe.measure(subject, 0, BATCH)
    return time.process_time() - cpu, time.perf_counter() - wall


def battery(names: Sequence[str], layers: int, tasks: int) -> tuple[float, float]:
    print(f"{layers} layers, {tasks} tasks")
    total = [0.0, 0.0]
    for name in names:
        cpu, wall = measured(name, layers, tasks)
        total = [total[0] + cpu, total[1] + wall]
        print(f"  {name:18s} {cpu:7.1f} CPU s {wall:7.1f} s", flush=True)
    print(f"  {'together':18s} {total[0]:7.1f} CPU s {total[1]:7.1f} s", flush=True)
    return total[0], total[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1, help="one, as mesascope takes for small models")
    parser.add_argument("--only", default=",".join(NAMES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = options.only.split(",")
    whole = battery(names, options.layers, options.tasks)
    for words, layers, tasks in (
        ("layers", options.layers // 2, options.tasks),
        ("tasks", options.layers, options.tasks // 2),
    ):
        half = battery(names, layers, tasks)
        print(f"twice as many {words}: {whole[0] / half[0]:.2f} times the CPU seconds")


if __name__ == "__main__":
    main()
