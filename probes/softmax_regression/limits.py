"""What a report on tasks does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...models.subject import Source
from ..comparing.by_candidate import CANDIDATE, MODEL, OTHER_CANDIDATE
from ..comparing.numbers import number, rounded
from ..comparing.settings import AT_END
from ..comparing.verdicts import verdict
from ..measure import Measure
from .formulas import SMALL_MOVE
from .names import COPY, GD, SMOOTHER, STEPS
from .ranking import Ranking
from .setting_measures import GIVEN
from .splits import recorded_law

HARD_TO_SEPARATE = 0.99
NEAR = 0.9
"""A cosine below this is that of a model whose sensitivities are others, however near its predictions are."""
VACUOUS = 2
"""Orders of magnitude by which the paper's constant exceeds the tight bound before it is called vacuous."""
NEAR_IDENTITY = 0.5
"""A block of W_KQ that is no farther than this from a multiple of the identity attends by similarity."""
HIGH = 0.5
"""A cosine below this needs no warning that other solutions have one as high."""
AS_HIGH = 0.05
"""By so much a candidate's cosine may be lower than the model's and still count as like it."""
THEOREMS = (
    "The theorems of Li et al. bound both shifts by the same kind of constant. They do not say that the shifts are"
    " equal: how equal they are here is the cosine between them, {}."
)
TIED = "The scale of W_KQ is no gauge of softmax attention: read a barrier beside the losses at both ends."


def limits(order: Ranking, sources: tuple[Source, ...], tasks_file: str | None) -> tuple[str, ...]:
    """All limits of one claim."""
    measures = order.measures
    return (
        *_theorems(measures),
        *_right_answers(order),
        *_premises(measures),
        *_paper_constant(measures),
        *_better_than_the_step(order),
        *_copying(order),
        *_two_solutions(measures),
        *_fitted_smoother(order),
        *_other_sensitivities(order),
        *_hard_to_separate(order),
        *_at_end(measures),
        *_not_settled(measures),
        *([TIED] if measures["loss_path"].has_number else []),
        *_about_tasks(order, sources, tasks_file),
        *dict.fromkeys(note for source in sources for note in source.notes),
    )


def _theorems(measures: Mapping[str, Measure]) -> list[str]:
    cosine = measures["shift_cosine"]
    return [THEOREMS.format(number(cosine) if cosine.has_number else "which has no number")]


def _right_answers(order: Ranking) -> list[str]:
    """A high cosine between the shifts says little where whatever solves the task has one."""
    own, others = order.measures["shift_cosine"], order.measures["candidate_shift_cosine"].apart()
    if not own.has_number or own.estimate < HIGH:
        return []
    fitted_to_the_model = (SMOOTHER.name,)  # which therefore shifts as the model does, whatever that is
    as_high = {
        name: other.estimate
        for name, other in others.items()
        if name not in (*STEPS, *fitted_to_the_model) and other.has_number and other.estimate > own.estimate - AS_HIGH
    }
    if not as_high:
        return []
    each = ", ".join(f"{order.title(name)} {rounded(cosine)}" for name, cosine in as_high.items())
    return [
        "Whatever solves these tasks shifts the targets nearly as the gradient step does, so that this cosine does not"
        f" tell how they are solved: {each}."
    ]


def _premises(measures: Mapping[str, Measure]) -> list[str]:
    """Named where a task violates one."""
    violated = []
    for moved, what in (("x", "one gradient step"), ("A", "what the model writes")):
        share, move = measures[f"premise_{moved}"], measures[f"largest_move_{moved}"]
        if share.has_number and share.estimate < 1:
            violated.append(
                f"{what} moves an entry by more at {100 * (1 - share.estimate):.3g} % of the tasks (by"
                f" {rounded(move.estimate)} on average)"
            )
    if not violated:
        return []
    return [
        f"Premise violated: the theorems are for moves that change no entry of A x by {SMALL_MOVE:g}, but"
        f" {' and '.join(violated)}. There they say nothing; the tight bounds |A|/2 and |x|/2 hold."
    ]


def _paper_constant(measures: Mapping[str, Measure]) -> list[str]:
    orders = {
        moved: measures[f"log10_paper_bound_{moved}"].estimate - np.log10(measures[f"bound_{moved}"].estimate)
        for moved in "xA"
        if measures[f"log10_paper_bound_{moved}"].has_number
    }
    if not orders or max(orders.values()) < VACUOUS:
        return []
    powers = " and ".join(f"10^{measures[f'log10_paper_bound_{moved}'].estimate:.0f} for {moved}" for moved in orders)
    least, most = (f"{end(orders.values()):.0f}" for end in (min, max))
    by = least if least == most else f"{least} to {most}"
    return [
        f"The paper's constant n^1.5 exp(10 R²) is vacuous here: {powers}, {by} orders of magnitude above the tight"
        " bound."
    ]


