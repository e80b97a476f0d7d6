"""Ablated heads: the edit is what weights of zero would do, and groups are tested where they were not chosen."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from mesascope.data import RepeatedTokens
from mesascope.models import AttentionOnlyModel, AttentionOnlyTransformer, from_module
from mesascope.models.constructed.induction import INDUCTION, PREVIOUS_TOKEN, SILENT, induction_circuit, planted_model
from mesascope.models.language_model import LanguageModel
from mesascope.probes.induction_heads.ablation import (
    EVEN_SEQUENCES,
    ODD_SEQUENCES,
    Ablations,
    Halves,
    others_like,
    replacing,
)
from mesascope.probes.induction_heads.experiment import SINGLE_HEADS, Edited, Passes, goes_on
from mesascope.probes.induction_heads.losses import mean_over_repeat, of_repeat
from mesascope.probes.induction_heads.watchers import MeanZ, NextTokenLoss
from mesascope.probes.streaming import stream

LAW = RepeatedTokens(period=5, d_vocab=12, bos=0)
FIRST, SECOND = (0, 0), (1, 0)


@pytest.fixture(scope="module")
def circuit() -> AttentionOnlyModel:
    return induction_circuit(d_vocab=12, n_ctx=11)


@pytest.fixture
def ablations(circuit: AttentionOnlyModel) -> Ablations:
    tokens = LAW.draw(6, seed=0).tokens
    base, mean_z = NextTokenLoss(circuit), MeanZ()
    stream(circuit, [tokens], [base])
    stream(circuit, [LAW.control(6, seed=0).tokens], [mean_z])
    return Ablations(Passes(circuit, 4), LAW, tokens, base.arrays()["loss"], mean_z.mean(), seed=0)


def test_zero_is_what_an_output_matrix_of_zeros_gives(circuit: AttentionOnlyModel, ablations: Ablations) -> None:
    parameters = {name: parameter.detach().clone() for name, parameter in circuit.module.named_parameters()}
    parameters["W_O"][1, 0] = 0
    without = AttentionOnlyModel(AttentionOnlyTransformer(circuit.config, parameters), circuit.source)
    watcher = NextTokenLoss(without)
    stream(without, [ablations.tokens], [watcher])
    (found,) = ablations.alone([SECOND], "zero")
    second = of_repeat(LAW, 1)
    assert np.allclose(found[:, second], watcher.arrays()["loss"][:, second])
    assert np.isnan(np.delete(found, np.r_[second], axis=1)).all()  # the rest is not asked for


def test_the_replacement_stands_at_every_position_of_the_heads_that_are_named() -> None:
    own, z = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 5)
    edit = replacing([(1, 2), (1, 0)], z)["z"]
    assert edit(own, 0) is own
    found = edit(own, 1)
    assert torch.equal(found[:, 1], own[:, 1])
    for head in (0, 2):
        assert torch.equal(found[:, head], z[1, head].expand(2, 4, 5))


@pytest.fixture
def with_silent_heads() -> Ablations:
    """An induction head L1H0 beside two that do nothing."""
    subject = planted_model([PREVIOUS_TOKEN], [INDUCTION, SILENT, SILENT], d_vocab=12, n_ctx=11)
    tokens, base = LAW.draw(4, seed=0).tokens, NextTokenLoss(subject)
    stream(subject, [tokens], [base])
    mean_z = torch.zeros(2, 3, subject.shape.d_head, dtype=torch.float64)
    mean_z[1, 0, 3] = 1.0  # raises the logit of token 3
    return Ablations(Passes(subject, 4), LAW, tokens, base.arrays()["loss"], mean_z, seed=0)


def test_each_group_is_tested_on_the_sequences_that_did_not_choose_it(with_silent_heads: Ablations) -> None:
    """Chosen on the even ones: the head that matters; on the odd ones: a silent head. The odd ones suffer."""
    silent = Halves(((1, 1),), ((1, 1),))
    of_silent, losses = with_silent_heads.cross_fitted([silent, Halves(even=(SECOND,), odd=((1, 1),))], "zero")
    assert np.allclose(of_silent, with_silent_heads.base)
    rises = mean_over_repeat(losses, LAW, 1) - mean_over_repeat(with_silent_heads.base, LAW, 1)
    assert (rises[ODD_SEQUENCES] > 2).all()
    assert np.allclose(rises[EVEN_SEQUENCES], 0)


def test_the_mean_is_not_zero(with_silent_heads: Ablations) -> None:
    found = {}
    for replacement, z in {
        "zero": torch.zeros_like(with_silent_heads.mean_z), "mean": with_silent_heads.mean_z
    }.items():  # fmt: skip
        watcher = NextTokenLoss(with_silent_heads.passes.subject)
        stream(with_silent_heads.passes.subject, [with_silent_heads.tokens], [watcher], replacing([SECOND], z))
        (found[replacement],) = with_silent_heads.cross_fitted([Halves((SECOND,), (SECOND,))], replacement)
        assert np.allclose(found[replacement], watcher.arrays()["loss"])
    assert not np.allclose(found["zero"], found["mean"])


def test_random_groups_come_from_the_same_layers_and_are_others() -> None:
    rng = np.random.default_rng(0)
    group = [(0, 1), (2, 0), (2, 3)]
    for _ in range(20):
        found = others_like(group, 4, rng)
        assert not set(found) & set(group)
        assert [layer for layer, _ in found] == [0, 2, 2]
        assert len(set(found)) == 3
    assert others_like([(1, 0), (1, 1), (1, 2)], 4, rng) == [(1, 3)]
    assert others_like([(0, 0)], 1, rng) == []
    assert Halves(((0, 0),), ((0, 0),)).random(1, rng) is None


def test_random_groups_are_the_same_for_both_replacements(with_silent_heads: Ablations) -> None:
    halves = Halves((SECOND,), (SECOND,))
    first, second = (with_silent_heads.random_halves(halves, "induction") for _ in range(2))
    assert first == second
    assert len(first) == 8
    assert with_silent_heads.random_halves(halves, "previous-token") != first


def gpt2(residual_of_the_first: bool) -> LanguageModel:
    """With three layers; with a connection from the first to the last beside the stream, if asked for."""
    import transformers

    sizes = {
        "vocab_size": 12,
        "n_embd": 8,
        "n_layer": 3,
        "n_head": 2,
        "n_positions": 16,
        "initializer_range": 0.5,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).eval()
    subject = from_module(module)
    first, _, last = subject.module.transformer.h
    kept: list[torch.Tensor] = []
    if residual_of_the_first:
        first.register_forward_hook(lambda block, args, output: kept.append(output))
        last.register_forward_hook(lambda block, args, output: output + kept[-1])
    return subject


@pytest.mark.parametrize("tied", [False, True])
def test_passes_share_what_lies_below_their_edits_where_layers_pass_on_all_they_know(tied: bool) -> None:
    subject, tokens = gpt2(tied), LAW.draw(5, seed=0).tokens
    assert goes_on(subject, tokens[:1], range(3)) is not tied
    ran: Counter[int] = Counter()
    for layer, block in enumerate(subject.module.transformer.h):  # type: ignore[attr-defined]
        block.mlp.register_forward_hook(lambda *_, layer=layer: ran.update([layer]))
    z = torch.zeros(3, 2, 4)
    heads = [(2, 0), (0, 1), (2, 1), (1, 0)]
    watchers = [NextTokenLoss(subject) for _ in heads]
    passes = [Edited(head[0], replacing([head], z), watcher) for head, watcher in zip(heads, watchers, strict=True)]
    spent = Passes(subject, batch_size=3)
    ran.clear()
    spent.send_edited(SINGLE_HEADS, tokens, passes)
    assert spent.spent[SINGLE_HEADS] == 5 * len(heads)
    compared = {0: 2, 1: 3, 2: 3}  # whether passes go on
    below = {0: 2, 1: 2} if not tied else {}  # for two batches
    above = {layer: 2 * (sum(head[0] <= layer for head in heads) if not tied else len(heads)) for layer in range(3)}
    assert ran == {layer: compared[layer] + below.get(layer, 0) + above[layer] for layer in range(3)}
    for head, watcher in zip(heads, watchers, strict=True):
        alone = NextTokenLoss(subject)
        stream(subject, tokens.split(3), [alone], replacing([head], z))
        assert np.array_equal(watcher.arrays()["loss"], alone.arrays()["loss"])


def test_a_group_over_several_layers_is_ablated_in_all_of_them(with_silent_heads: Ablations) -> None:
    group = ((0, 0), (1, 1))
    (found,) = with_silent_heads.cross_fitted([Halves(group, group)], "zero")
    (above,) = with_silent_heads.cross_fitted([Halves(group[1:], group[1:])], "zero")
    watcher, subject = NextTokenLoss(with_silent_heads.passes.subject), with_silent_heads.passes.subject
    zeros = torch.zeros_like(with_silent_heads.mean_z)
    stream(subject, [with_silent_heads.tokens], [watcher], replacing(group, zeros))
    assert np.allclose(found, watcher.arrays()["loss"])
    assert not np.allclose(found, above)  # without the previous-token head nothing is predicted


def test_layers_that_are_tied_below_the_last_are_noticed() -> None:
    """The third of four layers reads the first: a pass that goes on from the last layer ends well all the same."""
    import transformers

    sizes = {"vocab_size": 12, "n_embd": 8, "n_layer": 4, "n_head": 2, "n_positions": 16, "initializer_range": 0.5}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)
        subject = from_module(transformers.GPT2LMHeadModel(config).eval())
    first, _, third, _ = subject.module.transformer.h
    own, kept = third.forward, []
    first.register_forward_hook(lambda block, args, output: kept.append(output))
    third.forward = lambda *args, **kwargs: own(*args, **kwargs) + kept[-1]
    tokens = LAW.draw(1, seed=0).tokens
    assert goes_on(subject, tokens, [3])
    assert not goes_on(subject, tokens, [2, 3])
