"""The claim card: every sentence and every limit where it holds, and only there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.runs.aggregation import mean_over
from mesascope.models import Source
from mesascope.probes import Claim, Measure
from mesascope.probes.measure import along, missing, without_interval
from mesascope.probes.spectral_filter import limits as limit_words
from mesascope.probes.spectral_filter.claim import filter_claim
from mesascope.probes.spectral_filter.filter_measures import JACOBIAN
from mesascope.probes.spectral_filter.names import RULES

SOURCE = Source("model", layout="mesascope", notes=("a note",))
SHARES = {"gd": 0.004, "flow": 0.05, "gdpp": 0.03, "newton": 0.2, "ridge": 0.08, "min_norm": 0.6}
STEPS = {"gd": (2, 2, 2), "gdpp": (3, 3, 3), "newton": (2, 2, 2)}


def row(values: Sequence[float], part: float = 0.1, **changed: Any) -> Measure:
    """A measure by layer, whose interval reaches as far as a part of it."""
    held = np.array(values, dtype=float)
    half = part * np.abs(held)
    fields: dict[str, Any] = {"unit": "share", "interval": (held - half, held + half), "replicate": "task", "n": 500,
                              "axes": ("layer",), "no_nulls": "none"}  # fmt: skip
    return Measure(held, **(fields | changed))


def made_up(
    shares: Sequence[Mapping[str, float]] = (SHARES,),
    off: Sequence[float] = (0.003,),
    steps: Sequence[Mapping[str, tuple[int, int, int]]] = (STEPS,),
    untrained: Sequence[float] = (0.99, 0.95),
    not_linear: float = 0.0,
    sure: bool = True,
    exact: Sequence[float] = (2.0,),
    **changed: Measure,
) -> dict[str, Measure]:
    """Measures of so many layers; gaps between filters have intervals of no width, or of any."""
    names, layers = [rule.name for rule in RULES], len(off)
    least = [min(one.values()) for one in shares]
    further = {name: [one[name] - low for one, low in zip(shares, least, strict=True)] for name in names}

    def counted(name: str) -> Measure:
        best, fewest, most = np.array([one[name] for one in steps], dtype=float).T
        return row(best, interval=(fewest, most), replicate="none", n=1)

    null = np.tile(np.array(untrained)[:, None], (1, layers))
    degrees = {"effective": row([1.0] * layers, 0), "exact": row(exact, 0, message="NaN: none up to 16")}
    settings = {rule.name: [one.name.replace(" ", "_") for one in rule.settings] for rule in RULES}
    kinds = dict.fromkeys(kind for held in settings.values() for kind in held)
    return {
        "off_filter_share": row(off, nulls={"untrained": null} if len(untrained) else {}, no_nulls="none"),
        "unexplained_share": along("candidate", {name: row([one[name] for one in shares]) for name in names}),
        "further_share": along("candidate", {name: row(further[name], 0 if sure else 1) for name in names}),
        "steps": along("candidate", {name: counted(name) for name in STEPS}),
        "polynomial_degree": along("kind", degrees),
        "not_linear_share": Measure(np.array(not_linear), "share", (np.array(not_linear), np.array(not_linear)),
                                    "task", 500, no_nulls="none"),
        "gradient_time": row([12.0] * layers),
        "noise_variance": row([0.25] * layers),
        "readout_sign": without_interval(np.array(1.0), "sign", message="found", no_nulls="none"),
        "token_layout": without_interval(np.ones(1), "1: used", ("token_layout",), {"token_layout": ("joint-3",)},
                                         message="the layout was given, so none was tried", no_nulls="none"),
        "layout_gain": missing("share", "not applicable", "the layout was given, so none was tried"),
    } | {
        kind: along("candidate", {name: row([6.0] * layers) for name, held in settings.items() if kind in held})
        for kind in kinds
    } | changed  # fmt: skip


def card(measures: Mapping[str, Measure], tasks: str | None = None, sign: int | None = None) -> Claim:
    return filter_claim(measures, (SOURCE, SOURCE), tasks, sign)


# -- the verdict -------------------------------------------------------------------------------------------------------


def test_a_named_filter() -> None:
    claim = card(made_up())
    assert claim.found == (
        "The output filters the spectrum like 2 steps of gradient descent (learning rate 6.00): 0.30 % (95 % CI 0.27 to"
        " 0.33) of its weights, by square, is no filter."
    )
    assert claim.badge == "Filters like 2 steps of gradient descent"
    assert claim.rival == (
        "Next: 3 steps of GD++, which leaves 2.6 % of its weights, by square, more. Of untrained models 97 % is no"
        " filter (the least of 2: 95 %)."
    )
    assert claim.evidence == (
        "500 tasks that no filter was fitted to. The weights follow in closed form. The filter is near a polynomial in"
        " Xᵀ X of degree 1 and is one of degree 2."
    )
    assert limit_words.NOT_INSIDE in claim.limits
    assert "(freshly drawn)" in claim.methods
    assert "Null: 2 untrained models." in claim.methods
    assert claim.limits.count("a note") == 1


@pytest.mark.parametrize(("measures", "found", "badge"), [
    ({"off": (0.7,)}, "The output is no spectral filter: 70 % (95 % CI 63 to 77) of its weights, by square, is "
     "none.", "No filter"),
    ({"off": (0.2,), "shares": ({**SHARES, "gd": 0.22},)}, "The output is only in part a spectral filter: 20 % (95 %"
     " CI 18 to 22) of its weights, by square, is none. The closest named filter is that of 3 steps of GD++"
     " (learning rate 6.00, γ 6.00).", "In part a filter, 20 % is none"),
    ({"shares": ({**SHARES, "gd": 0.02},)}, "The output is a spectral filter, but none of the named ones: that of 2"
     " steps of gradient descent (learning rate 6.00) leaves 2.0 % (95 % CI 1.8 to 2.2) of its weights, by square,"
     " unexplained, the best filter 0.30 %.", "A filter, but none of the named ones"),
    ({"not_linear": 0.4}, "The output is no spectral filter: 40 % (95 % CI 40 to 40) of its answers, by square,"
     " is not linear in the query.", "No filter"),
    ({"off_filter_share": missing("share", "undefined", "the model's weights are 0")}, "The output"
     " has no weights that could be filtered: it does not depend on the query.", "No weights to filter"),
])  # fmt: skip
def test_other_verdicts(measures: dict[str, Any], found: str, badge: str) -> None:
    claim = card(made_up(**measures))
    assert (claim.found, claim.badge) == (found, badge)
    assert claim.evidence == "None." if "off_filter_share" in measures else "tasks" in claim.evidence
    assert limit_words.NOT_INSIDE not in claim.limits


def test_the_upper_end_of_an_interval_decides() -> None:
    shares = (dict.fromkeys(SHARES, 0.3) | {"gd": 0.096},)
    near = made_up(shares=shares, off_filter_share=row([0.095], 0.01))
    wide = made_up(shares=shares, off_filter_share=row([0.095], 0.1))
    assert card(near).badge == "Filters like 2 steps of gradient descent"
    assert card(wide).badge == "In part a filter, 9.5 % is none"


def test_untrained_models_may_be_filters_too() -> None:
    words = "So does some untrained model of its architecture"
    alike, other = card(made_up(untrained=(0.9, 0.05))), card(made_up(untrained=(0.9, 0.11)))
    assert words in alike.found
    assert alike.badge == "A filter, as some untrained model is"
    assert words not in other.found


def test_a_predictor_has_no_untrained_models() -> None:
    claim = card(made_up(untrained=()))
    assert "untrained" not in claim.rival + claim.methods


def test_filters_that_are_as_close() -> None:
    """The one with the fewest fitted numbers is named; by a distance of 1e-4, or by no sure gap."""
    near = made_up(shares=({**SHARES, "ridge": 0.00405},))
    claim = card(near)
    assert "like ridge regression (penalty 6.00):" in claim.found
    assert claim.found.endswith("As close: 2 steps of gradient descent.")
    assert claim.badge == "Filters like ridge regression and others"
    assert any("is Bayes' rule for labels with noise of variance 0.250." in one for one in claim.limits)
    apart = card(made_up(shares=({**SHARES, "ridge": 0.0042},)))
    assert "As close" not in apart.found
    assert not any("Bayes" in one for one in apart.limits)
    unsure = card(made_up(shares=({**SHARES, "ridge": 0.0042},), sure=False))
    assert unsure.found.endswith("As close: 2 steps of gradient descent.")
    assert "As close" not in card(made_up(sure=False)).found  # a wide interval does not make a far filter near


def test_one_step_has_one_setting_and_gdpp_of_as_many_steps_is_no_other() -> None:
    one = card(made_up(shares=({**SHARES, "flow": 0.00401},), steps=({**STEPS, "gd": (1, 1, 1)},)))
    assert one.found.endswith("As close: gradient flow.")
    assert "like 1 step of gradient descent" in one.found
    two = {**SHARES, "gdpp": 0.004}
    assert "As close" not in card(made_up(shares=(two,), steps=({**STEPS, "gdpp": (2, 2, 2)},))).found
    assert card(made_up(shares=(two,))).found.endswith("As close: 3 steps of GD++.")


# -- steps, degrees, layers --------------------------------------------------------------------------------------------


def test_how_well_the_number_of_steps_is_known() -> None:
    def said(steps: tuple[int, int, int], shares: Mapping[str, float] = SHARES) -> str:
        return " ".join(card(made_up(shares=(shares,), steps=({**STEPS, "gd": steps},))).limits)

    assert "as close" not in said((2, 2, 2))
    assert "2 to 5 steps of gradient descent are as close." in said((2, 2, 5))
    many = "4 or more steps of gradient descent are as close: only the product of steps and learning rate, 12.0, is"
    assert many in said((9, 4, 256))
    assert many in said((9, 4, 256), {**SHARES, "flow": 0.003})
    assert "as close" not in said((9, 4, 256), {**SHARES, "ridge": 0.003})


def test_degrees() -> None:
    lower = limit_words.DEGREE
    assert lower in card(made_up()).limits
    none = card(made_up(exact=(np.nan,)))
    assert none.evidence.endswith("The filter is near a polynomial in Xᵀ X of degree 1.")
    assert lower not in none.limits
    degrees = along("kind", {"effective": row([np.nan], 0, message="none"), "exact": row([np.nan], 0, message="none")})
    assert "near no polynomial in Xᵀ X of degree up to 16" in card(made_up(polynomial_degree=degrees)).evidence
    assert "polynomial" not in card(made_up(off=(0.7,))).evidence


def test_layers_of_one_kind_stand_together() -> None:
    steps = tuple({**STEPS, "gd": (n, n, n)} for n in (1, 2, 3, 4))
    claim = card(made_up(shares=(SHARES,) * 4, off=(0.003,) * 4, steps=steps, exact=(1.0, 2.0, 3.0, 4.0)))
    assert claim.found.endswith(" After layers 1 to 3: 1 to 3 steps of gradient descent.")
    flow, part = {**SHARES, "flow": 0.003}, {**SHARES, "gd": 0.3}
    shares, off = (flow, part, SHARES, SHARES), (0.003, 0.2, 0.7, 0.003)
    mixed = card(made_up(shares=shares, off=off, steps=steps, exact=(1.0, 2.0, 3.0, 4.0)))
    assert mixed.found.endswith(
        " After layer 1: gradient flow (time 6.00); after layer 2: a filter in part; after layer 3: no filter."
    )
    assert "fter layer" not in card(made_up()).found


def test_where_the_weights_and_the_tasks_come_from() -> None:
    closed, derived = card(made_up()), made_up()
    derived["off_filter_share"] = replace(derived["off_filter_share"], message=JACOBIAN)
    assert limit_words.AT_THE_QUERY not in closed.limits
    assert limit_words.AT_THE_QUERY in card(derived).limits
    assert "derivatives at the query" in card(derived).evidence
    assert limit_words.OTHER_TASKS in closed.limits
    own = card(made_up(), tasks="own.npz")
    assert limit_words.FILE_LAW in own.limits
    assert limit_words.OTHER_TASKS not in own.limits
    assert "(supplied by the user)" in own.methods


def test_a_turned_sign() -> None:
    turned = made_up(readout_sign=without_interval(np.array(-1.0), "sign", message="found", no_nulls="none"))
    assert card(turned).found.startswith("Sign turned. The output filters")
    assert any("Every number is that of the turned model" in one for one in card(turned).limits)
    assert not any("turned" in one for one in card(made_up()).limits)


def test_several_seeds() -> None:
    members = [
        made_up(off=(off,), steps=({**STEPS, "gd": (n, n, n)},)) for off, n in ((0.002, 2), (0.004, 2), (0.003, 3))
    ]
    claim = card({name: mean_over("seed", [member[name] for member in members]) for name in members[0]})
    assert "like 2 to 3 steps of gradient descent" in claim.found
    assert claim.evidence.startswith("3 seeds. ")
    assert claim.methods.endswith("t-interval over 3 seeds.")
    assert not any("as close" in one for one in claim.limits)
