"""A pass that goes on from a layer ends as the whole one does, and runs nothing below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.data import UsageError
from mesascope.models import from_module
from mesascope.models.language_model import LanguageModel
from torch import Tensor, nn

TOKENS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
FAMILIES = ("attention-only", "gpt2", "gpt_neox", "llama", "qwen3", "gemma2", "bert")
Make = Callable[..., Any]


@pytest.fixture
def make(tiny: Make, random_language_model: Make) -> Callable[[str], LanguageModel]:
    return lambda name: random_language_model() if name == "attention-only" else from_module(tiny(name))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pass_goes_on_where_it_was_left(family: str, make: Callable[[str], LanguageModel]) -> None:
    subject = make(family)
    whole = subject.run(TOKENS).output
    begun = None
    for layer in range(subject.shape.n_layers):
        begun = subject.halfway(TOKENS, layer, begun)
        assert begun.layer == layer
        assert torch.equal(subject.run(TOKENS, begun=begun).output, whole)
        assert torch.equal(subject.run(TOKENS, begun=subject.halfway(TOKENS, layer)).output, whole)
    assert torch.equal(subject.run(TOKENS).output, whole)  # nothing stays skipped


@pytest.mark.parametrize("family", FAMILIES)
def test_edits_and_watches_are_those_of_the_layers_that_run(family: str, make: Callable[[str], LanguageModel]) -> None:
    subject = make(family)
    last = subject.shape.n_layers - 1

    def halved_in_the_last(z: Tensor, layer: int) -> Tensor:
        return z / 2 if layer == last else z

    begun = subject.halfway(TOKENS, last)
    expected = subject.run(TOKENS, edit={"z": halved_in_the_last}).output
    assert torch.equal(subject.run(TOKENS, edit={"z": halved_in_the_last}, begun=begun).output, expected)
    assert not torch.allclose(expected, subject.run(TOKENS).output)
    seen: list[int] = []
    subject.run(
        TOKENS,
        {"resid_pre": lambda _, layer: seen.append(layer), "embed": lambda _, layer: seen.append(-1)},
        {"z": lambda z, layer: z if layer == last else z * torch.nan},
        begun=begun,
    )
    assert seen == [last]


def test_a_layer_that_writes_into_what_it_reads_spoils_no_other_pass(make: Callable[[str], LanguageModel]) -> None:
    subject = make("gpt2")
    module: Any = subject.module  # type: ignore[attr-defined]

    def double(block: nn.Module, args: tuple[Tensor, ...]) -> None:
        args[0].mul_(2)

    module.transformer.h[1].register_forward_pre_hook(double)
    whole, begun = subject.run(TOKENS).output, subject.halfway(TOKENS, 1)
    for _ in range(2):
        assert torch.equal(subject.run(TOKENS, begun=begun).output, whole)


def test_layers_below_do_not_run(make: Callable[[str], LanguageModel]) -> None:
    subject, ran = make("llama"), Counter[int]()
    module: Any = subject.module  # type: ignore[attr-defined]
    for layer, block in enumerate(module.model.layers):
        block.mlp.register_forward_hook(lambda *_, layer=layer: ran.update([layer]))
    last = subject.shape.n_layers - 1
    begun = subject.halfway(TOKENS, last)
    assert ran == dict.fromkeys(range(last), 1)
    ran.clear()
    subject.run(TOKENS, begun=begun)
    assert ran == {last: 1}
    ran.clear()
    subject.halfway(TOKENS, last, begun)
    assert not ran


def test_a_failing_pass_leaves_the_model_as_it_was(make: Callable[[str], LanguageModel]) -> None:
    subject = make("gpt2")
    whole, begun = subject.run(TOKENS).output, subject.halfway(TOKENS, 1)

    def fail(z: Tensor, layer: int) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        subject.run(TOKENS, edit={"z": fail}, begun=begun)
    assert torch.equal(subject.run(TOKENS).output, whole)
    module: nn.Module = subject.module  # type: ignore[attr-defined]
    assert not any("forward" in vars(part) for part in module.modules())


@pytest.mark.parametrize("layer", [-1, 3])
def test_only_layers_that_there_are(layer: int, make: Callable[[str], LanguageModel]) -> None:
    with pytest.raises(UsageError, match=f"layer = {layer}; expected 0 to 2"):
        make("llama").halfway(TOKENS, layer)


def test_a_pass_is_not_left_below_where_it_was_left(make: Callable[[str], LanguageModel]) -> None:
    subject = make("llama")
    with pytest.raises(UsageError, match="layer = 0; expected 1 to 2"):
        subject.halfway(TOKENS, 0, subject.halfway(TOKENS, 1))
