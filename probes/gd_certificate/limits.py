"""What a certificate does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...models.subject import Source
from ..comparing.verdicts import AGREES
from ..measure import Measure
from ..regression.splits import recorded_law
from .names import GD, PRECONDITIONED
from .verdicts import Verdict

WEIGHTS = (
    "A certificate is about weights. How near the model's predictions are to those of other algorithms is what"
    " gd-alignment measures."
)
EXPECTED = (
    "That one trained layer of linear attention is such a step is expected: for these tasks no other weights are better"
    " (Mahankali et al. 2024)."
)
LABEL = "The label is taken to stand last in a token, and the answer to be minus the query's last entry."
CLIP = "The model clips its activations. Where it does, it computes something else than its weights say."
SELF = "The query attends to itself. What that adds is not counted."
ZHANG = "Zhang et al. 2024 assume Gaussian inputs and labels without noise. Their optimum is not that of this law."
CHANCE = "With one or two inputs, weights may be near a step by chance. Read how near untrained ones are."
SINGULAR = "Inputs have {:.0f} of {} directions. What the weights do in the others was left out."


def limits(
    measures: Mapping[str, Measure],
    found: Sequence[Verdict],
    sources: tuple[Source, ...],
    covariance: str | None,
    n_context: int | None,
) -> tuple[str, ...]:
    """All limits of one claim."""
    return (
        *([WEIGHTS] if any(verdict.called in ("step", "closest") for verdict in found) else []),
        *_expected(measures, found),
        *([LABEL] if any(verdict.called in ("none", "closest") for verdict in found) else []),
        *([CHANCE] if sources[0].facts["d_in"] <= 2 and any(v.called not in ("none", "empty") for v in found) else []),
        *_no_optimum(measures),
        *_zhang(measures),
        *_law(sources, covariance, n_context),
        *_singular(measures, sources[0].facts),
        *([CLIP] if sources[0].facts.get("activation_clip") is not None else []),
        *([SELF] if sources[0].facts.get("query_in_context") else []),
        *dict.fromkeys(note for source in sources for note in source.notes),
    )


def _expected(measures: Mapping[str, Measure], found: Sequence[Verdict]) -> list[str]:
    """A layer at its optimum has done no more than train well."""
    distance = measures["optimum_distance"]
    is_step = found[0].called == "step" and found[0].form in (GD, PRECONDITIONED)
    return [EXPECTED] if is_step and distance.has_number and distance.estimate <= AGREES else []


def _no_optimum(measures: Mapping[str, Measure]) -> list[str]:
    distance = measures["optimum_distance"]
    return [] if distance.has_number else [f"There is no distance from an optimum: {distance.message}."]


def _zhang(measures: Mapping[str, Measure]) -> list[str]:
    """Where the best layer for Gaussian inputs is not the best one here."""
    own, gaussian = measures["optimum_distance"], measures["gaussian_optimum_distance"]
    return [ZHANG] if own.has_number and own.estimate != gaussian.estimate else []


def _singular(measures: Mapping[str, Measure], facts: Mapping[str, Any]) -> list[str]:
    rank, d_in = measures["input_rank"], facts["d_in"]
    return [SINGULAR.format(rank.estimate, d_in)] if rank.has_number and rank.estimate < d_in else []


def _law(sources: tuple[Source, ...], covariance: str | None, n_context: int | None) -> list[str]:
    """What was assumed of the tasks instead of what is recorded."""
    given = ["Inputs were taken to be Gaussian, with the covariance that you gave."] if covariance is not None else []
    recorded = {recorded_law(source.record).get("n_context") for source in sources} - {None, n_context}
    changed = n_context is not None and recorded
    return given + ([f"N is not that of training: you asked for N = {n_context}."] if changed else [])
