"""Attention in context and fine-tuned: loops over copies of the model agree, planted descent is found by its own rule,
nulls lie where they must, and what does not exist is said.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import differentiable as passes
from mesascope.models.differentiable import Differentiable
from mesascope.models.taps import Taps
from mesascope.probes.icl_vs_gd.answers import accuracies, distances
from mesascope.probes.icl_vs_gd.asked import Asked
from mesascope.probes.icl_vs_gd.fine_tuned import Setting, Stepped
from mesascope.probes.icl_vs_gd.inside import inside, of_runs
from mesascope.probes.icl_vs_gd.rules import Demo
from mesascope.probes.icl_vs_gd.runs import Runs, runs, runs_of
from mesascope.probes.icl_vs_gd.seen import Seen

Model = Callable[..., Differentiable]
Tasks = Callable[..., list[Asked]]
SETTINGS = [Setting(rule, Stepped(0.5, 4), Stepped(0.05, 3)) for rule in ("gd", "lcgd")]  # type: ignore[arg-type]


# --- slowly: copies of the whole model, one prompt at a time


def trained(model: Differentiable, demos: Sequence[Demo], lr: float, steps: int, cut: bool) -> Any:
    """A copy of the module after plain steps."""
    module: Any = copy.deepcopy(model.subject.module)  # type: ignore[attr-defined]
    parameters = [module.W_K.requires_grad_(), module.W_V.requires_grad_()]
    for _ in range(steps):
        loss = torch.zeros((), dtype=torch.float64)
        for demo in demos:
            for answer in answers(module, demo.prompt, cut)[0]:
                loss = loss + (answer.exp().sum().log() - answer[demo.label]) / len(demos)
        with torch.no_grad():
            for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter -= lr * slope
    return module


def answers(module: Any, prompt: Sequence[int], cut: bool = False) -> tuple[list[Any], list[np.ndarray]]:
    """Logits (cut: of every layer) and what attention gives in each layer, at the last position."""
    states: list[Any] = []
    attended: list[np.ndarray] = []

    def keep(x: Any, layer: int) -> None:
        states.append(x[0, -1])

    def attend(x: Any, layer: int) -> None:
        attended.append(x[0, -1].detach().numpy())

    taps = Taps({"resid_post": keep, "attn_out": attend}, {"resid_pre": lambda x, layer: x.detach()} if cut else None)
    module.states(torch.tensor([prompt]), taps)
    read = states if cut else states[-1:]
    return [module.norm("ln_final")(x) @ module.W_U + module.b_U for x in read], attended


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def unit(a: np.ndarray) -> np.ndarray:
    return a / math.sqrt(a @ a)


Ends = dict[str, list[np.ndarray]]


def compared(task: Asked, own: Any, ft: Mapping[str, Any], layer: int) -> dict[str, float]:
    """Every number of one task and layer."""
    found: dict[str, list[float]] = {}
    for query, zero_shot in enumerate(task.zero_shot):
        at = {name: answers(module, zero_shot)[1][layer] for name, module in ft.items()}
        at |= {f"icl {name}": answers(own, given.in_context[query])[1][layer] for name, given in task.given.items()}
        at["zs"] = answers(own, zero_shot)[1][layer]
        n = {name: unit(h) for name, h in at.items()}
        icl = n["icl true"] - n["icl swapped"]
        move = {way: n[f"{way} true"] - n[f"{way} swapped"] for way in ("tuned", "half run", "third rate", "other")}
        numbers = {
            "contrast in context": cosine(icl, move["tuned"]),
            "contrast in context, half run": cosine(icl, move["half run"]),
            "contrast other": cosine(icl, move["other"]),
            "contrast half run": cosine(move["half run"], move["tuned"]),
            "contrast third rate": cosine(move["third rate"], move["tuned"]),
            "raw_output_similarity tuned": cosine(at["icl true"] - at["zs"], at["tuned true"] - at["zs"]),
            "output_similarity halves of demonstrations": cosine(n["first"] - n["zs"], n["second"] - n["zs"]),
        }
        for what, name in (("tuned", "tuned true"), ("shuffled", "tuned shuffled"), ("other", "other true")):
            numbers[f"output_similarity {what}"] = cosine(n["icl true"] - n["zs"], n[name] - n["zs"])
        for name, number in numbers.items():
            found.setdefault(name, []).append(number)
    return {name: sum(numbers) / len(numbers) for name, numbers in found.items()}


@pytest.mark.parametrize("rule", ["gd", "lcgd"])
def test_loops_over_copies_of_the_model_agree(random_model: Model, made_up: Tasks, rule: Any) -> None:
    model, tasks = random_model(), made_up(2, uneven=True)
    setting = Setting(rule, Stepped(0.5, 4), Stepped(0.05, 1))
    found = inside([runs_of(model, tasks, [setting], 0)], rule, 0)
    for number, task in enumerate(tasks):
        true, cut = task.given["true"].demos, rule == "lcgd"
        ft = {f"tuned {labels}": trained(model, own.demos, 0.5, 4, cut) for labels, own in task.given.items()}
        for labels in ("true", "swapped"):
            demos = task.given[labels].demos
            ft[f"half run {labels}"] = trained(model, demos, 0.5, 2, cut)
            ft[f"third rate {labels}"] = trained(model, demos, 0.5 / 3, 4, cut)
            ft[f"other {labels}"] = trained(model, task.other[labels], 0.5, 4, cut)
        ft |= {"first": trained(model, true[:2], 0.5, 4, cut), "second": trained(model, true[2:], 0.5, 4, cut)}
        for layer in range(2):
            expected = compared(task, model.subject.module, ft, layer)  # type: ignore[attr-defined]
            for name, value in expected.items():
                measure, what = name.split(" ", 1)
                assert found[measure][what][number, layer] == pytest.approx(value, abs=1e-6), (name, layer)


# --- what is planted, and what is not


def planted(some: Runs, rule: Any, way: Any) -> Runs:
    """As if the model in context were a way of fine-tuning."""
    tuned = some.fine_tuned[rule]
    return replace(some, in_context=dict(some.in_context) | {x: tuned[way, x] for x in ("true", "swapped")})


def test_planted_descent_is_found_by_its_own_rule_alone(random_model: Model, made_up: Tasks) -> None:
    some = runs_of(random_model(), made_up(8), SETTINGS, 0)
    for rule, rival in (("gd", "lcgd"), ("lcgd", "gd")):
        itself = of_runs(planted(some, rule, "tuned"), rule, 0)["contrast"]  # type: ignore[arg-type]
        np.testing.assert_allclose(itself["in context"], 1, atol=1e-12)
        for way in ("third rate", "adam"):
            found = {r: of_runs(planted(some, rule, way), r, 0)["contrast"] for r in (rule, rival)}  # type: ignore[arg-type]
            own, other = (found[r]["in context"][:, 0].mean() for r in (rule, rival))
            np.testing.assert_allclose(found[rule]["in context"], found[rule][way], atol=1e-12)
            assert own > 0.5
            assert way == "adam" or own > other + 0.02
            assert own > max(found[rule][floor].mean() for floor in ("other", "random weights")) + 0.4
    unlearned = of_runs(some, "gd", 0)["contrast"]
    assert unlearned["in context"].mean() < 0.3


def test_nulls_lie_where_they_must() -> None:
    """A half for an endpoint that is drawn, 0 for a direction that is, and 0 for the contrast of unrelated answers."""
    rng = torch.Generator().manual_seed(0)

    def drawn() -> list[Seen]:
        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=rng, dtype=torch.float64)

        return [Seen(draw(4, 9), draw(2, 4, 64), ()) for _ in range(400)]

    pairs = [(way, labels) for way in ("tuned", "half run", "third rate", "adam", "other", "random weights")
             for labels in ("true", "swapped")]  # fmt: skip
    ft: Any = {pair: drawn() for pair in (*pairs, ("tuned", "shuffled"))}
    in_context: Any = {labels: drawn() for labels in ("true", "swapped", "shuffled")}
    found = of_runs(Runs(0, drawn(), in_context, {"gd": ft}, {}), "gd", 0)
    for what, own in found["output_similarity"].items():
        assert own.mean() == pytest.approx(0.0 if what == "zero-mean direction" else 0.5, abs=0.02), what
    for what, own in found["contrast"].items():
        assert own.mean() == pytest.approx(0.0, abs=0.02), what
    assert found["score_similarity"] == {}


# --- what does not matter, and what does not exist


def test_how_many_tasks_run_together_changes_nothing(
    random_model: Model, made_up: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tasks = random_model(), made_up(3)
    whole = list(runs(model, tasks, SETTINGS[:1], 3, Stepped(0.05, 2)))
    expected, apart = inside(whole, "gd", 3), distances(whole, "gd")
    monkeypatch.setattr(passes, "HELD", 15000)  # numbers: two tasks at most
    parts = list(runs(model, tasks, SETTINGS[:1], 3, Stepped(0.05, 2)))
    assert [len(part) for part in whole] == [3]
    assert len(parts) > 1
    assert [part.first for part in parts] == list(np.cumsum([0, *(len(part) for part in parts)])[:-1])
    found = inside(parts, "gd", 3)
    for name, held in expected.items():
        for what, own in held.items():
            np.testing.assert_allclose(found[name][what], own, atol=1e-9, err_msg=f"{name} {what}")
    for what, own in distances(parts, "gd").items():
        np.testing.assert_allclose(own, apart[what], atol=1e-9)


def test_of_two_own_tokens_there_is_no_similarity_of_scores(random_model: Model, made_up: Tasks) -> None:
    """Of a task's queries with one and with three tokens of their own, those with three count. With rotary positions
    demonstrations do not reach the first layer's scores of a query on itself.
    """
    found, short = (
        of_runs(runs_of(random_model(), made_up(2, uneven=uneven), SETTINGS[:1], 0), "gd", 0)
        for uneven in (True, False)
    )
    assert np.isfinite(found["score_similarity"]["tuned"]).all()
    assert np.isnan(found["score_shift_similarity"]["tuned"][:, 0]).all()
    assert np.isfinite(found["score_shift_similarity"]["tuned"][:, 1]).all()
    for name in ("score_similarity", "score_shift_similarity"):
        assert np.isnan(short[name]["tuned"]).all()


def test_without_steps_nothing_has_a_direction(random_model: Model, made_up: Tasks) -> None:
    still = Setting("gd", Stepped(0.0, 2), Stepped(0.0, 1))
    found = of_runs(runs_of(random_model(), made_up(2), [still], 0), "gd", 0)
    for what in ("in context", "third rate", "other"):
        assert np.isnan(found["contrast"][what]).all()
    assert np.isnan(found["output_similarity"]["tuned"]).all()
    assert np.isfinite(found["output_similarity"]["endpoint"]).all()


def test_distances_are_total_variations(random_model: Model, made_up: Tasks) -> None:
    some = runs_of(random_model(), made_up(2), SETTINGS[:1], 0)
    found, tuned = distances([some], "gd"), some.fine_tuned["gd"]
    assert found.keys() == {"in context", "half run", "third rate", "adam", "other"}
    p, q = some.in_context["true"][1].logits.softmax(-1), tuned["tuned", "true"][1].logits.softmax(-1)
    by_query = [sum(abs(float(a) - float(b)) for a, b in zip(p[n], q[n], strict=True)) / 2 for n in range(len(p))]
    assert found["in context"][1] == pytest.approx(sum(by_query) / len(by_query), abs=1e-12)
    assert distances([planted(some, "gd", "half run")], "gd")["in context"] == pytest.approx(found["half run"], abs=0)


def test_accuracies_count_the_right_label_among_a_tasks_labels(random_model: Model, made_up: Tasks) -> None:
    tasks = made_up(3)
    some = runs_of(random_model(), tasks, SETTINGS, 0, Stepped(0.05, 2))
    found = accuracies([some], tasks)
    shown = {"zero-shot": some.zero_shot, "in context": some.in_context["true"]}
    shown |= {"in context, shuffled labels": some.in_context["shuffled"], "activation matching": some.matched["true"]}
    shown |= {rule: ways["tuned", "true"] for rule, ways in some.fine_tuned.items()}
    assert found.keys() == shown.keys()
    for who, seen in shown.items():
        for n, task in enumerate(tasks):
            said = [{label: float(x[label]) for label in task.labels} for x in seen[n].logits]
            right = [max(own, key=own.__getitem__) == q.label for own, q in zip(said, task.queries, strict=True)]
            assert found[who][n] == pytest.approx(sum(right) / len(right))
