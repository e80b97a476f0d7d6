"""The claim card: every sentence and every limit where it holds, and only there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.runs.aggregation import mean_over
from mesascope.models import Source
from mesascope.probes import Claim, Measure
from mesascope.probes.label_copying import limits as limit_words
from mesascope.probes.label_copying.claim import copying_claim
from mesascope.probes.label_copying.standing import Standing, verdicts_of_heads
from mesascope.probes.measure import along, missing, without_interval

SOURCE = Source("model", layout="mesascope", notes=("a note",))
TO = {"own": 3.2, "next": 0.6, "other": 0.05, "other_without_next": 0.02}
LOSSES = {"model": 0.21, "ablated": 30.0, "without_copies": 0.42, "copies_only": 0.3, "gd": 0.2, "zero": 0.41}


def number(value: float, half: float = 0.0, **changed: Any) -> Measure:
    ends = np.array(value - half), np.array(value + half)
    return Measure(np.array(value), **({"unit": "1", "interval": ends, "replicate": "task", "n": 500} | changed))


def heads(scores: list[list[float]], half: float = 0.01) -> Measure:
    held = np.array(scores)
    nulls = {"even attention": np.full((1, *held.shape), 0.05), "untrained": np.full((3, *held.shape), 0.06)}
    return Measure(held, "share", (held - half, held + half), "task", 500, ("layer", "head"), nulls=nulls)


def made_up(
    score: float = 0.7,
    half: float = 0.01,
    to: Mapping[str, float] = TO,
    losses: Mapping[str, float] = LOSSES,
    width: float = 0.0,
    scores: list[list[float]] | None = None,
    **changed: Measure,
) -> dict[str, Measure]:
    """Measures with intervals that reach `half` of a score, and `width` of a loss, in both directions."""
    nulls = {"even attention": np.array([0.05]), "untrained": np.array([0.055, 0.06])}
    step = losses["gd"]
    gaps = {name: held / step - 1 for name, held in losses.items() if name != "gd"}
    rises = {name: (losses[name] - losses["model"]) / step for name in ("ablated", "without_copies", "copies_only")}
    by_candidate = {
        "loss": {name: number(held, width, no_nulls="none") for name, held in losses.items()},
        "loss_gap": {name: number(held, width / step, no_nulls="none") for name, held in gaps.items()},
        "loss_rise": {name: number(held, no_nulls="none") for name, held in rises.items()},
    }
    sensitivities = {kind: number(held, nulls={"untrained": np.full(2, 0.03)}) for kind, held in to.items()}
    return {
        "first_layer_score": number(score, half, nulls=nulls),
        "copy_sensitivity": along("to", sensitivities),
        "prefix_matching_score": heads([[score], [0.05]] if scores is None else scores),
        "readout_sign": without_interval(np.array(1.0), "sign", message="found", no_nulls="none"),
    } | {name: along("candidate", parts) for name, parts in by_candidate.items()} | changed  # fmt: skip


def card(measures: Mapping[str, Measure], tasks: str | None = None, sign: int | None = None) -> Claim:
    return copying_claim(measures, (SOURCE, SOURCE), tasks, sign)


def test_a_layer_that_copies() -> None:
    claim = card(made_up())
    assert claim.found == (
        "The first layer copies labels: x tokens pay their labels' tokens 70 % (95 % CI 69 to 71) of their attention"
        " (even attention: 5 %). Without these copies the loss is 0.420 (95 % CI 0.420 to 0.420). The loss, 0.210 (95 %"
        " CI 0.210 to 0.210), is that of one step of gradient descent (0.200), up to +5.0 % (95 % CI +5.0 to +5.0)."
    )
    assert claim.badge == "Copies labels"
    assert claim.rival == (
        "Of 2 untrained models the one with the highest score pays labels 6 %. After the first layer a token is"
        " sensitive to itself by 3.20, to the next token by 0.600, to each other token by 0.0200 (as the authors count,"
        " with the next one: 0.0500)."
    )
    assert claim.evidence == (
        "500 tasks. If labels move in no other way than by these copies the loss is 0.300; without the first layer's"
        " attention it is 30.0."
    )
    assert claim.limits.count("a note") == 1
    assert (
        "Tasks were freshly drawn. Null: 2 untrained models. 95 % confidence intervals: bootstrap over 500 tasks."
        in (claim.methods)
    )


UNREAD = LOSSES | {"without_copies": 0.22}
BLIND = TO | {"next": 0.035}


@pytest.mark.parametrize(("given", "badge", "words"), [
    ({"losses": UNREAD}, "Copies labels that it does not need", "copies labels, and the answers do not need it"),
    ({"losses": UNREAD, "to": BLIND}, "Attends to labels, does not copy them",
     "attends to labels, but tokens after it are not sensitive to them"),
    ({"to": BLIND}, "Copies labels in part", "copies labels in part"),
    ({"score": 0.2}, "Copies labels in part", "copies labels in part"),
    ({"score": 0.2, "losses": UNREAD}, "No label copying", "does not copy labels"),
    ({"score": 0.05, "losses": UNREAD, "to": BLIND}, "No label copying", "does not copy labels"),
])  # fmt: skip
def test_one_part_of_copying_that_is_missing(given: dict[str, Any], badge: str, words: str) -> None:
    claim = card(made_up(**given))
    assert claim.badge == badge
    assert claim.found.startswith(f"The first layer {words}: x tokens pay")
    assert ("Without these copies" in claim.found) == ("losses" not in given)


def test_whole_intervals_decide() -> None:
    assert Standing(made_up(0.26, 0.005)).attends
    assert not Standing(made_up(0.26, 0.02)).attends
    nulls = {"even attention": np.array([0.05]), "untrained": np.array([0.3])}
    assert Standing(made_up(first_layer_score=number(0.33, 0.02, nulls=nulls))).attends
    assert not Standing(made_up(first_layer_score=number(0.31, 0.02, nulls=nulls))).attends
    wide = number(0.6, 0.58, nulls={"untrained": np.full(2, 0.03)})
    sensitivities = {kind: wide if kind == "next" else number(held, no_nulls="none") for kind, held in TO.items()}
    assert Standing(made_up()).sensitive
    assert not Standing(made_up(copy_sensitivity=along("to", sensitivities))).sensitive
    rise = along("candidate", {name: number(0.2, 0.15, no_nulls="none") for name in ("ablated", "without_copies")})
    assert Standing(made_up()).needed
    assert not Standing(made_up(loss_rise=rise)).needed


@pytest.mark.parametrize(("loss", "width", "words", "beside"), [
    (0.21, 0.0, "is that of one step of gradient descent (0.200), up to +5.0 %", "same"),
    (0.25, 0.0, "is above that of one step of gradient descent (0.200), by +25.0 %", "above"),
    (0.1, 0.0, "is below that of one step of gradient descent (0.200), by −50.0 %", "below"),
    (0.21, 0.01, "is not clearly that of one step of gradient descent (0.200): +5.0 %", "open"),
    (0.19, 0.004, "is not clearly that of one step of gradient descent (0.200): −5.0 %", "open"),
    (0.40, 0.0, "is no better than that of answering zero (0.410)", "zero"),
])  # fmt: skip
def test_the_loss_beside_that_of_a_step(loss: float, width: float, words: str, beside: str) -> None:
    measures = made_up(losses=LOSSES | {"model": loss}, width=width)
    assert Standing(measures).beside == beside
    assert words in card(measures).found
    assert (limit_words.NOT_INSIDE in card(measures).limits) == (beside == "same")


def test_limits_stand_where_they_hold() -> None:
    whole = card(made_up()).limits
    assert whole[:5] == (
        limit_words.BY_PLACE, limit_words.NOT_INSIDE, limit_words.NO_SCALE, limit_words.SIGNED, limit_words.FIRST
    )  # fmt: skip
    assert limit_words.FAR in whole
    assert limit_words.OF_THE_FILE not in whole
    assert limit_words.BY_PLACE not in card(made_up(0.1)).limits
    assert limit_words.FAR not in card(made_up(losses=LOSSES | {"ablated": 0.2})).limits
    own = card(made_up(), "own.npz")
    assert limit_words.OF_THE_FILE in own.limits
    assert "Tasks were supplied by the user." in own.methods
    later = limit_words.LATER.format(1)
    assert later in card(made_up(0.1, scores=[[0.1], [0.7]])).limits
    assert later not in whole
    assert later not in card(made_up(0.695, scores=[[0.695], [0.7]])).limits


def test_a_turned_sign_is_said() -> None:
    sign = without_interval(np.array(-1.0), "sign", message="found", no_nulls="none")
    claim = card(made_up(readout_sign=sign))
    assert claim.found.startswith("Sign turned. The first layer copies")
    assert any("negative of a prediction" in one for one in claim.limits)


def test_what_is_not_finite_has_no_verdict() -> None:
    claim = card(made_up(first_layer_score=missing("share", "undefined", "no task has a finite value")))
    assert (claim.badge, claim.evidence) == ("Not finite", "None.")
    assert claim.found.startswith("Nothing was measured: the model's attention or its answers are not finite")


def test_an_edit_that_diverges_is_said_and_does_not_stop_the_card() -> None:
    measures = made_up()
    gone = missing("loss", "undefined", "infinite")
    for name in ("loss", "loss_gap", "loss_rise"):
        parts = measures[name].apart()
        measures[name] = along("candidate", parts | {"ablated": gone})
    claim = card(measures)
    assert claim.evidence.endswith("without the first layer's attention it is not finite.")
    assert claim.badge == "Copies labels"
    assert limit_words.FAR not in claim.limits


def of_seeds(*checkpoints: Mapping[str, Measure]) -> dict[str, Measure]:
    return {name: mean_over("seed", [one[name] for one in checkpoints]) for name in checkpoints[0]}


def test_seeds_that_all_copy_do_so_whatever_their_mean() -> None:
    """One seed has its copies in one head, another in two: the interval of the mean of three scores is wide."""
    several = of_seeds(
        *(made_up(score, losses=LOSSES | {"model": 0.2 + 0.001 * score}) for score in (0.43, 0.96, 0.42))
    )
    low, high = several["first_layer_score"].interval
    assert low < 0.05 < 1 < high
    claim = card(several)
    assert claim.found.startswith(
        "The first layer copies labels: x tokens pay their labels' tokens 42 to 96 % of their attention (even"
        " attention: 5 %). Without these copies the loss is "
    )
    assert claim.badge == "Copies labels"
    assert limit_words.BY_PLACE in claim.limits


def test_seeds_that_differ_are_counted() -> None:
    idle = made_up(0.05, losses=LOSSES | {"without_copies": 0.21})
    claim = card(of_seeds(made_up(0.43), idle, made_up(0.42)))
    assert claim.found.startswith(
        "Of 3 seeds the first layer copies labels in 2, does not copy labels in 1: x tokens pay their labels' tokens 5"
        " to 43 % of their attention (even attention: 5 %). The loss, "
    )
    assert claim.badge == "Seeds differ in label copying"
    assert Standing(of_seeds(idle, idle, idle)).called == "none"


def test_seeds_have_no_verdicts_of_heads_and_no_layers() -> None:
    assert verdicts_of_heads(made_up(scores=[[0.1, 0.9], [0.3, 0.2]])) == {
        "L0H0": "none", "L0H1": "attends to labels", "L1H0": "attends to labels", "L1H1": "none"
    }  # fmt: skip
    none = made_up(prefix_matching_score=missing("share", "not applicable", "heads of seeds have no order"))
    assert verdicts_of_heads(none) == {}
    assert limit_words.FIRST in card(none).limits
    seeds = {name: replace(one, replicate="seed", n=5, own={}) for name, one in made_up().items()}
    assert card(made_up() | {"loss": replace(seeds["loss"])}).evidence.startswith("5 seeds.")
