"""A wrapped language model measures as the model itself does, and shows only what was given."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import TaskError, UsageError
from mesascope.models import AttentionOnlyModel, AttentionScores, NotApplicable
from mesascope.models.subject import Site
from mesascope.models.taps import OtherAttention
from mesascope.models.wrapped_language_model import from_language_model
from mesascope.models.wrapped_parts import PatternScores
from mesascope.models.wrapped_subject import WrappedLanguageModel
from mesascope.probes import InductionHeads, SoftmaxRegressionProbe, TokenNorms
from mesascope.probes.probe import Probe
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor, nn

from .conftest import tiny_model
from .wrapping import D_VOCAB, N_CTX, OF_WEIGHTS, SITES, TOKENS, itself, of_gpt2, of_llama, parts_of, wrapped

DOCS = Path(__file__).resolve().parents[2] / "docs" / "language-models.md"


@pytest.fixture(scope="module")
def model(random_language_model: Callable[..., AttentionOnlyModel]) -> AttentionOnlyModel:
    return random_language_model(
        d_vocab=D_VOCAB, n_ctx=N_CTX, d_mlp=10, positions="rotary", norm="rms", attention_scale=1.3
    )


@pytest.fixture(scope="module")
def parts(model: AttentionOnlyModel) -> dict[str, Any]:
    return parts_of(model)


@pytest.fixture(scope="module")
def some_probes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Probe]:
    file = tmp_path_factory.mktemp("ids") / "ids.npy"
    np.save(file, np.random.default_rng(0).integers(1, D_VOCAB, 300))
    chosen = (
        TokenNorms(tokens=str(file), context=16, untrained=0),
        InductionHeads(periods=(6,), n_sequences=14, ablate="nothing"),
        SoftmaxRegressionProbe(tokens=str(file), n_sequences=2, context=12, untrained=0),
    )
    return {probe.name: probe for probe in chosen}


# the same numbers as the model itself


def assert_same_measures(probe: Probe, found: Any, expected: Any, rtol: float) -> None:
    assert probe.applies(found) is None
    own, others = (probe.measure(subject, 0, 8).measures for subject in (expected, found))
    assert own.keys() == others.keys()
    assert sum(measure.status == "ok" for measure in own.values()) > 20
    for name, measure in own.items():
        other = others[name]
        assert (measure.status, measure.axes) == (other.status, other.axes), name
        of_ranks = "spearman" in name  # rounding decides between equal norms
        close: Any = {"rtol": rtol, "atol": 0.01 if of_ranks else rtol, "err_msg": name}
        np.testing.assert_allclose(other.values, measure.values, **close)
        for null, samples in measure.nulls.items():
            np.testing.assert_allclose(other.nulls[null], samples, **close)


@pytest.mark.parametrize("name", ["token-norms", "induction-heads", "softmax-regression"])
def test_every_probe_measures_the_same(
    name: str, model: AttentionOnlyModel, parts: dict[str, Any], some_probes: dict[str, Probe]
) -> None:
    assert_same_measures(some_probes[name], wrapped(model, parts, *parts), model, 1e-6)


@pytest.mark.parametrize("name", ["token-norms", "induction-heads", "softmax-regression"])
def test_weights_alone_give_what_q_k_v_and_z_give(
    name: str, model: AttentionOnlyModel, parts: dict[str, Any], some_probes: dict[str, Probe]
) -> None:
    subject = wrapped(model, parts, *(set(parts) - {"q", "k", "v", "z"}))
    assert_same_measures(some_probes[name], subject, model, 1e-6)


@pytest.mark.parametrize("name", ["token-norms", "induction-heads", "softmax-regression"])
@pytest.mark.parametrize(("family", "parts_from"), [("gpt2", of_gpt2), ("llama", of_llama)])
def test_a_transformers_model_read_by_hooks_measures_as_the_opened_one(
    family: str,
    parts_from: Callable[[Any], dict[str, Any]],
    name: str,
    subject_of: Callable[[str], Any],
    some_probes: dict[str, Probe],
) -> None:
    module, opened = tiny_model(family), subject_of(family)
    subject = from_language_model(
        lambda ids: module(ids).logits, d_vocab=53, n_ctx=64, bos=opened.bos, **parts_from(module)
    )
    assert (subject.shape.n_kv_heads, subject.shape.d_head) == (opened.shape.n_kv_heads, opened.shape.d_head)
    assert_same_measures(some_probes[name], subject, opened, 5e-4)


# what a probe says of what is not shown


def test_heads_that_cannot_be_ablated_are_measured_all_the_same(
    model: AttentionOnlyModel, parts: dict[str, Any]
) -> None:
    """By the default settings; without z and the embedding, too, which only ablations and equal rows need."""
    probe = InductionHeads(periods=(6,), n_sequences=14)
    measures = probe.measure(wrapped(model, parts, "pattern"), 0, 8).measures
    assert measures["prefix_matching_score"].has_number
    assert measures["ablation"].status == "not applicable"
    assert "cannot change what happens inside it" in measures["ablation"].message
    assert wrapped(model, parts, "pattern").no_edits() is not None
    assert model.no_edits() is None


def test_drains_of_what_is_not_shown_say_so(
    model: AttentionOnlyModel, parts: dict[str, Any], some_probes: dict[str, Probe]
) -> None:
    shown = ("resid_pre", "resid_post", "W_E", "pattern")
    measures = some_probes["token-norms"].measure(wrapped(model, parts, *shown), 0, 8).measures
    for name, part in (("value_drain", "v"), ("key_drain", "k")):
        assert measures[name].status == "not applicable"
        assert f"without its {part}" in measures[name].message


# which part gives which measures


def table() -> list[tuple[tuple[str, ...], tuple[str, ...], str, tuple[str, ...]]]:
    """Rows of the page: what to give, beside what, for which probe, and the measures that there are then."""
    section = DOCS.read_text(encoding="utf-8").split("## Your own model\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    names = re.compile(r"(?<!or )`(\w+)`").findall  # what stands in brackets would do as well
    return [
        (tuple(names(give)), tuple(names(beside)), probe, tuple(names(measures)))
        for give, beside, probe, measures in (row for row in rows if len(row) == 4)
    ]


def with_numbers(probe: Probe, subject: WrappedLanguageModel) -> set[str]:
    if probe.applies(subject) is not None:
        return set()
    return {name for name, measure in probe.measure(subject, 0, 8).measures.items() if measure.status == "ok"}


@pytest.mark.parametrize(("give", "beside", "name", "measures"), table())
def test_the_table_says_what_each_part_gives(
    give: tuple[str, ...],
    beside: tuple[str, ...],
    name: str,
    measures: tuple[str, ...],
    model: AttentionOnlyModel,
    parts: dict[str, Any],
    some_probes: dict[str, Probe],
) -> None:
    probe = some_probes[name]
    assert set(measures) <= with_numbers(probe, wrapped(model, parts, *give, *beside))
    assert not set(measures) & with_numbers(probe, wrapped(model, parts, *beside))


def test_the_table_speaks_of_every_probe_of_language_models() -> None:
    assert len(table()) == 12
    assert {probe for _, _, probe, _ in table()} == {"token-norms", "induction-heads", "softmax-regression"}


def test_logits_alone_show_no_site_and_no_weights(
    model: AttentionOnlyModel, parts: dict[str, Any], some_probes: dict[str, Probe]
) -> None:
    subject = wrapped(model, parts)
    assert set(subject.not_shown) >= {*SITES, "embed", "attention", "final", "final_norm"}
    assert "give it with from_language_model(…, pattern=…)" in subject.not_shown["attention"]
    for absent in (subject.weights(), subject.weights(folded=True), subject.unembedding(), subject.untrained(0)):
        assert isinstance(absent, NotApplicable)
    with pytest.raises(UsageError, match=r"no embedding: .* W_E=…"):
        subject.embedding()
    assert "W_E=…" in subject.no_embedded_states().reason
    assert wrapped(model, parts, "W_E").no_embedded_states() is None
    assert subject.shape.n_layers == 0
    assert not any(with_numbers(probe, subject) for probe in some_probes.values())
    assert subject.no_token_logits() is None
    torch.testing.assert_close(subject.logits(TOKENS), model.logits(TOKENS), rtol=0, atol=0)
    states = subject.run(TOKENS).output
    torch.testing.assert_close(subject.unembed(states), model.logits(TOKENS), rtol=0, atol=0)
    assert subject.run(TOKENS, {"resid_pre": itself}).values == {"resid_pre": []}


def test_a_tokenizer_reads_text_and_is_recorded(model: AttentionOnlyModel) -> None:
    words = Tokenizer(WordLevel({"<unk>": 0, "the": 1, "cat": 2}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    subject = from_language_model(model.module, d_vocab=D_VOCAB, tokenizer=words)
    assert subject.encode("the cat") == [1, 2]
    assert len(subject.source.facts["tokenizer_sha256"]) == 64
    assert subject.packages == ("tokenizers",)
    with pytest.raises(UsageError, match="a str; expected a tokenizer"):
        from_language_model(model.module, d_vocab=D_VOCAB, tokenizer="gpt2")
    with pytest.raises(TaskError, match="came without a tokenizer"):
        from_language_model(model.module, d_vocab=D_VOCAB).encode("the cat")


def test_heads_and_sequences_that_do_not_apply_are_said_in_words(
    model: AttentionOnlyModel, parts: dict[str, Any], some_probes: dict[str, Probe]
) -> None:
    subject = wrapped(model, parts, "resid_pre", "resid_post", "W_E")
    for name in ("induction-heads", "softmax-regression"):
        assert "wrapped without its pattern; give it with" in some_probes[name].applies(subject).reason
    with pytest.raises(TaskError, match="reads at most 64"):
        subject.run(torch.zeros(1, N_CTX + 1, dtype=torch.int64))


# what is shown


@pytest.mark.parametrize("derived", [(), ("q", "k", "v", "z")])
def test_sites_come_in_order_and_are_the_models_own(
    derived: tuple[str, ...], model: AttentionOnlyModel, parts: dict[str, Any]
) -> None:
    subject = wrapped(model, parts, *(set(parts) - set(derived)))
    assert subject.not_shown == {}
    order: dict[Any, list[tuple[str, int]]] = {subject: [], model: []}
    sites: tuple[Site, ...] = ("embed", *SITES, "attention", "final", "final_norm")
    found = {}
    for one, calls in order.items():
        watch: Any = {
            site: lambda x, layer, site=site, calls=calls: (calls.append((site, layer)), x)[1] for site in sites
        }
        found[one] = one.run(TOKENS, watch, logits=True)
    assert order[subject] == order[model]
    torch.testing.assert_close(found[subject].output, found[model].output)
    for site in sites:
        for own, other in zip(found[model].values[site], found[subject].values[site], strict=True):
            if site == "attention":
                own, other = own.pattern(), other.pattern()
            torch.testing.assert_close(other, own, msg=site)


def test_each_function_is_called_once_a_pass_and_only_if_wanted(
    model: AttentionOnlyModel, parts: dict[str, Any]
) -> None:
    calls: list[str] = []

    def counting(name: str) -> Callable[[Tensor], Tensor]:
        return lambda ids: (calls.append(name), parts[name](ids))[1]

    names = ("resid_pre", "resid_post", "pattern", "v")
    subject = wrapped(model, parts, **{name: counting(name) for name in names})
    calls.clear()
    subject.observe(TOKENS, {"pattern": itself, "z": itself})
    assert sorted(calls) == ["pattern", "v"]


def test_a_pattern_alone_is_scored_as_q_and_k_are(model: AttentionOnlyModel, parts: dict[str, Any]) -> None:
    (_, scores), (_, own) = (
        one.observe(TOKENS, {"attention": itself})["attention"] for one in (wrapped(model, parts, "pattern"), model)
    )
    assert isinstance(scores, PatternScores)
    assert_scored_alike(scores, own)
    assert scores.q.isnan().all()
    assert scores.k.isnan().all()
    for ask in (scores.at_offset, scores.to_key):
        with pytest.raises(TaskError, match="expected 0 to 8 for 9 tokens"):
            ask(9)


@pytest.mark.parametrize("causal", [True, False])
def test_a_long_pattern_comes_in_the_same_blocks(causal: bool) -> None:
    q, k = torch.randn(2, 1, 3, 200, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    own = AttentionScores.of(q, k, causal=causal)
    assert_scored_alike(PatternScores.of_pattern(own.pattern(), causal), own)


def assert_scored_alike(found: AttentionScores, own: AttentionScores) -> None:
    for read in (
        lambda one: one.pattern(),
        lambda one: one.at_offset(3),
        lambda one: one.to_key(2),
        lambda one: one.scores().softmax(dim=-1),
    ):
        torch.testing.assert_close(read(found), read(own))
    for (first, block), (own_first, own_block) in zip(found.blocks(), own.blocks(), strict=True):
        assert first == own_first
        torch.testing.assert_close(block, own_block)


@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
def test_weights_are_folded_as_the_models_own(
    norm: str, random_language_model: Callable[..., AttentionOnlyModel]
) -> None:
    model = random_language_model(norm=norm)
    subject = from_language_model(model.module, d_vocab=11, n_ctx=7, **parts_of(model))
    state = model.observe(TOKENS[:, :7] % 11, {"resid_post": itself})["resid_post"][0]
    for folded in (False, True):
        own, found = (one.weights(folded) for one in (model, subject))
        for name in OF_WEIGHTS:
            torch.testing.assert_close(getattr(found, name), getattr(own, name))
        for layer in range(2):
            expected = model.attention_input(state, layer, folded)
            torch.testing.assert_close(subject.attention_input(state, layer, folded), expected)


def test_the_last_state_is_shown_and_what_a_norm_makes_of_it_only_beside_w_u(
    model: AttentionOnlyModel, parts: dict[str, Any]
) -> None:
    hidden = wrapped(model, parts, "resid_pre", "resid_post").not_shown
    assert "final" not in hidden
    assert "W_U=…" in hidden["final_norm"]
    assert "final_norm" not in wrapped(model, parts, "resid_pre", "resid_post", "W_U").not_shown


def test_layers_below_a_beginning_are_not_watched(model: AttentionOnlyModel, parts: dict[str, Any]) -> None:
    subject = wrapped(model, parts, *parts)
    begun = subject.halfway(TOKENS, 1)
    trace = subject.run(TOKENS, {"resid_pre": lambda x, layer: layer, "embed": itself}, logits=True, begun=begun)
    assert trace.values == {"resid_pre": [1], "embed": []}
    torch.testing.assert_close(trace.output, model.logits(TOKENS))


def test_edits_are_refused_and_so_is_other_attention_without_weights(
    model: AttentionOnlyModel, parts: dict[str, Any]
) -> None:
    subject = wrapped(model, parts, "pattern", "v", "resid_pre", "resid_post")
    for edited in (subject.run, subject.observe):
        with pytest.raises(UsageError, match="z cannot be edited: mesascope calls a wrapped model"):
            edited(TOKENS, {}, edit={"z": itself})
    other = OtherAttention((itself, itself), {"attention": itself})
    with pytest.raises(UsageError, match=r"other attention cannot be computed: .* without its attention weights"):
        subject.run(TOKENS, others=[other])


def test_a_module_is_told_by_its_weights_and_its_mode_and_gradients_stay(
    model: AttentionOnlyModel, parts: dict[str, Any]
) -> None:
    subject, of_function = (
        from_language_model(function, d_vocab=D_VOCAB, bos=3) for function in (model.module, model.module.forward)
    )
    assert subject.source.weights_sha256 is not None
    assert of_function.source.weights_sha256 is None
    assert any("plain function" in note for note in of_function.source.notes)
    assert (subject.bos, subject.dtype, subject.shape.n_ctx) == (3, torch.float64, None)
    shown = [wrapped(model, parts, "pattern", "W_E", W_E=W_E).source for W_E in (parts["W_E"], parts["W_E"] + 1)]
    assert shown[0].facts["parts"] == ["W_E", "pattern"]
    assert shown[0].facts["parts_sha256"] != shown[1].facts["parts_sha256"]
    assert "no digest of the functions that gave pattern" in shown[0].notes[-1]
    module = nn.Sequential(nn.Embedding(D_VOCAB, 5), nn.Linear(5, D_VOCAB)).train()
    random = torch.random.get_rng_state()
    wrapped_module = from_language_model(module, d_vocab=D_VOCAB, W_E=module[0].weight)
    assert module.training
    assert module[0].weight.requires_grad
    assert not wrapped_module.embedding().requires_grad
    assert torch.equal(torch.random.get_rng_state(), random)
