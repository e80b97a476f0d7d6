"""Verdicts where the answer is known. `benchmarks/icl_vs_gd_verdicts.py` asks the same at length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from mesascope.models import load
from mesascope.probes.icl_vs_gd.fine_tuned import Setting, Stepped
from mesascope.probes.icl_vs_gd.names import Rule
from mesascope.probes.icl_vs_gd.verdicts import LEAST_GAIN, verdict

FOLDER = Path(__file__).parents[3] / "benchmarks"
RULES: tuple[Rule, ...] = ("gd", "lcgd")
CHOSEN: Mapping[Rule, Setting] = {rule: Setting(rule, Stepped(0.3, 16), Stepped(0.01, 8)) for rule in RULES}


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The models of the script in `benchmarks`."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import icl_vs_gd_study

    return icl_vs_gd_study


def test_planted_descent_is_called_by_its_rule_or_not_decided(study: ModuleType) -> None:
    one = study.Study(load("iwl-mapping"), "label-mapping", 8, RULES, CHOSEN)
    assert verdict(one.kept(one.runs, one.order_in_context()).evidence).called == "none"  # nothing is planted
    for rule in RULES:
        kept = one.kept(replace(one.runs, in_context=one.planted(f"{rule}, rate x 0.5")), {})
        found = verdict(kept.evidence)
        assert (found.called, found.rule) in (("closest", rule), ("undecided", None))
        contrast = {of: kept.inside[of]["contrast"]["in context"].mean() for of in RULES}
        (other,) = set(RULES) - {rule}
        assert contrast[rule] > max(0.4, contrast[other] + 0.1)


def test_a_blend_is_the_nearer_the_more_there_is_of_it(study: ModuleType) -> None:
    one = study.Study(load("icl-mapping"), "label-mapping", 8, RULES[1:], CHOSEN)
    planted = one.planted("lcgd, rate x 0.5")
    kept = [one.kept(one.blend(share, planted), {}) for share in (0.0, 0.25, 0.5, 1.0)]
    assert (np.diff([blend.evidence.rules[0].share.value for blend in kept]) > 0).all()


@pytest.mark.parametrize("name", ["iwl-mapping", "noise-mapping", "induction-1layer", "icl-mapping", "tiny-grammar"])
@pytest.mark.parametrize("kind", ["label-mapping", "recall"])
def test_no_in_context_learning_is_seen_where_there_is_none(name: str, kind: str, study: ModuleType) -> None:
    trained = [] if name == "icl-mapping" else [load(name)]
    for subject in (*trained, *(load(name).untrained(seed) for seed in range(3))):
        gains = study.in_context_learning(subject, kind, 16)
        assert min(gain.low for gain in gains) <= LEAST_GAIN


def test_it_is_seen_where_there_is_some(study: ModuleType) -> None:
    for name, kind in (("icl-mapping", "label-mapping"), ("induction-2layer", "recall")):
        assert min(gain.low for gain in study.in_context_learning(load(name), kind, 16)) > 0.2
