"""How alike attention is in context and after fine-tuning: layer by layer, one number a task, beside its controls.

Numbers are means over those of a task's queries for which they exist; NaN where none has one. Nothing is compared
across tasks. The formulas are in `similarity`.

The label-swap contrast is taken of five pairs of answers with those of tuned parameters: that in context, and those of
planted gradient descent; in context also with the parameters of the floors and of half of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.recipe import named_seed
from .activation_matching import left_over
from .names import (
    AOU,
    AT_HALF,
    CONTRAST,
    DIRECTION,
    ENDPOINT,
    FLOORS,
    HALVES,
    IN_CONTEXT,
    LEFT,
    MATCHED,
    PLANTED,
    RAW,
    SCORES,
    SHIFTS,
    Labels,
    Rule,
    Way,
)
from .runs import Runs
from .seen import Seen
from .similarity import (
    cosine_of_differences,
    label_swap_contrast,
    output_similarity,
    score_shift_similarity,
    score_similarity,
)

PerLayer = Float[np.ndarray, "task layer"]
Numbers = dict[str, dict[str, PerLayer]]
"""By measure, and by what is compared."""
_Tuned = Mapping[tuple[Way, Labels], Sequence[Seen]]


def inside(runs: Iterable[Runs], rule: Rule, seed: int) -> Numbers:
    """Of all tasks, for one rule."""
    parts = [of_runs(some, rule, seed) for some in runs]
    return {
        name: {what: np.concatenate([part[name][what] for part in parts]) for what in held}
        for name, held in parts[0].items()
    }


def of_runs(runs: Runs, rule: Rule, seed: int) -> Numbers:
    """Of consecutive tasks."""
    tuned = runs.fine_tuned[rule]
    left = {MATCHED: left_over(runs.matched["true"], runs.in_context["true"], runs.zero_shot)} if runs.matched else {}
    return {
        LEFT: left,
        CONTRAST: contrasts(runs, tuned),
        AOU: _output_similarities(runs, tuned, seed),
        RAW: {
            what: by_task(lambda icl, ft, zs: output_similarity(icl, ft, zs, normed=False), *given)
            for what, given in _endpoints(runs, tuned).items()
        },
        SCORES: _score_similarities(runs, tuned, score_similarity, 2),
        SHIFTS: _score_similarities(runs, tuned, score_shift_similarity, 3),
    }


def contrasts(runs: Runs, tuned: _Tuned) -> dict[str, PerLayer]:
    icl = [runs.in_context["true"], runs.in_context["swapped"]]

    def pair(way: Way) -> list[Sequence[Seen]]:
        return [tuned[way, "true"], tuned[way, "swapped"]]

    compared = {IN_CONTEXT: (icl, pair("tuned")), AT_HALF: (icl, pair("half run"))}
    compared |= {way: (icl, pair(way)) for way in FLOORS if (way, "true") in tuned}
    compared |= {way: (pair(way), pair("tuned")) for way in ("half run", *PLANTED) if (way, "true") in tuned}
    if runs.matched:
        compared[MATCHED] = (icl, [runs.matched["true"], runs.matched["swapped"]])
    return {what: by_task(label_swap_contrast, *one, *other) for what, (one, other) in compared.items()}


def _endpoints(runs: Runs, tuned: _Tuned) -> dict[str, list[Sequence[Seen]]]:
    """What SimAOU compares: in context, fine-tuned, zero-shot."""
    ends: dict[str, tuple[Way, Labels]] = {"tuned": ("tuned", "true"), "shuffled": ("tuned", "shuffled")}
    ends |= {way: (way, "true") for way in FLOORS if (way, "true") in tuned}
    return {what: [runs.in_context["true"], tuned[end], runs.zero_shot] for what, end in ends.items()}


def _output_similarities(runs: Runs, tuned: _Tuned, seed: int) -> dict[str, PerLayer]:
    icl, zero_shot = runs.in_context["true"], runs.zero_shot
    found = {what: by_task(output_similarity, *given) for what, given in _endpoints(runs, tuned).items()}
    halves: tuple[Way, Way] = ("first demonstrations", "second demonstrations")
    if runs.matched:
        found[MATCHED] = by_task(output_similarity, icl, runs.matched["true"], zero_shot)
    if all((half, "true") in tuned for half in halves):
        found[HALVES] = by_task(output_similarity, *(tuned[half, "true"] for half in halves), zero_shot)
    drawn = [_gaussian(one.attn_out, seed, runs.first + task) for task, one in enumerate(icl)]
    states = [[one.attn_out for one in some] for some in (icl, zero_shot)]
    found[ENDPOINT] = _means(output_similarity(a, g, z) for a, z, g in zip(*states, drawn, strict=True))
    found[DIRECTION] = _means(
        cosine_of_differences(_unit(a), _unit(z), g, torch.zeros_like(g))
        for a, z, g in zip(*states, drawn, strict=True)
    )
    return found


def _score_similarities(runs: Runs, tuned: _Tuned, formula: Callable[..., Tensor], n: int) -> dict[str, PerLayer]:
    """Of queries one by one: they may have different numbers of own tokens. Nothing where scores are not shown."""
    if not runs.zero_shot[0].scores:
        return {}
    return {
        what: _means(
            torch.stack([formula(*some) for some in zip(*(one.scores for one in task), strict=True)], dim=1)
            for task in zip(*given[:n], strict=True)
        )
        for what, given in _endpoints(runs, tuned).items()
    }


def by_task(formula: Callable[..., Tensor], *given: Sequence[Seen]) -> PerLayer:
    """A formula of what attention gives, of each task."""
    return _means(formula(*(one.attn_out for one in task)) for task in zip(*given, strict=True))


def _means(numbers: Iterable[Float[Tensor, "layer query"]]) -> PerLayer:
    """Over the queries that have a number."""
    return np.stack([one.double().nanmean(dim=1).cpu().numpy() for one in numbers])


def _unit(h: Tensor) -> Tensor:
    return h / h.norm(dim=-1, keepdim=True)


def _gaussian(like: Tensor, seed: int, task: int) -> Tensor:
    rng = torch.Generator().manual_seed(named_seed(seed, "endpoint", task))
    return torch.randn(like.shape, generator=rng, dtype=torch.float64).to(like)
