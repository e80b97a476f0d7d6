"""Findings as a copy model, a language model and several checkpoints of them leave them, made up: quick, and known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from mesascope.analyses.runs.aggregation import along_steps, mean_over
from mesascope.probes import Findings, Measure
from mesascope.probes.attention_learning import names
from mesascope.probes.measure import along, missing, without_interval
from mesascope.probes.statistics.sample_measures import PerTask, task_measures

SEQUENCES, PLACES = 16, 12
STEPS = (0, 10, 20, 30, 40, 50, 60, 80, 100)
SEEDS = range(7)
NEVER = {2, 5}
"""Seeds that do not learn within these steps."""
FIRSTS = {names.KTIW: 30, names.ATTENTION: 48, names.TASK: 52}
"""Steps at which the other seeds pass one half, give or take 2 steps a seed."""


def level(quantity: str, step: float, seed: int) -> float:
    """From chance to 1 along training."""
    passed = np.inf if seed in NEVER else FIRSTS[quantity] + 2 * (seed % 4)
    return 1 / PLACES + (1 - 1 / PLACES) / (1 + np.exp(min((passed - step) / 4, 100)))


def sample(mean: float, rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.binomial(PLACES, np.clip(mean, 0, 1), size=(SEQUENCES, *shape)) / PLACES


def scored(mean: float, rng: np.random.Generator, *shape: int) -> PerTask:
    """An agreement, or many, beside both of its nulls."""
    draws = {names.SHUFFLED: 0.08, names.OTHER_TARGETS: 0.1}
    axes = ("layer", "head")[: len(shape)]
    nulls = {name: base + 0.01 * rng.normal(size=(20, *shape)) for name, base in draws.items()}
    return PerTask(sample(mean, rng, *shape), "share", axes, nulls=nulls, replicate="sequence")


def accurate(mean: float, rng: np.random.Generator, *shape: int) -> PerTask:
    nulls = {names.CHANCE: np.full((1, *shape), 1 / PLACES)}
    axes = ("layer", "head")[: len(shape)]
    return PerTask(sample(mean, rng, *shape), "share", axes, nulls=nulls, replicate="sequence")


def copy_measures(step: float = 100, seed: int = 0, heads: int = 1) -> dict[str, Measure]:
    rng = np.random.default_rng([int(step), seed])
    levels = {quantity: level(quantity, step, seed) for quantity in names.QUANTITIES}
    metrics = {f"{quantity}_accuracy": accurate(levels[quantity], rng) for quantity in names.QUANTITIES}
    of = {names.BETA: names.ATTENTION, names.OWN_PROXY: names.KTIW, names.OWN_SALIENCY: names.TASK}
    metrics |= {pair.name: scored(levels[quantity], rng) for pair, quantity in of.items()}
    if heads > 1:
        metrics["heads"] = scored(levels[names.ATTENTION], rng, 1, heads)
        for quantity in (names.ATTENTION, names.KTIW):
            metrics[f"head_{quantity}_accuracy"] = accurate(levels[quantity], rng, 1, heads)
    found = task_measures(metrics, seed)
    no_twin = missing("share", "not applicable", "no twin was trained with uniform attention")
    found["agreement"] = along("pair", {name: found.pop(name, no_twin) for name in names.PAIRS})
    if heads > 1:
        found["head_agreement"] = along("pair", {names.BETA.name: found.pop("heads")})
    alone = missing("training step", "not applicable", "one step: nothing crosses")
    return found | dict.fromkeys(("agreement_push", "first_crossing", "ktiw_lead"), alone)


def model_measures(step: float = 100, layers: int = 2, heads: int = 4) -> dict[str, Measure]:
    """Of a language model: the first head of the last layer comes to follow beta."""
    rng = np.random.default_rng(int(step))
    pairs = {names.BETA.name: 0.1, names.OWN_SALIENCY.name: 0.3, names.OWN_PROXY.name: 0.2}
    metrics = {name: scored(mean, rng, layers, heads) for name, mean in pairs.items()}
    metrics[names.BETA.name].samples[:, -1, 0] = sample(0.1 + 0.007 * step, rng)
    metrics |= {f"mean_{name}": scored(mean, rng) for name, mean in pairs.items()}
    metrics["task_accuracy"] = accurate(step / 200, rng)
    found = task_measures(metrics, 0)
    found["head_agreement"] = along("pair", {name: found.pop(name) for name in pairs})
    found["agreement"] = along("pair", {name: found.pop(f"mean_{name}") for name in pairs})
    unknown = missing("share", "not applicable", "nobody knows which source is the right one")
    return found | {"attention_accuracy": unknown, "ktiw_accuracy": unknown}


def share(values: np.ndarray, axes: tuple[str, ...], n: int, **coords: tuple[Any, ...]) -> Measure:
    """A share of seeds, with some interval."""
    bounds = np.clip(values - 0.2, 0, 1), np.clip(values + 0.2, 0, 1)
    low, high = (np.asarray(bound) for bound in bounds)
    return Measure(np.asarray(values), "share", (low, high), "seed", n, axes, coords, no_nulls="it is a count")


def crossings() -> dict[str, Measure]:
    """First steps of every seed, their medians, and the orders."""
    points = np.array([[_first(quantity, seed) for quantity in names.QUANTITIES] for seed in SEEDS])
    middle = np.median(np.nan_to_num(points, nan=np.inf), axis=0)
    low, high = np.nanmin(points, axis=0), np.array([60.0, 60.0, np.nan])
    first = Measure(
        middle, "training step", (low, high), "seed", len(SEEDS), ("quantity",), {"quantity": tuple(names.QUANTITIES)},
        no_nulls="it is a step", points=points, message="two seeds have not crossed",
    )  # fmt: skip
    lead = points[:, 1] - points[:, 0]
    between = Measure(
        np.array(20.0), "training step", (np.array(10.0), np.array(20.0)), "seed", len(SEEDS), no_nulls="it is a step",
        points=lead,
    )  # fmt: skip
    order = np.array([5.0, 0.0, 0.0, 2.0]) / 7
    return {
        "first_crossing": first,
        "ktiw_lead": between,
        "crossing_order": share(order, ("order",), len(SEEDS), order=names.ORDERS),
    }


def _first(quantity: str, seed: int) -> float:
    return next((step for step in STEPS if level(quantity, step, seed) >= names.HALF), np.nan)


def outcomes(*steps: int) -> dict[str, Measure]:
    """By attention, or not learned; one seed learns by anti-attention."""
    done = [(np.array([level(names.TASK, step, seed) for seed in SEEDS]) > 0.95).mean() for step in steps]
    table = np.array([[one, 1 / 7, 0, 1 - one - 1 / 7] for one in done])
    learned = np.array(done) + 1 / 7
    if len(steps) == 1:
        return {
            "outcome": share(table[0], ("outcome",), len(SEEDS), outcome=names.OUTCOMES),
            "learned": share(learned[0], (), len(SEEDS)),
        }
    return {
        "outcome": share(table, ("step", "outcome"), len(SEEDS), step=steps, outcome=names.OUTCOMES),
        "learned": share(learned, ("step",), len(SEEDS), step=steps),
    }


def pushes(axes: tuple[str, ...] = (), shape: tuple[int, ...] = ()) -> Measure:
    """Of each step but the last."""
    rng = np.random.default_rng(0)
    found = [task_measures({"push": scored(0.3, rng, *shape)}, 0)["push"] for _ in STEPS[:-1]]
    assert found[0].axes == axes
    return along_steps(STEPS[:-1], found)


def maps(*seeds: int | None) -> dict[str, np.ndarray]:
    """Attention goes over from everywhere to the target's own place."""
    return {
        names.map_name(seed, step): (1 - step / 100) / PLACES + step / 100 * np.eye(PLACES)
        for seed in seeds
        for step in STEPS
    }


