"""The claim card: every sentence and every limit where it holds, and only there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.models import Source
from mesascope.probes import Claim, Measure
from mesascope.probes.deep_features import limits as limit_words
from mesascope.probes.deep_features.claim import features_claim
from mesascope.probes.deep_features.standing import Standing
from mesascope.probes.measure import along, missing, without_interval

SOURCE = Source("model", layout="mesascope", notes=("a note",))
LOSSES = {"model": 0.002, "zero": 0.03, "embedding": 0.02, "feature_gd": 0.0021, "attended_gd": 0.01,
          "feature_ridge": 0.025, "twin": 0.0025}  # fmt: skip
SHARES = {"zero": 1.2, "embedding": 1.0, "feature_gd": 0.05, "attended_gd": 0.3, "feature_ridge": 1.1, "twin": 0.2}


def number(value: float, half: float = 0.0, **changed: Any) -> Measure:
    if np.isnan(value):
        return missing("1", "not applicable", "it is not there")
    ends = np.array(value - half), np.array(value + half)
    return Measure(np.array(value), **({"unit": "1", "interval": ends, "replicate": "task", "n": 500} | changed))


def made_up(
    shares: Mapping[str, float] | None = None, half: float = 0.01, n_layers: int = 1, nulls: float = 0.6,
    losses: Mapping[str, float] | None = None, **changed: Measure,
) -> dict[str, Measure]:  # fmt: skip
    """Measures whose shares have intervals that reach `half` in both directions."""
    drawn = {"untrained": np.full(3, nulls + 0.2), "shuffled labels": np.full(2, nulls)}
    held = {**SHARES, **(shares or {})}
    read = np.linspace(0.4, 0.95, n_layers + 1)
    return {
        "loss": along("candidate", {
            name: number(value, nulls={"untrained": np.full(3, 0.03)}) if name == "model"
            else number(value, no_nulls="none") for name, value in {**LOSSES, **(losses or {})}.items()
        }),
        "unexplained_share": along("candidate", {name: number(v, half, nulls=drawn) for name, v in held.items()}),
        "prediction_difference": along("candidate", {"twin": number(held["twin"] / 5, 0.001, nulls=drawn)}),
        "slope_agreement": along("candidate", {"twin": number(0.8 + 0 * held["twin"], 0.01, nulls=drawn)}),
        "linear_readout": Measure(
            read, "share", (read, read), "task", 500, ("layer",), {"layer": ("embedding", *range(n_layers))},
            no_nulls="none",
        ),
        "readout_sign": without_interval(np.array(1.0), "sign", message="found", no_nulls="none"),
    } | changed  # fmt: skip


def card(measures: Mapping[str, Measure], tasks: str | None = None, sign: int | None = None) -> Claim:
    return features_claim(measures, (SOURCE, SOURCE), tasks, sign)


def test_a_step_on_features() -> None:
    claim = card(made_up())
    assert claim.found == (
        "Attention adds to the answers what one step of gradient descent on the features of its embedding adds, up to"
        " 5.0 % (95 % CI 4.0 to 6.0). The loss is 0.00200 (95 % CI 0.00200 to 0.00200); that of answering zero is"
        " 0.0300. The twin's loss is 0.00250; its answers differ by 0.0400 (95 % CI 0.0390 to 0.0410) on average, and"
        " slopes agree by 0.800 (95 % CI 0.790 to 0.810)."
    )
    assert claim.badge == "A step of gradient descent on its features"
    assert claim.rival == (
        "Not explained: gradient descent on features as they stand 5.0 % (95 % CI 4.0 to 6.0) (its loss is 0.00210); a"
        " step on features as attention reads them 30 % (95 % CI 29 to 31) (its loss is 0.0100); ridge regression 110 %"
        " (95 % CI 109 to 111) (its loss is 0.0250). Under the nulls gradient descent on features as they stand leaves"
        " at least 80 % (untrained), 60 % (shuffled labels)."
    )
    assert claim.evidence == (
        "500 tasks. Before attention the loss is 0.0200. A linear read-out of the query's state has R² 0.400 before"
        " attention and 0.950 after it."
    )
    assert "Tasks were freshly drawn. Nulls: 3 untrained models, and the model on shuffled labels." in claim.methods
    assert claim.limits.count("a note") == 1


@pytest.mark.parametrize(("shares", "badge", "words"), [
    ({"feature_gd": 0.9, "attended_gd": 0.05}, "A step of gradient descent on attended features",
     "Attention adds to the answers what one step of gradient descent on features as attention reads them adds"),
    ({"feature_gd": 0.9, "feature_ridge": 0.02}, "Ridge regression on its features",
     "Attention adds to the answers what ridge regression on the features of its embedding adds"),
    ({"feature_gd": 0.3, "attended_gd": 0.4}, "A step of gradient descent on its features, in part",
     "One step of gradient descent on the features of its embedding explains in part what attention adds"),
    ({"feature_gd": 0.9, "attended_gd": 0.3}, "A step of gradient descent on attended features, in part",
     "One step of gradient descent on features as attention reads them explains in part"),
    ({"feature_gd": 0.9, "attended_gd": 0.495}, "Not clear",
     "Of the rules on the features of its embedding one step of gradient descent on features as attention reads"),
    ({"feature_gd": 0.9, "attended_gd": 0.52}, "No gradient descent on its features",
     "No rule on the features of its embedding explains what attention adds to the answers: the closest, one step"),
    (dict.fromkeys(("feature_gd", "attended_gd", "feature_ridge"), np.nan), "Attention adds nothing",
     "Attention adds nothing to the answers"),
])  # fmt: skip
def test_other_models(shares: dict[str, float], badge: str, words: str) -> None:
    claim = card(made_up(shares))
    assert claim.badge == badge
    assert claim.found.startswith(words)


def test_whole_intervals_and_every_null_decide() -> None:
    assert Standing(made_up({"feature_gd": 0.095}, half=0.005)).called == "agrees"
    assert Standing(made_up({"feature_gd": 0.095}, half=0.02)).called == "in part"
    assert Standing(made_up({"feature_gd": 0.05}, nulls=0.055)).called == "in part"
    assert Standing(made_up({"feature_gd": 0.05}, nulls=0.065)).called == "agrees"
    assert Standing(made_up({"feature_gd": 0.9, "attended_gd": 0.505})).called == "open"
    assert Standing(made_up({"feature_gd": 0.9, "attended_gd": 0.515})).called == "none"


@pytest.mark.parametrize(("lowest", "called"), [(0.055, "in part"), (0.065, "agrees")])
def test_the_lowest_sample_of_a_null_decides(lowest: float, called: str) -> None:
    measures, share = made_up(), number(0.05, 0.01, nulls={"untrained": np.array([0.8, lowest])})
    shares = measures["unexplained_share"].apart() | {"feature_gd": share}
    assert Standing(measures | {"unexplained_share": along("candidate", shares)}).called == called


def test_several_layers() -> None:
    claim = card(made_up({"attended_gd": np.nan}, n_layers=3))
    assert claim.badge == "3 steps of gradient descent on its features"
    assert "what 3 steps of gradient descent on the features" in claim.found
    assert "as attention reads them" not in claim.rival + claim.methods
    assert limit_words.AS_THEY_STAND in claim.limits
    assert limit_words.ATTENDED not in claim.limits
    assert limit_words.ATTENDED in card(made_up()).limits


def test_a_model_that_has_not_learned() -> None:
    assert "no better than that of answering zero (0.0300)" in card(made_up(losses={"model": 0.0286})).found
    assert "no better" not in card(made_up(losses={"model": 0.0284})).found
    measures = made_up()
    wide = measures["loss"].apart() | {"model": number(0.028, 0.001, no_nulls="none")}
    assert not Standing(measures | {"loss": along("candidate", wide)}).learned


def test_without_a_twin() -> None:
    claim = card(made_up({"twin": np.nan}, losses={"twin": np.nan}))
    assert "twin" not in claim.found + claim.methods
    assert limit_words.NO_TWIN in claim.limits
    assert limit_words.NO_TWIN not in card(made_up()).limits
    assert "the twin" in card(made_up()).methods


def test_a_twin_whose_slopes_are_not_there() -> None:
    claim = card(made_up(slope_agreement=along("candidate", {"twin": missing("cosine", "undefined", "none")})))
    assert claim.found.endswith("0.0400 (95 % CI 0.0390 to 0.0410) on average.")


def test_limits_stand_where_they_hold() -> None:
    assert limit_words.OUTPUT in card(made_up()).limits
    assert limit_words.OUTPUT not in card(made_up({"feature_gd": 0.3})).limits
    own = card(made_up(), "own.npz")
    assert "Tasks were supplied by the user." in own.methods
    sign = without_interval(np.array(-1.0), "sign", message="found", no_nulls="none")
    turned = card(made_up(readout_sign=sign))
    assert turned.found.startswith("Sign turned. Attention adds")
    assert any("negative of a prediction" in one for one in turned.limits)


def test_what_is_not_finite_has_no_verdict() -> None:
    measures = made_up()
    gone = measures["loss"].apart() | {"model": missing("loss", "undefined", "infinite")}
    claim = card(measures | {"loss": along("candidate", gone)})
    assert (claim.badge, claim.evidence) == ("Not finite", "None.")


def test_seeds_have_t_intervals() -> None:
    seeds = {name: replace(one, replicate="seed", n=5, own={}) for name, one in made_up().items()}
    claim = card(made_up() | {"loss": seeds["loss"]})
    assert claim.evidence.startswith("5 seeds.")
    assert "t-interval over 5 seeds" in claim.methods
