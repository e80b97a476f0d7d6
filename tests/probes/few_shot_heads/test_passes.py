"""Passes with heads replaced, beside a plain module with a hook of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mesascope.probes.few_shot.prompts import prompts_of
from mesascope.probes.few_shot_heads.names import PURPOSES
from mesascope.probes.few_shot_heads.passes import Passes, Replacement
from mesascope.probes.few_shot_heads.rows import Rows

from .subjects import KINDS, module_of, subject_of, tasks_of


def rows_of(subject: Any, n: int = 3) -> Rows:
    return Rows.of(prompts_of(subject, tasks_of(n=n).tasks))


def outputs_of(module: Any) -> list[Any]:
    """The modules that read z of all heads side by side."""
    if hasattr(module, "transformer"):
        return [block.attn.c_proj for block in module.transformer.h]
    return [layer.self_attn.o_proj for layer in module.model.layers]


def plain_logits(
    module: Any, prompt: tuple[int, ...], heads: tuple[tuple[int, int], ...] = (), z: np.ndarray | None = None
) -> np.ndarray:
    """The logits after the last token by the module itself; z of some heads replaced there, [layer head d_head]."""
    handles = []
    for layer, reader in enumerate(outputs_of(module)):

        def hook(_: Any, inputs: tuple[Any, ...], layer: int = layer) -> tuple[Any, ...]:
            changed = inputs[0].clone()
            for at, head in heads:
                if at == layer and z is not None:
                    width = z.shape[-1]
                    changed[0, -1, head * width : (head + 1) * width] = torch.from_numpy(z[layer, head])
            return (changed,)

        handles.append(reader.register_forward_pre_hook(hook))
    with torch.no_grad():
        logits = module(torch.tensor([prompt])).logits[0, -1].numpy()
    for handle in handles:
        handle.remove()
    return logits


def plain_z(module: Any, prompt: tuple[int, ...], n_heads: int) -> np.ndarray:
    """z of every head at the last position, by a hook."""
    seen = []
    handles = [
        reader.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, -1].numpy().copy()))
        for reader in outputs_of(module)
    ]
    with torch.no_grad():
        module(torch.tensor([prompt]))
    for handle in handles:
        handle.remove()
    return np.stack([one.reshape(n_heads, -1) for one in seen])


def softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits - logits.max())
    return p / p.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_answers_and_z_are_those_of_the_plain_module(kind: str) -> None:
    subject, module = subject_of(kind), module_of(kind)
    rows = rows_of(subject)
    answers, z = Passes(subject, 2).read_with_z(rows)
    for row, prompt in enumerate(rows.prompts):
        right = rows.labels[rows.task[row]][rows.right[row]]
        assert answers.probability[row] == pytest.approx(softmax(plain_logits(module, prompt))[right], rel=1e-6)
        np.testing.assert_allclose(z[row], plain_z(module, prompt, 4), atol=1e-6)  # norms are in float32


@pytest.mark.parametrize("kind", KINDS)
def test_replaced_heads_are_those_of_a_hook_at_the_last_position(kind: str) -> None:
    subject, module = subject_of(kind), module_of(kind)
    rows = rows_of(subject)
    other = torch.randn(len(rows), 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sets = (((1, 2),), ((0, 3),), ((0, 0), (0, 2), (1, 1)))
    sent = [Replacement(heads, other) for heads in sets] + [Replacement(sets[2], other[:1])]
    found = Passes(subject, 4).replaced(rows, PURPOSES[1], sent)
    for one, answers in zip(sent, found, strict=True):
        for row, prompt in enumerate(rows.prompts):
            z = one.z[row if len(one.z) > 1 else 0].numpy()
            right = rows.labels[rows.task[row]][rows.right[row]]
            expected = softmax(plain_logits(module, prompt, one.heads, z))[right]
            assert answers.probability[row] == pytest.approx(expected, rel=1e-6)


def test_a_head_replaced_by_itself_changes_nothing_and_earlier_positions_stay() -> None:
    subject = subject_of("gpt2")
    rows = rows_of(subject)
    passes = Passes(subject, 3)
    before, z = passes.read_with_z(rows)
    everyone = tuple((layer, head) for layer in range(2) for head in range(4))
    (after,) = passes.replaced(rows, PURPOSES[2], [Replacement(everyone, z)])
    np.testing.assert_allclose(after.probability, before.probability, rtol=1e-12)
    assert (after.accuracy == before.accuracy).all()


def test_passes_are_counted_by_purpose_and_batches_change_nothing() -> None:
    subject = subject_of("llama")
    rows = rows_of(subject)
    found = []
    for size in (1, 5, 64):
        passes = Passes(subject, size)
        answers, z = passes.read_with_z(rows)
        passes.read(rows)
        sent = [Replacement(((0, 1),), z.flip(0)), Replacement(((1, 1),), z[:1])]
        replaced = passes.replaced(rows, PURPOSES[1], sent)
        assert passes.spent == {PURPOSES[0]: 2 * len(rows), PURPOSES[1]: 2 * len(rows), PURPOSES[2]: 0}
        found.append([answers.probability, *(one.probability for one in replaced)])
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-10)


def test_nothing_to_replace_is_no_pass() -> None:
    passes = Passes(subject_of("gpt2"), 2)
    assert passes.replaced(rows_of(passes.subject), PURPOSES[2], []) == []
    assert sum(passes.spent.values()) == 0
