"""Is a step of gradient descent written in the weights? A certificate for linear attention that draws no task.

A layer of linear attention is a fixed tensor, T = Σ_heads KQ ⊗ PV. In some of its entries von Oswald et al. (2023,
arXiv 2212.07677) write a step of gradient descent; in the others they have 0. With one layer the best weights for a law
of tasks are known in closed form: a step at one learning rate for inputs whose coordinates are alike and independent, a
preconditioned step otherwise (Ahn et al. 2023, arXiv 2306.00297; Zhang, Frei & Bartlett 2024, arXiv 2306.09927;
Mahankali et al. 2024, arXiv 2307.03576). A layer with next to nothing in the other entries is that step on every task,
not only on those that somebody drew. Untrained weights have most of their norm there.

The line of a measurement: `law` and `examined` (the layers, untrained ones, the law) -> `layer_measures` and
`optimum_measures` -> `verdicts` -> `claim` and `figures`; over several steps `resting` -> `resting_measures` ->
`over_checkpoints`. The formulas, for tensors from anywhere: `layer.py` (what a
layer does), `optimum.py` (the best layer, and what another one loses), `other_entries.py` (what the others cost).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge

from ...data.errors import UsageError
from ...data.recipe import file_sha256
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable, Regressor, Source, Subject
from ..findings import Findings
from ..measure import Claim, Measure
from ..probe import Checkpoint, Cost, OverTraining, Probe, Progress, silent
from ..regression.products import linear_attention_of
from .claim import certificate_claim
from .examined import Examined
from .law import context_length, law_of
from .layer import step_matrix, with_fixed_gauge
from .layer_measures import layer_measures
from .memory import cost, memory_in_bytes
from .optimum import optimal_matrix
from .optimum_measures import optimum_measures
from .over_checkpoints import over_checkpoints

PREDICTIONS = "gd-alignment compares its predictions"
NO_TASKS = (
    "this model does not answer linear-regression tasks, so no step of gradient descent on them is in its weights"
)
SELF_ATTENTION = (
    "the query attends to itself, so that later layers read the model's own answer as a label, which no step of"
    f" gradient descent does; {PREDICTIONS}"
)


@dataclass(frozen=True)
class GDCertificate(Probe):
    """Settings of the probe; None means: from the checkpoint's own record.

    covariance:  a `.npz` or `.npy` with the covariance of the inputs, which are then taken to be Gaussian
    n_context:   labelled pairs in a task, N
    """

    name: ClassVar[str] = "gd-certificate"
    version: ClassVar[str] = "1"
    by_default: ClassVar[bool] = False

    covariance: str | None = None
    n_context: Annotated[int, Ge(1)] | None = None

    def applies(self, subject: Subject) -> NotApplicable | None:
        if not isinstance(subject, Regressor):
            return NotApplicable(NO_TASKS)
        readable = linear_attention_of(subject)
        if isinstance(readable, NotApplicable):
            return NotApplicable(f"{readable.reason}; {PREDICTIONS}")
        own_label = readable.config.query_in_context and readable.config.n_layers > 1
        return NotApplicable(SELF_ATTENTION) if own_label else None

    def fingerprint(self) -> dict[str, str]:
        return {} if self.covariance is None else {"covariance_sha256": file_sha256(self.covariance)}

    def memory(self, subject: Subject) -> int | None:
        return memory_in_bytes(subject.config) if isinstance(subject, TransformerRegressor) else None

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        return cost(subject.config) if isinstance(subject, TransformerRegressor) else None

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        if not isinstance(subject, TransformerRegressor) or self.applies(subject) is not None:
            raise UsageError(f"{self.name} needs linear attention; applies() says which subjects have it")
        config, n_context = subject.config, context_length(subject, self.n_context)
        examined = Examined.of(subject, seed, law_of(subject, self.covariance, self.n_context))
        progress("weights", 0.5)
        measures = layer_measures(examined, n_context) | optimum_measures(examined, config)
        progress("done", 1.0)
        return Findings(measures, _arrays(examined, measures["optimum_distance"].has_number), {})

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return certificate_claim(measures, sources, self.covariance, self.n_context)

    def over_checkpoints(self, checkpoints: tuple[Checkpoint, ...]) -> OverTraining:
        return over_checkpoints(checkpoints)


def _arrays(examined: Examined, best: bool) -> dict[str, np.ndarray]:
    """What all is read off: KQ and PV of every head in one gauge, every layer's effective matrix, and the best one."""
    fixed, law = [with_fixed_gauge(layer) for layer in examined.layers], examined.law
    optimum = {} if isinstance(law, NotApplicable) or not best else {"optimal_matrix": optimal_matrix(law).numpy()}
    return optimum | {
        "KQ": torch.stack([layer.KQ for layer in fixed]).numpy(),
        "PV": torch.stack([layer.PV for layer in fixed]).numpy(),
        "effective_matrix": torch.stack([step_matrix(layer) for layer in examined.layers]).numpy(),
    }
