"""Maps of attention: rows are targets and columns sources, of the seeds and steps that their titles name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mesascope.analyses.runs.aggregation import mean_over
from mesascope.probes import Findings, Measure
from mesascope.probes.attention_learning.figures.maps import attention_figure, trajectory_attention_figure
from mesascope.probes.attention_learning.names import ATTENTION_ARRAY, PUSH_ARRAY, map_name, mapped
from mesascope.probes.drawing import page
from mesascope.probes.measure import without_interval

PLACES = 4
BACK = np.eye(PLACES, k=-1)
"""Every target attends to the source before it: rows and columns differ."""
WIDE, NARROW = page.STYLES["neurips"], page.style_of("icml", 3.25)


def noisy(values: np.ndarray, size: float = 0.1) -> np.ndarray:
    """Of six sequences, whose mean it is."""
    noise = np.random.default_rng(0).normal(size=(3, PLACES, PLACES)) * size
    return np.concatenate([values + noise, values - noise])


def drawn(arrays: dict[str, np.ndarray], style: page.Style = WIDE) -> tuple[Figure, pd.DataFrame]:
    build = attention_figure if ATTENTION_ARRAY in arrays else trajectory_attention_figure
    found = page.compose(build, Findings({}, arrays, {}), style)
    assert found is not None
    return found


def panels(figure: Figure) -> dict[str, Axes]:
    return {ax.get_title(): ax for ax in figure.axes if not hasattr(ax, "_colorbar")}


def shown(ax: Axes) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


# -- one checkpoint ----------------------------------------------------------------------------------------------------


def test_maps_are_means_over_sequences_with_targets_as_rows() -> None:
    push = BACK - 0.5 * np.eye(PLACES)
    figure, table = drawn({ATTENTION_ARRAY: noisy(BACK), PUSH_ARRAY: noisy(push)})
    for title, values in {"attention": BACK, "push": push}.items():
        ax = panels(figure)[title]
        np.testing.assert_allclose(shown(ax), values, atol=1e-12)
        assert (ax.get_ylabel(), ax.get_xlabel(), ax.images[0].origin) == ("target", "source", "upper")
        rows = table[(table["panel"] == title) & (table["kind"] == "estimate")]
        cells = {(series, at): value for series, at, value in rows[["series", "at", "value"]].to_numpy()}
        assert cells["target 2", 1] == pytest.approx(1)
        assert ("target 1", 2) not in cells
    assert {ax.get_xlabel() for ax in figure.axes if hasattr(ax, "_colorbar")} == {"attention", "push (log-odds)"}


def test_colours_of_the_push_are_white_at_0_and_those_of_attention_begin_there() -> None:
    figure, _ = drawn({ATTENTION_ARRAY: noisy(BACK), PUSH_ARRAY: noisy(BACK - 3 * np.eye(PLACES))})
    assert panels(figure)["push"].images[0].get_clim() == pytest.approx((-3, 3))
    assert panels(figure)["attention"].images[0].get_clim() == pytest.approx((0, 1))


def test_attention_that_is_nearly_uniform_has_no_strong_colours() -> None:
    even = np.full((PLACES, PLACES), 0.01)
    figure, _ = drawn({ATTENTION_ARRAY: noisy(even, 0.001), PUSH_ARRAY: noisy(0 * even, 0)})
    assert panels(figure)["attention"].images[0].get_clim() == (0, 0.1)
    assert panels(figure)["push"].images[0].get_clim() == (-1, 1)


def test_attention_of_several_heads_or_seeds_is_not_drawn() -> None:
    for lead in ((6, 2, 3), (5, 6)):
        array = np.ones((*lead, PLACES, PLACES))
        findings = Findings({}, {ATTENTION_ARRAY: array, PUSH_ARRAY: array}, {})
        assert page.compose(attention_figure, findings) is None
    assert page.compose(attention_figure, Findings({}, {}, {})) is None


# -- several checkpoints -----------------------------------------------------------------------------------------------


def along(seeds: list[int | None], steps: list[int]) -> dict[str, np.ndarray]:
    """A map of every seed and step, whose largest number tells which it is."""
    return {
        map_name(seed, step): BACK * (0.001 * step + 0.1 * (seed or 0))
        for seed in reversed(seeds)
        for step in reversed(steps)
    }


@pytest.mark.parametrize("seeds", [[None], [0], [0, 1, 10]])
def test_arrays_are_found_by_seed_and_step_whatever_their_order(seeds: list[int | None]) -> None:
    steps = [0, 5, 20, 100]
    others = {"attention": BACK, "map_of_something_else": BACK, "heatmap_step5": BACK}
    found = mapped(along(seeds, steps) | others)
    assert list(found) == [(seed, step) for seed in seeds for step in steps]
    for (seed, step), values in found.items():
        np.testing.assert_array_equal(values, along(seeds, steps)[map_name(seed, step)])


def test_a_row_a_seed_and_a_column_a_step() -> None:
    figure, table = drawn(along([0, 1], [0, 10, 100]))
    expected = [f"seed {seed}, step {step}" for seed in (0, 1) for step in (0, 10, 100)]
    assert list(panels(figure)) == expected
    places = [ax.get_subplotspec() for ax in panels(figure).values()]
    assert [(place.rowspan.start, place.colspan.start) for place in places if place] == [*np.ndindex(2, 3)]
    for title, ax in panels(figure).items():
        seed, step = (int(word) for word in title.replace(",", "").split() if word.isdigit())
        np.testing.assert_allclose(shown(ax), BACK * (0.001 * step + 0.1 * seed))
        assert ax.images[0].get_clim() == pytest.approx((0, 0.2))
    assert {*table["panel"]} == {*expected}
    assert figure.get_suptitle() == ""


@pytest.mark.parametrize(("style", "steps"), [(WIDE, [0, 20, 40, 60, 80]), (NARROW, [0, 40, 80])])
def test_of_many_steps_the_first_the_last_and_some_between_have_room(style: page.Style, steps: list[int]) -> None:
    figure, _ = drawn(along([0], [*range(0, 90, 10)]), style)
    assert list(panels(figure)) == [f"step {step}" for step in steps]


def trained(seeds: int) -> dict[str, Measure]:
    """So many seeds were measured."""
    accuracies = [without_interval(np.array(seed / 10), "share", message="-", no_nulls="-") for seed in range(seeds)]
    return {"task_accuracy": mean_over("seed", accuracies)}


@pytest.mark.parametrize("steps", [[0, 10], [10]])
@pytest.mark.parametrize(("seeds", "heading"), [(7, "the first 3 of 7 seeds"), (3, "")])
def test_of_many_seeds_the_first_are_shown_and_the_heading_says_so(seeds: int, heading: str, steps: list[int]) -> None:
    """Of some seeds alone maps are kept."""
    build = trajectory_attention_figure if len(steps) > 1 else attention_figure
    found = page.compose(build, Findings(trained(seeds), along([1, 0, 2], steps), {}))
    assert found is not None
    words = "seed {}, step 10" if len(steps) > 1 else "seed {}"
    shown_seeds = [title for title in panels(found[0]) if "step 0" not in title]
    assert shown_seeds == [words.format(seed) for seed in range(3)]
    assert found[0].get_suptitle() == heading


def test_several_seeds_at_one_step_stand_beside_each_other() -> None:
    figure, _ = drawn({ATTENTION_ARRAY: np.ones((2, 6, PLACES, PLACES)), **along([0, 1], [100])})
    assert list(panels(figure)) == ["seed 0", "seed 1"]
    for seed, ax in enumerate(panels(figure).values()):
        np.testing.assert_allclose(shown(ax), BACK * (0.1 + 0.1 * seed))
    findings = Findings({}, along([0, 1], [100]), {})
    assert page.compose(trajectory_attention_figure, findings) is None


def test_only_steps_that_all_seeds_have_are_shown() -> None:
    arrays = along([0, 1], [0, 10, 100])
    del arrays[map_name(0, 10)]
    assert [*panels(drawn(arrays)[0])] == [f"seed {seed}, step {step}" for seed in (0, 1) for step in (0, 100)]
    apart = {map_name(0, 10): BACK, map_name(1, 20): BACK}
    assert page.compose(trajectory_attention_figure, Findings({}, apart, {})) is None


def test_a_step_without_room_is_drawn_alone() -> None:
    findings = Findings({}, along([0], [*range(0, 90, 10)]), {})
    alone = page.compose(trajectory_attention_figure, findings, NARROW, "step 20")
    assert alone is not None
    assert list(panels(alone[0])) == ["step 20"]
    assert page.compose(trajectory_attention_figure, Findings({}, {"attention": BACK}, {})) is None
