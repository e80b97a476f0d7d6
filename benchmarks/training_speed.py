"""The time of a training step, drawing tasks included: ours beside a plain implementation and beside drawing alone.

The plain one is what one writes first: an `nn.Module` that forms queries, keys and values of all tokens under
autograd, `torch.rand` and `torch.randn` for the tasks, `clip_grad_norm_` and `torch.optim.Adam`. Same model, batch,
precision and law of tasks. Filling is `uniform_` and `normal_` on the inputs and teachers of one batch, with torch's
generator. All run in this process, in turn, so that whatever else the machine does meets all alike. A ratio is the
median of the rounds' ratios, of CPU times.

    python benchmarks/training_speed.py [--rounds 15] [--threads 1] [--recipe lsa-1layer --recipe lsa-5layers]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from mesascope.analyses.training.objectives import objective
from mesascope.analyses.training.recipe_kinds import EmbeddingRecipe, TrainingRecipe
from mesascope.analyses.training.recipes import RECIPES
from mesascope.analyses.training.training import step
from mesascope.analyses.training.training_run import TrainingRun
from mesascope.data.sine import SineRegression
from mesascope.models.own.regression_config import MLP_FACTOR, RegressionConfig
from torch import Tensor, nn

GOALS = {"lsa-1layer": 4.0, "lsa-2layer-recurrent": 2.5}
"""How many times as long as ours the plain implementation takes, at least; 1 for the others."""
REGRESSION = {
    name: recipe
    for name, recipe in RECIPES.items()
    if isinstance(recipe, TrainingRecipe) and not isinstance(recipe, EmbeddingRecipe)
}
NAMES = (
    "lsa-1layer",
    "lsa-2layer-recurrent",
    "lsa-5layers",
    "softmax-1layer-1head",
    "softmax-1layer-2heads",
    "lsa-1layer-norm",
    "lsa-2layer-norm",
    "lsa-causal-layernorm",
    "separate-tokens",
    "sine-mlp",
    "blocks-12-mlp",
)


class PlainAttention(nn.Module):
    """All tokens ask; keys and values are those of the context."""

    def __init__(self, config: RegressionConfig, softmax: bool) -> None:
        super().__init__()
        width = config.n_heads * config.d_head
        self.query, self.key, self.value = (nn.Linear(config.d_model, width, bias=False) for _ in range(3))
        self.out = nn.Linear(width, config.d_model, bias=False)
        self.n_heads, self.softmax, self.causal = config.n_heads, softmax, config.causal

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = self._heads(self.query(h)), self._heads(self.key(h[:, :-1])), self._heads(self.value(h[:, :-1]))
        scores = q @ k.transpose(-2, -1)
        if self.softmax:
            scores = (scores / q.shape[-1] ** 0.5).softmax(dim=-1)
        elif self.causal:
            scores = scores.tril()
        return self.out((scores @ v).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


class PlainMLP(nn.Module):
    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.into = nn.Linear(width, MLP_FACTOR * width, bias=bias)
        self.out = nn.Linear(MLP_FACTOR * width, width, bias=bias)

    def forward(self, h: Tensor) -> Tensor:
        return self.out(nn.functional.gelu(self.into(h), approximate="tanh"))


class PlainTransformer(nn.Module):
    """Layers over all tokens [x ; y], or x and y in tokens of their own; it answers in the last token's last number."""

    def __init__(self, config: RegressionConfig, init_scale: float) -> None:
        super().__init__()
        self.config = config
        if config.d_embed is not None:
            self.embed = nn.Linear(config.token_width, config.d_embed, bias=False)
            self.embed_mlp = PlainMLP(config.d_embed, bias=True)
        self.attention = nn.ModuleList(PlainAttention(config, config.softmax_in(i)) for i in range(config.n_blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(config.d_model) for _ in range(config.n_norms))
        self.mlps = nn.ModuleList(PlainMLP(config.d_model, bias=False) for _ in range(config.n_mlps))
        self.codes = torch.randn(2 * 64, config.d_position)  # whatever the codes are, the time is the same
        for name, parameter in self.named_parameters():
            if name.endswith("weight") and "norms" not in name:
                nn.init.trunc_normal_(parameter, std=(init_scale / parameter.shape[1]) ** 0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        config, h = self.config, tokens
        if config.token_order == "interleaved":
            x, y = h[..., : config.d_in], nn.functional.pad(h[..., config.d_in :], (config.d_in - config.d_out, 0))
            h = torch.stack([x, y], dim=2).flatten(1, 2)[:, :-1]
        if config.d_embed is not None:
            h = self.embed(h)
            h = h + self.embed_mlp(h)
        if config.d_position:
            h = torch.cat([h, self.codes[: h.shape[1]].expand(len(h), -1, -1)], dim=-1)
        for layer in range(config.n_layers):
            h = self._clipped(h + self.attention[0 if config.tied else layer](self._normed(h, layer)))
            if config.mlp is not None:
                h = self._clipped(h + self.mlps[layer if config.mlp == "own" else 0](h))
        return -h[:, -1, -1]

    def _normed(self, h: Tensor, layer: int) -> Tensor:
        norm = 0 if self.config.tied else layer - 1
        return self.norms[norm](h) if self.config.layer_norm and norm >= 0 else h

    def _clipped(self, h: Tensor) -> Tensor:
        clip = self.config.activation_clip
        return h if clip is None else h.clamp(-clip, clip)


def plain_steps(recipe: TrainingRecipe, in_a_row: int) -> Callable[[], None]:
    model = PlainTransformer(recipe.config, recipe.init_scale)
    wanted = sum(torch.Size(shape).numel() for shape in recipe.config.shapes.values())
    assert sum(parameter.numel() for parameter in model.parameters()) == wanted
    optimizer = torch.optim.Adam(model.parameters(), recipe.learning_rate, (recipe.b1, recipe.b2), recipe.eps)

    def run() -> None:
        for inputs, targets in plain_batches(recipe, in_a_row):
            optimizer.zero_grad()
            loss = 0.5 * (model(inputs) - targets).square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()

    return run


def plain_batches(recipe: TrainingRecipe, n: int) -> Iterator[tuple[Tensor, Tensor]]:
    tasks = recipe.family
    for _ in range(n):
        x = tasks.input_range * (torch.rand(recipe.batch_size, tasks.n_context + 1, tasks.d_in) - 0.5)
        if isinstance(tasks, SineRegression):
            y = tasks.labels(x, torch.rand(recipe.batch_size, 1, 1))
        else:
            y = x @ torch.randn(recipe.batch_size, tasks.d_in, 1)
        targets = y[:, -1, 0].clone()
        y[:, -1] = 0.0
        yield torch.cat([x, y], dim=-1), targets


def our_steps(recipe: TrainingRecipe, in_a_row: int) -> Callable[[], None]:
    run = TrainingRun.start(recipe)
    minimised = objective(recipe, run.weights)

    def steps() -> None:
        for _ in range(in_a_row):
            step(recipe, run, minimised)

    return steps


def fillings(recipe: TrainingRecipe, in_a_row: int) -> Callable[[], None]:
    tasks = recipe.family
    inputs = torch.empty(recipe.batch_size, tasks.n_context + 1, tasks.d_in)
    teachers = torch.empty(recipe.batch_size, tasks.d_in, tasks.d_out)

    def run() -> None:
        for _ in range(in_a_row):
            inputs.uniform_(-0.5, 0.5)
            teachers.normal_()

    return run


@dataclass
class Times:
    """Of each round, in ms a step of one seed."""

    seeds: int
    steps: Callable[[], None]
    in_a_row: int
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def add(self) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        self.steps()
        each = 1000 / (self.in_a_row * self.seeds)
        self.cpu.append((time.process_time() - cpu) * each)
        self.wall.append((time.perf_counter() - wall) * each)

    def over(self, other: Times) -> float:
        return statistics.median(a / b for a, b in zip(self.cpu, other.cpu, strict=True))


def measure(recipe: TrainingRecipe, rounds: int) -> dict[str, Times]:
    """With five seeds beside one, and so many steps in a row that a turn takes about a tenth of a second."""
    one, five = replace(recipe, seeds=(0,)), replace(recipe, seeds=(0, 1, 2, 3, 4))
    few, many = (2, 20) if recipe.config.n_layers > 4 or recipe.config.d_model > 11 else (20, 200)
    times = {
        "plain": Times(1, plain_steps(one, few), few),
        "ours": Times(1, our_steps(one, few), few),
        "ours, five seeds": Times(5, our_steps(five, few), few),
        "filling": Times(1, fillings(one, many), many),
    }
    for of in times.values():
        of.steps()  # warms up
    for _ in range(rounds):
        for of in times.values():
            of.add()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--recipe", choices=REGRESSION, action="append")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"ms CPU a step and seed, float32, {options.threads} threads, {options.rounds} rounds")
    print(f"{'':24}{'plain':>8}{'ours':>8}{'5 seeds':>8}{'filling':>8}  plain/ours  goal  5 seeds/ours  ours/filling")
    for name in options.recipe or NAMES:
        times = measure(REGRESSION[name], options.rounds)
        plain, ours, five, filling = times.values()
        cpu = "".join(f"{statistics.median(of.cpu):8.2f}" for of in times.values())
        goal = GOALS.get(name, 1.0)
        print(
            f"{name:24}{cpu}{plain.over(ours):12.2f}{goal:6.1f}{five.over(ours):14.2f}{ours.over(filling):14.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
