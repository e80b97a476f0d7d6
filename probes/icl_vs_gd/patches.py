"""The context as patches of MLPs, of many tasks and in every layer: how large they are, how alike those of a task's
queries, and whether they go the way that gradient descent on the demonstrations goes. The formulas are in `patch`.

W is the matrix that an MLP reads by, gate and up side by side; A what it reads at the last position of a query, in
context and without demonstrations. A step of gradient descent on the demonstrations, each alone, moves W by a multiple
of minus the gradient of their loss, at the checkpoint's own parameters.

One number a task and layer, a mean over its queries; NaN where there is none. The gradient of a task is one matrix a
layer; it is dropped as soon as cosines are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...models.differentiable import Differentiable, differentiable
from ...models.language_model import LanguageModel
from ...models.mlp_reading import reading_name
from ...models.opening_check import TOLERANCES, relative_error
from ...models.subject import NotApplicable
from .asked import Asked, Prompt
from .names import OTHER_TASK, PATCH_ALONG, PATCH_OVERLAP, PATCH_SIZE, SHUFFLED_LABELS, TRUE_LABELS
from .patch import Patch
from .rules import Demo, Group, alike, demo_loss, grouped, n_tokens, stacked
from .seen import Place, own_passes

PerLayer = Float[np.ndarray, "task layer"]
Numbers = dict[str, Any]
"""By measure; those along the gradient by the labels of its demonstrations."""
_LEAST = 1e-5
"""What changes A by less of its length is rounding: families compute norms in float32, whatever the pass is in."""


def patching(subject: LanguageModel, least: torch.dtype = torch.float64) -> Differentiable | NotApplicable:
    """Passes of a model with other matrices of its MLPs; or why a context is no patch of them.

    That it is one is tried on drawn states, in every layer.
    """
    model = differentiable(subject, "mlp input", least)
    if isinstance(model, NotApplicable):
        return model
    error = identity_error(model)
    if error <= TOLERANCES[torch.float32]:
        return model
    return NotApplicable(
        "its MLPs do not read by the matrices that were found alone: patched, they do not answer as with the context"
        f" (relative error {error:.2g})"
    )


def patching_untrained(model: Differentiable, subject: LanguageModel) -> Differentiable:
    """The same passes of a model of the same shape with fresh weights."""
    places = subject.mlp_reading()
    assert not isinstance(places, NotApplicable), "what a model reads by depends on its shape alone"
    return replace(model, subject=subject, places=places)


def identity_error(model: Differentiable) -> float:
    """How far patched MLPs without a context are from those with it, as a share of what these write; the largest of all
    layers. Both states are drawn.
    """
    start, shape = model.start, model.subject.shape
    rng = torch.Generator().manual_seed(0)
    one = next(iter(start.values()))
    drawn = torch.randn(2, shape.n_layers, 1, shape.d_model, generator=rng, dtype=torch.float64).to(one)
    (with_context, expected), (without, _) = (model.mlp({}, states) for states in drawn)
    patched = {
        name: W + Patch.of(a, a_0, W).matrices()[0]
        for (name, W), a, a_0 in zip(start.items(), with_context, without, strict=True)
    }
    _, found = model.mlp(patched, drawn[1])
    return max(relative_error(*layer) for layer in zip(found, expected, strict=True))


def patch_numbers(model: Differentiable, tasks: Sequence[Asked]) -> Numbers:
    """Of all tasks."""
    start = model.start
    with_context = _reads(model, [task.given["true"].in_context for task in tasks])
    without = _reads(model, [task.zero_shot for task in tasks])
    known = [_changed(*own) for own in zip(with_context, without, strict=True)]
    sizes, overlaps = [], []
    for a, a_0, exists in zip(with_context, without, known, strict=True):
        patches = _patches(start, a, a_0)
        norms = [W.norm() for W in start.values()]
        sizes.append([float((one.sizes() / norm).mean()) for one, norm in zip(patches, norms, strict=True)])
        overlaps.append([_overlap(one, there) for one, there in zip(patches, exists, strict=True)])
    demos = {TRUE_LABELS: [task.given["true"].demos for task in tasks]}
    demos[SHUFFLED_LABELS] = [task.given["shuffled"].demos for task in tasks]
    if all(task.other for task in tasks):
        demos[OTHER_TASK] = [task.other["true"] for task in tasks]
    along = {labels: _means(_along(model, some, with_context, without), known) for labels, some in demos.items()}
    return {PATCH_SIZE: np.array(sizes), PATCH_OVERLAP: np.array(overlaps), PATCH_ALONG: along}


Reads = Float[Tensor, "layer query d_model"]


def _reads(model: Differentiable, prompts: Sequence[Sequence[Prompt]]) -> list[Reads]:
    """What MLPs read at the last position of each task's prompts."""
    rows: dict[Place, Float[Tensor, "layer d_model"]] = {}
    for places, answers in own_passes(model, prompts, ("mlp_in",)):
        assert answers.mlp_in is not None
        rows |= zip(places, answers.mlp_in[:, :, 0].detach().unbind(dim=1), strict=True)
    return [torch.stack([rows[task, query] for query in range(len(some))], dim=1) for task, some in enumerate(prompts)]


