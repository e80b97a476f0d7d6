"""Marks for heads show exactly their tables: maps, symbols of marked heads, and curves over steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from mesascope.probes.drawing import head_marks
from mesascope.probes.drawing.marks import GREEN, VERMILION, Look
from mesascope.probes.findings import head_name
from mesascope.probes.measure import Measure, missing

LOUD, QUIET = Look("loud", VERMILION, "o", "-"), Look("quiet", GREEN, "<", "-.")
MARKED = {(2, 1): LOUD, (2, 11): LOUD, (0, 3): QUIET}


def measured(rng: np.random.Generator, axes: tuple[str, ...], shape: tuple[int, ...], **coords: Any) -> Measure:
    values = rng.random(shape)
    interval = (values - 0.01, values + 0.01)
    words = {"no_nulls": "none was asked for", "message": "not everywhere"}
    return Measure(values, "attention", interval, "sequence", 32, axes, coords, **words)


@pytest.fixture
def panel() -> Any:
    return Figure((3, 2)).add_subplot()


def test_each_mark_has_one_key_and_counts_its_heads() -> None:
    assert [key.get_label() for key in head_marks.mark_keys(MARKED)] == ["loud (2 heads)", "quiet (1 head)"]
    assert [key.get_linestyle() for key in head_marks.mark_keys(MARKED, lines=True)] == ["-", "-."]
    assert head_marks.mark_keys({}) == []


def test_a_head_is_named_and_looks_like_its_mark() -> None:
    assert head_marks.named((2, 11), MARKED) == Look("L2H11", VERMILION, "o", "-")
    assert head_marks.named((1, 4), MARKED).color == head_marks.OTHER.color


def test_a_map_shows_its_table_and_marks_the_marked(panel: Any, rng: np.random.Generator) -> None:
    measure = measured(rng, ("layer", "head"), (3, 12))
    measure.values[0, 5] = np.nan
    table = head_marks.head_map(measure, panel, "score", MARKED)
    (image,) = panel.images
    estimates = table[table["kind"] == "estimate"]
    np.testing.assert_array_equal(np.asarray(image.get_array()).ravel(), estimates["value"])
    assert estimates["series"].iloc[[0, 12, 35]].tolist() == ["L0H0", "L1H0", "L2H11"]
    assert image.get_clim() == (0, np.nanmax(measure.values))
    points = [(int(line.get_ydata()[0]), int(line.get_xdata()[0])) for line in panel.lines]
    assert points == [(2, 1), (2, 11), (0, 3)]  # layers are rows
    marked = table[table["kind"] == "mark"]
    expected = {head_name(head): look.label for head, look in MARKED.items()}
    assert dict(zip(marked["series"], marked["message"], strict=True)) == expected


def test_diverging_maps_are_centred(panel: Any, rng: np.random.Generator) -> None:
    head_marks.head_map(measured(rng, ("layer", "head"), (3, 12)), panel, "excess", {}, limit=1.0, middle=0.0)
    assert panel.images[0].get_clim() == (-1, 1)


def test_colours_go_as_far_as_the_data_and_no_less_than_they_should(panel: Any, rng: np.random.Generator) -> None:
    small = measured(rng, ("layer", "head"), (3, 12))
    small.values[:] *= 0.15 / small.values.max()
    head_marks.head_map(small, panel, "score", {}, least=0.1)
    assert panel.images[0].get_clim() == pytest.approx((0, 0.15))
    small.values[:] /= 100  # noise stays dark
    for middle, ends in ((None, (0, 0.1)), (0.0, (-0.1, 0.1))):
        ax = Figure((3, 2)).add_subplot()
        head_marks.head_map(small, ax, "score", {}, middle=middle, least=0.1)
        assert ax.images[0].get_clim() == ends


def test_a_map_without_numbers_says_why(panel: Any) -> None:
    table = head_marks.head_map(missing("attention", "not applicable", "encoders have no past"), panel, "score", {})
    assert table["message"].tolist() == ["encoders have no past"]
    assert not panel.images


def test_offsets_are_labelled_by_their_coordinates(panel: Any, rng: np.random.Generator) -> None:
    offsets = (*range(64), *range(137, 201))
    measure = measured(rng, ("layer", "head", "offset"), (3, 12, 128), offset=offsets)
    table = head_marks.offset_map(measure, panel, "S = 200", MARKED)
    assert "none was asked for" in table["message"].iloc[-1]  # why nothing is beside them
    table = table.iloc[:-1]
    np.testing.assert_array_equal(np.asarray(panel.images[0].get_array()).ravel(), table["value"])
    assert table["at"].tolist() == [*offsets] * 3
    row = table[(table["series"] == "L2H11") & (table["at"] == 199)]
    assert row["value"].item() == measure.values[2, 11, 126]
    for tick, label in zip(panel.get_xticks(), panel.get_xticklabels(), strict=True):
        assert label.get_text() == str(offsets[int(tick)])
    assert [label.get_text() for label in panel.get_yticklabels()] == ["L2H1", "L2H11", "L0H3"]


def test_along_training_the_marked_have_curves_and_the_others_a_range(panel: Any, rng: np.random.Generator) -> None:
    steps = (0, 10, 100, 1000)
    measure = measured(rng, ("step", "layer", "head"), (4, 3, 12), step=steps)
    measure.values[0] = np.nan  # nothing was defined before training
    table = head_marks.head_curves(measure, panel, "score", MARKED)
    curve = table[table["series"] == "L0H3"]
    assert curve["at"].tolist() == list(steps)
    np.testing.assert_array_equal(curve["value"], measure.values[:, 0, 3])
    others = measure.values[1:].reshape(3, 36)[:, [i for i in range(36) if i not in (3, 25, 35)]]
    band = table[table["series"] == "other heads"]
    assert band["at"].tolist() == [10, 100, 1000]
    np.testing.assert_array_equal(band["low"], others.min(1))
    np.testing.assert_array_equal(band["high"], others.max(1))
    assert set(band["n"]) == {33}
