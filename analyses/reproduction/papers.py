"""The papers that can be reproduced, by name. Without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...data.errors import UsageError, nearest
from .judging import FigureClaim
from .needs import Need
from .von_oswald_claims import CLAIMS
from .von_oswald_needs import NEEDS, OF_FIGURES


@dataclass(frozen=True)
class Paper:
    """A paper.

    name:    what the command line calls it
    title:   with authors, year and number
    claims:  what its figures claim, by number
    needs:   of all figures, by key
    of_figures:  keys of needs, by figure
    """

    name: str
    title: str
    claims: Mapping[int, FigureClaim]
    needs: Mapping[str, Need]
    of_figures: Mapping[int, tuple[str, ...]]

    def chosen(self, figures: Iterable[int]) -> tuple[int, ...]:
        """Numbers of figures in order; none are asked for: all. UsageError for one that the paper does not have."""
        asked = sorted(set(figures))
        for number in asked:
            if number not in self.claims:
                raise UsageError(
                    f"figure {number}: {self.name} has figures {min(self.claims)} to {max(self.claims)}; choose among"
                    " them, or leave --figure out for all"
                )
        return tuple(asked or sorted(self.claims))

    def needs_of(self, figures: Iterable[int]) -> list[Need]:
        """Each need once, in the order of the figures."""
        return [self.needs[key] for key in dict.fromkeys(key for number in figures for key in self.of_figures[number])]


VON_OSWALD_2023 = Paper(
    "von-oswald-2023",
    "von Oswald et al. 2023, Transformers learn in-context by gradient descent (arXiv 2212.07677)",
    {claim.number: claim for claim in CLAIMS},
    NEEDS,
    OF_FIGURES,
)
PAPERS = {paper.name: paper for paper in (VON_OSWALD_2023,)}


def paper_named(name: str) -> Paper:
    if name not in PAPERS:
        raise UsageError(f"paper {name!r} cannot be reproduced; {nearest(name, PAPERS)}")
    return PAPERS[name]
