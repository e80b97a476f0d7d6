"""The sample of tokens that the inner problem is solved for: where it is drawn, what it changes, what it costs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import transformers
from mesascope.data.corpus import windows
from mesascope.models import NotApplicable, from_module
from mesascope.models.constructed.norms import planted_norms
from mesascope.models.hugging_face.subject import HuggingFaceModel
from mesascope.probes.measure import Measures
from mesascope.probes.token_norms import inner_watcher
from mesascope.probes.token_norms.probe import TokenNorms
from mesascope.probes.token_norms.read_out import ReadOut
from mesascope.probes.token_norms.sample import TokenDraw, target_numbers
from mesascope.probes.token_norms.text import Text

SIZES = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
SAMPLED = ("inner_loss", "step_gain", "step_cosine")


def gpt2(vocab_size: int = 50) -> HuggingFaceModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=vocab_size, **SIZES))
        for parameter in module.parameters():
            parameter.data = 4 * parameter.data if parameter.ndim > 1 else parameter.data
    return from_module(module)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Sixty documents, 3,000 tokens."""
    path = tmp_path_factory.mktemp("inner") / "tokens.npy"
    np.save(path, np.random.default_rng(0).integers(1, 50, (60, 50)))
    return str(path)


def measured(text: str) -> Measures:
    return Measures(TokenNorms(tokens=text, untrained=0, parts="inner").measure(gpt2(), 0, 8).measures)


