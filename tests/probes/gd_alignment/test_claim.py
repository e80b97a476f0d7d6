"""The claim card: sentences that say what the measures say, and not more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from mesascope.models import Source
from mesascope.probes import Claim, Measure
from mesascope.probes.gd_alignment.claim import gd_claim
from mesascope.probes.measure import missing

NAMES = ("gd", "zero", "mean_label", "ridge", "min_norm", "gd_1", "gd_2")
GAPS = {"gd": 0.02, "zero": 0.5, "mean_label": 0.6, "ridge": 0.2, "min_norm": 0.4, "gd_1": 0.021, "gd_2": 0.1}


def scalar(value: float, width: float = 0.01, **changed: Any) -> Measure:
    ends = np.array(value - width), np.array(value + width)
    settings: dict[str, Any] = {"replicate": "task", "n": 500, "no_nulls": "none exist"}
    return Measure(np.array(value), "label", ends, **(settings | changed))


def measures(gaps: Mapping[str, float] = GAPS, uncertainty: float = 0.01, alike: float = 0.5) -> dict[str, Measure]:
    """What one checkpoint's findings look like, as far as the claim reads them."""
    column = np.array([gaps[name] for name in NAMES])
    margins = column[None, :] - column[:, None]
    axes, coords = ("rival", "rival_2"), {"rival": NAMES, "rival_2": NAMES}
    square: dict[str, Any] = {"replicate": "task", "n": 500, "no_nulls": "none", "axes": axes, "coords": coords}
    cosines = np.full((7, 7), alike)
    found = {f"prediction_difference_{name}": scalar(gap) for name, gap in gaps.items()}
    nulls = {"untrained": np.linspace(-0.1, 0.1, 50)}
    found |= {f"cosine_{name}": scalar(0.9, nulls=nulls) for name in gaps}
    found["closeness_margins"] = Measure(margins, "label", (margins - uncertainty, margins + uncertainty), **square)
    found["rival_cosines"] = Measure(cosines, "cosine", (cosines, cosines), **square)
    return found | {"loss_model": scalar(0.2), "barrier_gd": scalar(0.0), "learning_rate_gd": scalar(6.06, 0.1)}


def source(**changed: Any) -> Source:
    settings: dict[str, Any] = {"facts": {"n_layers": 1}, "record": {"recipe": {"tasks": {"n_context": 10}}}}
    return Source("toy", "in-memory", **(settings | changed))


def claim(
    found: Mapping[str, Measure], tasks: str | None = None, law: Mapping[str, float] | None = None, **facts: Any
) -> Claim:
    return gd_claim(found, (source(**facts),), tasks, law or {})


def text(card: Claim) -> str:
    return "\n".join((card.found, card.rival, card.evidence, *card.limits, card.methods))


def test_the_closest_rival_with_its_margin() -> None:
    card = claim(measures())
    assert card.found.startswith("Closest of these rivals to the model is gradient descent (prediction difference 0.02")
    # the GD twin and the rival of as many steps are one hypothesis: the runner-up is another one
    assert "ahead of gradient descent with 2 steps by 0.08 [0.07, 0.09]." in card.found
    assert card.rival.startswith("Strongest rival: gradient descent with 2 steps, prediction difference 0.1")
    assert "Null (untrained): cosine 0.00, 95 % of 50 in [-0.10, 0.09]" in card.rival.replace("0.10]", "0.09]")
    assert card.evidence == "95 % intervals: paired bootstrap over 500 tasks."


def test_what_is_not_separated_is_not_ranked() -> None:
    card = claim(measures(uncertainty=0.081))
    assert card.found.startswith("These tasks do not separate gradient descent from gradient descent with 2 steps")
    assert "Closest" not in card.found


@pytest.mark.parametrize("floor", ["zero", "mean_label"])
def test_a_floor_is_no_explanation(floor: str) -> None:
    card = claim(measures(GAPS | {floor: 0.001}))
    assert card.found.startswith("No explanation on the list comes closer")


@pytest.mark.parametrize("closest", NAMES)
@pytest.mark.parametrize("uncertainty", [0.0, 1.0])
def test_no_sentence_says_that_a_model_performs_gradient_descent(closest: str, uncertainty: float) -> None:
    for tasks in (None, "mine.npz"):
        words = text(claim(measures(GAPS | {closest: 0.0005}, uncertainty), tasks)).lower()
        assert "performs gradient descent" not in words
        assert "implements" not in words
        assert "does not show that the model computes what the closest rival computes" in words


def test_with_one_layer_the_rate_is_out_of_sight() -> None:
    sentence = "With one layer the sensitivity cosine does not depend on the learning rate"
    cosines = np.array([0.9993, 0.9993, 0.9993])
    axes: dict[str, Any] = {"axes": ("rate_factor",), "coords": {"rate_factor": (0.25, 1.0, 2.0)}, "no_nulls": "none"}
    rates = Measure(cosines, "cosine", (cosines, cosines), replicate="task", n=500, **axes)
    one = claim(measures() | {"cosine_by_gd_rate": rates})
    assert f"{sentence}: twins at 0.25, 1, 2 times the fitted rate have cosines 0.9993, 0.9993, 0.9993." in one.limits
    assert f"{sentence}." in claim(measures()).limits
    assert any("zero barrier is no evidence" in limit for limit in one.limits)
    two = claim(measures(), facts={"n_layers": 2})
    assert sentence not in text(two)
    assert any("barrier means nothing" in limit for limit in two.limits)
    no_weights = missing("half squared label", "not applicable", "no weights")
    assert not any("barrier" in limit for limit in claim(measures() | {"barrier_gd": no_weights}).limits)


def test_rivals_of_nearly_the_same_direction_are_named() -> None:
    assert not any("hardly separate" in limit for limit in claim(measures()).limits)
    limit = next(limit for limit in claim(measures(alike=0.995)).limits if "hardly separate" in limit)
    assert "gradient descent from gradient descent with 2 steps, ridge regression" in limit


def test_what_was_assumed_is_said() -> None:
    card = claim(measures(), record={}, notes=("a note",))
    assert any("does not record its training tasks" in limit for limit in card.limits)
    assert "a note" in card.limits
    from_file = claim(measures(), "mine.npz", record={})
    assert not any("does not record" in limit for limit in from_file.limits)
    assert "tasks supplied by the user" in from_file.methods
    assert "cross-fitted" in from_file.methods
    assert "disjoint from the evaluation tasks" in card.methods


def test_tasks_that_are_not_those_of_training_are_named() -> None:
    assert not any("tasks were changed" in limit for limit in claim(measures()).limits)
    asked = claim(measures(), law={"n_context": 20, "noise": 0.5})
    assert "The tasks were changed from those of training, as asked: n_context = 20, noise = 0.5." in asked.limits
    unknown = next(limit for limit in claim(measures(), law={"n_context": 20}, record={}).limits if "record" in limit)
    assert unknown.endswith("the paper's law was used, changed to n_context = 20.")  # and no word of N = d_in
    alone = measures() | {"loss_model": scalar(0.2, n=1)}
    assert any("A single task" in limit for limit in claim(alone, "mine.npz").limits)
    assert not any("A single task" in limit for limit in claim(measures(), "mine.npz").limits)


def test_over_seeds_the_evidence_is_the_seeds() -> None:
    points = np.array([0.19, 0.2, 0.21])
    family = measures() | {"loss_model": scalar(0.2, replicate="seed", n=3, points=points)}
    card = gd_claim(family, (source(), source(), source()), None, {})
    assert card.evidence == "95 % intervals: t-interval over 3 seeds. 3 checkpoints."
    assert "seeds (t-interval)" in card.methods
