"""What a page holds of attention: the numbers that are kept, as text that stays small and inert."""

from __future__ import annotations

import base64
import json
import re
import struct
from dataclasses import replace
from html import unescape
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports import html, page_attention
from mesascope.analyses.reports.report import Report
from mesascope.data import Recipe
from mesascope.probes.kept_attention import MOST_HEADS, MOST_TOKENS, KeptAttention


def kept_of(report: Report) -> KeptAttention:
    kept = KeptAttention.of(report.findings)
    assert kept is not None
    return kept


def made(heads: int, tokens: int, text: str = " word", norms: bool = True) -> KeptAttention:
    rng = np.random.default_rng(0)
    pattern = np.tril(rng.random((heads, tokens, tokens)) ** 8)
    settings = {"sequence": "made up", "ids": [0] * tokens, "texts": [text] * tokens}
    recipe = Recipe("made up", settings | {"not_weighted": "" if norms else "there is no <v>"}, 0, 1, "")
    lengths = 100 * rng.random((heads, tokens)) if norms else None
    places = tuple((n // 4, n % 4) for n in range(heads))
    return KeptAttention(places, pattern / pattern.sum(-1, keepdims=True), lengths, recipe, ("none",) * heads)


def holding(report: Report, kept: KeptAttention) -> Report:
    found = kept.findings
    return replace(report, arrays=found.arrays, recipes={**report.recipes, "attention": kept.recipe.as_dict()})


def blocks(page: str) -> list[Any]:
    """The blocks of data of a page's views."""
    found = re.findall(
        r'<div class="attention-view">.*?<script type="application/json">(.*?)</script>', page, re.DOTALL
    )
    return [json.loads(block) for block in found]


def decoded(data: Any, tokens: int) -> np.ndarray:
    """Number by number, as the page's script reads them."""
    content = base64.b64decode(data["pattern"])
    pattern = np.zeros((len(data["heads"]), tokens, tokens))
    places = iter(range(0, len(content), 2))
    for head in range(len(data["heads"])):
        for query in range(tokens):
            for key in range(query + 1):
                pattern[head, query, key] = struct.unpack_from("<H", content, next(places))[0] / 65535
    assert next(places, None) is None
    return pattern


def test_the_page_holds_what_is_kept(induction_report: Report) -> None:
    kept = kept_of(induction_report)
    (data,) = blocks(html.page(induction_report, []))
    assert data["heads"] == list(kept.names)
    assert data["verdicts"][0] == induction_report.heads[kept.names[0]] == "induction"
    found = decoded(data, len(kept.texts))
    assert np.abs(found - kept.pattern).max() < 1e-5
    assert kept.value_norms is not None
    np.testing.assert_allclose(data["norms"], kept.value_norms, rtol=1e-6)


def test_its_attention_is_that_of_the_model(induction_report: Report) -> None:
    """From the model's weights to the text of the page."""
    import torch
    from mesascope import models

    kept = kept_of(induction_report)
    tokens = torch.tensor([kept.recipe.settings["ids"]])
    layers = models.load("induction-2layer").observe(tokens, {"pattern": lambda pattern, _: pattern[0]})["pattern"]
    found = decoded(blocks(html.page(induction_report, []))[0], tokens.shape[1])
    for name, pattern in zip(kept.names, found, strict=True):
        assert np.abs(pattern - layers[int(name[1])][int(name[3])].numpy()).max() < 1e-5


def test_the_largest_view_is_small() -> None:
    data = page_attention.view(made(MOST_HEADS, MOST_TOKENS))["data"]
    assert len(data) < 200_000


def test_shares_stay_shares() -> None:
    """Float32 sums to a little more than 1; two bytes hold no more."""
    edges = np.tril(np.array([[[1.0000001, 0], [1.0, 0.0]]]))
    content = base64.b64decode(page_attention.packed(edges))
    assert struct.unpack("<3H", content) == (65535, 65535, 0)


def test_what_nobody_sees_has_a_sign(induction_report: Report) -> None:
    assert [page_attention.shown_text(text) for text in (" a", "\n", "\t", "")] == [" a", "⏎", "⇥", "∅"]
    page = html.page(holding(induction_report, made(1, 3, "\n")), [])
    assert page.count("⏎</span><br>") == 3


@pytest.mark.parametrize("text", ["</script><img src=x>", "<b onclick=1>", "{{ 7 * 7 }}", '"\u202e&amp;'])
def test_tokens_stay_text(induction_report: Report, text: str) -> None:
    page = html.page(holding(induction_report, made(2, 3, text, norms=False)), [])
    assert [unescape(found) for found in re.findall(r'role="option"[^>]*>([^<]*)<', page)] == [text] * 3
    assert not re.findall("<img src=x|<b onclick", page)
    assert "not applicable, because there is no &lt;v&gt;." in page
    assert 'value="weighted"' not in page
    assert blocks(page)[0]["norms"] is None


def test_each_script_is_allowed_by_its_digest(induction_report: Report) -> None:
    from hashlib import sha256

    page = html.page(induction_report, [])
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(sha256(text.encode()).digest()).decode() for text in scripts]
    assert len(digests) == 2
    allowed = page.split("script-src ")[1].split(";&")[0].split("; base-uri")[0]
    assert re.findall(r"sha256-([A-Za-z0-9+/=]+)", allowed) == digests


def test_heads_that_are_not_there_are_counted(induction_report: Report) -> None:
    kept = kept_of(induction_report)
    called = [head for head, verdict in induction_report.heads.items() if verdict != "none"]
    assert len(called) == len(kept.names) == 8
    assert "more head" not in html.page(induction_report, []).split('id="attention"')[1].split("</section>")[0]
    fewer = html.page(holding(induction_report, kept.only(kept.names[:6])), [])
    more = ",".join(sorted(kept.names[6:]))
    assert f"2 more heads have a verdict. To see others, run the probe again with --attention {more}." in fewer


def test_over_several_seeds_the_page_says_where_it_is(induction_report: Report) -> None:
    arrays = {name: np.stack([array] * 2) for name, array in induction_report.arrays.items()}
    page = html.page(replace(induction_report, arrays=arrays), [])
    assert blocks(page) == []
    assert "Heads of different checkpoints do not correspond. The page of each checkpoint shows" in page
    assert len(re.findall("<script>", page)) == 1


def test_a_report_that_keeps_none_says_nothing(induction_report: Report) -> None:
    recipes = {name: recipe for name, recipe in induction_report.recipes.items() if name != "attention"}
    page = html.page(replace(induction_report, recipes=recipes), [])
    assert 'id="attention"' not in page
    assert "attention-view" not in page
