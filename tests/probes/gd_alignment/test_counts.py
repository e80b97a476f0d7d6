"""How often a measurement asks models, draws tasks and resamples: counts, which no busy machine changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from mesascope.data.regression import LinearRegression, RegressionTasks
from mesascope.models import RegressionTransformer, from_transformer, gd_transformer
from mesascope.models.own import merged
from mesascope.probes import GDAlignment
from mesascope.probes.gd_alignment import behaviours, distribution_shift, readouts
from mesascope.probes.regression import nulls
from mesascope.probes.statistics import bootstrap

D_IN, CONTEXT = 3, 5
LAYOUTS = D_IN + 1
BATCH = 2_048
OF_TRAINING = LinearRegression(D_IN, D_IN)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Of passes as written, of merged passes, of draws and of resamples."""
    found: Counter[str] = Counter()

    def counted(holder: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(holder, name)

        def called(*given: Any, **named: Any) -> Any:
            found[name] += 1
            return original(*given, **named)

        monkeypatch.setattr(holder, name, called)

    counted(RegressionTransformer, "_readouts")
    counted(merged, "_predict_products")
    counted(merged, "_one_layer")
    counted(RegressionTasks, "draw")
    counted(bootstrap, "resample_counts")
    return found


def one_step(rate: float) -> RegressionTransformer:
    return gd_transformer(CONTEXT, rate, D_IN)


def test_passes_of_one_measurement(counts: Counter[str]) -> None:
    GDAlignment(limit=300).measure(from_transformer(one_step(3.0)), 0, BATCH)
    searched = LAYOUTS * (1 + 1 + nulls.SHUFFLES)  # the subject, all untrained models together, each shuffle
    answered = 2 + nulls.UNTRAINED + nulls.SHUFFLES  # the subject on tuning and evaluation tasks, and every null
    of_constructed = 2 + len(behaviours.RATE_FACTORS)  # on null and evaluation tasks, and at wrong rates
    by_layer = 2
    assert counts["_readouts"] == searched + answered + of_constructed + by_layer
    points = sum(len(distribution_shift.families_along(curve, OF_TRAINING)) for curve in distribution_shift.CURVES)
    signs = 1 + nulls.UNTRAINED + nulls.SHUFFLES
    fitting = counts["_predict_products"] - 2 * points - signs  # constructed descent's rate
    assert 60 < fitting < 120
    assert counts["_one_layer"] == 4  # the models along one path go together: four paths
    assert counts["resample_counts"] <= 12  # one product for all measures of the same tasks


def test_another_seed_of_a_family_shares_all_that_no_model_decides(counts: Counter[str], few_shifts: None) -> None:
    probe, splits, curves = GDAlignment(limit=300), 3, len(distribution_shift.CURVES)
    probe.measure(from_transformer(one_step(3.0)), 0, BATCH)
    assert counts["draw"] == splits + 2 * curves  # for constructed models once, for the subject once
    first = counts.copy()
    probe.measure(from_transformer(one_step(2.0)), 0, BATCH)
    assert counts["draw"] - first["draw"] == curves
    points = 2 * curves
    signs = 1 + nulls.UNTRAINED + nulls.SHUFFLES
    assert counts["_predict_products"] - first["_predict_products"] == points + signs


@pytest.mark.parametrize("steps", [3, 50])
def test_a_roll_out_moves_no_tokens(counts: Counter[str], monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(readouts, "ROLLOUT_STEPS", steps)
    tasks = OF_TRAINING.sample(20, seed=0)
    readouts.merged_readouts(readouts._rolled(one_step(3.0), 1, 0.75), tasks.inputs)
    assert dict(counts) == {"draw": 1}
