"""Facts of tasks and models that a claim says: each where it holds, and the accuracy of a guess."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mesascope.data.few_shot.drawn import draw_tasks
from mesascope.data.few_shot.examples import Example, Examples
from mesascope.data.few_shot.generated import generated_tasks
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source
from mesascope.probes.icl_vs_gd import facts
from mesascope.probes.icl_vs_gd.facts import chance_measure, facts_of, told


def model(positions: Any = "rotary", dtype: torch.dtype = torch.float32) -> AttentionOnlyModel:
    config = AttentionOnlyConfig(d_vocab=9, n_ctx=9, d_model=8, n_layers=1, n_heads=2, d_head=4, positions=positions)
    parameters = {name: torch.zeros(shape) for name, shape in config.shapes.items()}
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters).to(dtype), Source("made", "in-memory"))


def drawn(rules: int, n: int, outputs: int = 2) -> Any:
    """From a file of so many tasks."""
    pairs = [
        Example(f"{rule} {x}", f"label {x % outputs}", task=f"rule {rule}") for rule in range(rules) for x in range(140)
    ]
    return draw_tasks(Examples(tuple(pairs), "file"), n, 2, 2, seed=0)


@pytest.mark.parametrize(
    ("rules", "n", "expected"),
    [(1, 4, {facts.SHARED, facts.ONE_TASK}), (3, 4, {facts.SHARED}), (4, 4, set()), (4, 3, set())],
)
def test_tasks_of_a_file_share_examples(rules: int, n: int, expected: set[str]) -> None:
    assert set(facts_of(model(), drawn(rules, n).tasks, from_file=True)) == expected


def test_free_text() -> None:
    found = facts_of(model(), drawn(2, 2, outputs=100).tasks, from_file=True)
    assert found == (facts.FREE_TEXT,)


@pytest.mark.parametrize(("kind", "repeated"), [("recall", True), ("label-mapping", False)])
def test_generated_tasks(kind: Any, repeated: bool) -> None:
    tasks = generated_tasks(kind, range(200), 4, 4, 2, 0, None).tasks
    found = facts_of(model(), tasks, from_file=False)
    assert set(found) == {facts.GENERATED} | ({facts.RECALL} if repeated else set())


def test_models() -> None:
    tasks = drawn(4, 4).tasks
    assert facts_of(model("learned"), tasks, True) == (facts.LEARNED_POSITIONS,)
    for positions in ("rotary", "none"):
        assert facts_of(model(positions), tasks, True) == ()
    for dtype, half in ((torch.float16, True), (torch.bfloat16, True), (torch.float32, False), (torch.float64, False)):
        assert facts_of(model(dtype=dtype), tasks, True) == ((facts.HALF,) if half else ())
    assert facts_of(model(), tasks, True, every_parameter=True) == (facts.EVERY_PARAMETER,)


def test_chance_is_the_mean_over_tasks_and_holds_the_facts() -> None:
    given = (facts.HALF, facts.ONE_TASK)
    measures = chance_measure([2, 4, 4], given, 0)
    assert measures["chance"].estimate == pytest.approx((1 / 2 + 1 / 4 + 1 / 4) / 3)
    assert (measures["chance"].n, measures["chance"].replicate) == (3, "task")
    assert told(measures) == set(given)
    assert told(chance_measure([2], (), 0)) == set()
    assert told(chance_measure([2], given, 0)) == set(given)  # its message says more
    assert told({}) == set()
    assert SimpleNamespace(**{name: own for name, own in vars(facts).items() if own in facts.FACTS})
    assert len(set(facts.FACTS)) == len(facts.FACTS)
    assert not any(";" in fact for fact in facts.FACTS)
