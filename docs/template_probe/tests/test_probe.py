"""The probe on planted heads, its settings, its words and its figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from head_reach.claim import reach_claim
from head_reach.figures import FIGURES
from head_reach.probe import HeadReach
from mesascope import analyses, models
from mesascope.analyses import Report
from mesascope.data import UsageError
from mesascope.data.settings import read_settings
from mesascope.models import LanguageModel, NotApplicable, PlantedHead
from mesascope.probes.drawing import page

LENGTHS = (8, 12)
SMALL = HeadReach(n_sequences=4, lengths=LENGTHS)


def planted(second: int = 2) -> LanguageModel:
    """Layer 0: the previous token, the first token. Layer 1: a fixed offset, a head without any preference."""
    return models.planted_model(
        [PlantedHead(offset=1), PlantedHead()], [PlantedHead(offset=second), PlantedHead(noise=0)]
    )


@pytest.fixture(scope="module")
def report() -> Report:
    made = analyses.run(planted(), SMALL)
    assert isinstance(made, Report)
    return made


@pytest.fixture(scope="module")
def over_seeds() -> Report:
    _, made = analyses.run_family([planted(2), planted(3)], SMALL)
    return made


# -- found, not found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
def test_planted_heads_have_their_reach(report: Report, length: int) -> None:
    values = report.measures["reach"].sel(length=length).values
    queries = np.arange(1, length)
    expected = [[1.0, queries.mean()], [np.minimum(queries, 2).mean()]]
    np.testing.assert_allclose(values[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(values[1, :1], expected[1], atol=1e-6)


def test_verdicts_compare_with_even_attention(report: Report) -> None:
    assert {name: report.heads[name] for name in ("L0H0", "L0H1", "L1H0")} == {
        "L0H0": "near",
        "L0H1": "far",
        "L1H0": "near",
    }


def test_a_verdict_needs_every_length() -> None:
    # an offset of 4 is farther than even attention on 8 tokens, and nearer on 16
    made = analyses.run(planted(4), HeadReach(n_sequences=4, lengths=(8, 20)))
    assert isinstance(made, Report)
    assert made.heads["L1H0"] == "none"


def test_p_is_small_where_attention_has_a_habit(report: Report) -> None:
    table = report.to_frame()
    rows = table[(table.metric == "reach_12") & (table.null == "shuffled keys")]
    assert (rows[rows["layer"] == 0]["p"] == 1 / 200).all()


# -- unmoved -----------------------------------------------------------------------------------------------------------


def test_the_batch_size_does_not_matter(report: Report) -> None:
    other = analyses.run(planted(), SMALL, batch_size=1)
    assert isinstance(other, Report)
    for name in ("reach_8", "mean_reach_12"):
        np.testing.assert_allclose(other.measures[name].values, report.measures[name].values, rtol=1e-12)


def test_another_seed_draws_other_tokens(report: Report) -> None:
    other = analyses.run(planted(), SMALL, seed=1)
    assert isinstance(other, Report)
    assert other.recipes["evaluation"]["sha256"] != report.recipes["evaluation"]["sha256"]


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_sequences": 1}, "n_sequences = 1; expected a whole number of at least 2"),
        ({"lengths": [16, 3]}, r"lengths = \[16, 3\]; expected a list of whole numbers of at least 4"),
        ({"lengths": []}, r"lengths = \[\]; expected at least one"),
        ({"first_token": "drop"}, "first_token = 'drop'; expected kept or dropped; did you mean dropped"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_settings(HeadReach, settings)


def test_models_without_tokens_are_not_measured() -> None:
    refusal = HeadReach().applies(models.from_transformer(models.gd_transformer(4, 1.0, 3)))
    assert isinstance(refusal, NotApplicable)
    assert refusal.reason == "this model predicts no next token. head-reach measures language models."


def test_two_models_are_compared_sequence_by_sequence(report: Report) -> None:
    other = analyses.run(planted(3), SMALL)
    assert isinstance(other, Report)
    table = analyses.compare([report, other])
    assert set(table[table.metric.str.startswith("reach")].method) == {"paired bootstrap over 4 sequences"}


# -- words -------------------------------------------------------------------------------------------------------------


def test_the_claim_of_one_checkpoint_names_its_heads(report: Report) -> None:
    assert "look nearer than even attention" in report.claim.found
    assert "L0H0" in report.claim.found
    assert "None of" not in report.claim.found
    assert "first token" not in report.claim.methods


def test_the_claim_over_seeds_has_means_alone(over_seeds: Report) -> None:
    assert over_seeds.heads == {}
    assert over_seeds.claim.found.startswith("Mean reach over all heads on 12 tokens: ")
    assert "2 checkpoints at each length" in over_seeds.claim.evidence


def test_heads_like_even_attention_are_said_to_be(report: Report) -> None:
    claim = reach_claim(report.measures, {"L0H0": "none", "L0H1": "none"}, "dropped")
    assert claim.found.startswith("None of 2 heads differs from even attention at every length.")
    assert "Attention to the first token was left out." in claim.methods


# -- figures -----------------------------------------------------------------------------------------------------------


def test_every_figure_that_has_something_to_draw_is_drawn(report: Report, over_seeds: Report) -> None:
    drawn = {name: page.compose(build, report.findings) is not None for name, build in FIGURES.items()}
    assert drawn == {"heads": True, "layers": True, "trajectory": False}
    drawn = {name: page.compose(build, over_seeds.findings) is not None for name, build in FIGURES.items()}
    assert drawn == {"heads": False, "layers": True, "trajectory": False}


def test_one_panel_goes_on_anybodys_axes(report: Report) -> None:
    from matplotlib.figure import Figure

    drawn = report.plot("heads", ax=Figure((5, 3)).subplots(), panel=1)
    assert drawn.kind.value_counts().to_dict() == {"estimate": 4, "mark": 3, "words": 1}
