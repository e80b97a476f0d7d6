"""Which token ids the random sequences hold: those of the user's text, or all but those that nothing tells apart.

A model that was trained on a part of its vocabulary does on other ids what its initialisation does. Ids that training
never reached often keep one common embedding (zeros, say). Ids that were drawn at random and never trained look like
any others: without a text nobody can tell them from ids that the model knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import KDTree
from torch import Tensor

from ...data.batch import generator
from ...data.corpus import Corpus
from ...data.errors import TaskError
from ...models.language_model import LanguageModel
from ..measure import Measure, without_interval
from .names import DRAWN, LEFT_OUT
from .words import listed

EQUAL = 1e-6
"""Embedding rows whose numbers differ by no more than this are the same row."""
_DIRECTIONS = 8  # equal rows are looked for among their projections on so few
_AT_ONCE = 4096  # rows in float64
_NAMED = 5


@dataclass(frozen=True)
class TokenIds:
    """The ids that random sequences are drawn from.

    ids:       ascending, without BOS; None: all but BOS
    left_out:  ids whose embedding row equals another; none are looked for where there is a text
    """

    ids: tuple[int, ...] | None
    left_out: tuple[int, ...] = ()

    @classmethod
    def of_text(cls, corpus: Corpus) -> TokenIds:
        """Those that occur in it. TaskError for fewer than two."""
        ids = {int(token) for document in corpus.documents for token in np.unique(document)} - {corpus.bos}
        if len(ids) < 2:
            raise TaskError(f"the text holds {len(ids)} token id besides BOS; expected at least 2; give longer text")
        return cls(tuple(sorted(ids)))

    @classmethod
    def of_model(cls, subject: LanguageModel) -> TokenIds:
        """All but those with equal embedding rows, where at least two are left; all where no embedding is shown."""
        if "embed" in subject.not_shown:
            return cls(None)
        equal = equal_rows(subject.embedding())
        others = [token for token in (~equal).nonzero().flatten().tolist() if token != subject.bos]
        left_out = [token for token in equal.nonzero().flatten().tolist() if token != subject.bos]
        return cls(tuple(others), tuple(left_out)) if left_out and len(others) >= 2 else cls(None)

    def measure(self, subject: LanguageModel) -> Measure:
        """token_ids: how many were drawn from and how many were left out, along the axis `ids`."""
        n = subject.shape.d_vocab - (subject.bos is not None) if self.ids is None else len(self.ids)
        return without_interval(
            np.array([n, len(self.left_out)]),
            "token id",
            ("ids",),
            {"ids": (DRAWN, LEFT_OUT)},
            message=f"left out because their embedding rows are equal: {self._named()}" if self.left_out else "a count",
            no_nulls="a count",
        )

    def _named(self) -> str:
        names = [str(token) for token in self.left_out[:_NAMED]]
        more = len(self.left_out) - len(names)
        return listed([*names, f"{more} more"] if more else names)


def equal_rows(matrix: Float[Tensor, "row column"]) -> Bool[Tensor, " row"]:
    """Rows that equal another one, number by number, to 1e-6.

    Projections of equal rows are equal, too: the nearest other row among a few projections is the only one to compare.
    """
    if len(matrix) < 2:
        return torch.zeros(len(matrix), dtype=torch.bool)
    rows, rng = matrix.detach(), generator(0, "equal rows")
    directions = torch.randn(rows.shape[1], _DIRECTIONS, generator=rng, dtype=torch.float64)
    projected = torch.cat([part.cpu().double() @ directions for part in rows.split(_AT_ONCE)]).numpy()
    farthest = EQUAL * float(directions.abs().sum(dim=0).norm())
    nearest = np.asarray(KDTree(projected).query(projected, k=2, distance_upper_bound=farthest)[1])
    own = np.arange(len(rows))
    other = torch.from_numpy(np.where(nearest[:, 0] == own, nearest[:, 1], nearest[:, 0]))
    found = torch.zeros(len(rows), dtype=torch.bool)
    for part in (other < len(rows)).nonzero().flatten().split(_AT_ONCE):  # the others have no neighbour so near
        differences = rows[part].double() - rows[other[part]].double()
        found[part] = (differences.abs().amax(dim=1) <= EQUAL).cpu()
    return found
