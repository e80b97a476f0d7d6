"""The halves of tasks as prompts."""

from __future__ import annotations

from mesascope.probes.few_shot.prompts import prompts_of
from mesascope.probes.few_shot_heads.names import IN_CONTEXT, SHUFFLED, ZERO_SHOT
from mesascope.probes.few_shot_heads.shown import Shown

from .subjects import subject_of, tasks_of


def test_every_task_is_shown_in_one_half_and_in_every_way() -> None:
    subject, tasks = subject_of("gpt2"), tasks_of(n=7)
    shown = Shown.of(tasks.tasks, lambda some: prompts_of(subject, some), seed=0)
    for places, half in ((shown.halves.choosing, shown.choosing), (shown.halves.judging, shown.judging)):
        clean = [prompt for one in prompts_of(subject, [tasks.tasks[at] for at in places]) for prompt in one.in_context]
        assert list(half.ways[IN_CONTEXT].prompts) == clean
        assert len(half.classes) == len(places)
        assert all(len(prompt) == 1 + (subject.bos is not None) for prompt in half.ways[ZERO_SHOT].prompts)


def test_labels_are_shuffled_twice_and_otherwise() -> None:
    subject = subject_of("gpt2")
    shown = Shown.of(tasks_of("recall", n=8).tasks, lambda some: prompts_of(subject, some), seed=0)
    clean, one, other = (shown.choosing.ways[IN_CONTEXT], shown.choosing.ways[SHUFFLED], shown.choosing.another)
    assert one.prompts != clean.prompts
    assert other.prompts != clean.prompts
    assert one.prompts != other.prompts
