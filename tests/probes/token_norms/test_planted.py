"""Planted oddities are found where they are planted, and not where they are absent; what must not matter does not."""

from __future__ import annotations

from collections.abc import Callable
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

Planted = Callable[..., dict[str, Measure]]


def measured(model: AttentionOnlyModel, text: str, **settings: object) -> dict[str, Measure]:
    probe = TokenNorms(tokens=text, **{"untrained": 0, **settings})
    model.source = replace(model.source, facts={**model.source.facts, "bos": 0})
    return dict(probe.measure(model, 0, 8).measures)


def test_nothing_is_found_where_nothing_is_planted(planted: Planted) -> None:
    found = planted()
    assert found["sink_metric"].estimate == 0
    assert found["bos_attention_mean"].estimate < 0.1
    assert not found["massive_windows"].values.any()
    assert found["massive_dimension"].status == "undefined"
    assert found["value_drain"].values.min() > 0.5
    assert np.abs(found["spearman_rows_frequency"].values[0]) < 0.4


def test_a_planted_sink(planted: Planted) -> None:
    found = planted(sink=True)
    assert found["sink_metric"].estimate == pytest.approx(100)
    assert found["bos_attention_mean"].estimate > 0.99
    assert found["attention_to_first"].values.min() > 0.99
    assert found["value_drain"].values.max() < 0.01  # the first token's values are zero: attention that does nothing
    assert found["weighted_attention_to_first"].values.max() < 0.01
    assert (found["untrained_comparison"].sel(statistic="sink_metric").nulls["untrained"] < 1).all()
    assert found["massive_dimension"].status == "undefined"


@pytest.mark.parametrize("dimension", [5, 17])
def test_a_planted_massive_activation_is_found_in_its_dimension(planted: Planted, dimension: int) -> None:
    found = planted(massive=4_000.0, massive_dimension=dimension)
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


def test_a_large_activation_is_not_yet_a_massive_one(zipf_file: str) -> None:
    """Above 100, but not a thousand times the median."""
    found = measured(planted_norms(massive=110.0), zipf_file, parts="outliers")
    assert found["massive_activation"].values[1, 0, 0] > 100
    assert found["massive_dimension"].status == "undefined"


def test_a_planted_relation_of_norm_and_frequency(zipf_file: str, frequencies: torch.Tensor) -> None:
    found = measured(planted_norms(frequencies=frequencies), zipf_file, parts="none")
    assert found["spearman_rows_frequency"].values[0] < -0.7
    embedded = found["spearman_outside_blocks"].sel(quantity="embed", position="later")
    frequency = embedded.sel(covariate="log_frequency")
    assert frequency.estimate < -0.95  # counts of few tokens are near their frequencies, but not in their order
    assert frequency.interval[1] < -0.9
    low, high = embedded.sel(covariate="position").interval
    assert low < 0.02
    assert high > -0.02


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_the_statistics_of_the_stored_values(dtype: torch.dtype, zipf_file: str) -> None:
    model = planted_norms(seed=3)
    model.module.to(dtype)
    found = measured(model, zipf_file, parts="none")
    tokens = torch.from_numpy(np.load(zipf_file))
    tokens = torch.cat([torch.zeros(len(tokens), 1, dtype=tokens.dtype), tokens], dim=1)
    batches = [model.run(some, {"resid_post": lambda x, layer: x}).values["resid_post"] for some in tokens.split(8)]
    for layer in range(2):
        norms = np.linalg.norm(np.concatenate([b[layer].double().numpy() for b in batches])[:, 1:], axis=-1)
        slow = [norms.mean(), np.sqrt((norms**2).mean()), *np.percentile(norms, (5, 50, 95))]
        np.testing.assert_allclose(found["stream_norm"].values[layer + 1, 1], slow, rtol=1e-10)


@pytest.mark.parametrize("size", [1e17, 1e-30])
def test_neither_overflow_nor_underflow(size: float, zipf_file: str) -> None:
    """In float32 the squares of both would be lost: the first overflow when summed, the second vanish."""
    model = planted_norms()
    model.module.W_E.data *= size
    model.module.float()
    found = measured(model, zipf_file, parts="none")
    expected = np.linalg.norm(model.module.W_E.double().numpy()[np.load(zipf_file)], axis=-1).mean()
    embedded = found["norm_outside_blocks"].sel(site="embed", position="later", statistic="mean")
    assert embedded.estimate == pytest.approx(expected, rel=1e-10)
    assert np.isfinite(found["stream_norm"].values).all()


def test_predictions_that_are_no_numbers_are_said_to_be_none(zipf_file: str) -> None:
    """Logits beyond what float16 holds."""
    model = planted_norms()
    model.module.half()
    model.module.W_U.data.fill_(6e4)
    model.module.W_E.data.copy_(model.module.W_E.data.abs() * 100)
    model.module.W_out.data.zero_()
    model.module.W_O.data.zero_()
    found = measured(model, zipf_file, parts="inner")
    for name in ("next_token_loss", "inner_loss", "step_cosine", "stream_spearman"):
        assert found[name].status == "undefined", name
        assert found[name].message
    assert found["stream_norm"].status == "ok"


def test_batch_size_does_not_matter(zipf_file: str) -> None:
    model = planted_norms(seed=1)
    model.source = replace(model.source, facts={"bos": 0})
    probe = TokenNorms(tokens=zipf_file, untrained=0, parts="attention")
    one, eight = (probe.measure(model, 0, n).measures for n in (1, 8))
    for name, measure in one.items():
        np.testing.assert_allclose(measure.values, eight[name].values, rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(measure.interval, eight[name].interval, rtol=1e-6, atol=1e-9, err_msg=name)


def test_documents_in_another_order_have_the_same_values(zipf_file: str, tmp_path: Path) -> None:
    model = planted_norms(seed=1)
    np.save(tmp_path / "turned.npy", np.load(zipf_file)[::-1])
    one, other = (measured(model, path, parts="none") for path in (zipf_file, str(tmp_path / "turned.npy")))
    for name, measure in one.items():
        np.testing.assert_allclose(measure.values, other[name].values, rtol=1e-9, err_msg=name)


def test_the_same_run_gives_the_same_bytes(zipf_file: str, planted: Planted) -> None:
    again = measured(planted_norms(), zipf_file, untrained=1)
    for name, measure in planted().items():
        assert measure.values.tobytes() == again[name].values.tobytes(), name
        for one, other in zip(measure.interval, again[name].interval, strict=True):
            assert one.tobytes() == other.tobytes(), name
        for null, samples in measure.nulls.items():
            assert samples.tobytes() == again[name].nulls[null].tobytes(), (name, null)


def test_another_seed_has_other_untrained_models(zipf_file: str, planted: Planted) -> None:
    other = TokenNorms(tokens=zipf_file, untrained=1, parts="none").measure(planted_norms(), 4, 8).measures
    first, second = (found["untrained_comparison"].sel(statistic="norm_growth_later") for found in (planted(), other))
    assert first.estimate == second.estimate
    assert not np.array_equal(first.nulls["untrained"], second.nulls["untrained"])
    assert named_seed(3, "token norms") != named_seed(4, "token norms")
