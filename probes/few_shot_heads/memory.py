"""About how much memory and how much work the probe takes, by the shapes of the model and of a few tasks."""

from __future__ import annotations

from dataclasses import dataclass

from ...models.language_model import LanguageModel
from ..few_shot.probe import FewShotProbe
from ..probe import Cost
from .how import How
from .names import GROUPS, WAYS

_STATISTICS = 40_000_000  # bytes of resamples, tables and libraries
_KEPT = 5  # copies of the z of all prompts: of three kinds of prompts, and means of two
_LOGITS = 3  # copies of the logits of a batch in float64 that are alive at the peak: with softmax, and as they were
_STATES = 12  # copies of a batch's states
_SEEN = 4  # tasks whose prompts are looked at
_PATCHES = 4  # of each head: two, each with its null
_FROM_HALFWAY = 0.6  # of a plain pass: layers below an edit are shared
_OPERATIONS_OF_A_RUN, _OPERATIONS_OF_A_LAYER, _OPERATIONS_OF_A_TASK = 60_000, 40, 15


@dataclass(frozen=True)
class _Sizes:
    """queries: of a task; length: of a prompt, on average"""

    queries: float
    length: float

    @classmethod
    def of(cls, probe: FewShotProbe, subject: LanguageModel) -> _Sizes:
        prompts = probe.prompts(subject, probe.tasks(subject, 0, _SEEN).tasks)
        lengths = [len(prompt) for one in prompts for prompt in one.in_context]
        return cls(len(lengths) / len(prompts), sum(lengths) / len(lengths))


def passes_of(probe: FewShotProbe, subject: LanguageModel, how: How) -> float:
    """Passes with an edit, of one prompt each; sets that turn out equal are sent once, so it may be fewer."""
    queries, heads = _Sizes.of(probe, subject).queries, subject.shape.n_layers * subject.shape.n_heads
    choosing = (probe.n_tasks + 1) // 2
    groups = (len(GROUPS) - (how.given is None)) * (1 + _PATCHES + how.random_sets)
    return queries * (choosing * heads * _PATCHES + (probe.n_tasks - choosing) * groups)


def memory_of(probe: FewShotProbe, subject: LanguageModel, how: How, batch_size: int) -> int:
    """At the peak, beside Python, its libraries and the model."""
    shape, sizes = subject.shape, _Sizes.of(probe, subject)
    heads, itemsize = shape.n_layers * shape.n_heads, subject.dtype.itemsize
    rows = sizes.queries * probe.n_tasks
    z = _KEPT * rows * heads * shape.d_head * itemsize
    answers = 2 * 8 * rows * (heads * _PATCHES + len(GROUPS) * (1 + how.random_sets))
    batch = min(batch_size, rows)
    states = _STATES * batch * sizes.length * shape.d_model * itemsize
    resamples = 2_000 * 8 * 4 * heads
    return int(_STATISTICS + z + answers + states + resamples + _LOGITS * 8 * batch * shape.d_vocab)


def cost_of(probe: FewShotProbe, subject: LanguageModel, how: How, batch_size: int) -> Cost:
    sizes, shape = _Sizes.of(probe, subject), subject.shape
    edited, plain = passes_of(probe, subject, how), (len(WAYS) + 1) * probe.n_tasks * sizes.queries
    rows = max(sizes.queries * probe.n_tasks / 2, 1)
    batch = int(max(1, min(batch_size, rows)))
    batches = (edited + plain) / batch
    return Cost(
        tokens=(plain + _FROM_HALFWAY * edited) * sizes.length,
        read_outs=plain + edited,
        draws=0,
        operations=_OPERATIONS_OF_A_RUN
        + batches * (_OPERATIONS_OF_A_LAYER * shape.n_layers + _OPERATIONS_OF_A_TASK * batch / max(sizes.queries, 1)),
        batch=(batch, round(sizes.length)),
        counted=f"about {plain + edited:,.0f} forward passes of one prompt each; fewer where sets of heads are equal",
    )
