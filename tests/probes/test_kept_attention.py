"""Kept attention is found again in findings, of one checkpoint alone; shapes that do not fit are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.data import Recipe, UsageError
from mesascope.probes.findings import Findings
from mesascope.probes.kept_attention import KeptAttention


def recipe(tokens: int = 3, reason: str = "") -> Recipe:
    texts = [f" {n}" for n in range(tokens)]
    return Recipe(
        "made up", {"texts": texts, "ids": [*range(tokens)], "sequence": "s", "not_weighted": reason}, 0, 1, ""
    )


def made(norms: bool = True) -> KeptAttention:
    pattern = np.tril(np.arange(18.0).reshape(2, 3, 3))
    reason = "" if norms else "there is no v"
    lengths = np.array([[1.0, 2, 3], [4, 5, 6]]) if norms else None
    return KeptAttention(((1, 0), (0, 3)), pattern, lengths, recipe(reason=reason), ("induction", "none"))


@pytest.mark.parametrize("norms", [True, False])
def test_what_is_kept_is_found_again(norms: bool) -> None:
    kept = made(norms)
    found = KeptAttention.of(kept.findings)
    assert found is not None
    assert (found.heads, found.names, found.verdicts) == (kept.heads, ("L1H0", "L0H3"), kept.verdicts)
    np.testing.assert_array_equal(found.pattern, kept.pattern)
    np.testing.assert_array_equal(found.value_norms, kept.value_norms)  # pyright: ignore[reportArgumentType]
    assert found.texts == (" 0", " 1", " 2")


def test_elsewhere_there_is_none() -> None:
    findings = made().findings
    assert KeptAttention.of(Findings({}, {}, {})) is None
    of_seeds = {name: np.stack([array, array]) for name, array in findings.arrays.items()}
    assert KeptAttention.of(replace(findings, arrays=of_seeds)) is None
    assert KeptAttention.of(replace(findings, recipes={})) is None
    assert KeptAttention.of(replace(findings, arrays={})) is None


def test_the_recipe_is_that_of_the_tokens() -> None:
    """Over several steps the first one's recipe has the plain name, and the arrays are the last one's."""
    findings = made().findings
    settings = {**recipe().settings, "ids": [7, 8, 9], "texts": ["x", "y", "z"]}
    first = replace(recipe(), settings=settings)
    found = KeptAttention.of(replace(findings, recipes={"attention": first, "attention (b)": recipe()}))
    assert found is not None
    assert found.texts == (" 0", " 1", " 2")
    assert KeptAttention.of(replace(findings, recipes={"attention": first})) is None


def test_each_key_has_its_own_weight() -> None:
    weighted = made().values("value-weighted")
    assert weighted[0, 2].tolist() == [6 * 1, 7 * 2, 8 * 3]
    assert weighted[1, 2].tolist() == [15 * 4, 16 * 5, 17 * 6]
    assert made().values("attention") is not weighted
    with pytest.raises(UsageError, match="not applicable, because there is no v"):
        made(norms=False).values("value-weighted")


def test_some_heads_in_the_order_that_is_asked_for() -> None:
    kept = made()
    swapped = kept.only(["L0H3", "L1H0"])
    np.testing.assert_array_equal(swapped.pattern, kept.pattern[::-1])
    assert swapped.value_norms is not None
    assert swapped.value_norms.tolist() == [[4, 5, 6], [1, 2, 3]]
    assert (swapped.names, swapped.verdicts) == (("L0H3", "L1H0"), ("none", "induction"))
    with pytest.raises(
        UsageError, match=r"L0H1: this report keeps the attention of L1H0, L0H3 only; .*--attention L1H0"
    ):
        kept.only(["L1H0", "L0H1"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pattern": np.zeros((2, 3, 4))}, r"patterns \[2, 3, 4\]; expected \[2, 3, 3\]: 2 heads, 3 tokens"),
        ({"pattern": np.zeros((1, 3, 3))}, r"patterns \[1, 3, 3\]; expected \[2, 3, 3\]"),
        ({"recipe": recipe(4)}, r"patterns \[2, 3, 3\]; expected \[2, 4, 4\]: 2 heads, 4 tokens"),
        ({"value_norms": np.zeros((2, 2))}, r"value norms \[2, 2\]; expected \[2, 3\]"),
    ],
)
def test_masks_and_lengths_of_another_shape(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(made(), **change)
