"""What ablated heads cost, as measures: each head alone, and groups on the sequences that did not choose them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float64

from ..findings import Head
from ..measure import Measure, along, missing
from ..statistics.sample_measures import PerTask, task_measures
from .ablation import Ablations, Halves
from .losses import in_context_learning
from .names import HEADS, RANDOM_HEADS, REPLACEMENTS, UNNAMED
from .words import joined

NAMES = ("ablation", "group_ablation", "in_context_learning_without")
NOBODY = "no head has a verdict by content, or is a previous-token head"
NAMED = "an induction head is named, or the loss falls as much on a shuffled second repeat"
NO_OTHERS = "the layers of these heads have no other heads to compare with"
_INSTEAD = {"zero": "zero", "mean": "its mean over sequences without repeats"}


@dataclass(frozen=True)
class Choice:
    """Heads to ablate: alone, and in groups by verdict, each chosen on one half of the sequences."""

    alone: Sequence[Head]
    groups: Mapping[str, Halves]


def not_ablated(reason: str) -> dict[str, Measure]:
    """The measures of a run that ablates nothing, and why."""
    absent = missing("nat", "not applicable", reason)
    return {name: along("replacement", dict.fromkeys(REPLACEMENTS, absent)) for name in NAMES}


def ablation_measures(ablations: Ablations, choice: Choice) -> dict[str, Measure]:
    """ablation, group_ablation and in_context_learning_without, each along the axis `replacement`.

    In nat, at the longest period: how much the loss on the second repeat rises, and the in-context learning score that
    is left.
    """
    part = ablations.passes.part
    groups = {
        replacement: part(f"groups-{replacement}", partial(_groups, ablations, choice.groups, replacement))
        for replacement in REPLACEMENTS
    }
    alone = {
        replacement: part(f"heads-{replacement}", partial(_alone, ablations, choice.alone, replacement))
        for replacement in REPLACEMENTS
    }
    return {
        "ablation": along("replacement", alone),
        "group_ablation": along("replacement", {name: rises for name, (rises, _) in groups.items()}),
        "in_context_learning_without": along("replacement", {name: left for name, (_, left) in groups.items()}),
    }


# -- each head alone ---------------------------------------------------------------------------------------------------


def _alone(ablations: Ablations, heads: Sequence[Head], replacement: str) -> Measure:
    """Rise of the loss for each of these heads alone; NaN for the others."""
    if not heads:
        return missing("nat", "not applicable", NOBODY)
    rises = np.stack([ablations.rise(losses) for losses in ablations.alone(heads, replacement)], axis=1)
    metric = _per_sequence(rises, axes=("place",), no_nulls="heads are compared with each other; groups have a null")
    measure = task_measures({"ablation": metric}, ablations.seed)["ablation"]
    n_layers, n_heads = ablations.heads
    others = "NaN for heads that were not ablated alone" * (len(heads) < n_layers * n_heads)
    values, low, high = (_on_heads(row, heads, ablations.heads) for row in (measure.values, *measure.interval))
    message = joined(_words(ablations, replacement), others)
    return replace(measure, values=values, interval=(low, high), axes=HEADS, message=message)


def _on_heads(
    row: Float64[np.ndarray, " place"], heads: Sequence[Head], shape: tuple[int, int]
) -> Float64[np.ndarray, "layer head"]:
    """Numbers of some heads on a map of all; NaN elsewhere."""
    spread = np.full(shape, np.nan)
    spread[tuple(np.array(heads).T)] = row
    return spread


# -- groups ------------------------------------------------------------------------------------------------------------


def _groups(ablations: Ablations, groups: Mapping[str, Halves], replacement: str) -> tuple[Measure, Measure]:
    """Rise of the loss, and in-context learning left, without all heads that one half of the sequences calls so."""
    found = {name: _group(ablations, name, halves, replacement) for name, halves in groups.items()}
    rises, left = ({name: pair[side] for name, pair in found.items()} for side in (0, 1))
    return along("group", rises), along("group", left)


def _group(ablations: Ablations, name: str, halves: Halves, replacement: str) -> tuple[Measure, Measure]:
    if not (halves.even and halves.odd):
        reason = NAMED if name == UNNAMED else f"no head is called {name} on both halves of the sequences"
        return missing("nat", "not applicable", reason), missing("nat", "not applicable", reason)
    random = ablations.random_halves(halves, name)
    losses, *of_random = ablations.cross_fitted([halves, *random], replacement)
    words = _of_group(name, halves, random)
    learning = partial(in_context_learning, law=ablations.law)
    rise = _per_sequence(ablations.rise(losses), np.array([ablations.rise(one).mean() for one in of_random]))
    left = _per_sequence(learning(losses), np.array([learning(one).mean() for one in of_random]))
    metrics = {
        "rise": replace(rise, message=joined(_words(ablations, replacement), words)),
        "left": replace(left, message=words),
    }
    measures = task_measures(metrics, ablations.seed)
    return measures["rise"], measures["left"]


def _of_group(name: str, halves: Halves, random: Sequence[Halves]) -> str:
    """What was ablated together, and against how many."""
    sizes = f"{len(halves.even)} and {len(halves.odd)} {name} heads"
    smaller = random and (len(random[0].even) < len(halves.even) or len(random[0].odd) < len(halves.odd))
    return joined(
        f"{sizes}, each group chosen on one half of the sequences and ablated on the other",
        "random groups are smaller, because their layers have fewer other heads" if smaller else "",
    )


def _words(ablations: Ablations, replacement: str) -> str:
    return f"z replaced by {_INSTEAD[replacement]}; loss on the second repeat at period {ablations.law.period}"


def _per_sequence(
    samples: np.ndarray, null: np.ndarray | None = None, axes: tuple[str, ...] = (), no_nulls: str = NO_OTHERS
) -> PerTask:
    nulls = {RANDOM_HEADS: null} if null is not None and len(null) else {}
    return PerTask(samples, "nat", axes, nulls=nulls, no_nulls="" if nulls else no_nulls, replicate="sequence")
