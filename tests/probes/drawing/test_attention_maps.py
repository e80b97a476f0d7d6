"""Maps of kept attention: legible at every width, with exactly their numbers, and with tokens for ticks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from mesascope.data import Recipe
from mesascope.probes.drawing import page
from mesascope.probes.drawing.attention_maps import patterns_figure, value_weighted_figure
from mesascope.probes.findings import Findings
from mesascope.probes.kept_attention import KeptAttention

WORDS = ["<s>", " the", " quick", "\n", " brown", " foxes'", " ", " extraordinarily", " 日本", " $x_1$", " .", "\ufffd"]
FIGURES = [patterns_figure, value_weighted_figure]
Build = Callable[[Findings, page.Page], pd.DataFrame | None]


def made(heads: int, tokens: int, norms: bool = True) -> KeptAttention:
    rng = np.random.default_rng(tokens)
    pattern = np.tril(rng.random((heads, tokens, tokens)) ** 6)
    pattern /= pattern.sum(axis=-1, keepdims=True)
    texts = [WORDS[n % len(WORDS)] for n in range(tokens)]
    settings = {"sequence": "made up", "ids": [0] * tokens, "texts": texts, "not_weighted": "" if norms else "no v"}
    places = tuple((n // 3, n % 3) for n in range(heads))
    verdicts = tuple("previous-token" if n % 2 else "none" for n in range(heads))
    lengths = 300 * rng.random((heads, tokens)) if norms else None
    return KeptAttention(places, pattern, lengths, Recipe("made up", settings, 0, 1, ""), verdicts)


def drawn(build: Build, kept: KeptAttention, width: float = 5.5, whole: bool = True) -> tuple[Figure, pd.DataFrame]:
    draw = page.render if whole else page.compose
    found = draw(build, kept.findings, page.style_of("neurips", width))
    assert found is not None
    return found


@pytest.mark.parametrize("build", FIGURES)
@pytest.mark.parametrize(("heads", "tokens"), [(1, 14), (3, 41), (8, 128)])
@pytest.mark.parametrize("width", [3.25, 5.5])
def test_every_text_can_be_read(
    build: Build, heads: int, tokens: int, width: float, faults: Callable[..., list[str]]
) -> None:
    figure, table = drawn(build, made(heads, tokens), width)
    assert faults(figure, table, build.__doc__) == []
    assert (figure.get_figwidth(), figure.get_figheight() <= 9) == (width, True)
    assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7


@pytest.mark.parametrize(
    ("build", "weighting"), [(patterns_figure, "attention"), (value_weighted_figure, "value-weighted")]
)
def test_maps_show_exactly_their_table(build: Build, weighting: str) -> None:
    kept = replace(made(3, 9), pattern=made(3, 9).pattern / 2)  # half of it goes to a sink
    figure, table = drawn(build, kept, whole=False)
    estimates = table[table["kind"] == "estimate"]
    maps = [ax for ax in figure.axes if ax.images and ax.get_title()]
    assert [ax.get_title() for ax in maps] == ["L0H0", "L0H1 previous-token", "L0H2"]
    for place, ax in enumerate(maps):
        (image,) = ax.images
        shown, values = np.ma.filled(image.get_array(), np.nan), kept.values(weighting)[place]  # pyright: ignore
        below = np.tri(9, dtype=bool)
        np.testing.assert_array_equal(shown[below], values[below])
        assert np.isnan(shown[~below]).all()
        top = image.get_clim()[1]
        assert top == (1.0 if weighting == "attention" else values.max())
        rows = estimates[estimates["panel"] == ax.get_title()]
        found = {(int(row.series.split()[1]), int(row.at)): row.value for row in rows.itertuples()}
        assert found == {(i, j): values[i, j] for i, j in zip(*np.nonzero(values >= top / 256), strict=True)}


def labels(figure: Figure) -> tuple[list[str], list[str]]:
    ax = figure.axes[0]
    texts = [[label.get_text() for label in axis.get_ticklabels()] for axis in (ax.xaxis, ax.yaxis)]
    return texts[0], texts[1]


def test_all_tokens_are_named_where_there_is_room() -> None:
    named = ["<s>", "the", "quick", "⏎", "brown", "foxes'", "␣", "extraor…", "–", "$x_1$", ".", "–"]
    assert labels(drawn(patterns_figure, made(2, 12))[0]) == (named, named)
    assert labels(drawn(patterns_figure, made(1, 12), 3.25)[0]) == (named, named)
    assert len(labels(drawn(patterns_figure, made(2, 24))[0])[0]) == 24


def test_a_token_is_no_formula() -> None:
    ax = drawn(patterns_figure, made(1, 12))[0].axes[0]
    ticks = [label for axis in (ax.xaxis, ax.yaxis) for label in axis.get_ticklabels()]
    assert not any(label.get_parse_math() for label in ticks if "$" in label.get_text())


def test_of_many_tokens_some_are_named_with_their_position() -> None:
    keys, queries = labels(drawn(patterns_figure, made(8, 101))[0])
    assert keys == queries
    positions = [int(label.split(":")[0]) for label in keys]
    assert set(np.diff(positions)) == {positions[1]}
    assert keys[0] == "0: <s>"
    assert len(keys) >= 7


def test_the_last_query_is_the_lowest() -> None:
    ax = drawn(patterns_figure, made(1, 6))[0].axes[0]
    low, high = ax.get_ylim()
    assert low > high
    assert ax.get_ylabel() == "query"
    assert ax.get_xlabel() == "key"


def test_nothing_is_drawn_of_what_is_not_kept() -> None:
    empty = Findings({}, {}, {})
    assert page.compose(patterns_figure, empty) is None
    assert page.compose(value_weighted_figure, empty) is None
    assert page.compose(value_weighted_figure, made(2, 6, norms=False).findings) is None
    assert page.compose(patterns_figure, made(2, 6, norms=False).findings) is not None


@pytest.mark.parametrize("heads", [3, 8])
def test_it_is_laid_out_alike_wherever_objects_lie_in_memory(heads: int) -> None:
    """The solver of layouts adds in an order of addresses: rows of unequal heights would differ in their last bit."""
    places, between = set(), []
    for n in range(4):
        figure, _ = drawn(patterns_figure, made(heads, 20))
        places.add(tuple(tuple(ax.get_position().bounds) for ax in figure.axes))
        between.append([object() for _ in range(997 * n)])
    assert len(places) == 1
