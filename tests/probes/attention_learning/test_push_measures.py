"""Whether attention goes where it is pushed: planted checkpoints that follow the push, oppose it, or ignore it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from mesascope.probes.attention_learning.agreement import agreement
from mesascope.probes.attention_learning.push_measures import push_measures
from mesascope.probes.attention_learning.standing import standing_of
from mesascope.probes.attention_learning.training_runs import runs_of
from mesascope.probes.measure import Measure
from mesascope.probes.probe import Checkpoint
from scipy import stats

from .planted_copies import made_up

N, PLACES = 12, 20


def random_push(seed: int, *heads: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N, *heads, PLACES, PLACES))


def walk(factors: Sequence[float], seed: int | None = 0, steps: Sequence[int] = (), *heads: int) -> list[Checkpoint]:
    """Checkpoints whose attention changes by so much times the push of the step before, which is another each time."""
    attention, found = np.zeros((N, *heads, PLACES, PLACES)), []
    for place, factor in enumerate([*factors, 0]):
        push = random_push(10 * (seed or 0) + place, *heads)
        step = steps[place] if steps else 20 * place
        found.append(made_up(seed, step, map_=attention, push=push))
        attention = attention + factor * push
    return found


def measure(*checkpoints: Checkpoint) -> dict[str, Measure]:
    return push_measures(runs_of(checkpoints), seed=0)


def test_attention_that_moves_along_the_push() -> None:
    found = measure(*walk([1.0, 0.1, -1.0, 0.0]))["agreement_push"]
    assert found.axes == ("step",)
    assert found.coords == {"step": (0, 20, 40, 60)}
    np.testing.assert_allclose(found.values, [1, 1, 0, 1 / PLACES], atol=1e-12)
    standings = [standing_of(found.at(step=place)) for place in range(4)]
    assert standings == ["above", "above", "below", "not told apart"]
    assert (found.replicate, found.n, found.unit) == ("sequence", N, "share")
    assert set(found.nulls) == {"shuffled"}
    np.testing.assert_allclose(found.nulls["shuffled"].mean(axis=0), 1 / PLACES, atol=0.03)


def test_the_push_of_a_step_is_compared_with_the_change_after_it() -> None:
    """Not with that before it, nor with where attention is then."""
    before, after = random_push(1), random_push(2)
    made = [
        made_up(0, 0, map_=0 * before, push=after),
        made_up(0, 20, map_=before, push=before),
        made_up(0, 40, map_=before + after, push=after),
    ]
    by_hand = [agreement(after, before).mean(), agreement(before, after).mean()]
    np.testing.assert_allclose(measure(*made)["agreement_push"].values, by_hand)
    np.testing.assert_allclose(measure(*made[::-1])["agreement_push"].values, by_hand)  # whatever the order


def test_seeds_have_a_t_interval() -> None:
    runs = [walk(factors, seed) for seed, factors in enumerate([[1.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])]
    found = measure(*(one for run in runs for one in run))["agreement_push"]
    points = np.array([[1, 0], [1, 1 / PLACES], [0, 1 / PLACES]])
    assert found.points is not None
    np.testing.assert_allclose(found.points, points, atol=1e-12)
    np.testing.assert_allclose(found.values, points.mean(axis=0))
    expected = stats.ttest_1samp(points, 0).confidence_interval()
    np.testing.assert_allclose(found.interval, [expected.low, expected.high])
    assert (found.replicate, found.n) == ("seed", 3)
    of_each = [measure(*run)["agreement_push"].nulls["shuffled"] for run in runs]
    np.testing.assert_allclose(found.nulls["shuffled"], np.mean(of_each, axis=0))


def test_a_seed_that_lacks_a_step() -> None:
    runs = [walk([1.0, 1.0], 0, (0, 20, 40)), walk([1.0], 1, (0, 40))]
    found = measure(*(one for run in runs for one in run))["agreement_push"]
    assert found.coords == {"step": (0, 20)}
    np.testing.assert_allclose(found.values, [1, np.nan])
    assert found.message.endswith("; NaN at steps that not every seed has")
    whole = measure(*walk([1.0], 0), *walk([1.0], 1))["agreement_push"]
    assert "NaN" not in whole.message


def test_a_seed_of_a_single_checkpoint_does_not_count() -> None:
    found = measure(*walk([1.0], 0), *walk([], 1))["agreement_push"]
    assert (found.replicate, found.values.tolist()) == ("sequence", [1.0])


def test_heads_of_one_run_each_and_together() -> None:
    found = measure(*walk([1.0, 1.0], 0, (), 2, 3))
    assert found["agreement_push"].axes == ("step",)
    assert found["agreement_push"].message.endswith("mean over heads")
    of_heads = found["head_agreement_push"]
    assert of_heads.axes == ("step", "layer", "head")
    assert of_heads.values.shape == (2, 2, 3)
    np.testing.assert_allclose(of_heads.values, 1)
    assert "mean over heads" not in of_heads.message


def test_the_mean_over_heads_is_that_of_each() -> None:
    push, change = random_push(1, 2, 3), random_push(2, 2, 3)
    change[:, 0, 1] = push[:, 0, 1]
    change[:, 1, 2] = np.nan  # a head whose queries see nothing
    made = [made_up(0, 0, map_=0 * change, push=push), made_up(0, 20, map_=change, push=push)]
    found = measure(*made)
    of_heads = agreement(push, change).mean(axis=(0, -1))
    np.testing.assert_allclose(found["head_agreement_push"].values[0], of_heads)
    assert "NaN where no query attends to two sources" in found["head_agreement_push"].message
    assert found["agreement_push"].values[0] == pytest.approx(np.nanmean(of_heads))


def test_heads_of_several_seeds_are_averaged_only() -> None:
    runs = [walk([1.0, 1.0], 0, (0, 20, 40), 2, 3), walk([1.0], 1, (0, 40), 2, 3)]
    found = measure(*(one for run in runs for one in run))
    assert list(found) == ["agreement_push"]
    np.testing.assert_allclose(found["agreement_push"].values, [1, np.nan])
    assert "mean over heads" in found["agreement_push"].message


# -- in words ----------------------------------------------------------------------------------------------------------


def spoiled(change: Callable[[Checkpoint], Checkpoint]) -> Measure:
    first, second = walk([1.0])
    return measure(first, change(second))["agreement_push"]


def test_what_cannot_be_compared_is_said() -> None:
    assert spoiled(lambda one: one).status == "ok"
    larger = {"attention": np.zeros((N, 25, 25)), "push": np.zeros((N, 25, 25))}
    for changed, why in (
        ({"arrays": larger}, "different shapes: their attention is [20, 20] and [25, 25]"),
        ({"arrays": {}}, "has no attention to compare"),
        ({"arrays": {"attention": np.zeros((N, PLACES, PLACES))}}, "has no attention to compare"),
        ({"recipes": {"evaluation": {"sha256": "other"}}}, "read different tokens"),
    ):
        found = spoiled(lambda one, changed=changed: replace(one, **changed))
        assert found.status == "not applicable"
        assert why in found.message


@pytest.mark.parametrize("made", [walk([]), [*walk([], 0), *walk([], 1)]])
def test_single_checkpoints(made: list[Checkpoint]) -> None:
    found = measure(*made)
    assert list(found) == ["agreement_push"]
    assert (found["agreement_push"].status, found["agreement_push"].message[:8]) == ("not applicable", "one step")


# -- trained -----------------------------------------------------------------------------------------------------------


def test_attention_that_learns_goes_where_it_is_pushed(checkpoints_of: Callable[..., list[Checkpoint]]) -> None:
    found = measure(*checkpoints_of("some of all"))["agreement_push"]
    assert found.coords == {"step": (0, 10, 20, 40)}
    assert standing_of(found.at(step=2)) == "above"
    assert found.values[2] > 0.5
