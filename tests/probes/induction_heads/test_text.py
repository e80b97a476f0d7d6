"""The user's own text: matches by identity, controls within the text, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mesascope.data import TaskError
from mesascope.models import AttentionOnlyModel
from mesascope.models.constructed.induction import induction_circuit
from mesascope.probes import Findings
from mesascope.probes.induction_heads.probe import InductionHeads


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesascope.probes.induction_heads.observations.NULL_DRAWS", (1, 1))


@pytest.fixture(scope="module")
def circuit() -> AttentionOnlyModel:
    return induction_circuit(d_vocab=12, n_ctx=11)


def measure(circuit: AttentionOnlyModel, **settings: object) -> Findings:
    probe = InductionHeads(periods=(5, 3), n_sequences=6, ablate="nothing", **settings)
    return probe.measure(circuit, 0, 4)


def saved(folder: Path, documents: list[list[int]]) -> str:
    lines = "\n".join(f'{{"tokens": {ids}}}' for ids in documents)
    (folder / "own.jsonl").write_text(lines)
    return str(folder / "own.jsonl")


def test_matches_wherever_they_are(circuit: AttentionOnlyModel, tmp_path: Path) -> None:
    """Repeats at different distances: the head finds what followed each, at no offset in particular."""
    path = saved(tmp_path, [[1, 2, 3, 1, 4, 2, 5], [7, 8, 9, 10, 7, 11, 3], [5, 6, 5, 7, 8, 9, 1]])
    found = measure(circuit, tokens=path)
    score, excess = found.measures["text_matching_score"], found.measures["text_matching_excess"]
    assert score.values[1, 0] == pytest.approx(1, abs=1e-6)
    assert excess.values[1, 0] == pytest.approx(1, abs=1e-6)
    assert abs(excess.values[0, 0]) < 0.5
    assert (score.replicate, score.n) == ("document", 3)
    assert found.measures["text_duplicate_score"].values[1, 0] == pytest.approx(0, abs=1e-6)
    assert found.recipes["text"].n == 3
    assert found.measures["forward_passes"].values[-1] == 3
    claim = InductionHeads(tokens=path).claim(found.measures, (circuit.source,))
    assert any("matches are single tokens" in limit for limit in claim.limits)


def test_documents_weigh_the_same_however_long(circuit: AttentionOnlyModel, tmp_path: Path) -> None:
    """A long document of three windows with matches, and a short one: a mean of two, not of four."""
    long = [1, 2, 3, 1, 2, 4, 5, 6, 7, 8] * 3
    path = saved(tmp_path, [long, [7, 8, 9, 7, 10]])
    found = measure(circuit, tokens=path).measures["text_matching_score"]
    assert (found.replicate, found.n) == ("document", 2)


def test_one_document_is_resampled_by_windows_and_says_what_is_left_out(
    circuit: AttentionOnlyModel, tmp_path: Path
) -> None:
    (path := tmp_path / "own.npy").write_bytes(b"")
    np.save(path, np.array([1, 2, 3, 1, 2, 4, 5, 6, 7, 8, *range(1, 11)]))
    found = measure(circuit, tokens=str(path)).measures["text_matching_score"]
    assert (found.replicate, found.n) == ("window", 1)
    assert "without 1 window in which no token comes back" in found.message


def test_a_text_without_repeats_is_undefined(circuit: AttentionOnlyModel, tmp_path: Path) -> None:
    found = measure(circuit, tokens=saved(tmp_path, [[1, 2, 3], [4, 5]])).measures
    assert found["text_matching_score"].status == "undefined"
    assert found["text_matching_score"].message == "no token of the text has an earlier occurrence"


def test_the_file_s_bytes_are_part_of_the_run(circuit: AttentionOnlyModel, tmp_path: Path) -> None:
    path = saved(tmp_path, [[1, 2, 1]])
    before = InductionHeads(tokens=path).fingerprint()
    saved(tmp_path, [[1, 2, 2]])
    assert InductionHeads(tokens=path).fingerprint() != before
    (tmp_path / "a.txt").write_text("a")
    assert list(InductionHeads(text=str(tmp_path)).fingerprint()) == ["text_sha256"]
    assert InductionHeads().fingerprint() == {}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("own.txt", "to be", "no tokenizer"),
        ("own.jsonl", '{"tokens": [1, 99]}', "token 99 at position 1"),
        ("own.jsonl", "", "no documents; expected text"),
    ],
)
def test_files_that_cannot_be_read(
    circuit: AttentionOnlyModel, tmp_path: Path, name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(TaskError, match=words):
        measure(circuit, text=str(tmp_path / name))
