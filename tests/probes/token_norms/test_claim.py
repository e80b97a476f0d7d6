"""The claim card of token-norms: short, no theorem, and each caveat where it belongs."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.models import Source
from mesascope.models.constructed.norms import planted_norms
from mesascope.probes.measure import Claim, Measure, missing
from mesascope.probes.token_norms.claim import norm_claim
from mesascope.probes.token_norms.inner_measures import FORCED
from mesascope.probes.token_norms.probe import TokenNorms

Planted = Callable[..., dict[str, Measure]]
ALL = ("inner", "attention", "outliers")
GROWN = (1.5, 1.4, 1.6)
COLUMNS = 63
"""Of a terminal of 80, beside the labels of the card."""


def card(measures: dict[str, Measure], parts: tuple[str, ...] = (), own_text: bool = True) -> Claim:
    return norm_claim(measures, (Source("tiny", layout="in-memory"),), parts, own_text)


# -- five lines --------------------------------------------------------------------------------------------------------

LONG_GROWTH = {
    "grow": (12.9871, 12.9861, 12.9889), "shrink": (0.9871, 0.9861, 0.9889), "unclear": (0.9991, 0.9961, 1.0009),
    "no interval": (12.987, np.nan, np.nan),
}  # fmt: skip
LONG_CORRELATIONS = {
    "one is stronger": ((-0.3121, -0.3141, -0.3101), (-0.0251, -0.0291, -0.0211)),
    "not told apart": ((-0.3121, -0.3141, -0.3101), (-0.3131, -0.3149, -0.3111)),
}


@pytest.mark.parametrize("outlying", ["sinks", "many sinks", "massive", "both", "nothing"])
@pytest.mark.parametrize("related", LONG_CORRELATIONS)
@pytest.mark.parametrize("grown", LONG_GROWTH)
def test_the_card_is_short(made: Any, grown: str, related: str, outlying: str) -> None:
    """Five lines at most, with long numbers, many documents, and whatever stands out."""
    frequency, surprisal = LONG_CORRELATIONS[related]
    massive = [1415.0, 2533.0] if outlying in ("massive", "both") else [np.nan, np.nan]
    sink = 0.0 if outlying in ("massive", "nothing") else 63.25
    heads = np.where(np.arange(1024).reshape(32, 32) < (2 if outlying == "sinks" else 900), 100.0, 0.0)
    untrained = np.linspace(0.987, 1.012, 19)
    names = ("norm_growth_later", "spearman_log_frequency", "spearman_surprisal")
    measures = (
        made.growth(LONG_GROWTH[grown], (0.9876, 0.9871, 0.9881), n=10_000)
        | made.correlations(log_frequency=frequency, surprisal=surprisal)
        | {"sink_metric": made.number((sink, sink, sink))}
        | made.heads(heads.tolist())
        | made.massive([np.nan, np.nan], *[massive] * 30)
        | made.comparison(dict.fromkeys(names, untrained), **dict.fromkeys(names, 2.0))
    )
    claim = card(measures, ALL)
    lines = [line for text in (claim.found, claim.rival, claim.evidence) for line in textwrap.wrap(text, COLUMNS)]
    assert len(lines) <= 5, "\n".join(lines)
    assert claim.rival.count("p ≤ 1/20") == 2


# -- what was found, and what it was measured on -----------------------------------------------------------------------


def test_outliers_are_spoken_of_where_they_were_looked_for(made: Any) -> None:
    measures = made.growth(GROWN) | {"sink_metric": made.number((17.0, 14.0, 20.0))}
    assert card(measures, ("outliers",)).found.endswith("first token × 2.00. Attention sinks: 17 %.")
    assert card(measures, ("inner", "attention")).found.endswith("first token × 2.00.")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"n": 12}, "12 documents."),
        ({"n": 10_000}, "10,000 documents."),
        ({"n": 50, "replicate": "block"}, "50 blocks."),
        ({"n": 3, "replicate": "seed"}, "3 seeds."),
        ({"n": 1}, "One document: no intervals."),
        ({"n": 1, "replicate": "block"}, "One block: no intervals."),
    ],
)
def test_what_was_resampled(made: Any, how: dict[str, Any], words: str) -> None:
    nothing = "No untrained model was measured beside it."
    assert card(made.growth(GROWN, **how)).evidence == f"{words} {nothing}"
    beside = made.comparison({"norm_growth_later": np.linspace(1.1, 1.2, 19)}, norm_growth_later=1.5)
    found = card(made.growth(GROWN, **how) | beside).evidence
    assert found == f"{words} Untrained models: × 1.10 to 1.20 (p ≤ 1/20)."


def test_the_card_answers_with_correlations_and_their_p(made: Any) -> None:
    measures = made.growth(GROWN) | made.correlations(log_frequency=(0.1, 0.0, 0.2), surprisal=(0.4, 0.3, 0.5))
    assert "p ≤" not in card(measures).rival
    untrained = {"spearman_surprisal": np.linspace(-0.1, 0.1, 19)}
    beside = made.comparison(untrained, spearman_surprisal=0.42)
    assert "ρ = 0.40 (0.30 to 0.50, p ≤ 1/20), 0.10 (0.00 to 0.20)." in card(measures | beside).rival
    few = made.comparison({"spearman_surprisal": np.linspace(-0.1, 0.1, 18)}, spearman_surprisal=0.42)
    assert "p ≤" not in card(measures | few).rival


# -- what it does not show ---------------------------------------------------------------------------------------------


def test_limits_are_those_of_what_was_measured(made: Any) -> None:
    theorem = "These measurements neither test nor reproduce the theorem of Wu & Varshney (2024)."
    cosine = f"{FORCED[0].upper()}{FORCED[1:]}."
    assert FORCED == "a falling loss forces a positive step cosine: it is no evidence of an inner optimizer"
    threshold = "Massive activations have an absolute threshold: rescaling a model can create or remove them."
    grown, measured = made.growth(GROWN), {"step_cosine": made.number(GROWN)}
    everything = card(grown | measured, ALL).limits
    assert everything[:2] == (cosine, theorem)
    assert everything[-1] == threshold
    assert cosine not in card(grown | {"step_cosine": missing("cosine", "not applicable", "-")}, ALL).limits
    assert cosine not in card(grown, ("attention",)).limits
    assert threshold not in card(grown, ("inner", "attention")).limits


def test_what_untrained_models_have_as_well_is_the_first_limit(made: Any) -> None:
    beside = made.comparison({"norm_growth_later": np.linspace(1.1, 1.9, 19)}, norm_growth_later=1.5)
    limits = card(made.growth(GROWN) | beside).limits
    assert limits[0] == "Not distinguishable from untrained models on the same tokens: growth (p = 1)."
    assert not any("istinguishable" in limit for limit in card(made.growth(GROWN)).limits)


def test_methods_are_those_of_what_was_measured(made: Any) -> None:
    grown = made.growth(GROWN)
    words = {"inner": "The inner loss of a layer", "attention": "Mixing ratios follow", "outliers": "attention sinks"}
    for part, sentence in words.items():
        assert sentence in card(grown, (part,)).methods
        assert sentence not in card(grown, tuple(other for other in ALL if other != part)).methods
    assert "text of our own" in card(grown).methods
    assert "held-out text of a probabilistic grammar" in card(grown, own_text=False).methods
    beside = made.comparison({"norm_growth_later": np.linspace(1.1, 1.9, 19)}, norm_growth_later=1.5)
    assert "untrained models of its shape (19) read the first tokens" in card(grown | beside).methods
    assert "untrained" not in card(grown).methods


def test_a_note_of_a_source_is_a_limit(made: Any) -> None:
    source = Source("tiny", layout="in-memory", notes=("the tokenizer was guessed",))
    assert norm_claim(made.growth(GROWN), (source,), (), True).limits[-1] == "the tokenizer was guessed"


# -- cards of models ---------------------------------------------------------------------------------------------------


def test_the_card_of_a_planted_model(planted: Planted) -> None:
    measures = planted(sink=True, massive=4_000.0)
    claim = TokenNorms(tokens="-").claim(measures, (planted_norms().source,))
    growth = measures["norm_growth"].sel(position="later")
    assert f"× {growth.estimate:.2f} a layer (95 % CI {growth.interval[0]:.2f} to" in claim.found
    assert claim.found.endswith("Sinks: 4 heads; massive: dimension 5.")
    assert claim.evidence.startswith("12 documents. One untrained model: × ")
    assert claim.limits[0].startswith("With 1 untrained model p cannot be below 0.5")
    assert FORCED in measures["step_cosine"].message
    assert "reproduce" not in " ".join((claim.found, claim.rival, claim.methods))
    assert any("2310.05884" in citation for citation in claim.citations)


def test_what_was_not_measured_has_no_measure(zipf_file: str) -> None:
    measures = TokenNorms(tokens=zipf_file, untrained=0, parts="none").measure(planted_norms(), 0, 8).measures
    assert not any(name.startswith(("step_", "sink_", "mixing_", "untrained")) for name in measures)
    assert measures["norm_growth"].no_nulls == "no untrained model read the whole text"
    assert measures["norm_rows"].no_nulls == "no untrained model was measured beside it"


def test_a_single_short_document(tmp_path: Path) -> None:
    """One window: there is nothing to resample, and every measure says so."""
    np.save(tmp_path / "short.npy", np.arange(1, 8))
    probe, model = TokenNorms(tokens=str(tmp_path / "short.npy"), untrained=1), planted_norms()
    measures = probe.measure(model, 0, 8).measures
    assert "no interval: there is only one block to resample" in measures["stream_norm"].message
    assert np.isnan(measures["stream_norm"].interval[0]).all()
    assert np.isfinite(measures["stream_norm"].values).all()
    claim = probe.claim(measures, (model.source,))
    assert claim.found.startswith("Norms change (no interval): ×")
    assert claim.rival.startswith("Norms with surprisal: ρ = ")  # each token occurs once
    assert claim.rival.endswith(". No number for frequency.")
