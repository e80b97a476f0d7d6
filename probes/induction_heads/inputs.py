"""What the model is shown: random tokens repeated at several periods, controls that repeat nothing, and shuffled
repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from ...data.batch import tensors_sha256
from ...data.errors import TaskError
from ...data.recipe import Recipe
from ...data.repeated import RepeatedTokens
from ...models.language_model import LanguageModelShape

LONGEST = 50
"""The longest period by default, the field's usual one."""


@dataclass(frozen=True)
class PeriodInputs:
    """Sequences of one period, and their controls of the same length: the same first repeats, and nothing repeated.

    shuffled:       the same sequences with later repeats in other orders
    other_offsets:  offsets at which an induction head would look if another of the periods were this one's
    """

    law: RepeatedTokens
    repeated: Int[Tensor, "sequence pos"]
    control: Int[Tensor, "sequence pos"]
    shuffled: Int[Tensor, "sequence pos"]
    other_offsets: tuple[int, ...]

    @property
    def period(self) -> int:
        return self.law.period


def period_laws(
    shape: LanguageModelShape,
    bos: int | None,
    periods: Sequence[int] | None,
    repeats: int,
    ids: tuple[int, ...] | None = None,
) -> tuple[RepeatedTokens, ...]:
    """The laws of the sequences, longest period first; by default the longest that fits, 3/4 and 1/2 of it.

    ids:  the tokens to draw from; None: all but BOS

    Fits: in the context, and in a vocabulary that leaves other tokens for the control. TaskError, with what would fit,
    for periods that the model cannot be shown.
    """
    first = int(bos is not None)
    room = LONGEST if shape.n_ctx is None else (shape.n_ctx - first) // repeats
    usable = shape.d_vocab - first if ids is None else len(ids)
    if periods is None:
        longest = min(LONGEST, room, max(usable // repeats, 2))
        periods = sorted({p for p in (longest, 3 * longest // 4, longest // 2) if p >= 2}, reverse=True)
    if not periods:
        raise TaskError(
            f"this model reads {shape.n_ctx} tokens: too few for a repeat; expected at least {2 * repeats + first},"
            f" {repeats} repeats of two different tokens{' and BOS' * first}"
        )
    for period in periods:
        if shape.n_ctx is not None and first + repeats * period > shape.n_ctx:
            raise TaskError(
                f"period {period} does not fit: {repeats} repeats{' and BOS' * first} take {first + repeats * period}"
                f" tokens, this model reads at most {shape.n_ctx}; the longest period that fits is {room}"
            )
    descending = sorted(set(periods), reverse=True)
    return tuple(RepeatedTokens(period, shape.d_vocab, repeats, bos, ids) for period in descending)


def period_inputs(laws: Sequence[RepeatedTokens], n: int, seed: int) -> tuple[PeriodInputs, ...]:
    """`n` sequences of each period with their controls."""
    return tuple(
        PeriodInputs(
            law,
            law.draw(n, seed).tokens,
            law.control(n, seed).tokens,
            law.shuffled(n, seed).tokens,
            _other_offsets(law, laws),
        )
        for law in laws
    )


def _other_offsets(law: RepeatedTokens, laws: Sequence[RepeatedTokens]) -> tuple[int, ...]:
    """Offsets S' - 1 of the other periods that mean nothing here, and that most queries of later repeats can read."""
    queries = (law.repeats - 1) * law.period
    offsets = [other.period - 1 for other in laws]
    return tuple(
        offset
        for offset in offsets
        if (offset + 1) % law.period and 2 * (law.repeats * law.period - max(law.period, offset)) >= queries
    )


def input_recipes(inputs: Sequence[PeriodInputs], seed: int) -> dict[str, Recipe]:
    """One recipe for the sequences of all periods, one for their controls, one for the shuffled repeats."""
    longest, n = inputs[0], len(inputs[0].repeated)
    settings = {
        "periods": [one.period for one in inputs],
        "repeats": longest.law.repeats,
        "d_vocab": longest.law.d_vocab,
        "bos": longest.law.bos,
        "sequences_of_each_period": n,
    }

    def recipe(family: str, *tokens: Tensor, **changed: list[int]) -> Recipe:
        return Recipe(family, settings | changed, seed, n * len(tokens), tensors_sha256(*tokens))

    return {
        "evaluation": recipe("repeated tokens", *(one.repeated for one in inputs)),
        "control": recipe("unrepeated tokens", *(one.control for one in inputs)),
        "shuffled": recipe("shuffled repeats", longest.shuffled, periods=[longest.period]),
    }
