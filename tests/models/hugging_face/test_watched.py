"""The watched pass: every site beside what transformers itself hands out, and edits beside what they must do."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from mesascope.data.errors import UsageError
from mesascope.models import taps
from mesascope.models.attention import flash_attention
from mesascope.models.opening.in_memory import from_module
from mesascope.models.subject import NotApplicable, Site, Trace
from torch import Tensor

FAMILIES = ("gpt2", "gpt_neox", "gpt_neox serial", "llama", "qwen3", "gemma2", "bert")
STREAM: tuple[Site, ...] = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post", "final", "final_norm")
EDITED: tuple[Site, ...] = ("embed", "q", "k", "v", "pattern", "z", *STREAM)
WATCHED: tuple[Site, ...] = (*EDITED, "attention")
SCALED = {"resid_pre": lambda x, layer: x * 1.1}
Tiny = Callable[[str], Any]
SubjectOf = Callable[[str], Any]

each_family = pytest.mark.parametrize("family", FAMILIES)


def tokens(length: int = 17) -> Tensor:
    return torch.randint(0, 53, (2, length), generator=torch.Generator().manual_seed(2))


def keep(activation: Any, layer: int) -> Any:
    return activation


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@torch.no_grad()
def reference(module: Any, ids: Tensor) -> Any:
    return module(ids, output_attentions=True, output_hidden_states=True)


@each_family
@pytest.mark.parametrize("length", [1, 4, 17, 60])
def test_patterns_and_states_are_those_of_eager_attention(
    family: str, length: int, tiny: Tiny, subject_of: SubjectOf
) -> None:
    expected = reference(tiny(family), tokens(length))
    sites: tuple[Site, ...] = ("pattern", "attention", "resid_pre", "final_norm")
    values = subject_of(family).run(tokens(length), watch=dict.fromkeys(sites, keep)).values
    for layer, pattern in enumerate(expected.attentions):
        assert difference(values["pattern"][layer], pattern) < 1e-5
        assert difference(values["attention"][layer].pattern(), pattern) < 1e-5
        assert difference(values["resid_pre"][layer], expected.hidden_states[layer]) < 1e-4
    assert difference(values["final_norm"][0], expected.hidden_states[-1]) < 1e-4


@each_family
def test_watching_patterns_changes_nothing(family: str, tiny: Tiny, subject_of: SubjectOf) -> None:
    subject = subject_of(family)
    plain = subject.run(tokens(), logits=True).output
    watched = subject.run(tokens(), watch=dict.fromkeys(("pattern", "attention", "q"), keep), logits=True).output
    assert difference(plain, watched) < 1e-4
    assert difference(plain, reference(tiny(family), tokens()).logits) < 1e-4


@each_family
def test_the_stream_is_the_sum_of_what_is_added(family: str, subject_of: SubjectOf) -> None:
    values = subject_of(family).run(tokens(), watch=dict.fromkeys(STREAM, keep)).values
    for layer in range(3):
        if family != "bert":  # a norm follows each sum
            total = values["resid_pre"][layer] + values["attn_out"][layer] + values["mlp_out"][layer]
            assert difference(total, values["resid_post"][layer]) < 1e-4
        if family == "gpt_neox":
            assert values["resid_mid"] == []  # attention and MLP side by side: there is nothing between them
        elif family != "bert":
            middle = values["resid_pre"][layer] + values["attn_out"][layer]
            assert difference(middle, values["resid_mid"][layer]) < 1e-4
    assert difference(values["resid_post"][1], values["resid_pre"][2]) == 0
    assert difference(values["resid_post"][2], values["final"][0]) == 0


@pytest.fixture(scope="module")
def whole_pass(subject_of: SubjectOf) -> Callable[[str, Site], Trace]:
    """A pass of a family that watches everything, or pattern and q, which a pattern is formed for."""

    @cache
    def run(family: str, with_pattern: bool) -> Trace:
        sites = ("pattern", "q") if with_pattern else tuple(site for site in WATCHED if site != "pattern")
        return subject_of(family).run(tokens(), {site: shown(site) for site in sites}, SCALED)

    return lambda family, site: run(family, site == "pattern")


def shown(site: Site) -> Callable[[Any, int], Any]:
    return lambda x, layer: x.log_normaliser if site == "attention" else x


@each_family
@pytest.mark.parametrize("site", WATCHED)
def test_what_is_watched_alone_is_what_a_whole_pass_shows(
    family: str, site: Site, subject_of: SubjectOf, whole_pass: Callable[[str, Site], Trace]
) -> None:
    subject, whole, watch = subject_of(family), whole_pass(family, site), {site: shown(site), "q": keep}
    alone = subject.observe(tokens(), watch, SCALED)
    assert set(alone) == set(watch)
    for name, values in alone.items():
        assert len(values) == len(whole.values[name])
        assert all(torch.equal(one, other) for one, other in zip(values, whole.values[name], strict=True))
    assert torch.equal(subject.run(tokens(), watch, SCALED).output, whole.output), "it leaves nothing behind"


def test_a_pass_ends_when_all_was_seen(tiny: Tiny) -> None:
    subject, run = from_module(tiny("llama")), []
    for block in subject.blocks:
        block.part(block.anatomy.mlp_out).register_forward_hook(lambda *_: run.append("mlp"))
    subject.observe(tokens(), {"attention": keep, "resid_pre": keep})
    assert len(run) == 2  # and not the last layer's
    subject.observe(tokens(), {"final_norm": keep})
    assert len(run) == 5


@pytest.fixture(scope="module")
def plain_logits(subject_of: SubjectOf) -> Callable[[str], Tensor]:
    """The logits of a family without any edit."""
    return cache(lambda family: subject_of(family).logits(tokens()))


@each_family
@pytest.mark.parametrize("site", EDITED)
def test_an_edit_that_gives_back_what_it_got_changes_nothing(
    family: str, site: Site, subject_of: SubjectOf, plain_logits: Callable[[str], Tensor]
) -> None:
    subject, plain = subject_of(family), plain_logits(family)
    same = subject.run(tokens(), edit={site: lambda x, layer: x.clone()}, logits=True).output
    assert difference(plain, same) < 1e-4


@each_family
@pytest.mark.parametrize("site", EDITED)
def test_an_edit_reaches_the_output(
    family: str, site: Site, subject_of: SubjectOf, plain_logits: Callable[[str], Tensor]
) -> None:
    if (family, site) == ("gpt_neox", "resid_mid"):
        return
    subject = subject_of(family)
    noise = torch.Generator().manual_seed(3)
    # not a constant: what is the same everywhere is what layer norms take out
    edited = subject.run(
        tokens(), edit={site: lambda x, layer: x * torch.rand(x.shape, generator=noise)}, logits=True
    ).output
    assert difference(plain_logits(family), edited) > 1e-2


@each_family
def test_an_edited_head_is_one_without_output_weights(family: str, tiny: Tiny) -> None:
    module = tiny(family)
    subject = from_module(module)

    def ablate(z: Tensor, layer: int) -> Tensor:
        z = z.clone()
        z[:, 2] *= layer != 1
        return z

    ablated = subject.run(tokens(), edit={"z": ablate}, logits=True).output
    with torch.no_grad():
        subject.blocks[1].output()[0][2].zero_()  # the same storage
    assert difference(ablated, reference(module, tokens()).logits) < 1e-4


@each_family
def test_an_edited_value_is_seen_by_who_watches_later(family: str, subject_of: SubjectOf) -> None:
    subject = subject_of(family)
    trace = subject.run(tokens(), watch={"v": keep, "z": keep}, edit={"v": lambda v, layer: torch.ones_like(v)})
    for layer in range(3):
        assert difference(trace.values["v"][layer], torch.ones(1)) == 0
        assert difference(trace.values["z"][layer], torch.ones(1)) < 1e-5  # averages of ones


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_activations_are_dropped_as_the_pass_goes_on(family: str, subject_of: SubjectOf) -> None:
    subject = subject_of(family)
    alive: list[weakref.ref[Tensor]] = []
    most = [0]

    def count(activation: Tensor, layer: int) -> float:
        alive.append(weakref.ref(activation))
        most[0] = max(most[0], sum(ref() is not None for ref in alive))
        return float(activation.norm())

    trace = subject.run(tokens(), watch={"pattern": count})
    gc.collect()
    assert most[0] == 1
    assert len(trace.values["pattern"]) == 3
    assert not any(ref() is not None for ref in alive)


def test_no_pattern_is_formed_unless_it_is_watched(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    import mesascope.models.hugging_face.watched as watched

    def refuse(*args: Any, **kwargs: Any) -> Tensor:
        raise AssertionError("scores of the whole context")

    subject = from_module(tiny("llama"))  # the opening check forms one
    monkeypatch.setattr(watched, "masked_scores", refuse)
    sites: tuple[Site, ...] = ("q", "k", "v", "z", "attention", "resid_post")
    subject.run(tokens(), watch=dict.fromkeys(sites, keep))
    with pytest.raises(AssertionError, match="whole context"):
        subject.run(tokens(), watch={"pattern": keep})


@each_family
def test_the_normaliser_comes_from_one_call_of_the_kernel_or_from_blocks(
    family: str, subject_of: SubjectOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []

    def count(*args: Any) -> Any:
        found = flash_attention(*args)
        calls.append(found is not None)
        return found

    subject = subject_of(family)
    plain = subject.run(tokens()).output
    monkeypatch.setattr(taps, "flash_attention", count)
    by_kernel = subject.run(tokens(), watch={"attention": keep})
    served = [False] * 3 if family == "gemma2" else [True] * 3  # capped scores
    assert [one for one in calls if one] == [one for one in served if one]
    assert torch.equal(by_kernel.output, plain)
    monkeypatch.setattr(taps, "flash_attention", lambda *args: None)
    by_blocks = subject.run(tokens(), watch={"attention": keep})
    assert torch.equal(by_blocks.output, plain)
    for one, other in zip(by_kernel.values["attention"], by_blocks.values["attention"], strict=True):
        torch.testing.assert_close(one.log_normaliser, other.log_normaliser, rtol=0, atol=5e-6)
        assert difference(one.pattern(), other.pattern()) < 1e-6


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_a_mask_that_hides_other_keys_is_refused(dtype: torch.dtype, tiny: Tiny) -> None:
    """Blocks of eight, which see nothing before them, are no window."""
    subject = from_module(tiny("llama"))
    place = torch.arange(17)
    seen = (place[:, None] >= place) & (place[:, None] // 8 == place // 8)
    mask = (seen if dtype == torch.bool else torch.where(seen, 0.0, -torch.inf))[None, None]
    for block in subject.blocks:
        attention = block.part(block.anatomy.attention)
        attention.register_forward_pre_hook(
            lambda module, args, kwargs: (args, {**kwargs, "attention_mask": mask}), with_kwargs=True
        )
    subject.run(tokens(), watch={"z": keep})
    for site in ("attention", "pattern"):
        with pytest.raises(UsageError, match="its mask is not that of causal attention; watch z"):
            subject.run(tokens(), watch={site: keep})
    place = torch.arange(17)
    mask[...] = (
        (place[:, None] >= place) if dtype == torch.bool else torch.where(place[:, None] >= place, 0, -torch.inf)
    )
    subject.run(tokens(), watch={"attention": keep, "pattern": keep})
    mask[...] = dtype == torch.bool  # later keys are seen
    with pytest.raises(UsageError, match="its mask is not that of"):
        subject.run(tokens(), watch={"attention": keep})


def test_windows_and_caps_are_handed_on(subject_of: SubjectOf) -> None:
    scored = subject_of("gemma2").run(tokens(), watch={"attention": keep}).values["attention"]
    assert [one.window for one in scored] == [5, None, 5]
    assert {one.soft_cap for one in scored} == {5.0}
    assert scored[0].q.shape == (2, 4, 17, 16)
    assert scored[0].k.shape == (2, 2, 17, 16)


def test_capped_attention_by_blocks_is_that_of_the_whole(tiny: Tiny) -> None:
    module = tiny("gemma2")
    module.config.max_position_embeddings = 512
    ids = tokens(300)
    assert difference(from_module(module).logits(ids), reference(module, ids).logits) < 1e-4


def test_edits_that_cannot_be(tiny: Tiny) -> None:
    subject = from_module(tiny("llama"))
    with pytest.raises(UsageError, match="can be watched, not edited"):
        subject.run(tokens(), edit={"attention": lambda x, layer: x})
    with pytest.raises(UsageError, match="expected"):
        subject.run(tokens(), edit={"q": lambda x, layer: x[..., :1]})


def test_the_module_answers_to_its_subject_alone(tiny: Tiny) -> None:
    subject = from_module(tiny("llama"))
    with pytest.raises(RuntimeError, match="belongs to a subject"):
        subject.module(tokens())


def test_weights_and_passes_agree_on_what_may_be_folded(tiny: Tiny) -> None:
    assert isinstance(from_module(tiny("bert")).weights(folded=True), NotApplicable)
    folded = from_module(tiny("gemma2")).weights(folded=True)
    assert not isinstance(folded, NotApplicable)
    assert folded.folded
