"""How often copy models learn, in which order, and what happens where one half of them is held fixed.

    python benchmarks/copy_runs.py > copy-runs.md

The recipes are those of `mesascope train copy-…`, on seeds 0 to 19. Accuracies are those of 64 fresh sources: of the
task; of attention, the share of targets that attend most to their own place; and KTIW ("knowledge to translate
individual words"), the share of words that heads, on average, read as themselves. A model has learned if its task
accuracy is at least 0.95. Intervals are 95 %: of shares Clopper-Pearson's, of medians between order statistics.

1. The time of four recipes on 10 seeds.
2. The seeds that learn, by initialisation and number of steps, and how those that learned did.
3. Fisher's exact test of two contrasts, one-sided.
4. Which accuracy passes one half first, with a checkpoint every 2 steps.
5. What is learned with uniform attention, and with beta as it started, with one head.

One thread. It takes about 12 minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from mesascope.analyses import RECIPES, CopyRecipe
from mesascope.analyses.training.objectives import objective, unflatten
from mesascope.analyses.training.training import step
from mesascope.analyses.training.training_run import TrainingRun
from mesascope.models import CopyTransformer, from_copy_transformer
from mesascope.probes.attention_learning.crossings import first_crossing, lead_ends, order_of
from mesascope.probes.attention_learning.names import ORDERS, OUTCOMES
from mesascope.probes.attention_learning.outcomes import (
    LEARNED,
    Share,
    learns_less_often,
    outcome_of,
    share_of,
    shares_of,
)

N_SOURCES, FINE = 64, tuple(range(0, 101, 2))
INITIALISATIONS = ("gaussian", "unit", "linear")
BUDGETS = {
    "copy-permutations-1head": (100, 200, 400),
    "copy-40of60-1head": (100, 200, 400),
    "copy-permutations-8heads": (100,),
}
"""Steps after which seeds that have learned are counted."""


@dataclass(frozen=True)
class Course:
    """Accuracies along a training of several seeds.

    accuracies:    task, attention, ktiw
    largest_norm:  of the gradient of any seed at any step, before it is clipped
    """

    steps: tuple[int, ...]
    accuracies: Float[np.ndarray, "3 step seed"]
    largest_norm: float

    @property
    def n_seeds(self) -> int:
        return self.accuracies.shape[2]

    def at(self, step: int) -> Float[np.ndarray, "3 seed"]:
        return self.accuracies[:, self.steps.index(step)]

    def learned(self, step: int) -> int:
        return int((self.at(step)[0] >= LEARNED).sum())


def trained(name: str, steps: tuple[int, ...], n_seeds: int, **changes: object) -> Course:
    """A recipe with other checkpoints, seeds and settings."""
    recipe = replace(RECIPES[name], checkpoint_steps=steps, seeds=tuple(range(n_seeds)), **changes)
    assert isinstance(recipe, CopyRecipe)
    run, norms = TrainingRun.start(recipe), [0.0]
    minimised = objective(recipe, run.weights)

    def watched(at: int) -> tuple[torch.Tensor, torch.Tensor]:
        losses, gradient = minimised(at)
        norms.append(float(gradient.norm(dim=1).max()))
        return losses, gradient

    while len(run.kept) < len(steps):
        step(recipe, run, watched)
    accuracies = np.array([measured(recipe, rows) for rows in run.kept])
    return Course(steps, np.moveaxis(accuracies, 2, 0), max(norms))


def measured(recipe: CopyRecipe, rows: Float[torch.Tensor, "seed parameter"]) -> list[tuple[float, float, float]]:
    """The three accuracies of each seed."""
    named, found = unflatten(recipe.config, rows), []
    tokens = recipe.family.sample(N_SOURCES, seed=1_000_000).tokens
    places = torch.arange(tokens.shape[1])
    for seed in range(len(rows)):
        module = CopyTransformer(recipe.config, {name: weights[seed] for name, weights in named.items()})
        subject = from_copy_transformer(module)
        right = (
            subject.logits(tokens).argmax(dim=-1) == tokens,
            subject.pattern(tokens).mean(dim=1).argmax(dim=-1) == places,
            subject.read_out(tokens).mean(dim=1).argmax(dim=-1) == tokens,
        )
        found.append(tuple(float(each.double().mean()) for each in right))
    return found


def told(share: Share) -> str:
    return f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"


def spread(values: Iterable[float]) -> str:
    held = np.array(list(values))
    return "none" if not len(held) else f"{np.median(held):.2f} ({held.min():.2f} to {held.max():.2f})"


def row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def table(*heads: str) -> None:
    print()
    row(*heads)
    row(*["---"] * len(heads))


def times() -> None:
    table("recipe, 10 seeds, 100 steps", "wall, s", "CPU, s", "learned", "largest gradient norm")
    for name in ("copy-permutations-1head", "copy-permutations-8heads", "copy-40of60-1head", "copy-40of60-8heads"):
        wall, cpu = time.perf_counter(), time.process_time()
        course = trained(name, (0, 100), 10)
        spent = time.perf_counter() - wall, time.process_time() - cpu
        row(name, *(f"{seconds:.0f}" for seconds in spent), f"{course.learned(100)}/10", f"{course.largest_norm:.2f}")


def rates(n_seeds: int) -> Mapping[tuple[str, str], Course]:
    courses = {}
    table("recipe", "initialisation", "steps", "learned", *OUTCOMES, "largest gradient norm")
    for name, budgets in BUDGETS.items():
        for initialisation in INITIALISATIONS:
            course = trained(name, budgets, n_seeds, initialisation=initialisation)
            courses[name, initialisation] = course
            for budget in budgets:
                outcomes = [outcome_of(*map(float, each)) for each in course.at(budget).T]
                counts = [outcomes.count(outcome) for outcome in OUTCOMES]
                learned = told(share_of(course.learned(budget), n_seeds))
                row(name, initialisation, budget, learned, *counts, f"{course.largest_norm:.2f}")
    return courses


def contrasts(courses: Mapping[tuple[str, str], Course]) -> None:
    table("learns less often", "than", "initialisation", "steps", "p, one-sided")
    for other in ("copy-40of60-1head", "copy-permutations-8heads"):
        for initialisation in INITIALISATIONS:
            pair = courses["copy-permutations-1head", initialisation], courses[other, initialisation]
            for budget in BUDGETS[other]:
                p = learns_less_often(*((course.learned(budget), course.n_seeds) for course in pair))
                row("copy-permutations-1head", other, initialisation, budget, f"{p:.2g}")


def orders(n_seeds: int) -> None:
    table(
        "recipe",
        "learned",
        "KTIW passes 1/2: median step",
        "attention passes 1/2: median step",
        "attention minus KTIW",
        "of seeds that cross both",
        *ORDERS,
    )
    for name in ("copy-permutations-1head", "copy-permutations-8heads", "copy-40of60-1head", "copy-40of60-8heads"):
        course = trained(name, FINE, n_seeds)
        attention, ktiw = ([first_crossing(FINE, one) for one in course.accuracies[which].T] for which in (1, 2))
        both = list(zip(ktiw, attention, strict=True))
        lead = median_of([lead_ends(*steps, FINE[-1]) for steps in both])
        shares = shares_of([order_of(*steps) for steps in both], ORDERS)
        leads = spread(b - a for a, b in both if a is not None and b is not None)
        crossed = (
            f"{np.median(seen):g} in {len(seen)} seeds" if seen else "0" for seen in map(_seen, (ktiw, attention))
        )
        low, high = lead.interval
        row(
            name,
            course.learned(100),
            *crossed,
            f"{lead.value:g} [{low:g}, {high:g}]",
            leads,
            *map(told, shares.values()),
        )


def _seen(steps: list[int | None]) -> list[int]:
    return [one for one in steps if one is not None]


def causes(n_seeds: int) -> None:
    table("recipe", "steps", "task: median (range) over seeds", "attention", "KTIW")
    for task in ("permutations", "40of60"):
        for kind in ("", "-uniform", "-frozen-beta"):
            course = trained(f"copy-{task}-1head{kind}", (100, 200), n_seeds)
            for steps in course.steps:
                row(f"copy-{task}-1head{kind}", steps, *map(spread, course.at(steps)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="seeds of parts 2 to 5")
    options = parser.parse_args()
    torch.set_num_threads(1)
    times()
    contrasts(rates(options.seeds))
    orders(options.seeds)
    causes(options.seeds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
