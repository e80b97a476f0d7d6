"""Training steps a second, drawing tasks included: ours beside a plain implementation.

The plain one is what one writes first: an `nn.Module` that forms queries, keys and values of all tokens under
autograd, `torch.rand` and `torch.randn` for the tasks, `clip_grad_norm_` and `torch.optim.Adam`. Same model, batch,
precision and law of tasks. Both run in this process, in turn, so that whatever else the machine does meets both alike.

    python benchmarks/training_speed.py [--rounds 15] [--threads N] [--recipe lsa-1layer]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from mesascope.analyses.training.recipes import RECIPES, TrainingRecipe
from mesascope.analyses.training.training import step
from mesascope.analyses.training.training_run import TrainingRun
from torch import Tensor, nn

GOAL = 4.0
STEPS = 20  # in a row, in each turn
REGRESSION = {name: recipe for name, recipe in RECIPES.items() if isinstance(recipe, TrainingRecipe)}


class PlainTransformer(nn.Module):
    """Linear self-attention layers over all tokens; keys and values from the context."""

    def __init__(self, d_model: int, n_layers: int, init_scale: float) -> None:
        super().__init__()
        self.n_layers = n_layers
        self.query, self.key, self.value, self.out = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))
        for parameter in self.parameters():
            nn.init.trunc_normal_(parameter, std=(init_scale / d_model) ** 0.5)

    def forward(self, h: Tensor) -> Tensor:
        for _ in range(self.n_layers):
            context = h[:, :-1]
            q, k, v = self.query(h), self.key(context), self.value(context)
            h = h + self.out((q @ k.transpose(1, 2)) @ v)
        return -h[:, -1, -1]


def plain_steps(recipe: TrainingRecipe) -> Callable[[], None]:
    tasks, config = recipe.family, recipe.config
    model = PlainTransformer(config.d_model, config.n_layers, recipe.init_scale)
    optimizer = torch.optim.Adam(model.parameters(), recipe.learning_rate, (recipe.b1, recipe.b2), recipe.eps)

    def run() -> None:
        for _ in range(STEPS):
            w = torch.randn(recipe.batch_size, tasks.d_in, 1)
            x = torch.rand(recipe.batch_size, tasks.n_context + 1, tasks.d_in) - 0.5
            y = x @ w
            targets = y[:, -1, 0].clone()
            y[:, -1] = 0.0
            optimizer.zero_grad()
            loss = 0.5 * (model(torch.cat([x, y], dim=-1)) - targets).square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()

    return run


def our_steps(recipe: TrainingRecipe) -> Callable[[], None]:
    run = TrainingRun.start(recipe)

    def steps() -> None:
        for _ in range(STEPS):
            step(recipe, run)

    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--recipe", choices=REGRESSION, default="lsa-1layer")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = REGRESSION[options.recipe]
    if not recipe.config.tied or recipe.config.softmax:
        parser.error(f"{recipe.name}: the plain implementation is of tied linear attention")
    several, one = recipe, replace(recipe, seeds=recipe.seeds[:1])
    contestants = {"plain": plain_steps(one), "ours": our_steps(one), "ours, all seeds": our_steps(several)}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(options.rounds + 1):
        for name, steps in contestants.items():
            began = time.perf_counter()
            steps()
            if turn:  # the first turn warms up
                seconds[name].append((time.perf_counter() - began) / STEPS)
    print(f"{recipe.name}: batch {recipe.batch_size}, float32, {options.threads} threads, {options.rounds} rounds")
    for name, times in seconds.items():
        seeds = len(several.seeds) if name == "ours, all seeds" else 1
        ratio = statistics.median(p * seeds / t for p, t in zip(seconds["plain"], times, strict=True))
        rate = 1 / statistics.median(times)
        print(f"{name:16} {seeds} seed(s): {rate:7.0f} steps/s, {rate * seeds:7.0f} seed-steps/s, {ratio:5.2f} x plain")
    print(f"goal for one seed: {GOAL:g} x plain (median of the rounds' ratios)")


if __name__ == "__main__":
    main()
