"""Numbers and lists in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from mesascope.probes.induction_heads.words import head_names, joined, listed, number, spread, with_interval
from mesascope.probes.measure import Measure, without_interval


def test_numbers_have_three_digits_and_no_trace_of_rounding() -> None:
    assert [number(value) for value in (4.8123, 0.0004, -0.0004, -0.0123)] == ["4.81", "0", "0", "-0.0123"]
    assert spread(np.array([0.9981, 1.0, np.nan])) == "0.998 to 1"
    assert spread(np.array([0.2, 0.2001])) == "0.2"


def test_an_interval_is_said_where_there_is_one() -> None:
    measure = Measure(np.array(0.105), "nat", (np.array(0.101), np.array(0.109)), "sequence", 9, no_nulls="none")
    assert with_interval(measure, "nat") == "0.105 nat (95 % CI 0.101 to 0.109)"
    narrow = replace(measure, values=np.array(4.80756), interval=(np.array(4.80565), np.array(4.80946)))
    assert with_interval(narrow, "nat") == "4.808 nat (95 % CI 4.806 to 4.809)"
    alone = without_interval(np.array(0.5), "score", message="a function of the weights", no_nulls="none")
    assert with_interval(alone) == "0.5"


def test_lists() -> None:
    assert listed(["50"]) == "50"
    assert listed(["50", "37", "25"]) == "50, 37 and 25"
    assert head_names([(0, 1)]) == "L0H1"
    assert head_names([(0, head) for head in range(6)]) == "L0H0, L0H1, L0H2, L0H3 and 2 more"
    assert joined("a", "", "b") == "a; b"
