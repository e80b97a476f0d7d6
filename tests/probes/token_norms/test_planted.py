"""Planted oddities are found where they are planted, and not where they are absent; what must not matter does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope.data.recipe import named_seed
from mesascope.models import AttentionOnlyModel
from mesascope.models.constructed.norms import planted_norms
from mesascope.probes.measure import Measure
from mesascope.probes.token_norms.probe import TokenNorms

N_DOCUMENTS, LENGTH, V = 12, 63, 50


@pytest.fixture(scope="module")
def frequencies() -> torch.Tensor:
    weights = 1 / torch.arange(1, V + 1, dtype=torch.float64)
    return weights / weights.sum()


@pytest.fixture(scope="module")
def text(frequencies: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Tokens drawn independently; token 0 is BOS, and is not drawn."""
    path = tmp_path_factory.mktemp("planted") / "tokens.npy"
    rng = np.random.default_rng(5)
    p = frequencies.numpy()[1:] / frequencies.numpy()[1:].sum()
    np.save(path, rng.choice(np.arange(1, V), size=(N_DOCUMENTS, LENGTH), p=p))
    return str(path)


def measured(model: AttentionOnlyModel, text: str, **settings: object) -> dict[str, Measure]:
    probe = TokenNorms(tokens=text, **{"untrained": 1, **settings})
    model.source = replace(model.source, facts={**model.source.facts, "bos": 0})
    return dict(probe.measure(model, 0, 8).measures)


def test_nothing_is_found_where_nothing_is_planted(text: str) -> None:
    found = measured(planted_norms(), text)
    assert found["sink_metric"].estimate == 0
    assert found["bos_attention_mean"].estimate < 0.1
    assert not found["massive_windows"].values.any()
    assert found["massive_dimension"].status == "undefined"
    assert found["value_drain"].values.min() > 0.5
    assert np.abs(found["spearman_rows_frequency"].values[0]) < 0.4


def test_a_planted_sink(text: str) -> None:
    found = measured(planted_norms(sink=True), text)
    assert found["sink_metric"].estimate == pytest.approx(100)
    assert found["bos_attention_mean"].estimate > 0.99
    assert found["attention_to_first"].values.min() > 0.99
    assert found["value_drain"].values.max() < 0.01  # the first token's values are zero: attention that does nothing
    assert found["weighted_attention_to_first"].values.max() < 0.01
    assert (found["sink_metric"].nulls["untrained"] < 1).all()
    assert found["massive_dimension"].status == "undefined"


@pytest.mark.parametrize("dimension", [5, 17])
def test_a_planted_massive_activation_is_found_in_its_dimension(text: str, dimension: int) -> None:
    found = measured(planted_norms(massive=4_000.0, massive_dimension=dimension), text)
    at = found["massive_dimension"].values
    assert np.isnan(at[0]).all()  # it is written by the first block
    assert (at[1:, 0] == dimension).all()
    assert np.isnan(at[:, 1:]).all()
    windows = found["massive_windows"].values
    assert windows[1:, 0].tolist() == [1, 1]
    assert not windows[:, 1].any()
    np.testing.assert_allclose(found["massive_activation"].values[1:, 0, 0], 4_000, rtol=1e-2)
    assert (found["state_peak"].values[1:] > 100).all()
    assert found["sink_metric"].estimate < 1


def test_a_large_activation_is_not_yet_a_massive_one(text: str) -> None:
    """Above 100, but not a thousand times the median."""
    found = measured(planted_norms(massive=110.0), text)
    assert found["massive_activation"].values[1, 0, 0] > 100
    assert found["massive_dimension"].status == "undefined"


