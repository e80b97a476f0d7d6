"""Heads on sequences: by loops, planted circuits, windows, and what must not matter."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import from_language_model, from_module, induction_circuit
from mesascope.models.constructed.induction import BOS
from mesascope.models.language_model import LanguageModel
from mesascope.models.subject import AttentionScores, NotApplicable
from mesascope.probes.attention_learning import head_reading
from mesascope.probes.attention_learning.agreement import others, shuffles
from mesascope.probes.attention_learning.direct_path import DirectPath
from mesascope.probes.attention_learning.head_reading import (
    Followed,
    HeadReading,
    Reader,
    attended,
    no_heads,
    read_heads,
)
from mesascope.probes.attention_learning.head_saliency import saliency
from mesascope.probes.attention_learning.head_settings import HeadHow, spaced
from mesascope.probes.attention_learning.names import OTHER_TARGETS, SHUFFLED
from mesascope.probes.attention_learning.odds import attention_push
from mesascope.probes.attention_learning.proxy import Proxy
from mesascope.probes.head_sequences import Sequences, read_sequences

from .tiny_language_models import ids_file, model, module_of

HOW = HeadHow(n_sequences=4, queries=24, saliency=3)


def reader_of(subject: LanguageModel, how: HeadHow = HOW, **beside: Any) -> Reader:
    given: dict[str, Any] = {"twin": None, "proxy": None, "with_saliency": how.saliency > 0} | beside
    path = DirectPath.of(subject)
    assert isinstance(path, DirectPath)
    return Reader(subject=subject, path=path, how=how, seed=0, **given)


def reading_of(subject: LanguageModel, how: HeadHow = HOW, batch_size: int = 8, **beside: Any) -> HeadReading:
    return read_heads(reader_of(subject, how, **beside), read_sequences(subject, how, 0), batch_size)


def share_of(u: np.ndarray, v: np.ndarray) -> float:
    """The agreement of one row, by counting."""
    k = ceil(len(u) / 20)
    shares = []
    for place in np.flatnonzero(u == u.max()):
        above, equal = (v > v[place]).sum(), (v == v[place]).sum()
        shares.append(np.clip((k - above) / equal, 0, 1))
    return float(np.mean(shares))


# -- queries -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "n_sequences", "queries", "expected"),
    [
        (129, 4, 32, (16, 32, 48, 64, 79, 95, 111, 127)),
        (12, 4, 12, (3, 7, 10)),
        (3, 9, 2, (1,)),
        (6, 1, 99, (1, 2, 3, 4)),
    ],
)
def test_queries_are_never_the_first_or_the_last_position(
    length: int, n_sequences: int, queries: int, expected: tuple[int, ...]
) -> None:
    assert HeadHow(queries=queries).positions(length, n_sequences) == expected


@pytest.mark.parametrize(
    ("n", "most", "expected"), [(6, 3, (1, 3, 5)), (6, 9, (0, 1, 2, 3, 4, 5)), (5, 1, (4,)), (5, 0, ()), (0, 4, ())]
)
def test_some_of_many_are_evenly_spaced(n: int, most: int, expected: tuple[int, ...]) -> None:
    assert spaced(n, most) == expected


@pytest.mark.parametrize("window", [None, 5])
def test_rows_are_those_of_the_pattern(window: int | None) -> None:
    """Also where the pattern comes in several blocks."""
    rng = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, heads, 300, 4, generator=rng) for heads in (4, 2))
    scores, queries = AttentionScores.of(q, k, window=window), (1, 127, 128, 255, 299)
    rows, pattern = attended(scores, queries), scores.pattern()
    for place, query in enumerate(queries):
        first = 0 if window is None else max(0, query - window + 1)
        torch.testing.assert_close(
            rows[:, :, place, first : query + 1].float(), pattern[:, :, query, first : query + 1]
        )
        assert rows[:, :, place, :first].isnan().all()
        assert rows[:, :, place, query + 1 :].isnan().all()


# -- agreements --------------------------------------------------------------------------------------------------------


def by_loops(subject: LanguageModel, tokens: torch.Tensor, queries: tuple[int, ...], seed: int = 0) -> dict[str, Any]:
    """Agreement of attention and beta, with its first draws of nulls, for each sequence, layer and head."""
    values = subject.run(tokens, {site: lambda x, layer: x for site in ("pattern", "v")}).values
    path, n = DirectPath.of(subject), tokens.shape[1]
    assert isinstance(path, DirectPath)
    u_of = path.directions(tokens[:, [t + 1 for t in queries]])
    shuffled, other = shuffles(len(tokens), n, seed)[0], others(len(tokens), len(queries), seed)[0]
    found: dict[str, Any] = {name: [] for name in ("own", SHUFFLED, OTHER_TARGETS)}
    for layer, (pattern, v) in enumerate(zip(values["pattern"], values["v"], strict=True)):
        beta = path.beta(layer, v, u_of).numpy()
        rows = {name: np.empty((len(tokens), pattern.shape[1], len(queries))) for name in found}
        for s, h, place in np.ndindex(*rows["own"].shape):
            seen = queries[place] + 1
            alpha = pattern[s, h, queries[place], :seen].numpy()
            rows["own"][s, h, place] = share_of(alpha, beta[s, h, place, :seen])
            rows[OTHER_TARGETS][s, h, place] = share_of(alpha, beta[s, h, other[s, place], :seen])
            follow = shuffled[s, :seen].copy()
            while (follow >= seen).any():
                follow[follow >= seen] = shuffled[s, follow[follow >= seen]]
            rows[SHUFFLED][s, h, place] = share_of(alpha, beta[s, h, place, follow])
        for name, of in rows.items():
            found[name].append(of.mean(axis=-1))
    return {name: np.stack(layers, axis=1) for name, layers in found.items()}


def test_agreements_and_nulls_are_those_of_loops() -> None:
    subject = model(n_ctx=60)
    how = HeadHow(n_sequences=3, queries=30)
    found = reading_of(subject, how).agreed["beta"]
    (tokens,) = read_sequences(subject, how, 0).groups
    expected = by_loops(subject, tokens, how.positions(60, 3))
    np.testing.assert_allclose(found.samples, expected["own"])
    for null in (SHUFFLED, OTHER_TARGETS):
        np.testing.assert_allclose(found.drawn[null][0], expected[null])
    assert len(np.unique(found.samples)) >= 4


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_shared_keys_and_windows(family: str) -> None:
    subject = from_module(module_of(family))
    found = reading_of(subject, HeadHow(n_sequences=3, queries=30, saliency=0)).agreed["beta"]
    (tokens,) = read_sequences(subject, HeadHow(n_sequences=3), 0).groups
    queries = HeadHow(queries=30).positions(16, 3)
    values = subject.run(tokens, {site: lambda x, layer: x for site in ("pattern", "v")}).values
    path = DirectPath.of(subject)
    assert isinstance(path, DirectPath)
    for layer, (pattern, v) in enumerate(zip(values["pattern"], values["v"], strict=True)):
        beta = path.beta(layer, v, path.directions(tokens[:, [t + 1 for t in queries]])).numpy()
        for s, h in np.ndindex(3, 4):
            shares = []
            for place, query in enumerate(queries):
                keys = slice(max(0, query - 3) if family == "mistral" else 0, query + 1)
                shares.append(share_of(pattern[s, h, query, keys].numpy(), beta[s, h, place, keys]))
            assert found.samples[s, layer, h] == pytest.approx(np.mean(shares))


def repeated(n: int, period: int, seed: int = 0) -> list[list[int]]:
    """Distinct words, twice."""
    rng = np.random.default_rng(seed)
    return [[*words, *words] for words in (rng.permutation(np.arange(1, 30))[:period].tolist() for _ in range(n))]


def test_a_planted_induction_head_attends_where_beta_is_largest(tmp_path: Path) -> None:
    """On the second repeat only: on the first it attends to BOS, and no key says anything about the next word."""
    how = HeadHow(tokens=ids_file(tmp_path, repeated(12, 20)), n_sequences=12, queries=12 * 39, context=41)
    found = reading_of(induction_circuit(), how)
    assert found.agreed["beta"].samples.shape == (12, 2, 1)
    queries = how.positions(41, 12)
    assert queries == tuple(range(1, 40))
    k_of = {t: ceil((t + 1) / 20) / (t + 1) for t in queries}
    by_chance = [k_of[t] for t in queries if t < 20]  # beta is the same for every key
    at_the_seam = 1 / 20  # one key says the first word again, the head attends to BOS: second of 20 equals
    expected = (sum(by_chance) + at_the_seam + sum(t > 20 for t in queries)) / 39
    np.testing.assert_allclose(found.agreed["beta"].samples[:, 1, 0], expected)
    nulls = found.agreed["beta"].nulls
    assert max(null[:, 1, 0].max() for null in nulls.values()) < 0.3
    np.testing.assert_allclose(found.right, (19 + 1 / 19) / 39)  # at the seam all words before it are as likely


def test_heads_that_attend_evenly_or_write_nothing_agree_by_chance() -> None:
    even = reading_of(model(changed={"W_Q": 0, "b_Q": 0}, n_ctx=40))
    silent = reading_of(model(changed={"W_O": 0}, n_ctx=40))
    queries = HOW.positions(40, 4)
    chance = np.mean([ceil((t + 1) / 20) / (t + 1) for t in queries])
    for found in (even, silent):
        agreed = found.agreed["beta"]
        np.testing.assert_allclose(agreed.samples, chance)
        for null in agreed.drawn.values():
            np.testing.assert_allclose(null, chance)
    assert silent.same.all()
    assert not even.same.any()


def test_random_attention_agrees_as_with_other_targets() -> None:
    """Not as with shuffled keys: long keys have large scores and large betas, of whatever target."""
    agreed = reading_of(model(n_ctx=40, n_heads=12), HeadHow(n_sequences=16, queries=16 * 20, saliency=0)).agreed[
        "beta"
    ]
    assert abs(agreed.samples.mean() - agreed.nulls[OTHER_TARGETS].mean()) < 0.01
    assert agreed.samples.mean() > agreed.nulls[SHUFFLED].mean() + 0.02


def test_the_own_model_as_a_twin_gives_the_same_agreements() -> None:
    subject = model()
    path = DirectPath.of(subject)
    same, other = reading_of(subject, twin=path), reading_of(subject, twin=DirectPath.of(model(seed=1)))
    for own, of_twin in (("beta", "uniform"), ("own_saliency", "saliency")):
        for name in ("samples", "drawn"):
            np.testing.assert_equal(getattr(same.agreed[of_twin], name), getattr(same.agreed[own], name))
        assert not np.allclose(other.agreed[of_twin].samples, same.agreed[own].samples)
        np.testing.assert_array_equal(other.agreed[own].samples, same.agreed[own].samples)


def test_saliency_and_co_occurrence_are_compared_at_the_same_places() -> None:
    subject = model(n_ctx=40)
    table = torch.randn(13, 13, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = reading_of(subject, proxy=Proxy(table))
    (tokens,) = read_sequences(subject, HOW, 0).groups
    queries = HOW.positions(40, 4)
    few = [queries[n] for n in spaced(len(queries), 3)]
    shown = saliency(subject, tokens, tuple(few)).numpy()
    path, v = DirectPath.of(subject), subject.run(tokens, {"v": lambda v, layer: v}).values["v"][1]
    assert isinstance(path, DirectPath)
    for s, h in np.ndindex(4, 2):
        salient, said = [], []
        beta = path.beta(1, v, path.directions(tokens[:, [t + 1 for t in queries]])).numpy()[s, h]
        for place, t in enumerate(queries):
            seen, words = slice(0, t + 1), tokens[s, : t + 1]
            said.append(share_of(beta[place, seen], table[words, tokens[s, t + 1]].numpy()))
            if t in few:
                salient.append(share_of(shown[s, few.index(t), seen], beta[place, seen]))
        assert found.agreed["own_proxy"].samples[s, 1, h] == pytest.approx(np.mean(said))
        assert found.agreed["own_saliency"].samples[s, 1, h] == pytest.approx(np.mean(salient))


# -- what must not matter ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole() -> HeadReading:
    return reading_of(model(), twin=DirectPath.of(model(seed=1)))


def assert_same(found: HeadReading, expected: HeadReading, places: slice = slice(None)) -> None:
    for name, agreed in expected.agreed.items():
        np.testing.assert_allclose(found.agreed[name].samples, agreed.samples[places])
        for null, drawn in agreed.drawn.items():
            np.testing.assert_allclose(found.agreed[name].drawn[null], drawn[:, places])
    np.testing.assert_array_equal(found.right, expected.right[places])
    for name in ("attention", "push"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name)[places], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_batch_size_does_not_matter(whole: HeadReading, batch_size: int) -> None:
    assert_same(reading_of(model(), batch_size=batch_size, twin=DirectPath.of(model(seed=1))), whole)


def test_how_much_is_looked_at_together_does_not_matter(whole: HeadReading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_reading, "ROWS_AT_A_TIME", 1)
    assert_same(reading_of(model(), twin=DirectPath.of(model(seed=1))), whole)


def test_sequences_of_several_lengths_are_as_if_read_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    documents = [rng.integers(13, size=n).tolist() for n in (12, 7, 12, 3)]
    how = HeadHow(tokens=ids_file(tmp_path, documents), n_sequences=4, queries=16, saliency=2)
    found = reading_of(model(), how)
    assert found.attention.shape[0] == 4
    for number, document in enumerate([documents[0], documents[2], documents[1], documents[3]]):
        alone = reading_of(model(), HeadHow(tokens=ids_file(tmp_path, [document]), queries=4, saliency=2))
        for name in ("beta", "own_saliency"):
            np.testing.assert_allclose(found.agreed[name].samples[number], alone.agreed[name].samples[0])
        rows, keys = alone.attention.shape[-2:]
        np.testing.assert_array_equal(found.attention[number, ..., :rows, :keys], alone.attention[0])
        assert np.isnan(found.attention[number, ..., rows:, :]).all()
        assert np.isnan(found.attention[number, ..., keys:]).all()
    one_query = found.agreed["beta"].drawn[OTHER_TARGETS][:, 3]  # of three tokens
    assert np.isnan(one_query).all()
    assert np.isfinite(found.agreed["beta"].nulls[OTHER_TARGETS]).all()


def test_relabelled_heads_are_relabelled_in_the_agreements(whole: HeadReading) -> None:
    subject = model()
    with torch.no_grad():
        for name, weight in subject.module.named_parameters():
            if (name[:2] in ("W_", "b_") and name[2:] in "QKV") or name == "W_O":
                weight.copy_(weight.flip(1))
    found = reading_of(subject)
    np.testing.assert_allclose(found.agreed["beta"].samples, whole.agreed["beta"].samples[..., ::-1])


# -- rows that are kept ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_sequences", "n_queries", "numbers", "expected"),
    [(32, 64, 1024, (32, 15)), (32, 8, 1024, (32, 8)), (16, 64, 100_000, (5, 1)), (4, 8, 600_000, (0, 1))],
)
def test_rows_are_kept_as_long_as_they_fit(
    n_sequences: int, n_queries: int, numbers: int, expected: tuple[int, int]
) -> None:
    followed = Followed.of(n_sequences, n_queries, numbers)
    assert followed == expected
    assert followed.sequences * followed.queries * numbers <= head_reading.FOLLOWED


def test_kept_rows_are_attention_and_push(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_reading, "FOLLOWED", 3 * 2 * 12 * 4 * 2)  # two queries of each sequence
    subject = model()
    found = reading_of(subject, batch_size=3)
    assert found.attention.shape == found.push.shape == (4, 3, 2, 2, 12)
    assert found.attention.dtype == np.float32
    (tokens,) = read_sequences(subject, HOW, 0).groups
    queries = HOW.positions(12, 4)
    kept = [queries[n] for n in spaced(len(queries), 2)]
    values = subject.run(tokens, {site: lambda x, layer: x for site in ("pattern", "v")}).values
    path = DirectPath.of(subject)
    assert isinstance(path, DirectPath)
    beta = path.beta(2, values["v"][2], path.directions(tokens[:, [t + 1 for t in kept]]))
    for place, t in enumerate(kept):
        alpha = values["pattern"][2][:, :, t, : t + 1]
        np.testing.assert_allclose(found.attention[:, 2, :, place, : t + 1], alpha, rtol=1e-5)
        push = attention_push(alpha, beta[:, :, place, : t + 1])
        np.testing.assert_allclose(found.push[:, 2, :, place, : t + 1], push, rtol=1e-4, atol=1e-6)
        assert np.isnan(found.push[:, :, :, place, t + 1 :]).all()
    monkeypatch.setattr(head_reading, "FOLLOWED", 3 * 2 * 12 * 2)  # one query of two sequences
    fewer = reading_of(subject, batch_size=1)
    np.testing.assert_array_equal(fewer.attention, found.attention[:2, :, :, 1:])
    monkeypatch.setattr(head_reading, "FOLLOWED", 3)
    assert reading_of(subject).attention.shape[0] == 0


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_what_is_right_is_the_largest_logit() -> None:
    subject = model()
    found = reading_of(subject)
    (tokens,) = read_sequences(subject, HOW, 0).groups
    queries = list(HOW.positions(12, 4))
    told = subject.logits(tokens).argmax(dim=-1)[:, queries] == tokens[:, [t + 1 for t in queries]]
    np.testing.assert_allclose(found.right, told.double().mean(dim=1))


def test_a_wrapped_model_is_read_as_its_own() -> None:
    """Functions and weights in the place of the model: attention and values are what it was wrapped with."""
    subject = model()
    weights, W_U = subject.weights(), subject.unembedding()
    assert isinstance(W_U, torch.Tensor)
    stacked = lambda site: lambda ids: torch.stack(subject.run(ids, {site: lambda x, layer: x}).values[site])  # noqa: E731
    parts: dict[str, Any] = {site: stacked(site) for site in ("pattern", "resid_pre", "resid_post", "attn_out")}
    parts |= {f"{kind}_{role}": getattr(weights, f"{kind}_{role}") for kind in "Wb" for role in "QKVO"}
    parts |= {"W_U": W_U, "b_U": subject.module.get_parameter("b_U"), "final_norm": subject.final_norm}
    norms = [subject.module.norm("ln1", layer) for layer in range(3)]
    wrapped = from_language_model(subject.logits, d_vocab=13, n_ctx=12, attention_norms=norms, **parts)
    assert no_heads(wrapped) is None
    how = replace(HOW, saliency=0)
    found, expected = reading_of(wrapped, how), reading_of(subject, how)
    assert_same(found, expected)


def test_progress_ends_at_the_end() -> None:
    told: list[tuple[str, float]] = []
    subject = model()
    sequences: Sequences = read_sequences(subject, HOW, 0)
    read_heads(reader_of(subject), sequences, 3, lambda stage, fraction: told.append((stage, fraction)))
    assert told == [("reading tiny", 0.75), ("reading tiny", 1.0)]


def test_models_whose_heads_have_no_beta_say_why() -> None:
    assert no_heads(model()) is None
    wrapped = from_language_model(lambda ids: torch.nn.functional.one_hot(ids, 5).float(), d_vocab=5)
    reasons = {
        "this model's attention is bidirectional": from_module(module_of("bert")),
        "cannot be compared: the model was wrapped without its pattern": wrapped,
        "normalises the residual stream after": from_module(module_of("openai-gpt")),
        "no unembedding": model(d_vocab_out=0),
    }
    for reason, subject in reasons.items():
        refused = no_heads(subject)
        assert isinstance(refused, NotApplicable)
        assert reason in refused.reason
    assert BOS == 0
