"""Descent on demonstrations: exact facts of each rule, and loops over full copies of the model that agree."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope.data import TaskError
from mesascope.models import (
    AttentionOnlyConfig,
    AttentionOnlyModel,
    AttentionOnlyTransformer,
    Source,
    from_module,
    load,
)
from mesascope.models.differentiable import Differentiable, differentiable
from mesascope.models.key_values import matrix_name
from mesascope.models.taps import Taps
from mesascope.models.weights import weights_sha256
from mesascope.probes.icl_vs_gd.rules import Demo, Learned, demo_loss, gd, grouped, lcgd, sgd
from torch import Tensor

SHARED = Path(os.environ.get("MESASCOPE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
STORIES = SHARED / "stories260k"
NAMES = ("own", "gpt2", "stories260k")
KINDS: Mapping[str, dict[str, Any]] = {
    "own": {"d_mlp": 8, "positions": "rotary"},
    "own gated": {"d_mlp": 8, "gated_mlp": True, "norm": "rms"},
    "one layer": {"d_mlp": 8, "n_layers": 1},
    "no norm": {"d_mlp": 8, "norm": "none"},
    "shortformer": {"positions": "shortformer"},
}
RULES: Mapping[str, Callable[..., list[Learned]]] = {"gd": gd, "sgd": sgd, "lcgd": lcgd}


def own_model(**settings: Any) -> AttentionOnlyModel:
    sizes = {"d_vocab": 11, "n_ctx": 7, "d_model": 6, "n_layers": 2, "n_heads": 3, "d_head": 4, **settings}
    config = AttentionOnlyConfig(**sizes)
    rng = torch.Generator().manual_seed(0)
    parameters = {
        name: 0.4 * torch.randn(shape, generator=rng, dtype=torch.float64) + name.endswith("scale")
        for name, shape in config.shapes.items()
    }
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))


def tiny_of(family: str) -> Any:
    import transformers

    shared = {"vocab_size": 53, "initializer_range": 0.3, "attn_implementation": "eager", "bos_token_id": 0}
    shared |= {"eos_token_id": 0}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        if family == "gpt2":
            config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=4, n_positions=16, **shared)
            return transformers.GPT2LMHeadModel(config).eval().double()
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
        config = transformers.LlamaConfig(intermediate_size=24, max_position_embeddings=16, **sizes, **shared)
        return transformers.LlamaForCausalLM(config).eval().double()


def subject_of(name: str) -> Any:
    if name.startswith("stories260k"):
        if not STORIES.exists():
            pytest.skip("no shared data beside the repository")
        return load(str(STORIES), dtype=torch.float32 if name.endswith("float32") else torch.float64)
    return own_model(**KINDS[name]) if name in KINDS else from_module(tiny_of(name))


def fresh_model_of(name: str, **settings: Any) -> Differentiable:
    found = differentiable(subject_of(name), **settings)
    assert isinstance(found, Differentiable)
    return found


model_of = cache(fresh_model_of)
"""Shared by tests, none of which may change it: one of them looks."""


def drawn(seed: int = 0, lengths: tuple[int, ...] = (2, 2, 3, 2, 4), d_vocab: int = 11) -> list[Demo]:
    rng = torch.Generator().manual_seed(seed)
    tokens = (torch.randint(d_vocab, (n + 1,), generator=rng).tolist() for n in lengths)
    return [Demo((0, *some[1:-1]), some[-1]) for some in tokens]


def far(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


# --- exact facts


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_demonstrations_changes_nothing_but_for_sgd(name: str) -> None:
    model, demos = model_of(name), drawn()
    turned = [demos[i] for i in (3, 0, 4, 2, 1)]
    for rule, expected in (("gd", True), ("lcgd", True), ("sgd", False)):
        one, other = (RULES[rule](model, [task], 0.1, 2)[0].parameters for task in (demos, turned))
        assert (far(one, other) == 0) == expected, rule
        assert far(one, model.start) > 1e-3


@pytest.mark.parametrize("name", NAMES)
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


@pytest.mark.parametrize("name", [*NAMES, "stories260k in float32"])
def test_the_first_steps_of_the_last_layer_are_the_same(name: str) -> None:
    model = model_of(name)
    last = model.subject.shape.n_layers - 1
    one, other = (rule(model, [drawn()], 0.5, 1)[0].parameters for rule in (gd, lcgd))
    exact = 1e-6 if name.endswith("float32") else 1e-12
    for role in "KV":
        torch.testing.assert_close(one[f"L{last}.W_{role}"], other[f"L{last}.W_{role}"], rtol=0, atol=exact)
        assert (one[f"L0.W_{role}"] - other[f"L0.W_{role}"]).abs().max() > 10 * exact


def test_one_layer_learns_the_same_by_both() -> None:
    model = model_of("one layer")
    one, other = (rule(model, [drawn()], 0.5, 5)[0] for rule in (gd, lcgd))
    assert far(one.parameters, other.parameters) < 1e-12
    assert one.after == pytest.approx(other.after, abs=1e-12)


@pytest.mark.parametrize("name", ["own", "own gated", "gpt2"])
def test_a_small_step_lowers_the_loss_by_the_squared_gradient(name: str) -> None:
    """d loss / d lr = -|gradient|^2 at lr = 0, with the gradient as a difference of parameters."""
    model, demos, lr = model_of(name), drawn(), 1e-5
    ahead, back = (gd(model, [demos], sign * lr, 1)[0] for sign in (1, -1))
    squared = sum(float(((model.start[n] - x) / lr).pow(2).sum()) for n, x in ahead.parameters.items())
    assert (ahead.after - back.after) / (2 * lr) == pytest.approx(-squared, rel=1e-6)
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


# --- slow loops over full copies, in which nothing of the library computes a gradient or a step


def slowly(subject: Any, demos: list[Demo], lr: float, rounds: int, rule: str) -> dict[str, Tensor]:
    """The matrices that a copy of the whole model has learned: one demonstration after the other, `backward`, steps."""
    module = copy.deepcopy(subject.module)
    own = isinstance(subject, AttentionOnlyModel)
    trained, masks = (own_trained if own else hugging_face_trained)(module)
    batches = [[demo] for demo in demos] if rule == "sgd" else [demos]
    for batch in batches * rounds:
        for parameter in trained:
            parameter.requires_grad_().grad = None
        for demo in batch:
            tokens = torch.tensor([demo.prompt])
            answers = (own_answers if own else hugging_face_answers)(module, subject, tokens, cut=rule == "lcgd")
            losses = [-answer[demo.label] + answer.exp().sum().log() for answer in answers]
            (torch.stack(losses).sum() / len(batch)).backward()
        with torch.no_grad():
            for parameter, mask in zip(trained, masks, strict=True):
                parameter -= lr * mask * parameter.grad
    return subject.key_value_places().read({name: x.detach() for name, x in module.named_parameters()})


def own_trained(module: Any) -> tuple[list[Tensor], list[Tensor]]:
    trained = [module.W_K, module.W_V]
    return trained, [torch.ones_like(x) for x in trained]


def own_answers(module: Any, subject: Any, tokens: Tensor, cut: bool) -> list[Tensor]:
    """The logits after the last token: of the model, or of every layer's own state."""
    seen: list[Tensor] = []
    keep: Any = lambda x, layer: seen.append(x)  # noqa: E731
    taps = Taps({"resid_post": keep}, {"resid_pre": lambda x, layer: x.detach()} if cut else None)
    state = module.states(tokens, taps)
    if not cut:
        return [(state @ module.W_U + module.b_U)[0, -1]]
    return [(module.norm("ln_final")(x) @ module.W_U + module.b_U)[0, -1] for x in seen]


