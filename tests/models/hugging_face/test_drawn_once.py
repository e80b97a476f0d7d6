"""Initial weights that are drawn once: by transformers' laws, all of them, and no number more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from mesascope.models import from_module
from mesascope.models.hugging_face.drawn_once import DrawnOnce
from scipy import stats

FAMILIES = ("gpt2", "gpt_neox", "llama", "gemma2", "bert", "modernbert", "gpt_oss")


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Tensors that torch fills with normal numbers."""
    found: list[torch.Tensor] = []
    normal = torch.Tensor.normal_

    def fill(self: torch.Tensor, *args: Any, **keywords: Any) -> torch.Tensor:
        if torch.overrides._get_current_function_mode() is None:  # in a mode it only asks
            found.append(self)
        return normal(self, *args, **keywords)

    monkeypatch.setattr(torch.Tensor, "normal_", fill)
    return found


# -- what waits and what does not --------------------------------------------------------------------------------------


def test_the_last_law_is_drawn_by() -> None:
    x = torch.zeros(40_000)
    with DrawnOnce() as waiting:
        torch.nn.init.normal_(x, 5.0, 1.0)
        x.normal_(-2.0, 0.5)
    assert (x.numpy() == 0).all()
    waiting.draw([x])
    assert float(x.mean()) == pytest.approx(-2, abs=0.02)
    assert float(x.std()) == pytest.approx(0.5, rel=0.02)
    before = x.clone()
    waiting.draw([x])
    assert torch.equal(x, before)


def test_whoever_looks_sees_numbers() -> None:
    x = torch.zeros(30, 40)
    with DrawnOnce() as waiting:
        x.normal_()
        x[3].zero_()  # as of a token that fills texts up
        twice = torch.stack([x, x])
    assert (x[3] == 0).all()
    assert (x[[0, 1, 2, 4]] != 0).all()
    assert torch.equal(twice[1], x)
    before = x.clone()
    waiting.draw([x])
    assert torch.equal(x, before)


def test_parts_of_a_tensor_and_other_peoples_generators_do_not_wait() -> None:
    x, y = torch.zeros(30, 40), torch.zeros(30)
    with DrawnOnce():
        x[:10].normal_()
        y.normal_(generator=torch.Generator().manual_seed(1))
    assert (x[:10].numpy() != 0).all()
    assert (x[10:].numpy() == 0).all()
    assert torch.equal(y, torch.zeros(30).normal_(generator=torch.Generator().manual_seed(1)))


def test_what_is_not_asked_for_is_not_drawn() -> None:
    x, y = torch.zeros(5), torch.zeros(5)
    with DrawnOnce() as waiting:
        x.normal_()
        y.normal_()
    waiting.draw([y])
    assert (x.numpy() == 0).all()
    assert (y.numpy() != 0).all()


# -- models ------------------------------------------------------------------------------------------------------------


def test_no_number_is_drawn_in_vain(tiny: Callable[..., Any], drawn: list[torch.Tensor]) -> None:
    """GPT-2: a tied unembedding, and output matrices whose spread is set last."""
    module = tiny("gpt2")
    assert module.lm_head.weight is module.transformer.wte.weight
    subject = from_module(module)
    drawn.clear()
    found = subject.untrained(0).module
    matrices = [parameter for parameter in found.parameters() if parameter.ndim > 1]
    assert sorted(x.data_ptr() for x in drawn) == sorted(x.data_ptr() for x in matrices)


@pytest.mark.parametrize("family", FAMILIES)
def test_laws_are_those_of_transformers(family: str, tiny: Callable[..., Any]) -> None:
    """Every tensor of many models beside as many that transformers makes: constants alike, others of one law."""
    module, n = tiny(family), 4
    subject = from_module(module)
    ours = [subject.untrained(seed).module.state_dict() for seed in range(n)]
    theirs = [type(module)(module.config).state_dict() for _ in range(n)]
    assert set(ours[0]) == set(theirs[0])
    for name in theirs[0]:
        a, b = (torch.stack([state[name] for state in states]).double().numpy() for states in (ours, theirs))
        if (b == b[0]).all():
            assert (a == b).all(), name
        else:
            assert stats.ks_2samp(a.ravel(), b.ravel()).pvalue > 1e-4, name
            fixed = (b == b[0]).all(axis=0)  # a row of zeros, say
            assert ((a == a[0]).all(axis=0) == fixed).all(), name


@pytest.mark.parametrize("family", [*FAMILIES, "albert"])
def test_in_the_memory_of_another_one_it_is_the_same_model(family: str, tiny: Callable[..., Any]) -> None:
    subject = from_module(tiny(family))
    make = subject.untrained_models()
    places: set[frozenset[int]] = set()
    for seed in (3, 1, 3):
        found, fresh = make(seed).module, subject.untrained(seed).module
        for (name, a), b in zip(found.state_dict().items(), fresh.state_dict().values(), strict=True):
            assert torch.equal(a, b), name
        places.add(frozenset(parameter.data_ptr() for parameter in found.parameters() if parameter.ndim > 1))
    assert len(places) == 1


def test_a_narrow_model_is_drawn_wide_and_keeps_no_memory(tiny: Callable[..., Any]) -> None:
    subject = from_module(tiny("gpt2").to(torch.bfloat16))
    make = subject.untrained_models()
    one = make(0).module.transformer.wte.weight
    before = one.clone()
    assert one.dtype == torch.bfloat16
    assert torch.equal(one, from_module(tiny("gpt2")).untrained(0).module.transformer.wte.weight.to(torch.bfloat16))
    make(1)
    assert torch.equal(one, before)


def test_threads_do_not_matter(tiny: Callable[..., Any]) -> None:
    subject, threads, states = from_module(tiny("gpt2", n_embd=64)), torch.get_num_threads(), []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            states.append(subject.untrained(0).module.state_dict())
    finally:
        torch.set_num_threads(threads)
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
