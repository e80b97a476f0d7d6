"""One pass for several watchers: the same numbers as alone, and no second pass."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from mesascope.models.own.attention_only import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer
from mesascope.models.subject import Reduce, Site, Source
from mesascope.probes.streaming import Watcher, of_heads, stream
from torch import Tensor


class Norms(Watcher):
    """Norms at one site, and the shapes of what came out."""

    def __init__(self, site: Site, logits: bool = False) -> None:
        self.site, self.logits = site, logits
        self.found: list[tuple[int, Tensor]] = []
        self.outputs: list[tuple[int, ...]] = []

    def watch(self, tokens: Tensor) -> Mapping[Site, Reduce]:
        return {self.site: lambda x, layer: self.found.append((layer, x.norm(dim=-1)))}

    def take(self, tokens: Tensor, output: Tensor) -> None:
        self.outputs.append(tuple(output.shape))


@pytest.fixture
def subject() -> AttentionOnlyModel:
    config = AttentionOnlyConfig(d_vocab=11, n_ctx=6, d_model=8, n_layers=2, n_heads=2, d_head=4, d_mlp=5)
    rng = torch.Generator().manual_seed(0)
    parameters = {name: torch.randn(shape, generator=rng) for name, shape in config.shapes.items()}
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", "mesascope"))


@pytest.fixture
def batches() -> list[Tensor]:
    return list(torch.randint(11, (3, 2, 6), generator=torch.Generator().manual_seed(1)))


def test_each_watcher_sees_what_it_would_see_alone(subject: AttentionOnlyModel, batches: list[Tensor]) -> None:
    def sites() -> list[Norms]:
        return [Norms("resid_post"), Norms("z", logits=True), Norms("resid_post")]

    shared, alone = sites(), sites()
    stream(subject, batches, shared)
    for watcher in alone:
        stream(subject, batches, [watcher])
    for together, one in zip(shared, alone, strict=True):
        assert [layer for layer, _ in together.found] == [layer for layer, _ in one.found] == [0, 1] * 3
        for (_, a), (_, b) in zip(together.found, one.found, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert alone[0].outputs == [(2, 6, 8)] * 3
    assert shared[0].outputs == alone[1].outputs == [(2, 6, 11)] * 3


def test_there_is_one_pass_a_batch(
    subject: AttentionOnlyModel, batches: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[Tensor] = []
    run = subject.run
    monkeypatch.setattr(
        subject, "run", lambda tokens, *rest, **named: (passes.append(tokens), run(tokens, *rest, **named))[1]
    )
    stream(subject, iter(batches), [Norms("q"), Norms("z")])
    assert len(passes) == len(batches)


def test_edits_and_progress_reach_every_batch(subject: AttentionOnlyModel, batches: list[Tensor]) -> None:
    told: list[tuple[str, float]] = []
    watcher = Norms("z")
    stream(
        subject,
        batches,
        [watcher],
        edit={"z": lambda z, layer: torch.zeros_like(z)},
        progress=lambda stage, fraction: told.append((stage, fraction)),
        stage="looking",
        total=3,
    )
    assert all((norms == 0).all() for _, norms in watcher.found)
    assert told == [("looking", 1 / 3), ("looking", 2 / 3), ("looking", 1.0)]


def test_nothing_of_a_batch_is_alive_when_the_next_one_runs(
    subject: AttentionOnlyModel, batches: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs: list[weakref.ref[Tensor]] = []
    alive: list[int] = []
    unembed, states = subject.module.unembed, subject.module.states

    def remembered(state: Tensor) -> Tensor:
        logits = unembed(state)
        outputs.append(weakref.ref(logits))
        return logits

    def counted(tokens: Tensor, taps: Any) -> Tensor:
        alive.append(sum(output() is not None for output in outputs))
        return states(tokens, taps)

    monkeypatch.setattr(subject.module, "unembed", remembered)
    monkeypatch.setattr(subject.module, "states", counted)
    stream(subject, batches, [Norms("z", logits=True)])
    assert (len(outputs), alive) == (3, [0, 0, 0])


def test_an_edit_of_heads_changes_a_copy_of_their_layers_and_no_other() -> None:
    seen: list[tuple[int, list[int]]] = []

    def double(z: Tensor, layer: int, heads: list[int]) -> None:
        seen.append((layer, heads))
        z[:, heads] *= 2

    edit = of_heads([(2, 1), (0, 3), (2, 0)], double)["z"]
    z = torch.ones(2, 4, 5, 3)
    changed = edit(z, 2)
    assert torch.equal(z, torch.ones(2, 4, 5, 3))
    assert changed[:, :, 0, 0].tolist() == [[2, 2, 1, 1]] * 2
    assert edit(z, 1) is z
    edit(z, 0)
    assert seen == [(2, [0, 1]), (0, [3])]
