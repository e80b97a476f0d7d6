"""Revisions and seeds as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesascope.analyses.sweeps.revisions import MOST, expanded, seed_range
from mesascope.data import UsageError


def test_the_154_steps_of_a_public_suite() -> None:
    found = expanded("step{0,1,2,4,8,16,32,64,128,256,512,1000..143000..1000}")
    assert found[:13] == tuple(f"step{n}" for n in (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000))
    assert len(found) == 154
    assert found[-1] == "step143000"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("main", "main"),
        ("step1000", "step1000"),
        (" step0 , main,, step0 ", "step0 main"),  # each once, in the order that it was asked for
        ("seed{0..1}-step{500,0}", "seed0-step500 seed0-step0 seed1-step500 seed1-step0"),
        ("a{1}b,{x,y}", "a1b x y"),
        ("step{10..14..2}", "step10 step12 step14"),
        ("step{10..15..2}", "step10 step12 step14"),
        ("step{3..3}", "step3"),
        ("step{ 1 , 2 }", "step1 step2"),
        ("ckpt-{008..011}", "ckpt-008 ckpt-009 ckpt-010 ckpt-011"),
        ("step{0..2}", "step0 step1 step2"),
        ("stage1-step{1..2}000-tokens{3,4}B",
         "stage1-step1000-tokens3B stage1-step1000-tokens4B stage1-step2000-tokens3B stage1-step2000-tokens4B"),
        ("pr/1", "pr/1"),
    ],
)  # fmt: skip
def test_what_a_text_names(text: str, names: str) -> None:
    assert expanded(text) == tuple(names.split())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step{0,1", "braces that do not pair"),
        ("step0,1}", "braces that do not pair"),
        ("step{0,{1,2}}", "stand within others"),
        ("step{}", "nothing between two commas or braces"),
        ("step{0,,1}", "nothing between two commas or braces"),
        ("step{5..1}", "range 5..1 is empty"),
        ("step{1..5..0}", "range 1..5..0 is empty"),
        ("step{1..x}", "'1..x' is not understood"),
        ("step{-1..2}", "'-1..2' is not understood"),
        ("step{1..2..3..4}", "is not understood"),
        ("step{٠..٣}", "is not understood"),
        ("", "names no revision"),
        (" , ", "names no revision"),
        ("step{0..10000}", "names 10001; expected at most 10000"),
        ("step{0..999999999}", "names 1000000000"),
        ("{0..99}{0..99}{0..99}", "names 1000000"),
        ("a{1..6000},b{1..6000}", "names 12000"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("..", r"\.\.")) as refused:
        expanded(text)
    assert repr(text) in str(refused.value)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20), st.text("abcXYZ019._/-", max_size=8))
def test_numbers_in_braces_are_the_numbers_without(numbers: list[int], before: str) -> None:
    joined = ",".join(map(str, numbers))
    apart = tuple(dict.fromkeys(f"{before}{number}" for number in numbers))
    assert expanded(f"{before}{{{joined}}}") == apart
    assert expanded(",".join(f"{before}{number}" for number in numbers)) == apart


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 60))
def test_a_range_holds_both_ends(first: int, more: int, by: int) -> None:
    found = expanded(f"{{{first}..{first + more}..{by}}}")
    assert list(map(int, found)) == [n for n in range(1001) if first <= n <= first + more and (n - first) % by == 0]


def test_the_most_that_a_text_may_name() -> None:
    assert len(expanded(f"step{{1..{MOST}}}")) == MOST


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", (3,)), ("0-3", (0, 1, 2, 3)), ("0,2,5-7", (0, 2, 5, 6, 7)), ("5-6, 4,5", (5, 6, 4)), ("7-7", (7,))],
)
def test_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert seed_range(text) == seeds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no seed"),
        ("3-1", "the range 3-1 is empty"),
        ("-1", "'-1' is not understood"),
        ("0..9", "'0..9' is not understood"),
        ("seed0", "'seed0' is not understood"),
        ("0-10000", "names 10001"),
        ("0-9999,10000", "names 10001"),
    ],
)
def test_seeds_that_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        seed_range(text)
