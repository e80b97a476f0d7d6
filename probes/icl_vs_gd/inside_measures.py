"""Measures of attention: means over tasks, by layer and over layers, and what verdicts compare, task by task.

Means over layers and differences are formed in each task, and tasks are resampled. A layer is left out where something
that is compared exists in no task, then a task where something is missing in another layer; messages say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ..measure import Measure, Status, along, missing
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from ..statistics.sample_measures import PerTask, task_measures
from .inside import Numbers, PerLayer
from .names import (
    ABOVE_FLOOR,
    AGAINST_PLANTED,
    AOU,
    BETWEEN,
    CONTRAST,
    FLOORS,
    IN_CONTEXT,
    LAYER,
    LEFT,
    MARGIN,
    PATCH_ALONG,
    PATCH_OVERLAP,
    PATCH_SIZE,
    PLANTED,
    PLANTED_ABOVE,
    RAW,
    RULE,
    SCORES,
    SHARE,
    SHIFTS,
    Rule,
)

UNIT = "cosine"
MEASURED = (LEFT, CONTRAST, AOU, RAW, SCORES, SHIFTS)
NO_RULE = "no rule of fine-tuning was compared"
UNITS = {LEFT: "share of the squared change", PATCH_SIZE: "ratio"}
WHY = {
    CONTRAST: "other labels move attention by no more than rounding there",
    AOU: "demonstrations or fine-tuning move attention by no more than rounding there",
    RAW: "demonstrations or fine-tuning move attention by no more than rounding there",
    SCORES: "it needs three tokens of a query's own: the cosine of one number is its sign",
    SHIFTS: "it needs three tokens of a query's own, and scores that move",
    LEFT: "demonstrations move attention by no more than rounding there",
    PATCH_SIZE: "what the MLP reads without demonstrations is 0 there",
    PATCH_OVERLAP: "demonstrations change what the MLP reads, of two queries, by no more than rounding there",
    PATCH_ALONG: "what the MLP reads, or the loss of the demonstrations, changes by no more than rounding there",
}
"""Why a number does not exist."""
_BESIDE = "what has no mechanism stands beside it, as a measure of its own"


@dataclass(frozen=True, eq=False)
class Known:
    """What of a measure's numbers exists together.

    parts:  [task layer], of all tasks and layers
    """

    name: str
    parts: Mapping[str, PerLayer]
    tasks: Bool[np.ndarray, "task"]
    layers: Bool[np.ndarray, "layer"]

    @classmethod
    def of(cls, name: str, held: Mapping[str, PerLayer]) -> Known | None:
        """None where nothing exists."""
        parts = {what: own for what, own in held.items() if np.isfinite(own).any()}
        if not parts:
            return None
        exists = np.isfinite(np.stack(list(parts.values())))
        layers = np.asarray(exists.any(axis=1).all(axis=0))
        tasks = np.asarray(exists[..., layers].all(axis=(0, 2)))
        return cls(name, parts, tasks, layers) if layers.any() and tasks.any() else None

    @property
    def said(self) -> str:
        """What was left out."""
        found = []
        if not self.layers.all():
            without = ", ".join(str(layer) for layer in np.flatnonzero(~self.layers))
            found.append(f"no number in layer {without}")
        if not self.tasks.all():
            found.append(f"of {self.tasks.sum()} of {len(self.tasks)} tasks")
        return f"{'; '.join(found)}: {WHY[self.name]}" if found else ""

    def by_layer(self, what: str) -> PerLayer:
        """Of the tasks that are left; NaN in layers that are not."""
        return np.where(self.layers, self.parts[what][self.tasks], np.nan)

    def mean(self, what: str) -> Float[np.ndarray, "task"]:
        """Over the layers that are left."""
        return self.parts[what][self.tasks][:, self.layers].mean(axis=1)

    def first(self, what: str) -> Float[np.ndarray, "task"]:
        """In the first of them."""
        return self.parts[what][self.tasks][:, self.layers][:, 0]

    def measured(self, samples: np.ndarray, about: str = "") -> PerTask:
        axes = (LAYER,) if samples.ndim == 2 else ()
        message = "; ".join(part for part in (about, self.said) if part)
        unit = UNITS.get(self.name, UNIT)
        return PerTask(samples, unit, axes, no_nulls=_BESIDE, message=message, no_number=WHY[self.name])


def inside_measures(numbers: Mapping[Rule, Numbers], seed: int) -> dict[str, Measure]:
    """Along rules; none may be there."""
    by_rule = {rule: of_rule(own, seed) for rule, own in numbers.items()}
    if not by_rule:
        nothing = of_rule({name: {} for name in MEASURED}, seed)
        return {name: missing(measure.unit, "undefined", NO_RULE) for name, measure in nothing.items()}
    names = next(iter(by_rule.values()))
    return {name: along(RULE, {rule: own[name] for rule, own in by_rule.items()}) for name in names}


def of_rule(numbers: Numbers, seed: int) -> dict[str, Measure]:
    """Every measure by layer, `_mean` over layers, and the comparisons."""
    found: dict[str, Measure] = {}
    for name, held in numbers.items():
        known = Known.of(name, held)
        found[name], found[f"{name}_mean"] = (
            _parts(known, held, seed, over) if known else missing(UNITS.get(name, UNIT), *_absent(name, held))
            for over in (False, True)
        )
    contrast, similarity = (Known.of(name, numbers[name]) for name in (CONTRAST, AOU))
    return found | _contrast_gaps(contrast, seed) | _margin(similarity, seed)


def _absent(name: str, held: Mapping[str, PerLayer]) -> tuple[Status, str]:
    if held:
        return "undefined", f"no task has a number: {WHY[name]}"
    return "not applicable", "this was not measured: " + (
        "the model does not show attention scores" if name in (SCORES, SHIFTS) else "nothing was fitted to attention"
    )


def _parts(known: Known, held: Mapping[str, PerLayer], seed: int, over_layers: bool) -> Measure:
    samples = {what: known.mean(what) if over_layers else known.by_layer(what) for what in known.parts}
    found = task_measures({what: known.measured(own) for what, own in samples.items()}, seed)
    why = f"no task has a number: {WHY[known.name]}"
    unit = UNITS.get(known.name, UNIT)
    return along(BETWEEN, {what: found.get(what) or missing(unit, "undefined", why) for what in held})


def strongest(known: Known, among: Iterable[str]) -> str | None:
    """The highest mean over tasks and layers; None where none of them exists."""
    return max((what for what in among if what in known.parts), key=lambda what: known.mean(what).mean(), default=None)


def _contrast_gaps(known: Known | None, seed: int) -> dict[str, Measure]:
    """The contrast above its strongest floor, so that of planted gradient descent, and both in the first layer."""
    names = (ABOVE_FLOOR, PLANTED_ABOVE, AGAINST_PLANTED, SHARE)
    planted = [] if known is None else [way for way in PLANTED if way in known.parts]
    if known is None or not planted or IN_CONTEXT not in known.parts:
        return {name: missing(UNIT, "undefined", f"no task has a number: {WHY[CONTRAST]}") for name in names}
    floor = strongest(known, FLOORS)
    assert floor is not None, "random weights are always there"
    over = min(planted, key=lambda what: known.mean(what).mean())
    in_first = min(planted, key=lambda what: known.first(what).mean())
    layer = int(np.flatnonzero(known.layers)[0])
    first = known.first(IN_CONTEXT), known.first(in_first)
    found = task_measures(
        {
            ABOVE_FLOOR: known.measured(known.mean(IN_CONTEXT) - known.mean(floor), f"floor: {floor}"),
            PLANTED_ABOVE: known.measured(known.mean(over) - known.mean(floor), f"planted: {over}; floor: {floor}"),
            AGAINST_PLANTED: known.measured(first[0] - first[1], f"layer {layer}, planted: {in_first}"),
        },
        seed,
    )
    return found | {SHARE: _share(*first, f"layer {layer}, planted: {in_first}", known, seed)}


def _share(icl: np.ndarray, planted: np.ndarray, about: str, known: Known, seed: int) -> Measure:
    """The ratio of two means over tasks."""
    below = percentile_interval(bootstrap_means(planted, seed))
    if len(planted) > 1 and below[0] <= 0:
        return missing("ratio", "undefined", f"{about}: planted gradient descent is not above 0, so there is no share")
    ratio = bootstrap_means(icl, seed) / bootstrap_means(planted, seed)
    low, high = percentile_interval(ratio) if len(planted) > 1 else (np.array(np.nan), np.array(np.nan))
    message = "; ".join(part for part in (about, known.said, "" if len(planted) > 1 else "one task") if part)
    value = np.array(icl.mean() / planted.mean())
    return Measure(value, "ratio", (low, high), "task", len(icl), no_nulls=_BESIDE, message=message)


def _margin(known: Known | None, seed: int) -> dict[str, Measure]:
    """SimAOU above the strongest of its controls."""
    controls = ("shuffled", *FLOORS)
    if known is None or "tuned" not in known.parts:
        return {MARGIN: missing(UNIT, "undefined", f"no task has a number: {WHY[AOU]}")}
    control = strongest(known, controls)
    assert control is not None
    samples = known.mean("tuned") - known.mean(control)
    return task_measures({MARGIN: known.measured(samples, f"strongest control: {control}")}, seed)
