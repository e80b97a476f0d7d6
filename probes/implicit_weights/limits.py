"""What a report of implicit-weights does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from ...models.subject import Source
from ..comparing.numbers import rounded
from ..comparing.settings import AT_END
from ..comparing.verdicts import percent
from ..regression.limits import notes, turned
from ..regression.reading_measures import assumed_layout, found_layout, in_words
from .measures import IN_WEIGHTS
from .names import BY_NAME, LAYER, OUTPUT, RULE
from .setting_measures import SETTINGS
from .standing import Standing

NOT_STEPS = "A model that is near a rule's need not have come from that rule's steps: W is where a layer is, not how."
OTHER_RULES = "Other rules than those of the table were not tried."
OTHER_TASKS = "On tasks of another law other rules may be nearer."
FILE_LAW = "The law of the tasks in the file is not known, so nothing is said of others like them."
SLOPE = "W is the slope of the answer at each task's own query. Elsewhere the answer may have another."
SELF = "The query attends to itself, so its answer is cubic in x. At other queries a matrix explains {} of it."
ONE_READ_OUT = "mesascope sees one read-out of this function, and no state that it could exchange."
ONE_LAYER = "With one layer nothing works on from its model, so nothing was exchanged."
NOTHING_MOVED = "Putting another task's model in did not move the answers, so nothing is known of later layers."
BY_CONSTRUCTION = (
    "Exchanged at the query alone, the model moves the answer by {slope} times what it would answer itself. That is no"
    " finding: untrained models do the same, because later layers hardly read the query's label."
)


def limits(held: Standing, sources: tuple[Source, ...], tasks_file: str | None, sign: int | None) -> tuple[str, ...]:
    """All limits of one claim."""
    named = any(one.called == "agrees" for one in held.layers)
    return (
        *([NOT_STEPS] if named else []),
        OTHER_RULES,
        *([FILE_LAW] if tasks_file is not None else [OTHER_TASKS]),
        *_slope(held),
        *([SELF.format(percent(held.linearity))] if sources[0].facts.get("query_in_context") and cubic(held) else []),
        *_equals(held),
        *_steps(held),
        *_at_end(held),
        *_exchange(held),
        *_layout(held),
        *turned(held.measures, sign),
        *notes(sources),
    )


def _slope(held: Standing) -> list[str]:
    return [SLOPE] if IN_WEIGHTS not in held.measures["linearity"].message else []


def cubic(held: Standing) -> bool:
    return held.linearity.value > 0


def _equals(held: Standing) -> list[str]:
    """Rules that are as near to the output's model."""
    output = held.output
    if not output.equals or output.called == "none":
        return []
    titles = [BY_NAME[name].title(held.steps(name, output.place)[1]) for name in output.equals]
    *others, last = titles
    said = f"{', '.join(others)} and {last}" if others else last
    return [f"As near to the output, with no fewer fitted settings: {said}."]


def _steps(held: Standing) -> list[str]:
    """How well the number of steps is known."""
    output = held.output
    measure = held.measures["steps"]
    if output.called == "none" or output.rule not in measure.labels(RULE) or measure.points is not None:
        return []
    steps = measure.sel(**{RULE: output.rule}).at(layer=output.place)
    fewest, most = (int(end) for end in steps.interval)
    if fewest == most:
        return []
    return [f"{fewest} to {most} steps are about as near to the output as {int(steps.estimate)} on the tuning tasks."]


def _at_end(held: Standing) -> list[str]:
    output = held.output
    kinds = [held.measures[kind] for kind in SETTINGS if kind in held.measures]
    parts = [kind.sel(**{RULE: output.rule}) for kind in kinds if output.rule in kind.labels(RULE)]
    if output.called == "none" or not any(AT_END in part.message for part in parts):
        return []
    return [f"A setting of {BY_NAME[output.rule].words} lies at the end of its range: the rule is then its own limit."]


def _exchange(held: Standing) -> list[str]:
    """What the causal check leaves open."""
    if held.output.label == OUTPUT:
        return [ONE_READ_OUT]
    if len(held.layers) == 1:
        return [ONE_LAYER]
    if not held.exchanged:
        return [NOTHING_MOVED]
    n_layers, found = len(held.layers), held.measures["exchange_followed"]
    exchanged = len(found.labels(LAYER))
    some = [f"Models were exchanged after {exchanged} of {n_layers - 1} layers."] if exchanged < n_layers - 1 else []
    slope = held.slope()
    if slope is None or abs(slope.estimate - 1) > 0.05:
        return some
    return [*some, BY_CONSTRUCTION.format(slope=rounded(slope.estimate))]


def _layout(held: Standing) -> list[str]:
    found, assumed = found_layout(held.measures), assumed_layout(held.measures)
    if assumed is not None:
        return [f"mesascope assumed {in_words(assumed)}. These tasks do not show how the model reads them."]
    return [] if found is None else [f"By the labels of the tuning tasks the model reads {in_words(found.name)}."]
