"""Attention by offset: every period at its own offsets, and no number at those of another."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.models import LanguageModelShape
from mesascope.probes.induction_heads.inputs import PeriodInputs, period_inputs, period_laws
from mesascope.probes.induction_heads.names import EVEN, NO_REPEATS
from mesascope.probes.induction_heads.observations import Observations, PeriodObservations
from mesascope.probes.induction_heads.offset_measures import offset_measures
from mesascope.probes.induction_heads.score_measures import Comparison
from mesascope.probes.induction_heads.watchers import kept_offsets
from mesascope.probes.measure import Measure

N, HEADS = 4, (2, 3)
SIZES = {"n_layers": 2, "n_heads": 3, "n_kv_heads": 3, "d_model": 8, "d_head": 2, "d_vocab": 999, "n_ctx": 999}


def observed(periods: tuple[PeriodInputs, ...], rng: np.random.Generator) -> Observations:
    def one_period(inputs: PeriodInputs) -> PeriodObservations:
        offsets = len(kept_offsets(inputs.period))
        return PeriodObservations({"by_offset": rng.random((N, *HEADS, offsets))}, {}, {})

    return Observations(tuple(map(one_period, periods)), tuple(map(one_period, periods)))


def measured(rng: np.random.Generator, *asked: int) -> tuple[Measure, Observations]:
    laws = period_laws(LanguageModelShape(**SIZES, causal=True, positions="learned"), 0, asked, 2)
    periods = period_inputs(laws, N, seed=0)
    observations = observed(periods, rng)
    return offset_measures(observations, Comparison(periods, [], 0.05, seed=0))["attention_by_offset"], observations


def test_every_period_has_its_own_offsets_and_no_number_at_others(rng: np.random.Generator) -> None:
    found, observations = measured(rng, 9, 7)
    assert found.axes == ("period", "layer", "head", "offset")
    assert found.labels("period") == (9, 7)
    assert found.labels("offset") == tuple(range(10))
    long, short = (found.sel(period=period) for period in (9, 7))
    assert np.isfinite(long.values).all()
    assert long.message == ""
    assert np.isnan(short.values[..., 8:]).all()
    assert np.isnan([bound[..., 8:] for bound in short.interval]).all()
    assert short.message == "NaN at offsets that belong to another period; this one has offsets up to 7"
    for place, part in enumerate((long, short)):
        own = kept_offsets((9, 7)[place])
        assert np.allclose(part.values[..., : len(own)], observations.repeated[place].heads["by_offset"].mean(axis=0))
        without = observations.control[place].heads["by_offset"].mean(axis=0)
        assert np.allclose(part.nulls[NO_REPEATS][0, ..., : len(own)], without)
        assert np.isfinite(part.nulls[EVEN][..., : len(own)]).all()


def test_one_period_has_nothing_to_leave_out(rng: np.random.Generator) -> None:
    found, _ = measured(rng, 9)
    assert np.isfinite(found.values).all()
    assert found.sel(period=9).message == ""


@pytest.mark.parametrize("period", [200, 150])
def test_long_periods_keep_their_own_ends(rng: np.random.Generator, period: int) -> None:
    """Of 200 the offsets 137 to 200 are kept, of 150 those from 87 on: in places of their own."""
    found, observations = measured(rng, 200, 150)
    part, place = found.sel(period=period), found.labels("period").index(period)
    held = np.isfinite(part.values).all(axis=(0, 1))
    assert [offset for offset, some in zip(part.labels("offset"), held, strict=True) if some] == list(
        kept_offsets(period)
    )
    assert np.allclose(part.values[..., held], observations.repeated[place].heads["by_offset"].mean(axis=0))
