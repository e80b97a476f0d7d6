"""Passes by the settings are those that are counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mesascope.probes.icl_vs_gd import choosing, cost, measuring, tuning
from mesascope.probes.icl_vs_gd.cost import Sizes, cost_of, memory_of, passes_of
from mesascope.probes.icl_vs_gd.how import How
from mesascope.probes.icl_vs_gd.passes import Passes
from mesascope.probes.icl_vs_gd.probe import ICLvsGD

from .subjects import own_model, token_file

HOW = How(("gd", "lcgd"), "attention", (0.1, 0.3), (1, 4), 4, None, 2, True)
SIZES = Sizes(8, 2, 4, 4, 3, 12, True, True, True)
SETTINGS: list[dict[str, Any]] = [
    {"few_shot": "", "n_queries": 2, "steps": (2,), "orders": 3, "untrained": 1},
    {"steps": (3,), "orders": 2, "untrained": 0},
    {"steps": (1,), "rules": ("sgd",), "rates": (0.1, 0.2), "k": 1, "matching": False, "untrained": 0},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_passes_by_the_settings_are_those_that_are_counted(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one number of steps, whatever is chosen."""
    for module in (cost, choosing):
        monkeypatch.setattr(module, "ADAM_RATES", (0.01, 0.1))
    monkeypatch.setattr(tuning, "ADAM_STEPS", (1, 2))
    counted: list[Passes] = []
    monkeypatch.setattr(measuring, "_passes_measure", lambda passes, n: counted.append(passes))
    subject = own_model(d_vocab=90, n_ctx=12, d_mlp=8)
    settings = {name: token_file(tmp_path) if name == "few_shot" else value for name, value in settings.items()}
    probe = ICLvsGD(**{"n_tasks": 3, "tuning_tasks": 2, "rates": (0.1,), "k": 2, "rules": ("gd",), **settings})
    probe.measure(subject, 0, 2)
    assert counted == [passes_of(probe._how, probe._sizes(subject), patched=True)]


@pytest.mark.parametrize(
    "more",
    [
        {"rules": ("gd", "lcgd", "sgd")},
        {"rates": (0.1, 0.3, 1.0)},
        {"steps": (1, 8)},
        {"orders": 5},
        {"untrained": 3},
    ],
)
def test_whatever_is_asked_beside_costs_passes(more: dict[str, Any]) -> None:
    less, whole = passes_of(HOW, SIZES, True), passes_of(replace(HOW, **more), SIZES, True)
    assert whole.forward_tokens > less.forward_tokens
    assert whole.backward >= less.backward
    assert passes_of(replace(HOW, matching=False), SIZES, True).backward < less.backward
    assert passes_of(HOW, replace(SIZES, matched=False), True) == passes_of(replace(HOW, matching=False), SIZES, True)
    assert passes_of(HOW, replace(SIZES, other=False), True).backward < less.backward
    assert passes_of(HOW, replace(SIZES, conflict=False), True).forward < less.forward
    assert passes_of(HOW, SIZES, False).backward < less.backward


def test_a_pass_back_counts_as_two_and_the_passes_are_told() -> None:
    subject = own_model(d_vocab=20, n_ctx=12, d_mlp=8)
    passes, taken = passes_of(HOW, SIZES, True), cost_of(subject, HOW, SIZES, 64)
    assert taken.tokens == 2 * (passes.forward_tokens + 2 * passes.backward_tokens)
    assert taken.counted.startswith(f"at most {passes.forward:,} prompts")
    assert cost_of(subject, HOW, SIZES, 1).operations > taken.operations


def test_memory_grows_with_what_is_held_together_and_with_untrained_models() -> None:
    subject = own_model(d_vocab=20, n_ctx=12, d_mlp=8)
    whole = memory_of(subject, HOW, SIZES, 64)
    assert memory_of(subject, HOW, SIZES, 2) < whole == memory_of(subject, HOW, SIZES, 8)
    assert memory_of(subject, replace(HOW, untrained=0), SIZES, 64) < whole
    assert memory_of(subject, replace(HOW, parameters="all"), SIZES, 64) > whole


def test_the_dry_run_knows_passes_before_anything_is_measured() -> None:
    probe, subject = ICLvsGD(n_tasks=4, k=2), own_model(d_vocab=20, n_ctx=12, d_mlp=8)
    taken = probe.cost(subject, 64)
    assert taken is not None
    assert "prompts pass forward" in taken.counted
    assert (probe.memory(subject) or 0) > 10**8