def _changed(with_context: Reads, without: Reads) -> np.ndarray:
    """[layer query], whether demonstrations change what is read by more than rounding."""
    away, own = (x.double().norm(dim=-1) for x in (with_context - without, without))
    return (away > _LEAST * own).cpu().numpy()


def _patches(start: Mapping[str, Tensor], with_context: Reads, without: Reads) -> list[Patch]:
    """Of each layer."""
    return [Patch.of(*own) for own in zip(with_context, without, start.values(), strict=True)]


def _overlap(patch: Patch, exists: np.ndarray) -> float:
    """Of the queries that have a patch."""
    there = torch.from_numpy(exists).to(patch.read.device)
    return float(Patch(patch.read[there], patch.written[there]).overlap())


def _along(
    model: Differentiable, demos: Sequence[Sequence[Demo]], with_context: Sequence[Reads], without: Sequence[Reads]
) -> list[np.ndarray]:
    """[layer query] of each task: the cosine of each patch with a step of gradient descent on these demonstrations.
    Tasks with as many of both run together.
    """
    sizes = [(len(some), a.shape[1]) for some, a in zip(demos, with_context, strict=True)]
    found: dict[int, np.ndarray] = {}
    of_one = partial(_along_of_one, model, model.start)
    for numbers in alike(sizes):
        group = stacked([grouped(sorted(demos[n])) for n in numbers])
        read = [torch.stack([own[n] for n in numbers]) for own in (with_context, without)]
        cosines = model.of_tasks(of_one, n_tokens(group), group, *read, n_answers=group.labels.shape[1])
        found |= zip(numbers, cosines.detach().double().cpu().numpy(), strict=True)
    return [found[n] for n in range(len(demos))]


def _along_of_one(
    model: Differentiable, start: Mapping[str, Tensor], group: Group, with_context: Reads, without: Reads
) -> Float[Tensor, "layer query"]:
    slope = model.gradient(lambda parameters: demo_loss(model, parameters, group), start)
    patches = _patches(start, with_context, without)
    return torch.stack([patch.along(-slope[reading_name(layer)]) for layer, patch in enumerate(patches)])


def _means(cosines: Sequence[np.ndarray], known: Sequence[np.ndarray]) -> PerLayer:
    """Over the queries that have a patch."""
    held = (np.where(exists & np.isfinite(own), own, np.nan) for own, exists in zip(cosines, known, strict=True))
    return np.stack([_mean(own) for own in held])


def _mean(cosines: Float[np.ndarray, "layer query"]) -> Float[np.ndarray, "layer"]:
    there = np.isfinite(cosines)
    return np.where(there.any(axis=1), np.nansum(cosines, axis=1) / np.maximum(there.sum(axis=1), 1), np.nan)