def hugging_face_trained(module: Any) -> tuple[list[Tensor], list[Tensor]]:
    if module.config.model_type == "gpt2":
        trained = [block.attn.c_attn.weight for block in module.transformer.h]
        masks = [torch.ones_like(x) for x in trained]
        for mask in masks:
            mask[:, : module.config.n_embd] = 0  # q
        return trained, masks
    layers = module.model.layers
    trained = [getattr(layer.self_attn, f"{role}_proj").weight for layer in layers for role in "kv"]
    return trained, [torch.ones_like(x) for x in trained]


def hugging_face_answers(module: Any, subject: Any, tokens: Tensor, cut: bool) -> list[Tensor]:
    """By transformers' own eager pass, which the copy's configuration does not name."""
    module.set_attn_implementation("eager")
    blocks, norm = (
        (module.transformer.h, module.transformer.ln_f)
        if module.config.model_type == "gpt2"
        else (module.model.layers, module.model.norm)
    )
    if not cut:
        return [module(tokens, use_cache=False).logits[0, -1]]
    seen: list[Tensor] = []
    hooks = [block.register_forward_pre_hook(lambda _, args: (args[0].detach(), *args[1:])) for block in blocks]
    hooks += [
        block.register_forward_hook(lambda _, args, out: seen.append(out[0] if isinstance(out, tuple) else out))
        for block in blocks
    ]
    module(tokens, use_cache=False)
    for hook in hooks:
        hook.remove()
    return [module.lm_head(norm(x))[0, -1] for x in seen]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", [*NAMES, "own gated", "llama"])
def test_loops_over_copies_of_the_model_learn_the_same(name: str, rule: str) -> None:
    model, demos = model_of(name), drawn()
    lr = 0.05 if name == "stories260k" else 0.3  # transformers' own softmax and norms are in float32, and errors grow
    learned = RULES[rule](model, [demos], lr, 3)[0]
    expected = slowly(model.subject, demos, lr, 3, rule)
    start = model.start
    assert far(learned.parameters, expected) < 1e-6
    assert min(float((expected[matrix_name("V", n)] - start[matrix_name("V", n)]).abs().max()) for n in range(2)) > 1e-3
    assert learned.before > learned.after > 0
    assert math.isfinite(learned.after)
