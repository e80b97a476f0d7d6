"""Prompts of different lengths in one pass show what they show alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from mesascope.models.differentiable import Differentiable
from mesascope.probes.icl_vs_gd.padding import longer, padded

from .subjects import FLOAT32, NAMES, exact, model_of

Model = Callable[..., Differentiable]
PROMPTS = ((1, 2, 3, 4, 5), (6,), (7, 8, 2), (3, 1))


def test_rows_go_on_with_their_last_token() -> None:
    rows, ends = padded(PROMPTS)
    assert rows.tolist() == [[1, 2, 3, 4, 5], [6] * 5, [7, 8, 2, 2, 2], [3, 1, 1, 1, 1]]
    assert ends.tolist() == [4, 0, 2, 1]
    assert longer(rows[:1, :3], 5).tolist() == [[1, 2, 3, 3, 3]]
    assert longer(rows, 5).tolist() == rows.tolist()


@pytest.mark.parametrize("name", [*NAMES, "llama", "own" + FLOAT32])
def test_each_prompt_shows_at_its_end_what_it_shows_alone(name: str) -> None:
    model = model_of(name)
    rows, ends = padded(PROMPTS)
    together = model.run({}, rows, ends, watch=("attn_out", "resid_post", "scores"))
    for n, prompt in enumerate(PROMPTS):
        alone = model.run({}, torch.tensor([prompt]), watch=("attn_out", "resid_post", "scores"))
        for field in ("logits", "attn_out", "resid_post", "scores"):
            whole, expected = getattr(together, field), getattr(alone, field)
            found = whole[n : n + 1] if field == "logits" else whole[:, n : n + 1]
            if field == "scores":
                assert found[..., len(prompt) :].isneginf().all()
                found = found[..., : len(prompt)]
            torch.testing.assert_close(found, expected, rtol=0, atol=max(exact(name), 1e-5 * (field == "scores")))


def test_tasks_together_and_gradients_are_those_of_prompts_alone(random_model: Model) -> None:
    model = random_model()
    moved = {name: torch.stack([x, 1.5 * x]) for name, x in model.start.items()}
    rows, ends = padded(PROMPTS)
    tokens, places = torch.stack([rows, rows.flip(0)]), torch.stack([ends, ends.flip(0)])
    answers = model.run_tasks(moved, tokens, places, watch=("attn_out",))
    for task in range(2):
        own = {name: x[task] for name, x in moved.items()}
        for n, prompt in enumerate(PROMPTS if task == 0 else PROMPTS[::-1]):
            alone = model.run(own, torch.tensor([prompt]), watch=("attn_out",))
            torch.testing.assert_close(answers.logits[task, n], alone.logits[0], rtol=0, atol=1e-12)
            assert answers.attn_out is not None
            assert alone.attn_out is not None
            torch.testing.assert_close(answers.attn_out[task, :, n], alone.attn_out[:, 0], rtol=0, atol=1e-12)
    slope = model.gradient(lambda own: model.inside(own, rows, ends).logits.square().sum(), model.start)
    parts = [
        model.gradient(lambda own, p=prompt: model.inside(own, torch.tensor([p])).logits.square().sum(), model.start)
        for prompt in PROMPTS
    ]
    for name, whole in slope.items():
        torch.testing.assert_close(whole, sum(part[name] for part in parts), rtol=0, atol=1e-10)
