"""The user's own text: matches by identity, controls within the text, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope.data import TaskError
from mesascope.models import AttentionOnlyModel
from mesascope.models.constructed.induction import induction_circuit
from mesascope.probes import Findings
from mesascope.probes.induction_heads.names import SHUFFLED_IDS
from mesascope.probes.induction_heads.probe import InductionHeads
from mesascope.probes.induction_heads.text import Matches, Replicates


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesascope.probes.induction_heads.observations.NULL_DRAWS", (1, 1))


@pytest.fixture(scope="module")
def circuit() -> AttentionOnlyModel:
    return induction_circuit(d_vocab=12, n_ctx=11)


def measure(circuit: AttentionOnlyModel, **settings: object) -> Findings:
    probe = InductionHeads(**{"periods": (5, 3), "n_sequences": 6, "ablate": "nothing", **settings})
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
    assert (score.replicate, score.n) == ("window", 3)  # three documents are too few to test heads by
    assert found.measures["text_duplicate_score"].values[1, 0] == pytest.approx(0, abs=1e-6)
    assert found.recipes["text"].n == 3
    assert found.measures["forward_passes"].values[-1] == 3
    claim = InductionHeads(tokens=path).claim(found.measures, (circuit.source,))
    assert any("matches are single tokens" in limit for limit in claim.limits)


def narrow(known: int = 4) -> AttentionOnlyModel:
    """An induction circuit that knows the tokens 1 … `known` of 30: its heads read nothing of the others."""
    subject = induction_circuit(d_vocab=30, n_ctx=64)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        subject.module.W_E[known + 1 :] = 0
        unread = subject.module.W_E[known + 1 :, -30:]  # the code of the next token, which the unembedding alone reads
        unread.copy_(0.1 * torch.rand(unread.shape, generator=rng, dtype=unread.dtype))
    return subject


def random_text(folder: Path, tokens: range) -> str:
    np.save(folder / "own.npy", np.random.default_rng(0).choice(tokens, size=(40, 20)))
    return str(folder / "own.npy")


def test_a_narrow_language_is_measured_in_its_own_tokens(tmp_path: Path) -> None:
    """Random tokens of the whole vocabulary, most of which the model does not know, show a weak head."""
    subject, without = narrow(), InductionHeads(ablate="nothing")
    blind = without.claim(without.measure(subject, 0, 16).measures, (subject.source,))
    assert "L1H0 (weak: strength 0.1" in blind.found
    assert any("cannot tell which token ids" in limit for limit in blind.limits)

    given = replace(without, tokens=random_text(tmp_path, range(1, 5)))
    measures = given.measure(subject, 0, 16).measures
    assert given.heads(measures)["L1H0"] == "induction"
    assert measures["token_ids"].values.tolist() == [4, 0]
    excess, null = measures["text_matching_excess"], measures["text_matching_excess"].nulls[SHUFFLED_IDS]
    assert (excess.replicate, excess.n) == ("document", 40)
    assert excess.values[1, 0] > 0.9
    assert null.shape == (4, 2, 1)
    assert np.abs(null).max() < 0.1
    assert measures["text_p_adjusted"].values[1, 0] < 0.05
    assert "1 of 2 heads is an induction head: L1H0 (strong: strength" in given.claim(measures, (subject.source,)).found


def test_a_text_in_tokens_that_the_model_does_not_know_names_nobody(tmp_path: Path) -> None:
    probe = InductionHeads(ablate="nothing", tokens=random_text(tmp_path, range(20, 24)))
    measures = probe.measure(narrow(), 0, 16).measures
    assert "induction" not in probe.heads(measures).values()
    assert measures["text_matching_excess"].values[1, 0] < 0.2


def test_copying_is_read_in_the_tokens_of_the_text(tmp_path: Path) -> None:
    """Tokens that the text lacks are written with the other sign: over the whole vocabulary the head anti-copies."""
    subject = induction_circuit(d_vocab=12, n_ctx=11)
    with torch.no_grad():
        subject.module.W_E[5:, :12] *= -1
    of_all = measure(subject).measures["ov_copying_score"].values[1, 0]
    of_text = measure(subject, tokens=random_text(tmp_path, range(1, 5)), periods=2, n_sequences=9).measures
    assert of_all < 0  # of 12 eigenvalues 7 are negative
    assert of_text["ov_copying_score"].values[1, 0] == pytest.approx(1, abs=1e-6)


def test_shuffled_ids_are_the_windows_own_tokens(circuit: AttentionOnlyModel) -> None:
    tokens = torch.tensor([[0, 1, 2, 3, 1, 2], [0, 4, 4, 5, 6, 7]])
    watcher = Matches(first=1, seed=0)
    watcher.watch(tokens)
    shuffled = torch.stack(watcher._shuffled)
    assert torch.equal(shuffled.sort(dim=-1).values, tokens.sort(dim=-1).values.expand(4, -1, -1))
    assert (shuffled[..., 0] == 0).all()
    assert not (shuffled == tokens).all(dim=-1).all()


def test_documents_weigh_the_same_however_long(circuit: AttentionOnlyModel, tmp_path: Path) -> None:
    """A long document of three windows with matches, and short ones: a mean of nine, not of eleven."""
    long = [1, 2, 3, 1, 2, 4, 5, 6, 7, 8] * 3
    path = saved(tmp_path, [long, *[[7, 8, 9, 7, 10]] * 8])
    found = measure(circuit, tokens=path).measures
    assert (found["text_matching_score"].replicate, found["text_matching_score"].n) == ("document", 9)
    windows = Replicates.of(np.array([0, 0, 0, 1]), needed=3)
    assert (windows.name, windows.means(np.ones((4, 1, 1))).shape) == ("window", (4, 1, 1))
    values = np.array([1.0, 2.0, 6.0, 11.0]).reshape(4, 1, 1)
    assert Replicates.of(np.array([0, 0, 0, 1]), needed=2).means(values).ravel().tolist() == [3, 11]


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
        ("own.jsonl", "", "no document has a token"),
    ],
)
def test_files_that_cannot_be_read(
    circuit: AttentionOnlyModel, tmp_path: Path, name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(TaskError, match=words):
        measure(circuit, text=str(tmp_path / name))
