"""What one model does on its tasks: whom its tokens attend to, what they are sensitive to, and what it then answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...models.own.regression_transformer import RegressionTransformer
from ..comparing.behaviour import half_squared_error
from ..comparing.by_candidate import MODEL
from .ablation import edited_answers
from .attention import label_share, next_attention
from .first_layer import as_function, first_layer
from .names import EDITS
from .sensitivity import Sensitivity, sensitivity


@dataclass(frozen=True)
class Attention:
    """Of every layer and head; `map` is the mean over tasks of whole patterns."""

    next: Float[np.ndarray, "task layer head"]
    share: Float[np.ndarray, "task layer head"]
    map: Float[np.ndarray, "layer head token key"]


@dataclass(frozen=True)
class Read:
    """One model; its errors are half squared ones, of the model itself and under each edit."""

    attention: Attention
    sensitivity: Sensitivity
    errors: dict[str, Float[np.ndarray, " task"]]


def read(
    module: RegressionTransformer,
    sign: int,
    inputs: Float[Tensor, "task token feature"],
    targets: Float[Tensor, "task d_out"],
    n_sensitive: int,
    batch_size: int,
    sampled: bool = True,
    watch: Callable[[float], None] = lambda done: None,
) -> Read:
    """Of all tasks; sensitivities of the first `n_sensitive`.

    sign:     of the read-out
    sampled:  whether each task's own part of a sensitivity is kept
    """
    batches = inputs.split(batch_size)
    seen, answers = [], []
    with torch.no_grad():
        for number, batch in enumerate(batches):
            watched, answer = _watched(module, batch)
            seen.append(watched)
            answers.append({MODEL: answer} | edited_answers(module, batch))
            watch(0.5 * (number + 1) / len(batches))
    joined = {name: torch.cat([held[name] for held in answers]).cpu().double() for name in (MODEL, *EDITS)}
    errors = {name: half_squared_error(sign * held, targets).numpy() for name, held in joined.items()}
    layer = first_layer(module)
    pairs = [as_function(layer, batch) for batch in inputs[:n_sensitive].split(batch_size)]
    found = sensitivity([function for function, _ in pairs], [tokens for _, tokens in pairs], sampled)
    watch(1.0)
    return Read(_attention(seen, len(inputs)), found, errors)


def _watched(module: RegressionTransformer, inputs: Tensor) -> tuple[list[tuple[Tensor, ...]], Tensor]:
    """What is kept of each layer's pattern, and the model's answer."""

    def kept(pattern: Tensor, layer: int) -> tuple[Tensor, ...]:
        held = pattern.double()
        return tuple(part.cpu() for part in (next_attention(held), label_share(held), held.sum(dim=0)))

    trace = module.run(inputs, watch={"pattern": kept})
    return trace.values["pattern"], trace.output


def _attention(seen: list[list[tuple[Tensor, ...]]], n: int) -> Attention:
    to_next, share, total = (
        [torch.stack([layer[part] for layer in batch], dim=-2 if part < 2 else 0) for batch in seen]
        for part in range(3)
    )
    return Attention(torch.cat(to_next).numpy(), torch.cat(share).numpy(), (torch.stack(total).sum(dim=0) / n).numpy())
