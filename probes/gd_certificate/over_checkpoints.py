"""What several steps show together: at which levels training rests, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..probe import Checkpoint, OverTraining
from .resting import Run, runs_of
from .resting_measures import no_plateaus, plateau_measures

COARSE = 0.25
"""Decades. A plateau so long could be seen on a figure; steps between which one could lie unseen tell little."""
ONE_AFTER_ANOTHER = "of a training that learns one direction after another"
NOTHING_BETWEEN = "between its beginning and its end there is no plateau of"
DIRECTIONS = (
    "That the loss rests at a level does not show which direction was learned: read `effective_matrix` at these steps."
)
LEVELS = (
    "The levels are those of heads of rank one that start small and follow the gradient of the expected loss. Another"
    " training may pass them without a rest."
)
UNSEEN = "A plateau between two checkpoints is not seen: where the loss falls, they are up to {:.2g} decades apart."


def over_checkpoints(checkpoints: Sequence[Checkpoint]) -> OverTraining:
    """Measures of plateaus, and sentences where they can be told; nothing of a single step."""
    if len({one.source.step for one in checkpoints}) < 2:
        return OverTraining()
    runs = runs_of(checkpoints)
    if isinstance(runs, str):
        return OverTraining(no_plateaus(runs))
    return OverTraining(plateau_measures(runs), " ".join(_sentences(runs)), limits=tuple(_limits(runs)))


def _sentences(runs: Sequence[Run]) -> list[str]:
    """One for each kind of training among the seeds."""
    every = [run for run in runs if len(run.rests) == len(run.levels)]
    some = [run for run in runs if run.in_between and run not in every]
    drops = [run for run in runs if not (run.in_between or run.between)]
    others = [run for run in runs if run.between and not run.in_between]
    kinds = ((every, _every), (some, _some), (drops, _drops), (others, _others))
    return [f"{_where(held, runs)} {words(held)}" for held, words in kinds if held]


def _where(held: Sequence[Run], runs: Sequence[Run]) -> str:
    return f"In {len(held)} of {len(runs)} seeds the expected loss" if len(runs) > 1 else "The expected loss"


def _every(runs: Sequence[Run]) -> str:
    levels = runs[0].levels
    furthest = max(abs(run.off(level, one)) for run in runs for level in run.rests if (one := run.at(level)))
    return f"rests at all {len(levels)} levels {ONE_AFTER_ANOTHER} ({_listed(levels)}), within {_percent(furthest)}."


def _some(runs: Sequence[Run]) -> str:
    counts = sorted({len(run.rests) for run in runs})
    n = len(runs[0].levels)
    said = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    levels = "" if len(counts) > 1 else _losses(runs)
    return f"rests at {said} of the {n} levels {ONE_AFTER_ANOTHER}{levels}."


def _losses(runs: Sequence[Run]) -> str:
    """Of a single training, or of several that rest at the same levels, which these are."""
    if len({run.rests for run in runs}) > 1:
        return ""
    return f" ({_listed(runs[0].levels[list(runs[0].rests)])})"


def _listed(losses: Iterable[float]) -> str:
    return ", ".join(f"{loss:.3g}" for loss in losses)


def _drops(runs: Sequence[Run]) -> str:
    least = max(run.resolution for run in runs)
    said = ", as far as these steps tell" * (least > COARSE)
    return f"falls in one drop{said}: {NOTHING_BETWEEN} {least:.2g} decades or more."


def _others(runs: Sequence[Run]) -> str:
    losses = sorted(plateau.loss for run in runs for plateau in run.between)
    said = _listed(losses) if len(losses) == 1 else f"{losses[0]:.3g} to {losses[-1]:.3g}"
    return f"rests in between, at {said}, and at none of the levels {ONE_AFTER_ANOTHER}."


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _limits(runs: Sequence[Run]) -> list[str]:
    rests = any(run.in_between for run in runs)
    skips = any(len(run.rests) < len(run.levels) for run in runs)
    apart = max(run.resolution for run in runs) / 2
    return [*([DIRECTIONS] if rests else []), *([LEVELS, UNSEEN.format(apart)] if skips else [])]
