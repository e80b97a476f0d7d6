"""What became of a figure. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .figure_numbers import FigureNumbers
from .finding import Planned
from .judging import FigureClaim, FigureVerdict

if TYPE_CHECKING:
    from ..reports.record import Record


@dataclass(frozen=True)
class Made:
    """A need's report, or why there is none.

    twin:  the plan of the model that it is compared with, where that is trained, too
    """

    plan: Planned
    report: Record | None
    why: str = ""
    twin: Planned | None = None

    @property
    def cut_short(self) -> bool:
        """Whether a training that it rests on ended before its recipe does."""
        return self.plan.cut_short or (self.twin is not None and self.twin.cut_short)

    def as_dict(self) -> dict[str, Any]:
        plan, report = self.plan, self.report
        return {
            **_trained(plan),
            "probe": plan.need.probe,
            "settings": dict(plan.settings),
            "twin": None if self.twin is None else _trained(self.twin),
            "report": None if report is None else report.key,
            "weights_sha256": [] if report is None else sorted({s["weights_sha256"] for s in report.sources}),
            "why": self.why,
        }


def _trained(plan: Planned) -> dict[str, Any]:
    return {
        "recipe": plan.need.recipe,
        "seeds": list(plan.seeds),
        "steps": list(plan.steps),
        "reduced": plan.reduced,
    }


@dataclass(frozen=True)
class FigureResult:
    """A figure of a paper, from our own models.

    made:  by the keys of its needs
    """

    claim: FigureClaim
    verdict: FigureVerdict
    numbers: FigureNumbers | None
    made: Mapping[str, Made]

    @property
    def reduced(self) -> str:
        """What is less than the full recipes, in words; "" where nothing is."""
        of: dict[str, list[str]] = {}
        for key, one in self.made.items():
            of.setdefault(one.plan.reduced, []).append(key)
            if one.twin is not None:
                of.setdefault(one.twin.reduced, []).append(one.twin.need.key)
        if len(of) == 1:
            return next(iter(of))
        return "; ".join(f"{', '.join(keys)}: {how}" for how, keys in of.items() if how)

    def as_dict(self) -> dict[str, Any]:
        """Everything but what is drawn, which stands in the figure's CSV files."""
        numbers = self.numbers or FigureNumbers({}, ())
        statistics = numbers.statistics
        return {
            "number": self.claim.number,
            "verdict": {"outcome": self.verdict.outcome, "because": list(self.verdict.because)},
            "reduced": self.reduced,
            "conditions": [
                {
                    "statistic": one.statistic,
                    "said": one.said,
                    "bounds": one.bounds,
                    "detail": one.detail,
                    "found": None if (found := statistics.get(one.statistic)) is None else str(found),
                    "holds": found is not None and one.holds(found),
                }
                for one in self.claim.conditions
            ],
            "statistics": {name: asdict(one) for name, one in statistics.items()},
            "lacking": dict(numbers.lacking),
            "notes": list(numbers.notes),
            "made": {key: one.as_dict() for key, one in self.made.items()},
        }