def test_a_planted_relation_of_norm_and_frequency(text: str, frequencies: torch.Tensor) -> None:
    found = measured(planted_norms(frequencies=frequencies), text)
    assert found["spearman_rows_frequency"].values[0] < -0.7
    of = found["spearman_embed"]
    at = of.labels("covariate").index("log_frequency")
    assert of.values[0, at, 1] < -0.95  # counts of few tokens are near their frequencies, but not in their order
    assert of.interval[1][0, at, 1] < -0.9
    position = of.labels("covariate").index("position")
    assert of.interval[0][0, position, 1] < 0.02
    assert of.interval[1][0, position, 1] > -0.02


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_the_statistics_of_the_stored_values(dtype: torch.dtype, text: str) -> None:
    model = planted_norms(seed=3)
    model.module.to(dtype)
    found = measured(model, text, untrained=0)
    tokens = torch.from_numpy(np.load(text))
    tokens = torch.cat([torch.zeros(len(tokens), 1, dtype=tokens.dtype), tokens], dim=1)
    batches = [model.run(some, {"resid_post": lambda x, layer: x}).values["resid_post"] for some in tokens.split(8)]
    for layer in range(2):
        norms = np.linalg.norm(np.concatenate([b[layer].double().numpy() for b in batches])[:, 1:], axis=-1)
        slow = [norms.mean(), np.sqrt((norms**2).mean()), *np.percentile(norms, (5, 50, 95))]
        np.testing.assert_allclose(found["norm_resid"].values[layer + 1, 1], slow, rtol=1e-10)


@pytest.mark.parametrize("size", [1e17, 1e-30])
def test_neither_overflow_nor_underflow(size: float, text: str) -> None:
    """In float32 the squares of both would be lost: the first overflow when summed, the second vanish."""
    model = planted_norms()
    model.module.W_E.data *= size
    model.module.float()
    found = measured(model, text, untrained=0, parts="none")
    expected = np.linalg.norm(model.module.W_E.double().numpy()[np.load(text)], axis=-1).mean()
    assert found["norm_embed"].values[1, 0] == pytest.approx(expected, rel=1e-10)
    assert np.isfinite(found["norm_resid"].values).all()


def test_predictions_that_are_no_numbers_are_said_to_be_none(text: str) -> None:
    """Logits beyond what float16 holds."""
    model = planted_norms()
    model.module.half()
    model.module.W_U.data.fill_(6e4)
    model.module.W_E.data.copy_(model.module.W_E.data.abs() * 100)
    model.module.W_out.data.zero_()
    model.module.W_O.data.zero_()
    found = measured(model, text, untrained=0, parts="inner")
    for name in ("next_token_loss", "inner_loss", "step_cosine", "spearman_resid"):
        assert found[name].status == "undefined", name
        assert found[name].message
    assert found["norm_resid"].status == "ok"


def test_batch_size_does_not_matter(text: str) -> None:
    model = planted_norms(seed=1)
    model.source = replace(model.source, facts={"bos": 0})
    probe = TokenNorms(tokens=text, untrained=0, parts="attention")
    one, eight = (probe.measure(model, 0, n).measures for n in (1, 8))
    for name, measure in one.items():
        np.testing.assert_allclose(measure.values, eight[name].values, rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(measure.interval, eight[name].interval, rtol=1e-6, atol=1e-9, err_msg=name)


def test_documents_in_another_order_have_the_same_values(text: str, tmp_path: Path) -> None:
    model = planted_norms(seed=1)
    np.save(tmp_path / "turned.npy", np.load(text)[::-1])
    one, other = (measured(model, path, untrained=0, parts="none") for path in (text, str(tmp_path / "turned.npy")))
    for name, measure in one.items():
        np.testing.assert_allclose(measure.values, other[name].values, rtol=1e-9, err_msg=name)


def test_the_same_run_gives_the_same_bytes(text: str) -> None:
    model = planted_norms()
    one, two = (TokenNorms(tokens=text, untrained=1).measure(model, 3, 8) for _ in range(2))
    for name, measure in one.measures.items():
        assert measure.values.tobytes() == two.measures[name].values.tobytes(), name
        assert all(
            a.tobytes() == b.tobytes() for a, b in zip(measure.interval, two.measures[name].interval, strict=True)
        )
        assert all(
            samples.tobytes() == two.measures[name].nulls[null].tobytes() for null, samples in measure.nulls.items()
        )
    other = TokenNorms(tokens=text, untrained=1).measure(model, 4, 8).measures
    assert not np.array_equal(one.measures["norm_growth"].nulls["untrained"], other["norm_growth"].nulls["untrained"])
    assert named_seed(3, "token norms") != named_seed(4, "token norms")
