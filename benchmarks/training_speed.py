"""The time of a training step, drawing tasks included: ours beside a plain implementation and beside drawing alone.

The plain one is what one writes first: an `nn.Module` that forms queries, keys and values of all tokens under
autograd, `torch.rand` and `torch.randn` for the tasks, `clip_grad_norm_` and `torch.optim.Adam`. Same model, batch,
precision and law of tasks. Filling is `uniform_` and `normal_` on the inputs and teachers of one batch, with torch's
generator. All run in this process, in turn, so that whatever else the machine does meets all alike. A ratio is the
median of the rounds' ratios, of CPU times.

    python benchmarks/training_speed.py [--rounds 15] [--threads 1] [--recipe lsa-1layer]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from mesascope.analyses.training.objectives import objective
from mesascope.analyses.training.recipe_kinds import TrainingRecipe
from mesascope.analyses.training.recipes import RECIPES
from mesascope.analyses.training.training import step
from mesascope.analyses.training.training_run import TrainingRun
from torch import Tensor, nn

OVER_PLAIN, OF_FILLING = 4.0, 2.0  # goals for one seed of lsa-1layer: over, under
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
    minimised = objective(recipe, run.weights)

    def steps() -> None:
        for _ in range(STEPS):
            step(recipe, run, minimised)

    return steps


def fillings(recipe: TrainingRecipe) -> Callable[[], None]:
    tasks = recipe.family
    inputs = torch.empty(recipe.batch_size, tasks.n_context + 1, tasks.d_in)
    teachers = torch.empty(recipe.batch_size, tasks.d_in, tasks.d_out)

    def run() -> None:
        for _ in range(STEPS):
            inputs.uniform_(-0.5, 0.5)
            teachers.normal_()

    return run


@dataclass
class Times:
    """Of each round, in ms a step of one seed."""

    seeds: int
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def add(self, steps: Callable[[], None]) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        steps()
        each = 1000 / (STEPS * self.seeds)
        self.cpu.append((time.process_time() - cpu) * each)
        self.wall.append((time.perf_counter() - wall) * each)

    def over(self, other: Times) -> float:
        return statistics.median(a / b for a, b in zip(self.cpu, other.cpu, strict=True))


def measure(recipe: TrainingRecipe, rounds: int) -> dict[str, Times]:
    one = replace(recipe, seeds=recipe.seeds[:1])
    contestants = {
        "plain": plain_steps(one),
        "ours": our_steps(one),
        "ours, all seeds": our_steps(recipe),
        "filling": fillings(one),
    }
    times = {name: Times(len(recipe.seeds) if name == "ours, all seeds" else 1) for name in contestants}
    for steps in contestants.values():
        steps()  # warms up
    for _ in range(rounds):
        for name, steps in contestants.items():
            times[name].add(steps)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--recipe", choices=REGRESSION, default="lsa-1layer")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = REGRESSION[options.recipe]
    if not recipe.config.tied or recipe.config.softmax:
        parser.error(f"{recipe.name}: the plain implementation is of tied linear attention")
    times = measure(recipe, options.rounds)
    print(f"{recipe.name}: batch {recipe.batch_size}, float32, {options.threads} threads, {options.rounds} rounds")
    for name, of in times.items():
        cpu, wall = statistics.median(of.cpu), statistics.median(of.wall)
        print(f"{name:16} {of.seeds} seed(s): {cpu:6.2f} ms CPU, {wall:6.2f} ms wall a step and seed")
    for name in ("ours", "ours, all seeds"):
        faster, slower = times["plain"].over(times[name]), times[name].over(times["filling"])
        print(f"{name:16} plain / ours {faster:5.2f}, ours / filling {slower:5.2f}")
    print(f"goals for one seed of lsa-1layer: plain / ours over {OVER_PLAIN:g}, ours / filling under {OF_FILLING:g}")


if __name__ == "__main__":
    main()
