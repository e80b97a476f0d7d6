"""The claim card: every sentence and every limit where it holds, and only there. Measures are made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.runs.aggregation import mean_over
from mesascope.models import Source
from mesascope.probes import Claim, Measure
from mesascope.probes.implicit_weights.claim import weights_claim
from mesascope.probes.implicit_weights.exchange_measures import no_exchange
from mesascope.probes.implicit_weights.measures import AT_QUERY, IN_WEIGHTS, not_measured
from mesascope.probes.implicit_weights.names import PLACES
from mesascope.probes.implicit_weights.standing import Standing
from mesascope.probes.measure import along, missing, without_interval

SETTINGS = {"gd": 2, "preconditioned": 6, "gdpp": 3, "newton": 2, "ridge": 1, "min_norm": 0}
SOURCE = Source("model", layout="mesascope", notes=("a note",), facts={"n_layers": 2})
DISTANCES = {"gd": (0.02, 0.16), "preconditioned": (0.018, 0.5), "gdpp": (np.nan, 0.05), "ridge": (0.6, 0.2)}


def by_layer(values: Sequence[float], half: float = 0.001, labels: Any = None, **changed: Any) -> Measure:
    held = np.array(values, dtype=float)
    fields: dict[str, Any] = {
        "unit": "x", "interval": (held - half, held + half), "replicate": "task", "n": 500, "axes": ("layer",),
        "coords": {"layer": labels or tuple(range(len(held)))}, "no_nulls": "none",
        "message": "unfitted" if np.isnan(held).any() else "",
    }  # fmt: skip
    return Measure(held, **(fields | changed))


def made_up(
    distances: Mapping[str, Sequence[float]] = DISTANCES,
    steps: Mapping[str, Sequence[int]] | None = None,
    ends: Mapping[str, tuple[int, int]] | None = None,
    untrained: Mapping[str, Sequence[float]] | None = None,
    followed: tuple[float, float, float] | None = (1.0, 0.97, 0.96),
    others: float = 0.04,
    half: float = 0.001,
    labels: Any = None,
    **changed: Measure,
) -> dict[str, Measure]:
    """followed: by place; others: the same of untrained models."""
    n = len(next(iter(distances.values())))
    counts = {"gd": range(1, n + 1), "gdpp": range(1, n + 1), "newton": [2] * n} | dict(steps or {})
    nulls = {name: {"untrained": np.full((2, n), np.nan)} for name in untrained or {}}
    for name, drawn in (untrained or {}).items():
        nulls[name]["untrained"][:, -1] = drawn
    away = {
        name: by_layer(values, half, labels, nulls=nulls.get(name, {}), no_nulls="" if name in nulls else "none")
        for name, values in distances.items()
    }
    taken = {}
    for name, count in counts.items():
        low, high = (ends or {}).get(name, (None, None))
        found = np.array(list(count), dtype=float)
        interval = (found if low is None else found * 0 + low, found if high is None else found * 0 + high)
        taken[name] = by_layer(found, labels=labels, interval=interval)
    absent = {name: missing("relative distance", "not applicable", "one layer") for name in SETTINGS}
    measures = {
        "weight_distance": along("rule", absent | away),
        "loss": by_layer([0.4] * (n - 1) + [0.1], labels=labels),
        "linearity": by_layer([1.0] * n, 0.0, labels, message=IN_WEIGHTS),
        "fitted_settings": along("rule", {name: without_interval(np.array(float(count)), "number", message="counted",
                                                                 no_nulls="none") for name, count in SETTINGS.items()}),
        "steps": along("rule", taken),
        "learning_rate": along("rule", {"gd": by_layer([2.0] * n, labels=labels)}),
        "descent_gamma": without_interval(np.array(0.0), "gamma", message="0: gradient descent", no_nulls="none"),
        "readout_sign": without_interval(np.array(1.0), "sign", message="found", no_nulls="none"),
        "token_layout": without_interval(np.ones(1), "1: used", ("token_layout",), {"token_layout": ("joint-3",)},
                                         message="the layout was given, so none was tried", no_nulls="none"),
        "layout_gain": missing("share", "not applicable", "the layout was given, so none was tried"),
    }  # fmt: skip
    if followed is None or n == 1:
        return measures | no_exchange("no layer follows") | changed
    parts = dict(zip(PLACES, ([value] * (n - 1) for value in followed), strict=True))
    drawn = {"untrained": np.full((2, n - 1), others)}
    exchanged = {place: by_layer(value, nulls=drawn, no_nulls="") for place, value in parts.items()}
    slope = {place: by_layer([1.0] * (n - 1)) for place in PLACES}
    return measures | {
        "exchange_followed": along("place", exchanged), "exchange_slope": along("place", slope),
        "residual_share": by_layer([0.9] * (n - 1)),
    } | changed  # fmt: skip


def card(measures: Mapping[str, Measure], tasks: str | None = None, sign: int | None = None, **facts: Any) -> Claim:
    source = Source("model", layout="mesascope", notes=("a note",), facts={"n_layers": 2} | facts)
    return weights_claim(measures, (source, source), tasks, sign)


def limits(measures: Mapping[str, Measure], tasks: str | None = None, sign: int | None = None, **facts: Any) -> str:
    return " ".join(card(measures, tasks, sign, **facts).limits)


# -- what was found ----------------------------------------------------------------------------------------------------


def test_each_layer_is_named() -> None:
    claim = card(made_up())
    assert claim.found == (
        "After layer 1: 1 step of gradient descent (2.0 % (95 % CI 1.9 to 2.1) away); after layer 2: 2 steps of GD++"
        " (5.0 % (95 % CI 4.9 to 5.1) away). Later layers continue from this model: with another task's model put into"
        " the context, gradient descent from there predicts 97.0 % (95 % CI 96.9 to 97.1) of the change in the answer."
    )
    assert claim.badge == "Output: 2 steps of GD++, 5.0 % away"
    assert claim.rival == "Next for the output: 2 steps of gradient descent (16.0 % away)."
    assert claim.evidence.startswith("500 tasks that nothing was fitted on. Loss of the output 0.100")
    assert "Residuals y − W x explain 90.0 % (95 % CI 89.9 to 90.1) of what layers add" in claim.evidence


def test_of_equals_the_one_with_the_fewest_settings_is_named() -> None:
    held = Standing(made_up())
    assert held.layers[0].rule == "gd"  # the preconditioned step is nearer, by .002
    assert held.layers[0].equals == ("preconditioned",)
    apart = Standing(made_up(DISTANCES | {"preconditioned": (0.005, 0.5)}))
    assert apart.layers[0].rule == "preconditioned"


def test_layers_that_are_called_the_same_are_told_together() -> None:
    claim = card(made_up({"gd": (0.01, 0.02, 0.03, 0.04), "ridge": (0.6, 0.5, 0.4, 0.3)}))
    assert claim.found.startswith("After layers 1 to 4: 1 to 4 steps of gradient descent (at most 4.0 %")
    many = {"gd": [0.01, 0.9] * 4, "ridge": [0.9, 0.01] * 4}
    told = card(made_up(many)).found.partition(". Later")[0]
    assert told.count(";") == 3
    assert "… after layer 8: ridge regression" in told


@pytest.mark.parametrize(("distances", "words", "badge"), [
    ((0.2, 0.3), "After layers 1 to 2: closest to 1 to 2 steps of gradient descent, but at most 30.0 %",
     "Output closest to 2 steps of gradient descent, 30.0 % away"),
    ((0.8, 0.7), "After layers 1 to 2: no rule, even 2 steps of gradient descent is 70.0 %", "Output: no rule"),
])  # fmt: skip
def test_other_verdicts(distances: tuple[float, float], words: str, badge: str) -> None:
    claim = card(made_up({"gd": distances, "ridge": (0.95, 0.95)}))
    assert claim.found.startswith(words)
    assert claim.badge == badge


def test_untrained_models_that_are_as_near() -> None:
    near, far = made_up(untrained={"gdpp": [0.08, 0.3]}), made_up(untrained={"gdpp": [0.9, 0.95]})
    assert "away, and so are untrained models)" in card(near).found
    assert card(near).badge.endswith("and so are untrained models")
    assert "so are untrained" not in card(far).found + card(far).badge
    assert "Untrained models, fitted again, are at least 90 % from GD++." in card(far).rival


def test_answers_that_are_not_linear() -> None:
    words = "The model's answer is not linear in the query: a matrix explains"
    cubic = made_up(linearity=by_layer([1.0, 0.6], message=AT_QUERY))
    assert card(cubic).found.startswith(f"{words} 60.0 % of it at other queries.")
    assert card(cubic).badge == "The answer is not linear in the query"
    worse = made_up(linearity=by_layer([1.0, -3.0], message=AT_QUERY))
    assert card(worse).found.startswith(f"{words} nothing of it")
    assert words not in card(made_up()).found


def test_a_wrapped_function() -> None:
    one = made_up({"min_norm": [0.001], "ridge": [0.2]}, labels=("output",))
    claim = card(one)
    assert claim.found.startswith("The answer: minimum-norm least squares (")
    assert claim.badge.startswith("Answer: minimum-norm least squares")
    assert "no state that it could exchange" in limits(one)


def test_nothing_to_name() -> None:
    reason = "no gradient reaches the query; --sensitivities differences takes them without one"
    claim = card(not_measured(reason) | no_exchange(reason))
    assert (claim.badge, claim.limits) == ("Not applicable", ("a note",))
    assert claim.found == f"The model's weights were not found: {reason}."
    diverging = missing("half squared label", "undefined", "not finite")
    assert card(made_up(loss=diverging)).badge == "Answers are not finite"
    empty = made_up({"gd": (np.nan, np.nan)})
    assert card(empty).badge == "No weights"


# -- the exchange ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("followed", "others", "half", "shown"), [
    ((1.0, 0.97, 0.96), 0.04, 0.001, True),
    ((1.0, 0.89, 0.96), 0.04, 0.001, False),   # too little in the context
    ((1.0, 0.97, 0.5), 0.04, 0.001, False),    # not as if the model had come there
    ((1.0, 0.97, 0.96), 0.95, 0.001, False),   # untrained models do it, too
])  # fmt: skip
def test_whether_later_layers_continue(
    followed: tuple[float, float, float], others: float, half: float, shown: bool
) -> None:
    found = card(made_up(followed=followed, others=others, half=half)).found
    assert ("Later layers continue from this model" in found) == shown
    assert ("does not show that later layers continue" in found) == (not shown)


def test_after_which_layer_it_is_least() -> None:
    distances = {"gd": (0.01, 0.01, 0.01), "ridge": (0.5, 0.5, 0.5)}
    continuing = card(made_up(distances))
    assert "predicts at least 97.0 %" in continuing.found
    followed = along("place", {place: by_layer([0.95, 0.3]) for place in PLACES})
    assert (
        "with another task's in the context after layer 2, gradient"
        in card(made_up(distances, exchange_followed=followed)).found
    )
    assert "at least" not in card(made_up()).found.partition("Later")[2]


def test_which_descent_they_continue_with() -> None:
    gamma = without_interval(np.array(0.2), "gamma", message="GD++", no_nulls="none")
    assert "GD++ from there predicts" in card(made_up(descent_gamma=gamma)).found
    assert "gradient descent from there predicts" in card(made_up()).found


def test_nothing_is_said_of_an_exchange_that_there_was_not() -> None:
    alone = made_up({"gd": [0.02], "ridge": [0.5]})
    assert "layers continue" not in card(alone).found
    assert "nothing works on from its model" in limits(alone)
    assert "nothing works on from its model" not in limits(made_up())


def test_an_exchange_that_moves_nothing() -> None:
    still = along("place", {place: missing("share", "undefined", "nothing moved") for place in PLACES})
    held = made_up(exchange_followed=still, exchange_slope=still)
    assert "did not move the answers" in limits(held)
    assert "layers continue" not in card(held).found
    assert "did not move" not in limits(made_up())


def test_the_query_alone_is_by_construction() -> None:
    words = "That is no finding: untrained models do the same"
    assert words in limits(made_up())
    other = along("place", {place: by_layer([0.6]) for place in PLACES})
    assert words not in limits(made_up(exchange_slope=other))


# -- limits ------------------------------------------------------------------------------------------------------------


def test_a_model_is_no_way_to_it() -> None:
    words = "need not have come from that rule's steps"
    assert words in limits(made_up())
    assert words not in limits(made_up({"gd": (0.8, 0.7)}))


def test_where_the_tasks_come_from() -> None:
    assert "On tasks of another law other rules may be nearer." in limits(made_up())
    own = card(made_up(), tasks="own.npz")
    assert "The law of the tasks in the file is not known, so nothing is said of others like them." in own.limits
    assert "On tasks of another law other rules may be nearer." not in own.limits
    assert "(supplied by the user)" in own.methods
    assert "(freshly drawn)" in card(made_up()).methods


def test_slopes_and_weights() -> None:
    words = "W is the slope of the answer at each task's own query."
    assert words in limits(made_up(linearity=by_layer([1.0, 1.0], message=AT_QUERY)))
    assert words not in limits(made_up())


def test_a_query_that_attends_to_itself() -> None:
    words = "so its answer is cubic in x. At other queries a matrix explains"
    assert words in limits(made_up(linearity=by_layer([1.0, 0.995], message=AT_QUERY)), query_in_context=True)
    assert words not in limits(made_up())


def test_rules_that_are_as_near() -> None:
    words = "As near to the output, with no fewer fitted settings: 2 steps of GD++."
    assert words in limits(made_up({"gd": (0.02, 0.03), "gdpp": (np.nan, 0.025)}))
    assert "As near" not in limits(made_up())


@pytest.mark.parametrize(("ends", "told"), [((1, 4), True), ((2, 2), False)])
def test_how_well_steps_are_known(ends: tuple[int, int], told: bool) -> None:
    found = limits(made_up(ends={"gdpp": ends}))
    assert ("1 to 4 steps are about as near to the output as 2 on the tuning tasks." in found) == told
    assert "about as near" not in limits(made_up({"gd": (0.8, 0.7)}, ends={"gd": ends}))


def test_a_turned_sign() -> None:
    turned = made_up(readout_sign=without_interval(np.array(-1.0), "sign", message="found", no_nulls="none"))
    assert card(turned).found.startswith("Sign turned. After layer 1")
    assert "Every number is that of the turned model." in limits(turned)
    assert "turned" not in card(made_up()).found + limits(made_up())


def test_notes_stand_once() -> None:
    assert card(made_up()).limits.count("a note") == 1


def test_over_seeds() -> None:
    members = [made_up({"gd": (0.02 + more, 0.03 + more), "ridge": (0.5, 0.5)}, steps={"gd": (1, steps)},
                       loss=by_layer([0.4, 0.1 + more]))
               for more, steps in ((0.0, 2), (0.003, 2), (0.002, 3))]  # fmt: skip
    claim = card({name: mean_over("seed", [member[name] for member in members]) for name in members[0]})
    assert claim.found.startswith("After layers 1 to 2: 1 to 3 steps of gradient descent")
    assert claim.evidence.startswith("3 seeds. Loss of the output")
    assert claim.methods.endswith("95 % confidence intervals: t-interval over 3 seeds.")
