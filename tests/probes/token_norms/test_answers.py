"""The three sentences of the card: each where it belongs, and a near miss where it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.probes.measure import Measure, missing
from mesascope.probes.token_norms.answers import correlations, growth, growth_in_brief, number, outliers
from mesascope.probes.token_norms.massive_dimensions import massive_dimensions, massive_layers, named_dimensions
from mesascope.probes.token_norms.words import Number, from_to, span

NOTHING = np.nan

# -- do norms grow with depth? -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later", "sentence"),
    [
        ((1.5, 1.4, 1.6), "Norms grow × 1.50 a layer (95 % CI 1.40 to 1.60), first token × 2.00."),
        ((1.5, 1.001, 1.6), "Norms grow × 1.50 a layer (95 % CI 1.00 to 1.60), first token × 2.00."),
        ((1.5, 0.999, 1.6), "Growth unclear: × 1.50 a layer (95 % CI 1.00 to 1.60), first token × 2.00."),
        ((0.9, 0.8, 1.001), "Growth unclear: × 0.90 a layer (95 % CI 0.80 to 1.00), first token × 2.00."),
        ((0.9, 0.8, 0.999), "Norms shrink × 0.90 a layer (95 % CI 0.80 to 1.00), first token × 2.00."),
        ((1.0454, 1.0451, 1.0459), "Norms grow × 1.045 a layer (95 % CI 1.045 to 1.046), first token × 2.00."),
        ((1.5, NOTHING, NOTHING), "Norms change (no interval): × 1.50 a layer, first token × 2.00."),
    ],
)
def test_the_verdict_on_growth_is_that_of_later_tokens(made: Any, later: tuple, sentence: str) -> None:
    assert growth(made.growth(later)) == sentence
    assert growth_in_brief(made.growth(later)) == sentence.partition(" ×")[0].rstrip(":")


def test_the_first_token_has_its_own_factor(made: Any) -> None:
    shrinks = made.growth((1.5, 1.4, 1.6), first=(0.5, 0.4, 0.6))
    assert growth(shrinks) == "Norms grow × 1.50 a layer (95 % CI 1.40 to 1.60), first token × 0.50."
    unknown = made.growth((1.5, 1.4, 1.6), first=(NOTHING, NOTHING, NOTHING))
    assert growth(unknown) == "Norms grow × 1.50 a layer (95 % CI 1.40 to 1.60)."


def test_growth_that_is_undefined(made: Any) -> None:
    undefined = "How norms grow with depth is undefined."
    assert growth({"norm_growth": missing("factor per layer", "undefined", "the norm is 0")}) == undefined
    assert growth(made.growth((NOTHING, NOTHING, NOTHING))) == undefined
    assert growth({}) == undefined
    assert growth_in_brief({}) == "Growth undefined"


# -- do norms go with frequency, or with surprisal? --------------------------------------------------------------------

WEAK, STRONG = (-0.1, -0.2, 0.05), (0.4, 0.21, 0.5)


@pytest.mark.parametrize(
    ("frequency", "surprisal", "sentence"),
    [
        (WEAK, STRONG,
         "Norms go with surprisal more than with frequency: ρ = 0.40 (0.21 to 0.50), -0.10 (-0.20 to 0.05)."),
        ((-0.4, -0.5, -0.21), (0.1, -0.05, 0.2),
         "Norms go with frequency more than with surprisal: ρ = -0.40 (-0.50 to -0.21), 0.10 (-0.05 to 0.20)."),
        # the intervals of the absolute values meet, though those of the values are far apart
        (WEAK, (0.4, 0.2, 0.5),
         "Frequency and surprisal are not told apart: ρ = -0.10 (-0.20 to 0.05), 0.40 (0.20 to 0.50)."),
        ((-0.4, -0.5, -0.3), (0.4, 0.3, 0.5),
         "Frequency and surprisal are not told apart: ρ = -0.40 (-0.50 to -0.30), 0.40 (0.30 to 0.50)."),
        ((0.1, NOTHING, NOTHING), STRONG, "Norms with frequency and surprisal: ρ = 0.10, 0.40 (0.21 to 0.50)."),
    ],
)  # fmt: skip
def test_which_is_stronger_is_said_where_intervals_are_apart(
    made: Any, frequency: tuple, surprisal: tuple, sentence: str
) -> None:
    found = made.correlations(log_frequency=frequency, entropy=(0.9, 0.8, 1.0), surprisal=surprisal)
    assert correlations(found, {}) == sentence


def test_each_correlation_has_its_own_p(made: Any) -> None:
    found = made.correlations(log_frequency=WEAK, surprisal=STRONG)
    p = {"spearman_log_frequency": "p = 0.4", "spearman_surprisal": "p = 0.05", "norm_growth_later": "p = 0.9"}
    words = "ρ = 0.40 (0.21 to 0.50, p = 0.05), -0.10 (-0.20 to 0.05, p = 0.4)."
    assert correlations(found, p) == f"Norms go with surprisal more than with frequency: {words}"
    alone = made.correlations(log_frequency=(0.1, NOTHING, NOTHING), surprisal=(0.2, NOTHING, NOTHING))
    assert correlations(alone, p) == "Norms with frequency and surprisal: ρ = 0.10 (p = 0.4), 0.20 (p = 0.05)."


def test_a_correlation_that_has_no_number(made: Any) -> None:
    """Of a model that predicts no next token, say, or where all tokens are as frequent."""
    one = "Norms with frequency: ρ = -0.10 (-0.20 to 0.05). No number for surprisal."
    assert correlations(made.correlations(log_frequency=WEAK), {}) == one
    assert correlations(made.correlations(log_frequency=WEAK, surprisal=(NOTHING,) * 3), {}) == one
    undefined = {"stream_spearman": missing("rank correlation", "undefined", "no token has a finite surprisal")}
    for nothing in (undefined, {}, made.correlations(entropy=WEAK)):
        assert correlations(nothing, {}) == "How norms go with frequency and surprisal is undefined."


# -- are there sinks and massive activations? --------------------------------------------------------------------------

NO_SINK, SINK = (0.0, 0.0, 0.0), (17.25, 14.0, 20.0)


def sinks(made: Any, interval: tuple, heads: list[list[float]] | None = None) -> dict[str, Measure]:
    return {"sink_metric": made.number(interval), **({} if heads is None else made.heads(heads))}


def test_what_was_looked_for_and_is_not_there(made: Any) -> None:
    nothing = sinks(made, NO_SINK, [[0.0]]) | made.massive([np.nan])
    assert outliers(nothing) == ["No attention sinks, no massive activations."]
    assert outliers({"massive_dimension": nothing["massive_dimension"]}) == []  # nobody looked for sinks
    of_seeds = {"massive_dimension": missing("dimension", "not applicable", "seeds differ")}
    assert outliers(sinks(made, NO_SINK) | of_seeds) == []
    assert outliers({}) == []


@pytest.mark.parametrize(
    ("heads", "words", "short"),
    [
        ([[100.0, 49.9], [50.0, 0.0]], "L0H0, L1H0 (17.2 %)", "2 heads"),
        ([[0.0, 49.9], [50.0, 0.0]], "L1H0 (17.2 %)", "L1H0"),
        ([[100.0, 50.0], [50.0, 0.0]], "3 of 4 heads (17.2 %)", "3 heads"),
        ([[49.9, 49.9], [49.9, 49.9]], "0 of 4 heads (17.2 %)", "17.2 %"),
        (None, "17.2 %", "17.2 %"),
    ],
)
def test_sinks_are_named_by_head_as_long_as_they_are_few(
    made: Any, heads: list[list[float]] | None, words: str, short: str
) -> None:
    nothing_massive = made.massive([np.nan])
    assert outliers(sinks(made, SINK, heads) | nothing_massive) == [f"Attention sinks: {words}."]
    assert outliers(sinks(made, SINK, heads)) == [f"Attention sinks: {words}."]
    both = sinks(made, SINK, heads) | made.massive([np.nan, np.nan], [7.0, 5.0])
    assert outliers(both) == [f"Sinks: {short}; massive: 2 dimensions."]


def test_massive_activations_are_named_by_dimension_and_layer(made: Any) -> None:
    def said(*of_layers: list[float]) -> list[str]:
        return outliers(sinks(made, NO_SINK) | made.massive(*of_layers))

    none = [np.nan, np.nan, np.nan]
    assert said(none, [5.0, np.nan, np.nan], none) == ["Massive: dimension 5, layer 1."]
    assert said(none, [7.0, 5.0, np.nan], [5.0, np.nan, np.nan]) == ["Massive: dimensions 5, 7, layers 1–2."]
    assert said([7.0, 5.0, 6.0], none, [5.0, 7.0, 6.0]) == ["Massive: 3 dimensions, 2 layers."]


def test_dimensions_of_seeds_are_those_of_any(made: Any) -> None:
    points = np.array([[[np.nan, np.nan], [3.0, np.nan]], [[np.nan, np.nan], [9.0, 3.0]]])
    of_seeds = replace(made.massive([np.nan, np.nan], [6.0, 3.0])["massive_dimension"], points=points)
    assert massive_dimensions(of_seeds) == [3, 9]  # and no mean of them
    assert massive_layers(of_seeds) == [1]
    assert named_dimensions([3], 2) == "dimension 3"
    assert named_dimensions([3, 9], 2) == "dimensions 3, 9"
    assert named_dimensions([3, 7, 9], 2) == "3 dimensions"


# -- numbers in words --------------------------------------------------------------------------------------------------


def test_a_number_is_read_at_its_labels_alone(made: Any) -> None:
    found = made.growth((1.5, 1.4, 1.6))
    assert number(found, "norm_growth", {}, position="later") == Number(1.5, 1.4, 1.6)
    assert number(found, "norm_growth", {}, position="last") is None
    assert number(found, "norm_growth", {}) is None
    assert number(found, "norm", {}, position="later") is None


def test_decimals_tell_the_ends_apart_and_a_zero_has_no_minus() -> None:
    assert str(Number(0.1234, 0.12, 0.13)) == "0.12"
    assert Number(0.1234, 0.1231, 0.1239).interval() == " (0.123 to 0.124)"
    assert Number(0.1234, 0.12341, 0.12342).interval() == " (0.12 to 0.12)"
    assert str(Number(-0.001, -0.2, 0.2)) == "0.00"
    assert Number(-0.4, -0.5, -0.3).size == (0.3, 0.5)
    assert Number(0.1, -0.5, 0.3).size == (0.0, 0.5)
    assert from_to(np.array([1.2, 1.1, 1.3])) == "1.10 to 1.30"
    assert from_to(np.array([1.2, 1.2001])) == "1.20"
    assert [span(layers) for layers in ([3], [3, 4, 5], [3, 5])] == ["layer 3", "layers 3–5", "2 layers"]
