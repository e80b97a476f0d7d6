"""Ways of fine-tuning: each against the rule by itself, Adam against torch's, and what must not matter."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from mesascope.models.differentiable import Differentiable
from mesascope.models.taps import Taps
from mesascope.probes.icl_vs_gd.asked import Asked
from mesascope.probes.icl_vs_gd.fine_tuned import Parameters, Setting, Stepped, fine_tuned, halfway_and_whole
from mesascope.probes.icl_vs_gd.rules import adam, gd, lcgd
from torch import Tensor

Model = Callable[..., Differentiable]
Tasks = Callable[..., list[Asked]]
GD = Setting("gd", Stepped(0.4, 3), Stepped(0.02, 2))
Ways = Mapping[tuple[str, str], Parameters]


def ways(model: Differentiable, tasks: list[Asked], setting: Setting = GD, **settings: Any) -> Ways:
    return {(way, labels): own for way, labels, own in fine_tuned(model, tasks, setting, 7, **settings)}


def far(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def test_every_way_is_what_it_is_called(random_model: Model, made_up: Tasks) -> None:
    model, tasks = random_model(), made_up(2)
    found = ways(model, tasks)
    for n, task in enumerate(tasks):
        true, swapped, shuffled = (task.given[labels].demos for labels in ("true", "swapped", "shuffled"))
        expected = {
            ("half run", "true"): gd(model, [true], 0.4, 1),
            ("tuned", "true"): gd(model, [true], 0.4, 3),
            ("third rate", "true"): gd(model, [true], 0.4 / 3, 3),
            ("adam", "true"): adam(model, [true], 0.02, 2),
            ("other", "true"): gd(model, [tasks[1 - n].given["true"].demos], 0.4, 3),
            ("half run", "swapped"): gd(model, [swapped], 0.4, 1),
            ("tuned", "swapped"): gd(model, [swapped], 0.4, 3),
            ("third rate", "swapped"): gd(model, [swapped], 0.4 / 3, 3),
            ("adam", "swapped"): adam(model, [swapped], 0.02, 2),
            ("other", "swapped"): gd(model, [tasks[1 - n].given["swapped"].demos], 0.4, 3),
            ("tuned", "shuffled"): gd(model, [shuffled], 0.4, 3),
            ("first demonstrations", "true"): gd(model, [true[:2]], 0.4, 3),  # of labels 0 1 1 0
            ("second demonstrations", "true"): gd(model, [true[2:]], 0.4, 3),
        }
        assert found.keys() - expected.keys() == {("random weights", "true"), ("random weights", "swapped")}
        for way, own in expected.items():
            assert far(found[way][n], own[0].parameters) < 1e-12, way
            assert far(found[way][n], model.start) > 1e-4, way


def test_random_weights_are_as_far_in_every_matrix_and_elsewhere(random_model: Model, made_up: Tasks) -> None:
    model, tasks = random_model(), made_up(2)
    found, start = ways(model, tasks), model.start
    seen = []
    for labels in ("true", "swapped"):
        for tuned, drawn in zip(found["tuned", labels], found["random weights", labels], strict=True):
            for name in start:
                moved, other = tuned[name] - start[name], drawn[name] - start[name]
                assert float(other.norm()) == pytest.approx(float(moved.norm()), rel=1e-12)
                cosine = float((moved * other).sum() / moved.norm() / other.norm())
                assert abs(cosine) < 0.6  # of 64 numbers
            seen.append(torch.cat([(drawn[name] - start[name]).flatten() for name in start]))
    assert torch.corrcoef(torch.stack(seen)).fill_diagonal_(0).abs().max() < 0.3


@pytest.mark.parametrize("rule", ["gd", "lcgd"])
def test_neither_company_nor_order_of_demonstrations_matters(random_model: Model, made_up: Tasks, rule: Any) -> None:
    model, tasks, setting = random_model(), made_up(2, uneven=True), replace(GD, rule=rule)
    together, alone = ways(model, tasks, setting), ways(model, tasks[1:2], setting, first=1)
    turned = [
        replace(
            task,
            given={labels: replace(own, demos=own.demos[::-1]) for labels, own in task.given.items()},
            other={labels: own[::-1] for labels, own in task.other.items()},
        )
        for task in tasks
    ]
    for way, own in ways(model, turned, setting).items():
        assert far(together[way][1], alone[way][0]) < 1e-11, way
        if "demonstrations" not in way[0]:  # halves are other halves
            assert all(far(one, other) == 0 for one, other in zip(own, together[way], strict=True)), way


def test_layer_causal_ways_cut_gradients(random_model: Model, made_up: Tasks) -> None:
    model, tasks = random_model(), made_up(1)
    found, plain = ways(model, tasks, replace(GD, rule="lcgd")), ways(model, tasks)
    demos = [tasks[0].given["true"].demos]
    assert far(found["tuned", "true"][0], lcgd(model, demos, 0.4, 3)[0].parameters) < 1e-12
    assert far(found["adam", "true"][0], adam(model, demos, 0.02, 2, cut=True)[0].parameters) < 1e-12
    assert all(far(found[way][0], plain[way][0]) > 1e-4 for way in found)


def test_half_of_one_step_is_half_as_long(random_model: Model, made_up: Tasks) -> None:
    model, demos = random_model(), [task.given["true"].demos for task in made_up(1)]
    half, whole = halfway_and_whole(model, demos, "gd", Stepped(0.4, 1))
    for name, own in model.start.items():
        torch.testing.assert_close(whole[0][name] - own, 2 * (half[0][name] - own), rtol=1e-10, atol=1e-14)


def test_without_another_task_there_is_no_other(random_model: Model, made_up: Tasks) -> None:
    task = replace(made_up(1)[0], other={})
    assert "other" not in {way for way, _ in ways(random_model(), [task])}


@pytest.mark.parametrize("cut", [False, True])
def test_adam_steps_as_torchs_does(random_model: Model, made_up: Tasks, cut: bool) -> None:
    model = random_model(n_layers=1) if cut else random_model()  # of one layer both rules are the same
    demos = made_up(1)[0].given["true"].demos
    module: Any = copy.deepcopy(model.subject.module)  # type: ignore[attr-defined]
    trained = [module.W_K.requires_grad_(), module.W_V.requires_grad_()]
    optimizer = torch.optim.Adam(trained, lr=0.03)
    for _ in range(6):
        optimizer.zero_grad()
        states = module.states(torch.tensor([demo.prompt for demo in demos]), Taps(None, None))
        logits = (states @ module.W_U + module.b_U)[:, -1]
        torch.nn.functional.cross_entropy(logits, torch.tensor([demo.label for demo in demos])).backward()
        optimizer.step()
    expected = model.subject.key_value_places().read(  # type: ignore[union-attr]
        {name: x.detach() for name, x in module.named_parameters()}
    )
    assert far(adam(model, [demos], 0.03, 6, cut=cut)[0].parameters, expected) < 1e-9
    assert far(expected, model.start) > 0.05