def test_a_third_is_looked_at_and_nothing_else_changes(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled = measured(text)
    monkeypatch.setattr(inner_watcher, "SHARE", 1)
    whole = measured(text)
    assert sampled["inner_loss"].message == "on 1,020 of 2,940 tokens, drawn over all documents"
    assert whole["inner_loss"].message == ""
    for name in SAMPLED:
        some, every = (measures[name].sel(position="later") for measures in (sampled, whole))
        low, high = some.interval
        assert ((low <= every.values) & (every.values <= high)).mean() >= 0.75, name
        widths = (high - low) / (every.interval[1] - every.interval[0])
        assert widths.max() < 2, name
        np.testing.assert_array_equal(
            sampled[name].sel(position="first").values, whole[name].sel(position="first").values
        )
    for name in set(whole) - {*SAMPLED, "radial_push", "step_first_order"}:
        np.testing.assert_array_equal(sampled[name].values, whole[name].values, err_msg=name)


@pytest.mark.parametrize("length", [200, 3_000, 60_000])
def test_at_least_a_quarter_is_looked_at_however_long_the_text(length: int) -> None:
    """A sample of n in N independent tokens has intervals sqrt(N / n) times as wide, at both places."""
    text = Text(windows([np.arange(length) % 50], 10, 50, None), np.zeros(50))
    for all_of_them, most in zip(target_numbers(text), inner_watcher.looked_at(text), strict=True):
        assert 4 * most >= all_of_them
        assert most >= 512


def test_tokens_are_drawn_over_all_documents_and_positions() -> None:
    """Never the last of a window, which none follows; every other one as likely as any; the same whatever the batch."""
    corpus = windows([np.arange(1, n + 1) for n in (30, 9, 14, 1)], 10, 50, None)
    text = Text(corpus, np.zeros(50))
    first, later = target_numbers(text)
    lengths = [len(row) for some in corpus.batches(1) for row in some.tokens]
    assert (first, later) == (sum(n > 1 for n in lengths), sum(max(n - 2, 0) for n in lengths))
    seen: Counter[tuple[int, int]] = Counter()
    for seed in range(400):
        for batch in (1, 3):
            draw, found, begun = TokenDraw(text, (2, 12), seed, followed=True), set(), 0
            for some in corpus.batches(batch):
                at = draw.of_next_batch(*some.tokens.shape)
                found |= {(begun + int(w), int(p)) for w, p in zip(at.window, at.position, strict=True)}
                assert (at.position < some.tokens.shape[1] - 1).all()
                begun += len(some.tokens)
            assert sum(position > 0 for _, position in found) == 12
            assert sum(position == 0 for _, position in found) == 2
            if batch == 1:
                by_one = found
        assert found == by_one
        seen.update(found)
    counts = [n for (_, position), n in seen.items() if position > 0]
    assert len(counts) == later
    expected = 400 * 12 / later
    assert max(abs(n - expected) for n in counts) < 5 * np.sqrt(expected)


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "llama"])
def test_the_read_out_of_a_model_is_its_own(kind: str) -> None:
    """Logits, and the way back, beside autograd through the model's own head; Gemma 2 caps its logits."""
    sizes = {"vocab_size": 53, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    if kind == "gpt2":
        subject = gpt2()
    elif kind == "gemma2":
        subject = from_module(
            transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**sizes, **heads, final_logit_softcapping=3.0))
        )
    else:
        subject = from_module(transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **heads)))
    read_out = ReadOut.of(subject)
    assert isinstance(read_out, ReadOut)
    assert (read_out.cap is None) == (kind != "gemma2")
    assert read_out.cap is None or read_out.cap == pytest.approx(3, rel=1e-5)
    normed = (20 * torch.randn(5, 32, generator=torch.Generator().manual_seed(1))).requires_grad_()
    logits = subject.unembed(normed)
    p, targets = logits.detach().softmax(dim=-1), torch.tensor([3, 1, 4, 1, 5])
    expected = torch.autograd.grad((p * logits).sum(), normed, retain_graph=True)[0]
    chosen = torch.autograd.grad(logits.gather(-1, targets[:, None]).sum(), normed)[0]
    torch.testing.assert_close(read_out.expected_rows(p, logits.detach()), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(read_out.rows(targets, logits.detach()), chosen, rtol=1e-4, atol=1e-6)


def test_logits_of_another_form_have_no_inner_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, right = gpt2(), HuggingFaceModel.unembed
    monkeypatch.setattr(HuggingFaceModel, "unembed", lambda self, state: right(self, state).abs().sqrt())
    found = ReadOut.of(subject)
    assert isinstance(found, NotApplicable)
    assert "not a product of its output matrix" in found.reason


def test_products_with_the_vocabulary_are_counted(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two for each token and place, one there and one back, but for the last state, which nothing is written to; models
    that are compared look at the last block alone, and at few tokens.
    """
    there: list[int] = []
    back: list[int] = []
    of_normed, expected_rows = ReadOut.of_normed, ReadOut.expected_rows
    monkeypatch.setattr(ReadOut, "of_normed", lambda self, x: there.append(len(x)) or of_normed(self, x))
    monkeypatch.setattr(ReadOut, "expected_rows", lambda self, p, z: back.append(len(p)) or expected_rows(self, p, z))
    TokenNorms(tokens=text, untrained=2, parts="inner").measure(gpt2(), 0, 8)
    own = 1_020
    compared = sum(back) - 3 * own  # states before each of three blocks
    told = 4 * 2  # by two states each of the four passes learns how its logits are made
    assert sum(there) == sum(back) + own + told
    assert compared % 3 == 0  # the model itself and two untrained ones, on the same tokens
    assert 0 < compared // 3 <= 64 + 3  # after position 0, and at it in three windows


def test_a_planted_write_is_found_in_the_sample(text: str) -> None:
    found = Measures(TokenNorms(tokens=text, untrained=0).measure(planted_norms(), 0, 8).measures)
    assert found["step_cosine"].status == "ok"
    assert found["step_cosine"].nulls["writes of other tokens"].shape[0] == inner_watcher.OTHER_WRITES


def test_no_number_depends_on_the_batch(text: str) -> None:
    """Neither samples nor what states are standardised with: both are counted in tokens."""
    one, other = (
        TokenNorms(tokens=text, untrained=0).measure(planted_norms(), 0, size).measures for size in (3, 8)
    )  # fmt: skip
    assert set(one) == set(other)
    for name, measure in one.items():
        np.testing.assert_allclose(measure.values, other[name].values, rtol=1e-5, atol=1e-7, err_msg=name)
