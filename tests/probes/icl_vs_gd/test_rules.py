"""Descent on demonstrations: exact facts of each rule, and loops over full copies of the model that agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from mesascope.data import TaskError
from mesascope.models.key_values import matrix_name
from mesascope.models.weights import weights_sha256
from mesascope.probes.icl_vs_gd.rules import Demo, Learned, demo_loss, gd, grouped, lcgd, sgd

from .copies import matrices, slowly
from .subjects import FLOAT32, IN_BOTH, NAMES, drawn, exact, far, fresh_model_of, model_of

RULES: Mapping[str, Callable[..., list[Learned]]] = {"gd": gd, "sgd": sgd, "lcgd": lcgd}


# --- exact facts


@pytest.mark.parametrize("name", IN_BOTH)
def test_the_order_of_demonstrations_changes_nothing_but_for_sgd(name: str) -> None:
    model, demos = model_of(name), drawn()
    turned = [demos[i] for i in (3, 0, 4, 2, 1)]
    for rule, expected in (("gd", True), ("lcgd", True), ("sgd", False)):
        one, other = (RULES[rule](model, [task], 0.1, 2)[0].parameters for task in (demos, turned))
        assert (far(one, other) == 0) == expected, rule
        assert far(one, model.start) > 1e-3


@pytest.mark.parametrize("name", IN_BOTH)
def test_lcgd_moves_the_first_layer_whatever_the_second_is(name: str) -> None:
    model, beside = model_of(name), fresh_model_of(name)
    rng = torch.Generator().manual_seed(7)  # a number added to all of a matrix is nothing after a layer norm
    changed = {
        n: x + 0.1 * n.startswith("L1.") * torch.randn(x.shape, generator=rng, dtype=x.dtype)
        for n, x in model.start.items()
    }
    with torch.no_grad():
        for parameter, tensor in beside.places.write(changed, dict(beside.subject.module.named_parameters())).items():  # type: ignore[attr-defined]
            beside.subject.module.get_parameter(parameter).copy_(tensor)  # type: ignore[attr-defined]
    for rule in (lcgd, gd):
        updates = []
        for one in (model, beside):
            learned = rule(one, [drawn()], 1.0, 1)[0].parameters
            updates.append({n: learned[n] - one.start[n] for n in ("L0.W_K", "L0.W_V")})
        assert (far(*updates) == 0) if rule is lcgd else (far(*updates) > 1e-6)


@pytest.mark.parametrize("name", IN_BOTH)
def test_the_first_steps_of_the_last_layer_are_the_same(name: str) -> None:
    model = model_of(name)
    last = model.subject.shape.n_layers - 1
    one, other = (rule(model, [drawn()], 0.5, 1)[0].parameters for rule in (gd, lcgd))
    for role in "KV":
        torch.testing.assert_close(one[f"L{last}.W_{role}"], other[f"L{last}.W_{role}"], rtol=0, atol=exact(name))
        assert (one[f"L0.W_{role}"] - other[f"L0.W_{role}"]).abs().max() > 10 * exact(name)


@pytest.mark.parametrize(
    "name", ["one layer", "one layer of gpt2", "one layer in float32", "one layer of gpt2 in float32"]
)
def test_one_layer_learns_the_same_by_both(name: str) -> None:
    model = model_of(name)
    one, other = (rule(model, [drawn()], 0.5, 5)[0] for rule in (gd, lcgd))
    assert far(one.parameters, other.parameters) < exact(name)
    assert one.after == pytest.approx(other.after, abs=exact(name))
    assert far(one.parameters, model.start) > 1e-3


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NAMES)
def test_steps_in_float32_are_those_in_float64(name: str, rule: str) -> None:
    one, other = (RULES[rule](model_of(own), [drawn()], 0.1, 2)[0].parameters for own in (name, name + FLOAT32))
    assert far(one, {n: x.double() for n, x in other.items()}) < 1e-5


@pytest.mark.parametrize("name", [*NAMES, "own gated"])
def test_a_small_step_lowers_the_loss_by_the_squared_gradient(name: str) -> None:
    """d loss / d lr = -|gradient|^2 at lr = 0, with the gradient as a difference of parameters. Norms of stories260k
    are in float32.
    """
    model, demos, lr = model_of(name), drawn(), 1e-5
    ahead, back = (gd(model, [demos], sign * lr, 1)[0] for sign in (1, -1))
    squared = sum(float(((model.start[n] - x) / lr).pow(2).sum()) for n, x in ahead.parameters.items())
    assert (ahead.after - back.after) / (2 * lr) == pytest.approx(-squared, rel=1e-4 if name == "stories260k" else 1e-6)
    assert ahead.after < ahead.before < back.after


def test_no_steps_are_the_start_exactly() -> None:
    model = model_of("gpt2")
    for rule in RULES.values():
        learned = rule(model, [drawn()], 0.5, 0)[0]
        assert far(learned.parameters, model.start) == 0
        assert learned.before == learned.after
        assert learned.too_far is None


def test_steps_go_on_where_steps_ended() -> None:
    model, demos = model_of("own"), drawn()
    three = gd(model, [demos], 0.3, 3)[0]
    parameters = gd(model, [demos], 0.3, 2)[0].parameters
    gradient = model.gradient(lambda own: demo_loss(model, own, grouped(sorted(demos))), parameters)
    assert far({n: x - 0.3 * gradient[n] for n, x in parameters.items()}, three.parameters) < 1e-14


def test_sgd_of_one_demonstration_is_gd() -> None:
    model, demo = model_of("gpt2"), drawn()[:1]
    assert far(sgd(model, [demo], 0.3, 4)[0].parameters, gd(model, [demo], 0.3, 4)[0].parameters) == 0


@pytest.mark.parametrize("name", ["gpt2", "shortformer"])
def test_all_parameters_learn_and_lcgd_leaves_what_is_outside_layers(name: str) -> None:
    """The positions of a shortformer enter every layer anew, past the cut."""
    model, demos = model_of(name, parameters="all"), drawn()
    for rule, still in ((gd, set()), (lcgd, set(model.start) - model.in_layers)):
        learned = rule(model, [demos], 0.1, 2)[0].parameters
        same = {name for name, x in learned.items() if torch.equal(x, model.start[name])}
        assert same == still
    assert len(model.in_layers) < len(model.start)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_steps_that_are_too_large_are_told(rule: Callable[..., list[Learned]]) -> None:
    model = model_of("no norm")
    demos = [*drawn(), Demo((0, 3), 1), Demo((0, 3), 2)]  # two that cannot both be right
    fine, risen, gone = (rule(model, [demos], lr, 3)[0].too_far for lr in (0.01, 30.0, 1e200))
    assert fine is None
    assert risen is not None
    assert risen.startswith("the loss rose from ")
    assert gone == "numbers are no longer finite"


def test_tasks_without_demonstrations_or_of_other_tokens_are_refused() -> None:
    model = model_of("own")
    for tasks, words in (
        ([[]], "a task without demonstrations"),
        ([drawn(), [Demo((0, 11), 1)]], "token 11 is not in the vocabulary"),
        ([[Demo((0, 1), 99)]], "token 99 is not in the vocabulary"),
        ([[Demo((0,) * 8, 1)]], "sequences of 8 tokens"),
    ):
        with pytest.raises(TaskError, match=words):
            gd(model, tasks, 0.1, 1)


# --- many tasks, and the caller's model


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("name", ["own", "gpt2"])
def test_tasks_do_not_touch_each_other(name: str, rule: Callable[..., list[Learned]]) -> None:
    """Lengths of three kinds, one of them twice: some tasks run together, others alone."""
    lengths = ((2, 2, 3), (2, 3, 2), (3, 2, 2, 2), (2, 2, 3), (4,))
    tasks, model = [drawn(seed, some) for seed, some in enumerate(lengths)], fresh_model_of(name)
    together = rule(model, tasks, 0.2, 2)
    for task, learned in zip(tasks, together, strict=True):
        alone = rule(model, [task], 0.2, 2)[0]
        assert far(learned.parameters, alone.parameters) < 1e-12
        assert learned.before == pytest.approx(alone.before, abs=1e-12)
        assert learned.after == pytest.approx(alone.after, abs=1e-12)
    model.__dict__["together"] = False  # one after the other
    for own, other in zip(rule(model, tasks, 0.2, 2), together, strict=True):
        assert far(own.parameters, other.parameters) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_the_callers_weights_never_change(name: str) -> None:
    model = model_of(name)
    module: Any = model.subject.module  # type: ignore[attr-defined]
    before = weights_sha256(module.state_dict())
    for rule in RULES.values():
        assert rule(model, [drawn()], 0.5, 2)[0].after > 0
    assert weights_sha256(module.state_dict()) == before
    assert not any(x.requires_grad or x.grad is not None for x in module.parameters())


# --- slow loops over full copies


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", [*NAMES, "own gated", "llama"])
def test_loops_over_copies_of_the_model_learn_the_same(name: str, rule: str) -> None:
    model, demos = model_of(name), drawn()
    lr = 0.05 if name == "stories260k" else 0.3  # transformers' own softmax and norms are in float32, and errors grow
    learned = RULES[rule](model, [demos], lr, 3)[0]
    expected = matrices(model.subject, slowly(model.subject, demos, lr, 3, rule))
    start = model.start
    assert far(learned.parameters, expected) < 1e-6
    assert min(float((expected[matrix_name("V", n)] - start[matrix_name("V", n)]).abs().max()) for n in range(2)) > 1e-3
    assert learned.before > learned.after > 0
    assert math.isfinite(learned.after)