def _at(step: int, of: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values for name, values in of.items() if name.endswith(f"step{step}")}


def arrays(step: int) -> dict[str, np.ndarray]:
    attention = maps(0)[names.map_name(0, step)]
    push = attention * (np.eye(PLACES) - 1 / PLACES)
    noise = 1 + 0.1 * np.random.default_rng(0).normal(size=(SEQUENCES, PLACES, PLACES))
    return {names.ATTENTION_ARRAY: attention * noise, names.PUSH_ARRAY: push * noise}


def over_seeds(step: float) -> dict[str, Measure]:
    made = [copy_measures(step, seed) for seed in SEEDS]
    return {name: mean_over("seed", [measures[name] for measures in made]) for name in made[0]}


def over_steps(make: Callable[[float], Mapping[str, Measure]]) -> dict[str, Measure]:
    made = [make(step) for step in STEPS]
    return {name: along_steps(STEPS, [measures[name] for measures in made]) for name in made[0]}


VERDICTS = {"L1H0": names.FOLLOWS, "L0H2": names.AGAINST, "L0H0": "none"}
KINDS: dict[str, Callable[[], Findings]] = {
    "copy": lambda: Findings(copy_measures(), arrays(100), {}),
    "several heads": lambda: Findings(copy_measures(heads=8), arrays(60), {}),
    "seeds": lambda: Findings(over_seeds(100) | outcomes(100), _at(100, maps(*SEEDS)), {}),
    "steps": lambda: Findings(
        over_steps(copy_measures) | {"agreement_push": pushes()} | _of_one_seed(crossings()),
        arrays(100) | maps(0),
        {},
    ),
    "seeds over steps": lambda: Findings(
        over_steps(over_seeds) | {"agreement_push": pushes()} | crossings() | outcomes(*STEPS), maps(*SEEDS[:3]), {}
    ),
    "several heads over steps": lambda: Findings(
        over_steps(lambda step: copy_measures(step, heads=8))
        | {"agreement_push": pushes(), "head_agreement_push": pushes(("layer", "head"), (1, 8))},
        {},
        {},
        {f"L0H{head}": names.FOLLOWS for head in range(8)},
    ),
    "language model": lambda: Findings(model_measures(), {}, {}, VERDICTS),
    "larger language model": lambda: Findings(model_measures(layers=12, heads=12), {}, {}, VERDICTS),
    "language model over steps": lambda: Findings(
        over_steps(model_measures)
        | {"agreement_push": pushes(), "head_agreement_push": pushes(("layer", "head"), (2, 4))},
        {},
        {},
        VERDICTS,
    ),
}


def _of_one_seed(measures: Mapping[str, Measure]) -> dict[str, Measure]:
    found = {}
    for name in ("first_crossing", "ktiw_lead"):
        held = measures[name]
        assert held.points is not None
        found[name] = without_interval(
            np.asarray(held.points[0]), held.unit, held.axes, held.coords, message="one seed has no interval",
            no_nulls=held.no_nulls, replicate="seed",
        )  # fmt: skip
    return found


@cache
def findings(kind: str) -> Findings:
    return KINDS[kind]()
