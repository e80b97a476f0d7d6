"""The most extreme tokens are those that a slow look at every token finds, and stand where they are said to stand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope import models
from mesascope.models import LanguageModel
from mesascope.models.constructed.norms import planted_norms
from mesascope.probes.findings import Examples, Findings
from mesascope.probes.token_norms.extreme_tokens import AFTER, BEFORE, Entry, Occurrence, merged, most_extreme
from mesascope.probes.token_norms.extreme_watcher import MOST
from mesascope.probes.token_norms.named_points import named_points
from mesascope.probes.token_norms.names import LARGEST, LONGEST, SHORTEST
from mesascope.probes.token_norms.probe import TokenNorms
from mesascope.probes.token_norms.token_rows import in_context, token_rows
from mesascope.probes.token_texts import words_of

DOCUMENTS = [[3, 9, 9, 4, 17, 2, 30, 8, 9, 11, 25, 41, 7], [5, 6, 3, 12, 44, 9, 49], [1, 2, 3, 4, 48, 33]]


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "tokens.jsonl"
    path.write_text("".join(json.dumps({"tokens": ids}) + "\n" for ids in DOCUMENTS))
    return str(path)


def with_bos(model: Any, bos: int | None) -> Any:
    model.source = models.Source("planted", layout="in-memory", facts={"bos": bos})
    return model


def measured(model: LanguageModel, text: str, batch_size: int = 2, **settings: Any) -> Findings:
    settings = {"parts": "outliers", "untrained": 0, "context": 6} | settings
    return TokenNorms(tokens=text, **settings).measure(model, 0, batch_size)


def rows(found: Findings, kind: str, layer: int) -> list[dict[str, Any]]:
    """The rows of one kind and layer, by rank."""
    examples = found.examples[kind]
    made = [dict(zip(examples.columns, row, strict=True)) for row in examples.rows]
    return sorted((row for row in made if row["layer"] == layer), key=lambda row: row["rank"])


def slow(model: LanguageModel, bos: int | None) -> list[dict[str, Any]]:
    """Every token of every window with its states, one window at a time."""
    own, found = 6 - (bos is not None), []
    for document, ids in enumerate(DOCUMENTS):
        for start in range(0, len(ids), own):
            window = ([] if bos is None else [bos]) + ids[start : start + own]
            if len(window) < 2:
                continue
            run = model.run(torch.tensor([window]), {s: lambda x, layer: x for s in ("resid_pre", "resid_post")})
            states = [run.values["resid_pre"][0][0].numpy(), *(x[0].numpy() for x in run.values["resid_post"])]
            found += [
                {
                    "id": token, "position": position, "document": document,
                    "index": start + position - (bos is not None), "states": [state[position] for state in states],
                    "medians": [np.sort(np.abs(state).ravel())[(state.size - 1) // 2] for state in states],
                }
                for position, token in enumerate(window)
            ]  # fmt: skip
    return found


@pytest.mark.parametrize("bos", [0, None])
@pytest.mark.parametrize("kind", [LONGEST, SHORTEST])
def test_the_longest_and_shortest_are_those_of_a_slow_look(bos: int | None, kind: str, text: str) -> None:
    model = with_bos(planted_norms(seed=3), bos)
    found, every = measured(model, text), slow(model, bos)
    sign = -1 if kind == LONGEST else 1
    for layer in range(3):
        later = [(sign * np.linalg.norm(one["states"][layer]), one) for one in every if one["position"] > 0]
        best: dict[int, tuple[float, dict[str, Any]]] = {}
        for value, one in sorted(later, key=lambda pair: pair[0]):
            best.setdefault(one["id"], (value, one))
        expected = list(best.values())[:MOST]
        got = rows(found, kind, layer)
        assert [row["id"] for row in got] == [one["id"] for _, one in expected]
        np.testing.assert_allclose([row["norm"] for row in got], [abs(value) for value, _ in expected], rtol=1e-9)
        for row, (_, one) in zip(got, expected, strict=True):
            assert [row[name] for name in ("position", "document", "index")] == [
                one[name] for name in ("position", "document", "index")
            ]


@pytest.mark.parametrize("bos", [0, None])
def test_the_largest_activations_are_those_of_a_slow_look(bos: int | None, text: str) -> None:
    model = with_bos(planted_norms(seed=4), bos)
    found, every = measured(model, text), slow(model, bos)
    for layer in range(3):
        best: dict[int, dict[str, Any]] = {}
        for one in sorted(every, key=lambda one: -np.abs(one["states"][layer]).max()):
            best.setdefault(one["id"], one)
        for row, one in zip(rows(found, LARGEST, layer), list(best.values())[:MOST], strict=True):
            state = one["states"][layer]
            dimension = np.abs(state).argmax()
            assert (row["id"], row["dimension"], row["position"]) == (one["id"], dimension, one["position"])
            assert row["activation"] == pytest.approx(state[dimension], rel=1e-9)
            assert row["times the median"] == pytest.approx(abs(state[dimension]) / one["medians"][layer], rel=1e-9)
            assert row["massive"] == "no"


def test_a_planted_massive_activation_names_its_token_and_dimension(text: str) -> None:
    found = measured(with_bos(planted_norms(massive=4_000.0, massive_dimension=7), 0), text)
    for layer in (1, 2):
        first, second = rows(found, LARGEST, layer)[:2]
        assert (first["id"], first["position"], first["index"]) == (0, 0, -1), "BOS, at position 0"
        assert (first["dimension"], first["massive"], second["massive"]) == (7, "yes", "no")
        assert first["activation"] == pytest.approx(4_000, rel=1e-2)
    assert rows(found, LARGEST, 0)[0]["massive"] == "no", "the first block makes it"


@pytest.mark.parametrize("bos", [0, None])
def test_every_place_that_is_named_holds_the_token(bos: int | None, text: str) -> None:
    found = measured(with_bos(planted_norms(), bos), text, parts="all")
    for kind in (LONGEST, SHORTEST, LARGEST):
        for layer in range(3):
            for row in rows(found, kind, layer):
                expected = bos if row["index"] == -1 else DOCUMENTS[row["document"]][row["index"]]
                assert row["id"] == expected
                before, _, after = row["context"].partition(f"[{row['id']}]")
                ids = DOCUMENTS[row["document"]]
                index = row["index"]
                assert [int(i) for i in before.split()] == ids[
                    max(index - BEFORE, index - row["position"] + (bos is not None), 0) : max(index, 0)
                ]
                assert [int(i) for i in after.split()] == ids[index + 1 : index + 1 + AFTER][: len(after.split())]
    arrays = {name: found.arrays[name].astype(int) for name in ("token_id", "token_document", "token_index")}
    held = [DOCUMENTS[d][i] for d, i in zip(arrays["token_document"], arrays["token_index"], strict=True)]
    assert arrays["token_id"].tolist() == held
    assert len(held) == len(found.arrays["token_resid"]) > 10


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_changes_nothing(batch_size: int, text: str) -> None:
    model = with_bos(planted_norms(massive=300.0), 0)
    one, other = measured(model, text, 2), measured(model, text, batch_size)
    for kind in one.examples:
        for row, again in zip(one.examples[kind].rows, other.examples[kind].rows, strict=True):
            assert [cell for cell in row if not isinstance(cell, float)] == [
                cell for cell in again if not isinstance(cell, float)
            ]


def test_activations_are_of_the_part_outliers(text: str) -> None:
    found = measured(with_bos(planted_norms(), 0), text, parts="none")
    assert set(found.examples) == {LONGEST, SHORTEST}


# -- formulas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("largest", [True, False])
def test_of_each_id_the_most_extreme_counts_whatever_the_batches(largest: bool, rng: np.random.Generator) -> None:
    for _ in range(50):
        n, most = int(rng.integers(1, 40)), int(rng.integers(1, 6))
        values, ids = rng.integers(0, 12, n).astype(float), rng.integers(0, 8, n)
        best = {i: (max if largest else min)(values[ids == i]) for i in set(ids.tolist())}
        ranked = sorted(
            best, key=lambda i: (-best[i] if largest else best[i], np.flatnonzero((ids == i) & (values == best[i]))[0])
        )
        places = most_extreme(values, ids, most, largest)
        assert ids[places].tolist() == ranked[:most]
        cut = int(rng.integers(0, n + 1))
        parts = (slice(0, cut), slice(cut, n))
        of_parts = [
            [
                Occurrence(values[part][p], int(ids[part][p]), 0, 0, 0, (), ())
                for p in most_extreme(values[part], ids[part], most, largest)
            ]
            for part in parts
        ]
        assert [one.token for one in merged(*of_parts, most, largest)] == ranked[:most]


def test_what_is_no_number_is_never_extreme() -> None:
    values = np.array([np.nan, 1.0, np.inf, 3.0])
    assert most_extreme(values, np.arange(4), 4, True).tolist() == [3, 1]
    assert most_extreme(values[:1], np.arange(1), 4, True).tolist() == []


# -- words -------------------------------------------------------------------------------------------------------------


def test_rows_have_the_text_of_their_tokens_where_somebody_knows_it() -> None:
    one = Occurrence(2.5, 7, 3, 0, 2, (5, 6), (8,), Entry(4, -2.5, 0.0))
    known = {5: "the", 6: " dog", 7: " ran\n", 8: " off"}
    found = token_rows({LARGEST: {0: [one]}}, lambda ids: "".join(known[i] for i in ids))
    assert found[LARGEST].rows == ((0, 1, " ran\n", 7, -2.5, 4, float("inf"), "no", 3, 0, 2, "the dog [ran] off"),)
    assert token_rows({LONGEST: {0: [replace(one, entry=None)]}}, None)[LONGEST].rows[0][2] is None
    assert in_context(one, None) == "5 6 [7] 8"


def test_the_last_layer_comes_first_and_the_first_rank_of_all() -> None:
    held = [Occurrence(float(i), i, 1, 0, 0, (), ()) for i in range(2)]
    found = token_rows({LONGEST: {0: held, 1: held}}, None)[LONGEST]
    assert [row[:2] for row in found.rows] == [(1, 1), (0, 1), (1, 2), (0, 2)]


def test_words_come_from_the_grammar_or_the_tokenizer() -> None:
    subject = models.load("tiny-grammar")
    words = words_of(subject)
    assert words is not None
    assert words(subject.encode("the duck sees Ben.")) == "the duck sees Ben ."
    assert words([subject.bos]) == "<s>"
    assert words_of(with_bos(planted_norms(), 0)) is None


@pytest.mark.parametrize("fast", [True, False])
def test_a_tokenizers_text_is_as_it_is(fast: bool) -> None:
    """Of transformers and of tokenizers: blanks, ends of lines and special tokens stay."""
    from mesascope.models.tokenizing import text_of
    from tokenizers import Tokenizer, decoders
    from tokenizers import models as kinds
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<s>": 0, "Ġdog": 1, "Ċ": 2, "Ġ.": 3, "un": 4}
    tokenizer = Tokenizer(kinds.WordLevel(vocabulary, unk_token="un"))
    tokenizer.decoder = decoders.ByteLevel()
    used = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>") if fast else tokenizer
    assert text_of(used, [0, 1, 2, 3]).replace(" <s>", "<s>") == "<s> dog\n ."
    assert text_of(used, [1]) == " dog"


# -- names for a figure ------------------------------------------------------------------------------------------------


def test_points_get_the_names_of_extreme_tokens_at_their_extreme_occurrence() -> None:
    columns = ("layer", "rank", "token", "id", "norm")
    arrays = {
        "token_id": np.array([4.0, 5, 4, 6, 7, 6]),
        "token_resid": np.array([[1.0, 9], [2, 8], [3, 7], [4, 1], [5, 2], [4, 6]]),
    }
    examples = {
        LONGEST: Examples(columns, ((1, 1, "cat", 4, 9.5), (0, 1, "owl", 7, 5.0), (1, 2, "gone", 99, 8.5))),
        SHORTEST: Examples(columns, ((1, 1, "ant", 6, 1.0), (1, 2, None, 5, 2.0))),
    }
    found = Findings({}, arrays, {}, examples=examples)
    assert named_points(found, 1) == [(0, "cat"), (3, "ant")], "ant at its shortest"
    assert named_points(found, 0) == [(4, "owl")]
    assert named_points(Findings({}, {}, {}, examples=examples), 1) == []
    assert named_points(Findings({}, arrays, {}), 1) == []


def test_a_real_run_names_points_that_are_kept() -> None:
    subject = models.load("tiny-grammar")
    found = TokenNorms(limit=600, untrained=0, parts="none").measure(subject, 0, 8)
    words = words_of(subject)
    assert words is not None
    named = named_points(found, 3)
    assert len(named) == 2 * MOST
    for row, name in named:
        assert words([int(found.arrays["token_id"][row])]) == name
    norms = found.arrays["token_resid"][:, 3]
    assert int(norms.argmax()) == named[0][0], "all tokens are kept of so short a text"
