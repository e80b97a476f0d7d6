"""Passes with other parameters: the model's own answers where they are its own, exact gradients, and a model that
stays as it was.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope.data import TaskError, UsageError
from mesascope.models import NotApplicable, from_language_model, from_module, load
from mesascope.models.differentiable import Differentiable, differentiable
from mesascope.models.weights import weights_sha256
from torch import Tensor

SHARED = Path(os.environ.get("MESASCOPE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
STORIES = SHARED / "stories260k"
OWN: dict[str, dict[str, Any]] = {
    "attention only": {},
    "mlp, rotary": {"d_mlp": 8, "positions": "rotary"},
    "gated, rms, sinusoidal": {"d_mlp": 8, "gated_mlp": True, "norm": "rms", "positions": "sinusoidal"},
    "shortformer, no norm": {"positions": "shortformer", "norm": "none"},
}
FAMILIES = ("gpt2", "gpt_neox", "llama", "qwen3", "gemma2")
ALL = ("attn_out", "resid_post", "scores")
"""What every model shows: the first of the answers after the logits."""
Make = Callable[..., Any]


def ids(d_vocab: int, batch: int = 3, seed: int = 4) -> Tensor:
    return torch.randint(0, d_vocab, (batch, 6), generator=torch.Generator().manual_seed(seed))


def itself(activation: Any, layer: int) -> Any:
    return activation


def passes_of(subject: Any, **settings: Any) -> Differentiable:
    found = differentiable(subject, **settings)
    assert isinstance(found, Differentiable)
    return found


def moved(model: Differentiable, size: float = 0.1, seed: int = 1) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {n: x + size * torch.randn(x.shape, generator=rng, dtype=x.dtype) for n, x in model.start.items()}


@pytest.fixture
def make(tiny: Make, random_language_model: Make) -> Callable[[str], Any]:
    """Subjects in float64, by name."""

    def of(name: str) -> Any:
        return random_language_model(**OWN[name]) if name in OWN else from_module(tiny(name).double())

    return of


def assert_near(found: Tensor | None, expected: Tensor, exact: float) -> None:
    """Within a share of the largest number, and -inf where it is expected."""
    assert found is not None
    largest = float(expected[expected.isfinite()].abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=exact * max(1.0, largest))


def assert_answers_are_those_of_run(subject: Any, exact: float) -> None:
    tokens, at = ids(subject.shape.d_vocab), [5, 2]
    watch = dict.fromkeys(("attn_out", "resid_post", "attention"), itself)
    trace = subject.run(tokens, watch, logits=True)
    model = passes_of(subject)
    for replaced in (model.start, {}):
        answers = model.run(replaced, tokens, (-1, 2), ALL)
        assert_near(answers.logits, trace.output[:, at], exact)
        for site in ("attn_out", "resid_post"):
            assert_near(getattr(answers, site), torch.stack(trace.values[site])[:, :, at], exact)
        scores = torch.stack([one.scores() for one in trace.values["attention"]])[..., at, :]
        assert_near(answers.scores, scores, exact)
    only = model.run(model.start, tokens)
    assert set(only[1:]) == {None}
    assert_near(only.logits, trace.output[:, -1:], exact)


@pytest.mark.parametrize("name", [*OWN, *FAMILIES])
def test_its_own_parameters_give_its_own_answers(name: str, make: Callable[[str], Any]) -> None:
    assert_answers_are_those_of_run(make(name), 1e-12)


def test_so_they_do_in_float32_and_in_stories260k(tiny: Make, random_language_model: Make) -> None:
    single = random_language_model()
    single.module.float()
    assert_answers_are_those_of_run(single, 1e-5)
    assert_answers_are_those_of_run(from_module(tiny("gpt2")), 1e-5)
    if STORIES.exists():
        assert_answers_are_those_of_run(load(str(STORIES)), 1e-5)


@pytest.mark.parametrize("name", ["mlp, rotary", "gpt2", "gpt_neox", "llama"])
def test_other_parameters_are_those_of_a_model_that_has_them(name: str, make: Callable[[str], Any]) -> None:
    subject, other = make(name), make(name)
    model, tokens = passes_of(subject), ids(11)
    replaced = moved(model)
    places = other.key_value_places()
    written = places.write(replaced, dict(other.module.named_parameters()))
    with torch.no_grad():
        for name_, tensor in written.items():
            other.module.get_parameter(name_).copy_(tensor)
    found = model.run(replaced, tokens).logits[:, 0]
    torch.testing.assert_close(found, other.run(tokens, logits=True).output[:, -1], rtol=1e-12, atol=1e-12)
    assert (found - model.run({}, tokens).logits[:, 0]).abs().max() > 1e-3
    one = {"L1.W_V": replaced["L1.W_V"]}  # what is left out is the model's
    assert torch.equal(model.run(one, tokens).logits, model.run({**model.start, **one}, tokens).logits)


@pytest.mark.parametrize("parameters", ["keys and values", "all"])
@pytest.mark.parametrize("name", ["mlp, rotary", "gated, rms, sinusoidal", "gpt2", "gpt_neox"])
def test_gradients_are_finite_differences(name: str, parameters: Any, make: Callable[[str], Any]) -> None:
    model, tokens = passes_of(make(name), parameters=parameters), ids(11)
    start = moved(model, 0.05)
    direction = {name: x - start[name] for name, x in moved(model, 0.05, seed=2).items()}

    def value(parameters: dict[str, Tensor]) -> Tensor:
        answers = model.run(parameters, tokens, (-1, 3), ALL)
        attn_out, resid_post, scores = answers[1:4]
        seen = scores.where(scores.isfinite(), 0.0)
        return answers.logits.logsumexp(-1).sum() + attn_out.sin().sum() + resid_post.cos().sum() + seen.tanh().sum()

    gradients = model.gradient(value, start)
    along = sum((gradients[name] * direction[name]).sum() for name in start)
    step = 1e-5
    ahead, back = (value({n: x + sign * step * direction[n] for n, x in start.items()}) for sign in (1, -1))
    torch.testing.assert_close(along, (ahead - back) / (2 * step), rtol=1e-5, atol=1e-7)
    assert model.together
    model.__dict__["together"] = False  # by plain autograd
    for name_, gradient in model.gradient(value, start).items():
        torch.testing.assert_close(gradient, gradients[name_], rtol=1e-12, atol=1e-12)


def test_answers_have_gradients_whatever_the_caller_does(make: Callable[[str], Any]) -> None:
    model = passes_of(make("attention only"))
    with torch.no_grad():
        answers = model.run({name: x.requires_grad_() for name, x in model.start.items()}, ids(11), (-1,), ALL)
        assert all(answer.requires_grad for answer in answers[:4])
        assert model.layer_logits(answers.resid_post).requires_grad
    assert not model.run(model.start, ids(11)).logits.requires_grad


def layer_gradients(model: Differentiable, start: dict[str, Tensor], tokens: Tensor, cut: bool) -> dict[str, Tensor]:
    """Of the sum over layers of each layer's own answers."""

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        resid_post = model.run(parameters, tokens, watch=("resid_post",), cut=cut).resid_post
        return model.layer_logits(resid_post).log_softmax(-1)[..., 0].sum()

    return model.gradient(loss, start)


