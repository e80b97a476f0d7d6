"""Forward passes over prompts, with the output of some heads replaced at the last position."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...models.language_model import LanguageModel
from ...models.subject import Edit, Site
from ..findings import Head
from ..streaming import goes_on, of_heads
from .names import PURPOSES
from .rows import Answers, Rows


@dataclass(frozen=True, eq=False)
class Replacement:
    """Heads, and what replaces their z at the last position: of each row, or the same for all."""

    heads: tuple[Head, ...]
    z: Float[Tensor, "row_or_one layer head d_head"]

    @property
    def lowest(self) -> int:
        return min(layer for layer, _ in self.heads)

    def edit(self, rows: Int[np.ndarray, " some"]) -> Mapping[Site, Edit]:
        """The edit of a pass over some rows."""
        z = self.z[rows] if len(self.z) > 1 else self.z
        return replacing(self.heads, z)


def replacing(heads: Collection[Head], z: Float[Tensor, "some_or_one layer head d_head"]) -> Mapping[Site, Edit]:
    """The edit of a pass in which the z of these heads is this at the last position, and their own before it."""

    def replace(own: Tensor, layer: int, replaced: list[int]) -> None:
        own[:, replaced, -1] = z[:, layer, replaced].to(own)

    return of_heads(heads, replace)


@dataclass
class Passes:
    """Sends rows through a model, so many at a time, and counts them by purpose."""

    subject: LanguageModel
    batch_size: int
    spent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PURPOSES, 0))

    def read(self, rows: Rows) -> Answers:
        """The answers of the model as it is."""
        return self._read(rows, None)

    def read_with_z(self, rows: Rows) -> tuple[Answers, Float[Tensor, "row layer head d_head"]]:
        """And each head's z at the last position, on the CPU."""
        kept: dict[int, Tensor] = {}
        answers = self._read(rows, kept)
        return answers, torch.stack([kept[row] for row in range(len(rows))])

    def _read(self, rows: Rows, kept: dict[int, Tensor] | None) -> Answers:
        answers = _empty(rows)
        watch: dict[Site, Callable[[Tensor, int], Tensor]] = {} if kept is None else {"z": _last}
        for batch in rows.batches(self.batch_size):
            trace = self.subject.run(rows.tokens(batch), watch)
            if kept is not None:
                kept |= dict(zip(map(int, batch), torch.stack(trace.values["z"], dim=1), strict=True))
            _put(answers, batch, rows.judged(batch, self.subject.unembed(trace.output[:, -1])))
        self.spent[PURPOSES[0]] += len(rows)
        return answers

    def replaced(self, rows: Rows, purpose: str, replacements: Sequence[Replacement]) -> list[Answers]:
        """The answers under each of these replacements. Passes share what lies below their lowest edit."""
        answers = [_empty(rows) for _ in replacements]
        if not replacements:
            return answers
        order = sorted(range(len(replacements)), key=lambda place: replacements[place].lowest)
        batches = rows.batches(self.batch_size)
        shares = goes_on(self.subject, rows.tokens(batches[0][:1]), [one.lowest for one in replacements])
        for batch in batches:
            tokens, begun = rows.tokens(batch), None
            for place in order:
                one = replacements[place]
                begun = self.subject.halfway(tokens, one.lowest if shares else 0, begun)
                state = self.subject.run(tokens, edit=one.edit(batch), begun=begun).output
                _put(answers[place], batch, rows.judged(batch, self.subject.unembed(state[:, -1])))
        self.spent[purpose] += len(rows) * len(replacements)
        return answers


def _last(z: Float[Tensor, "some head pos d_head"], layer: int) -> Float[Tensor, "some head d_head"]:
    return z[:, :, -1].cpu()


def _empty(rows: Rows) -> Answers:
    return Answers(np.empty(len(rows)), np.empty(len(rows)))


def _put(answers: Answers, rows: Int[np.ndarray, " some"], some: Answers) -> None:
    answers.probability[rows], answers.accuracy[rows] = some.probability, some.accuracy