def _better_than_the_step(order: Ranking) -> list[str]:
    """A layer that is better than the step is not the step, and the nearer to the one the farther from the other."""
    ratio, cosine = order.loss_over_gd, order.of("cosine", GD.name)
    if not ratio.high < 1:
        return []
    words = f"The model's loss is {ratio} of that of one gradient step: it does something else than the step"
    return [f"{words}, and its cosine to it, {number(cosine)}, can fall while it gets better." if cosine.has_number
            else f"{words}."]  # fmt: skip


def _copying(order: Ranking) -> list[str]:
    copy, step = (order.of("loss", name).estimate for name in (COPY.name, GD.name))
    if not copy < step:
        return []
    return [
        f"Copying b, which does not look at A, has a loss of {rounded(copy)}, below that of one gradient step"
        f" ({rounded(step)}): a low loss on these tasks does not show that anything was made of A."
    ]


def _two_solutions(measures: Mapping[str, Measure]) -> list[str]:
    """Seeds on both sides: W_KQ and w_V may change sign together, which to first order changes nothing."""
    points, distances = (measures[name].points for name in ("KQ_diagonal", "KQ_identity_distance"))
    if points is None or distances is None:
        return []
    signs = np.sign(points[distances < NEAR_IDENTITY])  # before training the diagonal has some sign by chance
    near, far = int((signs > 0).sum()), int((signs < 0).sum())
    if not (near and far):
        return []
    return [
        f"The seeds found two solutions: {near} attend{'s' * (near == 1)} to similar tokens, {far} to unlike ones."
        " Means over both describe neither; look at the points."
    ]


def _fitted_smoother(order: Ranking) -> list[str]:
    if order.closest != SMOOTHER.name:
        return []
    return [
        "Kernel smoothing has two settings that were fitted to the model's own predictions, on other tasks; those of"
        " the other candidates were fitted to the loss."
    ]


def _other_sensitivities(order: Ranking) -> list[str]:
    """Predictions that agree while their sensitivities do not."""
    cosine = order.of("cosine", order.closest)
    if verdict(order.unexplained(order.closest)) != "agrees" or not cosine.has_number or not cosine.interval[1] < NEAR:
        return []
    return [
        f"The predictions agree with {order.title(order.closest)}, the sensitivities less: their cosine is"
        f" {number(cosine)}."
    ]


def _hard_to_separate(order: Ranking) -> list[str]:
    cosines = order.measures["candidate_cosines"]
    if order.closest not in cosines.labels(CANDIDATE):
        return []
    beside = cosines.sel(**{CANDIDATE: order.closest})
    alike = [
        name
        for name in order.names
        if name != order.closest and beside.sel(**{OTHER_CANDIDATE: name}).estimate > HARD_TO_SEPARATE
    ]
    if not alike:
        return []
    titles = ", ".join(order.title(name) for name in alike)
    return [f"On these tasks the sensitivities of {order.title(order.closest)} hardly differ from those of {titles}."]


def _at_end(measures: Mapping[str, Measure]) -> list[str]:
    rates = measures["learning_rate"].apart()
    found = [name for name, rate in rates.items() if AT_END in rate.message]
    if not found:
        return []
    return [f"The fitted step of {', '.join(found)} lies {AT_END}: a better one may lie beyond."]


def _not_settled(measures: Mapping[str, Measure]) -> list[str]:
    share = measures["exact_settled"].estimate
    if share == 1:
        return []
    return [
        f"At {100 * (1 - share):.3g} % of the tasks the search for the exact solution stopped where the gradient has"
        " not vanished."
    ]


def _about_tasks(order: Ranking, sources: tuple[Source, ...], tasks_file: str | None) -> list[str]:
    found = []
    if order.of("loss", MODEL).n == 1 and order.of("loss", MODEL).replicate == "task":
        found.append("A single task has no interval, and settings were fitted on it.")
    if tasks_file is None and not recorded_law(sources[0].record):
        found.append("The checkpoint does not say what it was trained on: mesascope drew tasks of its own.")
    if order.measures["learning_rate"].sel(**{CANDIDATE: GD.name}).message == GIVEN:
        found.append("The learning rate of one gradient step was given, not fitted: another may have a lower loss.")
    return found
