"""How many threads: the rule, who wins, and that what is set is torch's and BLAS's own number."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mesascope.analyses.commands.planning import Job
from mesascope.analyses.reports import threads
from mesascope.analyses.reports.threads import blas_threads, threads_set
from mesascope.analyses.runs.threads import VARIABLES, largest_matrix, not_set, number_of_threads
from mesascope.models.opening.catalogue import shipped
from mesascope.models.opening.loading import load
from mesascope.probes.token_norms.probe import TokenNorms
from threadpoolctl import threadpool_info

GPT_2_SMALL = largest_matrix(768, 50257)


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing about threads."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def now() -> tuple[int, list[int]]:
    """Threads as torch and each BLAS library of this process say themselves."""
    return torch.get_num_threads(), [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


def test_the_largest_matrix_is_the_read_out_or_as_wide_as_the_stream() -> None:
    assert largest_matrix(3, 5) == 15
    assert largest_matrix(5, 3) == 25
    assert largest_matrix(11) == 121


@pytest.mark.usefixtures("no_variables")
def test_small_models_get_one_thread_and_large_ones_what_the_libraries_take() -> None:
    assert number_of_threads(None, 512 * 512 - 1) == 1
    assert number_of_threads(None, 512 * 512) is None
    assert number_of_threads(None, GPT_2_SMALL) is None
    assert number_of_threads(None, None) is None


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_model_gets_one_thread(name: str) -> None:
    with threads_set(2, 2), Job(TokenNorms(), (load(name),)).threads(None):
        assert now() == (1, [1] * len(now()[1]))


@pytest.mark.parametrize("variable", VARIABLES)
def test_what_the_environment_says_beats_the_rule_and_what_is_asked_beats_both(
    variable: str, no_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "2")
    assert number_of_threads(None, 1) is None
    assert number_of_threads(3, 1) == number_of_threads(3, GPT_2_SMALL) == 3
    monkeypatch.setenv(variable, "")
    assert number_of_threads(None, 1) == 1


def test_torch_and_every_blas_library_take_the_number_and_give_it_back() -> None:
    with threads_set(2, 2):
        before = now()
        assert before[1], "no BLAS library was found: this test says nothing"
        with threads_set(1, 3):
            assert now() == (1, [3] * len(before[1]))
            assert blas_threads() == 3
        assert now() == before
        with pytest.raises(ZeroDivisionError), threads_set(3, 1):
            raise ZeroDivisionError
        assert now() == before


def test_none_leaves_a_number_as_it_is() -> None:
    with threads_set(2, 3):
        before = now()
        with threads_set(None, None):
            assert now() == before
        with threads_set(1, None):
            assert now() == (1, before[1])
        assert now() == before


class NoBlas:
    """A process whose BLAS library is none that threadpoolctl knows."""

    def info(self) -> list[Any]:
        return []


def test_what_could_not_be_set_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not_set(2, blas_threads()) == []
    monkeypatch.setattr(threads, "_blas", NoBlas)
    assert not_set(None, blas_threads()) == []
    (said,) = not_set(2, blas_threads())
    assert "--threads 2 holds for torch only" in said
