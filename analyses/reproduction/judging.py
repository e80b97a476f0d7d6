"""What a figure claims, as conditions on numbers, and what measured numbers say of it. Without torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["reproduced", "differs", "cannot tell", "not reproduced", "not measured"]
CUT_SHORT = ", but its training was cut short"


@dataclass(frozen=True)
class Statistic:
    """A number that a figure is judged by.

    value:      the mean over seeds, or the number of one seed
    low, high:  the 95 % interval over seeds; the number itself where one seed has it, or all of them only together
    n_seeds:    how many; 0 where no training has a part in it
    """

    value: float
    low: float
    high: float
    n_seeds: int

    @classmethod
    def of_one(cls, value: float) -> Statistic:
        return cls(value, value, value, 1)

    @classmethod
    def of_none(cls, value: float) -> Statistic:
        """A number that no training has a part in."""
        return cls(value, value, value, 0)

    def __str__(self) -> str:
        if self.low < self.high:
            return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"
        seeds = {0: "not trained", 1: "one seed"}.get(self.n_seeds, f"{self.n_seeds} seeds")
        return f"{self.value:.3g} ({seeds})"


@dataclass(frozen=True)
class Condition:
    """A bound that a statistic keeps with its whole interval.

    statistic:  its name among those of the figure
    said:       what it is, in words that end a sentence "expected … "
    least, most: the bounds; None: there is none on that side
    detail:     a number that the paper's figure shows beside its claim. Where only details fail, the figure differs
    of:         the key of the need whose models it is a number of; "": of all that the figure has
    """

    statistic: str
    said: str
    least: float | None = None
    most: float | None = None
    detail: bool = False
    of: str = ""

    def __post_init__(self) -> None:
        if self.least is None and self.most is None:
            raise ValueError(f"{self.statistic}: expected a bound")

    def holds(self, found: Statistic) -> bool:
        """False also where the number does not exist."""
        if not math.isfinite(found.low) or not math.isfinite(found.high):
            return False
        return (self.least is None or found.low >= self.least) and (self.most is None or found.high <= self.most)

    def is_left_by(self, found: Statistic) -> bool:
        """Whether the whole interval is beyond a bound. A number that does not exist keeps none."""
        if not math.isfinite(found.low) or not math.isfinite(found.high):
            return True
        return (self.least is not None and found.high < self.least) or (self.most is not None and found.low > self.most)

    def rests_on(self, needs: Collection[str]) -> bool:
        """Whether it is a number of one of these."""
        return self.of in needs if self.of else bool(needs)

    @property
    def bounds(self) -> str:
        if self.least is None:
            return f"at most {self.most:g}"
        return f"at least {self.least:g}" if self.most is None else f"{self.least:g} to {self.most:g}"


@dataclass(frozen=True)
class FigureClaim:
    """A figure of a paper.

    claim:       what it claims, in our words
    conditions:  what must hold of our numbers; written down before them, and the guide says what was changed since
    note:        where text and code of the paper disagree, and which of them is run
    """

    number: int
    title: str
    claim: str
    conditions: tuple[Condition, ...]
    note: str = ""


@dataclass(frozen=True)
class FigureVerdict:
    outcome: Outcome
    because: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.outcome}, because {'; '.join(self.because)}" if self.because else self.outcome


def judge(
    claim: FigureClaim,
    statistics: Mapping[str, Statistic],
    lacking: Mapping[str, str] | None = None,
    *,
    cut_short: Collection[str] = (),
) -> FigureVerdict:
    """Reproduced where every condition holds. It differs where details alone do not hold. Not reproduced where a
    whole interval is beyond a bound of the claim itself. Where an interval has a bound of the claim inside, seeds do
    not agree, and nobody can tell.

    lacking:    of a statistic that does not exist, why
    cut_short:  needs whose trainings ended before their recipe does: that they do not keep a bound says nothing
    """
    if absent := [one for one in claim.conditions if one.statistic not in statistics]:
        why = lacking or {}
        return FigureVerdict(
            "not measured", tuple(f"{one.said}: {why.get(one.statistic, 'was not measured')}" for one in absent)
        )
    failed = [one for one in claim.conditions if not one.holds(statistics[one.statistic])]
    if not failed:
        return FigureVerdict("reproduced")
    unfinished = [one for one in failed if one.rests_on(cut_short)]
    because = tuple(
        f"{one.said} is {statistics[one.statistic]}, expected {one.bounds}{CUT_SHORT if one in unfinished else ''}"
        for one in failed
    )
    finished = [one for one in failed if one not in unfinished]
    if any(one.is_left_by(statistics[one.statistic]) for one in finished if not one.detail):
        return FigureVerdict("not reproduced", because)
    return FigureVerdict("cannot tell" if unfinished or any(not one.detail for one in failed) else "differs", because)