@pytest.mark.parametrize("name", [*OWN, *FAMILIES])
def test_cut_gradients_stay_in_their_layer(name: str, make: Callable[[str], Any]) -> None:
    subject = make(name)
    model, tokens = passes_of(subject), ids(11)
    other = {name: x + 0.3 * name.startswith("L1.") for name, x in model.start.items()}
    for cut in (True, False):
        own, beside = (layer_gradients(model, start, tokens, cut) for start in (model.start, other))
        for role in "KV":
            change = (own[f"L0.W_{role}"] - beside[f"L0.W_{role}"]).abs().max()
            assert (change == 0) if cut else (change > 1e-6), role
            assert own[f"L0.W_{role}"].abs().max() > 0
            assert (own[f"L1.W_{role}"] - beside[f"L1.W_{role}"]).abs().max() > 0
    answers = model.run(model.start, tokens, watch=("resid_post",), cut=True)
    last = model.layer_logits(answers.resid_post[-1])  # a cut changes gradients, never answers
    for expected in (answers.logits, model.run(model.start, tokens).logits):
        torch.testing.assert_close(last, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp, rotary", "gpt2", "llama", "gemma2", "bloom"])
def test_many_tasks_are_as_one_after_the_other(name: str, make: Callable[[str], Any], monkeypatch: Any) -> None:
    model = passes_of(make(name))
    tokens = torch.stack([ids(11, batch=2, seed=seed) for seed in range(3)])
    starts = [moved(model, seed=seed) for seed in range(3)]
    stacked = {name: torch.stack([start[name] for start in starts]) for name in model.start}

    def of_one(parameters: Any, tokens: Tensor) -> Any:
        answers = model.inside(parameters, tokens, (-1,), ALL, cut=True)
        gradient = model.gradient(lambda own: model.inside(own, tokens).logits.logsumexp(-1).sum(), parameters)
        return answers[:4], gradient

    assert model.together == (name != "bloom")  # which has an activation without a rule for tasks
    expected = [of_one(start, some) for start, some in zip(starts, tokens, strict=True)]
    for at_once in (3, 2):
        monkeypatch.setattr(Differentiable, "at_once", lambda self, n_tokens, at_once=at_once: at_once)
        answers, gradients = model.of_tasks(of_one, 12, stacked, tokens)
        for task, (own_answers, own_gradients) in enumerate(expected):
            for found, own in zip(answers, own_answers, strict=True):
                torch.testing.assert_close(found[task], own, rtol=1e-6, atol=1e-6)
            for parameter, own in own_gradients.items():
                torch.testing.assert_close(gradients[parameter][task], own, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["mlp, rotary", "gpt2", "bloom"])
def test_tasks_have_parameters_and_sequences_of_their_own(name: str, make: Callable[[str], Any]) -> None:
    model = passes_of(make(name))
    tokens = torch.stack([ids(11, batch=2, seed=seed) for seed in range(3)])
    starts = [moved(model, seed=seed) for seed in range(3)]
    stacked = {name: torch.stack([start[name] for start in starts]) for name in model.start}
    for watch in (ALL, ("resid_post",), ()):
        answers = model.run_tasks(stacked, tokens, (-1, 2), watch)
        for task, start in enumerate(starts):
            alone = model.run(start, tokens[task], (-1, 2), watch)
            for found, own in zip(answers, alone, strict=True):
                assert (found is None) == (own is None)
                if own is not None:
                    torch.testing.assert_close(found[task], own, rtol=1e-6, atol=1e-6)
    with pytest.raises(TaskError, match="token 99 is not in the vocabulary"):
        model.run_tasks(stacked, torch.full((3, 1, 2), 99))


def test_tasks_run_together_as_memory_allows(make: Callable[[str], Any]) -> None:
    model = passes_of(make("attention only"))
    own = 4 * sum(x.numel() for x in model.start.values())
    assert model.at_once(10) == 2**27 // (own + 36 * 2 * 6 * 10 + 4 * model.subject.shape.d_vocab)
    assert model.at_once(10**9) == 1


@pytest.mark.parametrize("name", ["mlp, rotary", "gpt2", "llama"])
@pytest.mark.parametrize("parameters", ["keys and values", "all"])
def test_the_model_stays_as_it_was(name: str, parameters: Any, make: Callable[[str], Any]) -> None:
    subject = make(name)
    before = {name: x.clone() for name, x in subject.module.state_dict().items()}
    objects = dict(subject.module.named_parameters())
    model = passes_of(subject, parameters=parameters)
    for tensor in model.start.values():
        tensor.add_(1)  # whoever steps in place steps on copies
    layer_gradients(model, model.start, ids(11), cut=True)
    model.run(moved(model), ids(11), (-1,), ALL)
    assert model.together

    def fails(states: Tensor, **_: Any) -> Any:
        raise ZeroDivisionError

    subject.unembed, own = fails, subject.unembed
    with pytest.raises(ZeroDivisionError):
        model.run(moved(model), ids(11))
    subject.unembed = own
    assert weights_sha256(subject.module.state_dict()) == weights_sha256(before)
    for name_, parameter in subject.module.named_parameters():
        assert parameter is objects[name_]
        assert parameter.grad is None
        assert not parameter.requires_grad
    for part in subject.module.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
        assert "forward" not in vars(part)


def test_all_parameters_are_the_modules_and_tied_ones_are_one(make: Callable[[str], Any]) -> None:
    subject = make("gpt2")
    model, tokens = passes_of(subject, parameters="all"), ids(53)
    assert set(model.start) | {"lm_head.weight"} == {name for name, _ in subject.module.named_parameters()}
    assert "lm_head.weight" not in model.start  # tied to the embeddings
    assert model.in_layers == {name for name in model.start if name.startswith("transformer.h.")}
    doubled = {"transformer.wte.weight": 2 * model.start["transformer.wte.weight"]}
    found = model.run(doubled, tokens).logits[:, 0]
    with torch.no_grad():
        subject.module.transformer.wte.weight.mul_(2)
    torch.testing.assert_close(found, subject.run(tokens, logits=True).output[:, -1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["attention-only", "gpt2", "llama"])
def test_half_precision_is_computed_in_float32(name: str, tiny: Make, random_language_model: Make) -> None:
    half = random_language_model() if name == "attention-only" else from_module(tiny(name))
    half.module.to(torch.bfloat16)
    module = copy.deepcopy(half.module).float()
    wide = type(half)(module, half.source)
    answers, tokens = passes_of(half).run({}, ids(11), (-1,), ALL), ids(11)
    expected = passes_of(wide).run({}, tokens, (-1,), ALL)
    for found, own in zip(answers[:4], expected[:4], strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, own, rtol=1e-5, atol=1e-5)
    assert {x.dtype for x in passes_of(half).start.values()} == {torch.float32}
    assert {x.dtype for x in half.module.parameters()} == {torch.bfloat16}
    assert passes_of(half).together
    assert passes_of(half).no_cut is None


@pytest.mark.parametrize("name", ["attention-only", "gpt2", "llama"])
def test_float64_where_it_is_asked(name: str, tiny: Make, random_language_model: Make) -> None:
    coarse = random_language_model() if name == "attention-only" else from_module(tiny(name))
    coarse.module.float()
    fine = type(coarse)(copy.deepcopy(coarse.module).double(), coarse.source)
    model, tokens = passes_of(coarse, least=torch.float64), ids(11)
    pair = (passes.run({}, tokens, (-1,), ALL)[:4] for passes in (model, passes_of(fine)))
    for found, own in zip(*pair, strict=True):
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, own, rtol=1e-6, atol=1e-7)  # rotations and norms may stay in float32
    assert {x.dtype for x in model.start.values()} == {torch.float64}
    assert {x.dtype for x in coarse.module.parameters()} == {torch.float32}
    assert model.together
    assert model.no_cut is None


def test_there_is_no_dropout(tiny: Make) -> None:
    dropping = tiny("gpt2", resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5).train()
    model = passes_of(from_module(dropping))
    assert torch.equal(model.run({}, ids(11)).logits, model.run({}, ids(11)).logits)


def test_models_that_cannot_say_why(tiny: Make, random_language_model: Make, subject_of: Make) -> None:
    def logits(tokens: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(tokens, 5).float()

    import transformers

    headless = transformers.GPT2Model(transformers.GPT2Config(vocab_size=53, n_embd=32, n_layer=2, n_head=4))
    for subject, words in (
        (subject_of("bert"), "bidirectional"),
        (random_language_model(causal=False), "bidirectional"),
        (random_language_model(d_vocab_out=0), "no unembedding"),
        (random_language_model(d_vocab_out=4), "4 outputs, which are not those of its 11 tokens"),
        (from_module(headless), "no head"),
        (subject_of("deepseek_v3"), "not products of one matrix each"),
        (from_language_model(logits, d_vocab=5), "cannot replace its parameters"),
    ):
        refused = differentiable(subject)
        assert isinstance(refused, NotApplicable), words
        assert words in refused.reason


def test_layers_that_are_not_read_out_alone_have_no_cut(make: Callable[[str], Any], monkeypatch: Any) -> None:
    subject = make("gpt2")
    monkeypatch.setattr(subject, "normed", lambda state: state)
    model = passes_of(subject)
    assert isinstance(model.no_cut, NotApplicable)
    with pytest.raises(UsageError, match="layers cannot be read out: final norm and unembedding of the last layer"):
        model.layer_logits(torch.zeros(3, 32, dtype=torch.float64))


def test_wrong_names_tokens_and_positions_are_refused(make: Callable[[str], Any], monkeypatch: Any) -> None:
    model = passes_of(make("attention only"))
    with pytest.raises(UsageError, match=r"'L9\.W_K' is no parameter that can be replaced; did you mean"):
        model.run({"L9.W_K": model.start["L0.W_K"]}, ids(11))
    with pytest.raises(TaskError, match="token 99 is not in the vocabulary"):
        model.run({}, torch.tensor([[99]]))
    with pytest.raises(TaskError, match="position 6 of sequences of 6 tokens; expected -6 to 5"):
        model.run({}, ids(11), (6,))
    monkeypatch.setattr(type(model.subject), "not_shown", {"attn_out": "it is hidden"})
    with pytest.raises(UsageError, match="attn_out of tiny is not shown: it is hidden"):
        model.run({}, ids(11), watch=("attn_out",))
