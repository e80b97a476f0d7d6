"""The claim card of token-norms: each sentence where it belongs and only there, and no theorem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mesascope.models import Source
from mesascope.models.constructed.norms import planted_norms
from mesascope.probes.measure import Claim, Measure, missing
from mesascope.probes.token_norms.claim import GROWTH, HEADLINES, Headline, norm_claim, number
from mesascope.probes.token_norms.inner_measures import FORCED
from mesascope.probes.token_norms.massive_dimensions import massive_dimensions, named_dimensions
from mesascope.probes.token_norms.probe import TokenNorms

Planted = Callable[..., dict[str, Measure]]
ALL = ("inner", "attention", "outliers")


def measure(value: float, low: float, high: float, untrained: tuple[float, ...] = (), n: int = 12) -> Measure:
    nulls = {"untrained": np.array(untrained)} if untrained else {}
    why = "" if untrained else "none"
    return Measure(np.array(value), "1", (np.array(low), np.array(high)), "document", n, nulls=nulls, no_nulls=why)


def card(growth: Measure, parts: tuple[str, ...] = (), **measures: Measure) -> Claim:
    return norm_claim({"norm_growth": growth, **measures}, (Source("tiny", layout="in-memory"),), parts, own_text=True)


GROWN = measure(1.5, 1.4, 1.6)
NO_INTERVAL = measure(1.5, np.nan, np.nan)


@pytest.mark.parametrize(
    ("growth", "sentence"),
    [
        (GROWN, "Token norms grow × 1.5 per layer (95 % CI 1.4 to 1.6)."),
        (measure(0.8, 0.7, 0.9), "Token norms shrink × 0.8 per layer (95 % CI 0.7 to 0.9)."),
        (
            measure(1.1, 0.9, 1.2),
            "Token norms neither grow nor shrink clearly: × 1.1 per layer (95 % CI 0.9 to 1.2).",
        ),
        (NO_INTERVAL, "Token norms change × 1.5 per layer (no interval)."),
        (missing("1", "undefined", "no norm"), "How token norms grow with depth is undefined."),
    ],
)
def test_growth(growth: Measure, sentence: str) -> None:
    assert card(growth).found == sentence


def dimensions(*found: float) -> Measure:
    values, nothing = np.array([found]), np.full((1, len(found)), np.nan)
    return Measure(values, "dimension", (nothing, nothing), "none", 1, ("layer", "rank"), no_nulls="-", message="-")


NO_SINK, SINK = measure(0.0, 0.0, 0.0), measure(17.0, 14.0, 20.0)
NO_DIMENSION = missing("dimension", "undefined", "none")


@pytest.mark.parametrize(
    ("sink", "massive", "sentences"),
    [
        (NO_SINK, NO_DIMENSION, " No attention sinks, no massive activations."),
        (SINK, NO_DIMENSION, " Attention sinks: 17 % (95 % CI 14 to 20)."),
        (measure(17.0, np.nan, np.nan), NO_DIMENSION, " Attention sinks: 17 %."),
        (NO_SINK, dimensions(5, np.nan), " Massive activations: dimension 5."),
        (SINK, dimensions(7, 5), " Attention sinks: 17 % (95 % CI 14 to 20). Massive activations: dimensions 5, 7."),
        (NO_SINK, missing("dimension", "not applicable", "seeds differ"), ""),
        (missing("%", "not applicable", "-"), NO_DIMENSION, ""),
    ],
)
def test_what_stands_out(sink: Measure, massive: Measure, sentences: str) -> None:
    measures = {"sink_metric": sink, "massive_dimension": massive}
    begin = "Token norms grow × 1.5 per layer (95 % CI 1.4 to 1.6)."
    assert card(GROWN, ("outliers",), **measures).found == begin + sentences
    assert card(GROWN, (), **measures).found == begin  # not measured, not spoken of


@pytest.mark.parametrize(
    ("untrained", "sentence"),
    [
        ((), "No untrained model was measured beside it."),
        ((1.2,), "Growth in 1 untrained model: × 1.2. 1 of 1 statistics differ from it."),
        (
            (1.1, 1.2, 1.0),
            "Growth in untrained models: × 1 to 1.2 (minimum to maximum of 3). 1 of 1 statistics differ from all 3 of"
            " them.",
        ),
        (
            (1.1, 1.5),
            "Growth in untrained models: × 1.1 to 1.5 (minimum to maximum of 2). 0 of 1 statistics differ from all 2 of"
            " them.",
        ),
    ],
)
def test_beside_untrained_models(untrained: tuple[float, ...], sentence: str) -> None:
    claim = card(measure(1.5, 1.4, 1.6, untrained))
    assert claim.rival == sentence
    same = [limit for limit in claim.limits if "Not told apart" in limit]
    assert same == ["Not told apart from untrained models: growth."] * (1.5 in untrained)


def test_without_an_interval_nothing_is_compared() -> None:
    claim = card(measure(1.5, np.nan, np.nan, (1.0, 1.1), n=1))
    assert claim.rival == "Growth in untrained models: × 1 to 1.1 (minimum to maximum of 2)."
    assert not any("Not told apart" in limit for limit in claim.limits)
    assert claim.evidence == "One document: no intervals."


def test_what_was_resampled() -> None:
    assert card(GROWN).evidence == "Bootstrap over 12 documents."
    sources = tuple(Source("tiny", layout="in-memory", revision=f"seed{seed}") for seed in range(3))
    of_seeds = replace(GROWN, replicate="seed", n=3, points=np.array([1.4, 1.5, 1.6]))
    assert norm_claim({"norm_growth": of_seeds}, sources, (), False).evidence == (
        "t-interval over 3 seeds, 3 checkpoints."
    )


def test_limits_are_those_of_what_was_measured() -> None:
    theorem = "These measurements neither test nor reproduce the theorem of Wu & Varshney (2024)."
    cosine = f"{FORCED[0].upper()}{FORCED[1:]}."
    assert FORCED == "a falling loss forces a positive step cosine: it is no evidence of an inner optimizer"
    threshold = "Massive activations have an absolute threshold: rescaling a model can create or remove them."
    everything = card(GROWN, ALL, step_cosine=GROWN).limits
    assert everything[:2] == (cosine, theorem)
    assert everything[-1] == threshold
    assert cosine not in card(GROWN, ALL, step_cosine=missing("cosine", "not applicable", "-")).limits
    assert threshold not in card(GROWN, ("inner", "attention")).limits


def test_methods_are_those_of_what_was_measured() -> None:
    words = {"inner": "The inner loss of a layer", "attention": "Mixing ratios follow", "outliers": "attention sinks"}
    for part, sentence in words.items():
        assert sentence in card(GROWN, (part,)).methods
        assert sentence not in card(GROWN, tuple(other for other in ALL if other != part)).methods
    assert "text of our own" in card(GROWN).methods
    given = norm_claim({"norm_growth": GROWN}, (), (), own_text=False).methods
    assert "held-out text of a probabilistic grammar" in given


def test_a_note_of_a_source_is_a_limit() -> None:
    source = Source("tiny", layout="in-memory", notes=("the tokenizer was guessed",))
    assert norm_claim({"norm_growth": GROWN}, (source,), (), True).limits[-1] == "the tokenizer was guessed"


def test_a_number_beside_untrained_models() -> None:
    labels = {"position": ("first", "later")}
    found = Measure(
        np.array([2.0, 3.0]), "norm", (np.array([1.0, 2.0]), np.array([4.0, 4.0])), "document", 5, ("position",),
        labels, {"untrained": np.array([[0.0, 1.0], [5.0, 1.5]])},
    )  # fmt: skip
    first, later = (number({"x": found}, Headline("x", "x", {}, {"position": at})) for at in labels["position"])
    assert (first.value, first.low, first.high, first.differs) == (2, 1, 4, True)
    assert (later.value, later.differs) == (3, True)
    inside = replace(found, nulls={"untrained": np.array([[0.0, 2.5]])})
    assert number({"x": inside}, Headline("x", "x", {}, {"position": "later"})).differs is False
    assert number({}, GROWTH) is None
    assert number({"x": found}, Headline("x", "x", {"layer": -1}, {})) is None
    assert number({"x": found}, Headline("x", "x", {}, {"position": "last"})) is None


def test_dimensions_are_named_as_long_as_they_are_few() -> None:
    of_seeds = replace(dimensions(5, 7), points=np.array([[[3.0, np.nan]], [[9.0, 3.0]]]))
    assert massive_dimensions(of_seeds) == [3, 9]  # of single seeds, and no mean of them
    assert named_dimensions([3], 2) == "dimension 3"
    assert named_dimensions([3, 9], 2) == "dimensions 3, 9"
    assert named_dimensions([3, 7, 9], 2) == "3 dimensions"


def test_the_card_of_a_planted_model(planted: Planted) -> None:
    measures = planted(sink=True, massive=4_000.0)
    claim = TokenNorms(tokens="-").claim(measures, (planted_norms().source,))
    growth = measures["norm_growth"]
    assert f"× {growth.estimate:.3g} per layer (95 % CI {growth.interval[0]:.3g} to" in claim.found
    assert "Attention sinks: 100 %" in claim.found
    assert claim.found.endswith("Massive activations: dimension 5.")
    assert f"of {len(HEADLINES)} statistics differ from it." in claim.rival
    assert not any("attention sinks" in limit for limit in claim.limits if "Not told apart" in limit)
    assert claim.evidence == "Bootstrap over 12 documents."
    assert FORCED in measures["step_cosine"].message
    assert "reproduce" not in " ".join((claim.found, claim.rival, claim.methods))
    assert any("2310.05884" in citation for citation in claim.citations)


def test_what_was_not_measured_has_no_measure(zipf_file: str) -> None:
    measures = TokenNorms(tokens=zipf_file, untrained=0, parts="none").measure(planted_norms(), 0, 8).measures
    assert not any(name.startswith(("step_", "sink_", "mixing_")) for name in measures)
    assert measures["norm_growth"].no_nulls == "no untrained model was measured beside it"


def test_a_single_short_document(tmp_path: Path) -> None:
    """One window: there is nothing to resample, and every measure says so."""
    np.save(tmp_path / "short.npy", np.arange(1, 8))
    probe, model = TokenNorms(tokens=str(tmp_path / "short.npy"), untrained=1), planted_norms()
    measures = probe.measure(model, 0, 8).measures
    assert "no interval: there is only one block to resample" in measures["stream_norm"].message
    assert np.isnan(measures["stream_norm"].interval[0]).all()
    assert np.isfinite(measures["stream_norm"].values).all()
    assert "(no interval)" in probe.claim(measures, (model.source,)).found
