"""The model with its first layer edited, to see what its answers need of it.

    ablated         the attention of the first layer adds nothing to any token
    without_copies  what x tokens read of the label in the next token is read as if that label were 0
    copies_only     what any token reads of any label in any other way is read as if that label were 0

With pattern A and values v of a head of the first layer, and v° the values if all labels were 0, the last two take
(A ∘ E) (v - v°) or (A ∘ (1 - E)) (v - v°) from what it reads, E being 1 where an x token meets its label's token, else
0. Attention and all that is read of inputs and positions stays: a model is not moved farther from what it knows than by
labels that it does not get.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ...models.own.regression_transformer import RegressionTransformer
from ...models.subject import Edit, Site
from .attention import label_edges
from .first_layer import first_layer, label_values
from .names import ABLATED, COPIES_ONLY, EDITS, WITHOUT_COPIES


def edited_answers(
    module: RegressionTransformer, inputs: Float[Tensor, "task token feature"]
) -> dict[str, Float[Tensor, "task d_out"]]:
    """The answers of the model under each of `EDITS`."""
    labels = label_values(first_layer(module), inputs)
    edits: dict[str, Mapping[Site, Edit]] = {
        ABLATED: {"attn_out": _nothing},
        WITHOUT_COPIES: _less_of_labels(labels, copied=True),
        COPIES_ONLY: _less_of_labels(labels, copied=False),
    }
    return {name: module.run(inputs, edit=edits[name]).output for name in EDITS}


def _nothing(update: Tensor, layer: int) -> Tensor:
    return torch.zeros_like(update) if layer == 0 else update


def _less_of_labels(labels: Float[Tensor, "task head key d_head"], copied: bool) -> Mapping[Site, Edit]:
    """Edits that take what is read of labels from the first layer's reading: what is copied, or all else."""
    read: list[Tensor] = []

    def note(pattern: Tensor, layer: int) -> Tensor:
        if layer == 0:
            edges = label_edges(*pattern.shape[-2:]).to(pattern)
            read.append((pattern * (edges if copied else 1 - edges)) @ labels)
        return pattern

    def less(z: Tensor, layer: int) -> Tensor:
        return z - read.pop() if layer == 0 else z

    return {"pattern": note, "z": less}
