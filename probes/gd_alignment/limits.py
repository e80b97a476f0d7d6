"""What a report of gd-alignment does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Mapping

from ...models.subject import Source
from ..measure import Measure
from .behaviour_measures import OTHER_CANDIDATE
from .names import CANDIDATE, MODEL
from .ranking import Ranking
from .splits import recorded_law

HARD_TO_SEPARATE = 0.99


def limits(
    order: Ranking, sources: tuple[Source, ...], tasks_file: str | None, law: Mapping[str, float]
) -> tuple[str, ...]:
    """All limits of one claim. `law`: what the user changed of the law of generated tasks."""
    layers = sources[0].facts.get("n_layers")
    return (
        "Agreement on these tasks does not show that the model computes what the closest candidate computes.",
        *([_one_layer(order.measures)] if layers == 1 else []),
        *_hard_to_separate(order),
        "A cosine compares directions only. Read the norm ratio and the prediction difference, too.",
        *_barriers(order.measures, layers),
        *(_about_file(order) if tasks_file is not None else _about_law(sources, law)),
        *notes(sources),
    )


def notes(sources: tuple[Source, ...]) -> tuple[str, ...]:
    """What reading the checkpoints left to say, each once."""
    return tuple(dict.fromkeys(note for source in sources for note in source.notes))


def _one_layer(measures: Mapping[str, Measure]) -> str:
    words = "With one layer the sensitivity cosine does not depend on the learning rate"
    if "cosine_by_gd_rate" not in measures:
        return f"{words}."
    rates = measures["cosine_by_gd_rate"]
    cosines = ", ".join(f"{value:.4f}" for value in rates.values)
    factors = ", ".join(f"{factor:g}" for factor in rates.labels("rate_factor"))
    return f"{words}: at {factors} times the fitted rate it is {cosines}."


def _hard_to_separate(order: Ranking) -> list[str]:
    cosines = order.measures["candidate_cosines"].sel(**{CANDIDATE: order.closest})
    others = [name for name in order.names if not order.same_hypothesis(name)]
    alike = [name for name in others if cosines.sel(**{OTHER_CANDIDATE: name}).estimate > HARD_TO_SEPARATE]
    if not alike:
        return []
    titles = ", ".join(order.title(name) for name in alike)
    return [
        f"By sensitivity cosine these tasks hardly separate {order.title(order.closest)} from {titles}"
        f" (cosines above {HARD_TO_SEPARATE})."
    ]


def _barriers(measures: Mapping[str, Measure], layers: int | None) -> list[str]:
    if not measures["barrier"].has_number:
        return []
    read = "A barrier alone is no evidence. Read the losses at both ends and the weight distance, too."
    convex = "With one layer a zero barrier is no evidence: the loss is convex along the mixture of both models."
    return [read, *([convex] if layers == 1 else [])]


def _about_file(order: Ranking) -> list[str]:
    loss = order.of("loss", MODEL)
    single = loss.replicate == "task" and loss.n == 1
    return ["With a single task, settings were fitted on the very task that is evaluated."] * single


def _about_law(sources: tuple[Source, ...], law: Mapping[str, float]) -> list[str]:
    """What was assumed about the tasks, or asked for instead of those of training."""
    asked = ", ".join(f"{name} = {value:g}" for name, value in law.items())
    if not all(recorded_law(source.record) for source in sources):
        used = f"the paper's tasks, changed to {asked}" if asked else "the paper's tasks with N = d_in"
        return [f"The checkpoint does not record its training tasks. mesascope drew {used}."]
    return [f"The tasks are not those of training: you asked for {asked}."] * bool(asked)
