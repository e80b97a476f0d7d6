"""Patches of whole models: a prompt without demonstrations is answered as with them, and numbers are those of loops
over matrices that are written out.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import LabelMapping
from mesascope.data.few_shot.generated import generated_tasks
from mesascope.models import NotApplicable, from_module, load
from mesascope.models.differentiable import Differentiable
from mesascope.models.mlp_reading import MlpReading
from mesascope.models.weights import weights_sha256
from mesascope.probes.few_shot.prompts import prompts_of
from mesascope.probes.icl_vs_gd.asked import Asked
from mesascope.probes.icl_vs_gd.given import asked
from mesascope.probes.icl_vs_gd.patch import Patch
from mesascope.probes.icl_vs_gd.patch_measures import patch_measures
from mesascope.probes.icl_vs_gd.patches import identity_error, patch_numbers, patching, patching_untrained
from mesascope.probes.icl_vs_gd.rules import demo_loss, grouped
from torch import Tensor, nn

SHARED = Path(os.environ.get("MESASCOPE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
STORIES = SHARED / "stories260k"
GATED = {"gated_mlp": True, "norm": "rms", "activation": "silu"}
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
Make = Callable[..., Any]


def patched(subject: Any) -> Differentiable:
    model = patching(subject)
    assert isinstance(model, Differentiable)
    return model


def last(x: Tensor, layer: int) -> Tensor:
    return x[0, -1]


def assert_the_context_is_a_patch(subject: Any, in_context: list[int], zero_shot: list[int]) -> None:
    """In every layer, with the module's own parameters replaced by hand."""
    places, module = subject.mlp_reading(), subject.module
    long = subject.run(torch.tensor([in_context]), {"resid_mid": last, "mlp_out": last}).values
    short = subject.run(torch.tensor([zero_shot]), {"resid_mid": last, "mlp_out": last}).values
    for layer in range(subject.shape.n_layers):
        parameters = {name: x.detach().clone() for name, x in module.named_parameters()}
        matrices = places.read(parameters)
        name = list(matrices)[layer]
        a, a_0 = (places.input(x["resid_mid"][layer], layer)[None] for x in (long, short))
        matrices[name] = matrices[name] + Patch.of(a, a_0, matrices[name]).matrices()[0]
        load_into(module, places.write(matrices, parameters))
        found = subject.run(torch.tensor([zero_shot]), {"mlp_out": last}).values["mlp_out"][layer]
        load_into(module, parameters)
        exact = 1e-12 if found.dtype == torch.float64 else 1e-5
        torch.testing.assert_close(found, long["mlp_out"][layer], rtol=exact, atol=exact)
        assert (short["mlp_out"][layer] - found).abs().max() > 1e-3


def load_into(module: nn.Module, parameters: dict[str, Tensor]) -> None:
    own = dict(module.named_parameters())
    for name, x in parameters.items():
        own[name].data.copy_(x)


@PRECISIONS
@pytest.mark.parametrize("settings", [{}, GATED, {"norm": "none", "activation": "relu"}], ids=str)
def test_patched_an_own_model_answers_without_the_context_as_with_it(
    settings: Any, dtype: torch.dtype, random_model: Make
) -> None:
    subject = copy.deepcopy(random_model(dtype=dtype, **settings).subject)
    assert_the_context_is_a_patch(subject, [15, 1, 10, 2, 11, 3], [15, 3])


@PRECISIONS
@pytest.mark.parametrize("family", ["GPT2", "Phi3"])
def test_so_does_a_model_of_transformers(family: str, dtype: torch.dtype) -> None:
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 53}
    sizes |= {"num_key_value_heads": 2} if family == "Phi3" else {"n_positions": 16}
    of_kind = getattr(transformers, f"{family}{'LMHeadModel' if family == 'GPT2' else 'ForCausalLM'}")
    config = of_kind.config_class(**sizes, intermediate_size=24, max_position_embeddings=16, initializer_range=0.3,
                                  bos_token_id=0, eos_token_id=0, pad_token_id=0)  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = of_kind(config).to(dtype).eval()
    assert_the_context_is_a_patch(from_module(module), [0, 7, 9, 21, 40, 5], [0, 5])


@pytest.mark.skipif(not STORIES.exists(), reason="no shared data beside the repository")
@PRECISIONS
def test_so_does_a_pretrained_model_in_five_layers(dtype: torch.dtype) -> None:
    module: Any = load(str(STORIES)).module  # type: ignore[attr-defined]
    subject = from_module(module.to(dtype))
    assert subject.shape.n_layers == 5
    assert_the_context_is_a_patch(subject, [1, 306, 403, 317, 260, 411], [1, 411])


def by_loops(model: Differentiable, task: Asked, labels: str | None) -> dict[str, list[float]]:
    """Of one task, from matrices that are written out; the gradient by the module's own parameters."""
    subject: Any = model.subject
    places, own = subject.mlp_reading(), dict(subject.module.named_parameters())
    demos = task.other["true"] if labels is None else task.given[labels].demos  # type: ignore[index]
    leaves = {name: own[name].detach().clone().requires_grad_() for name in ("W_in", "W_gate") if name in own}
    whole = Differentiable(subject, "all", subject.key_value_places())
    loss = sum(demo_loss(whole, leaves, grouped([demo])) for demo in demos) / len(demos)
    slopes = places.read(dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True)))  # type: ignore[arg-type]
    found: dict[str, list[float]] = {"size": [], "overlap": [], "along": []}
    for layer, (name, W) in enumerate(places.read(own).items()):
        matrices = []
        for query, prompt in enumerate(task.zero_shot):
            a, a_0 = (
                places.input(subject.run(torch.tensor([tokens]), {"resid_mid": last}).values["resid_mid"][layer], layer)
                for tokens in (task.given["true"].in_context[query], prompt)
            )
            matrices.append(torch.outer(a_0, (a - a_0) @ W) / a_0.dot(a_0))
        n = range(len(matrices))
        found["size"].append(float(np.mean([float(M.norm() / W.norm()) for M in matrices])))
        found["overlap"].append(float(np.mean([cosine(matrices[i], matrices[j]) for i in n for j in n if i != j])))
        found["along"].append(float(np.mean([cosine(M, -slopes[name]) for M in matrices])))
    return found


def cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


@pytest.mark.parametrize("settings", [{}, GATED], ids=str)
def test_numbers_are_those_of_matrices_written_out(settings: Any, random_model: Make, made_up: Make) -> None:
    subject = random_model(**settings).subject
    tasks = made_up(3, uneven=True)
    found = patch_numbers(patched(subject), tasks)
    for n, task in enumerate(tasks):
        expected = {labels: by_loops(patched(subject), task, labels) for labels in ("true", "shuffled", None)}
        np.testing.assert_allclose(found["patch_size"][n], expected["true"]["size"], rtol=1e-10)
        np.testing.assert_allclose(found["patch_overlap"][n], expected["true"]["overlap"], rtol=1e-10)
        for what, labels in (("true labels", "true"), ("shuffled labels", "shuffled"), ("other", None)):
            along = found["patch_along_gradient"][what][n]
            np.testing.assert_allclose(along, expected[labels]["along"], rtol=1e-9, atol=1e-12)


def test_a_patch_along_the_gradient_step_lowers_the_loss(random_model: Make, made_up: Make) -> None:
    """By a difference: its slope along the patch is minus the cosine, times the gradient's length."""
    model = patched(random_model().subject)
    (task,) = made_up(1, n_queries=1)
    along = patch_numbers(model, [task])["patch_along_gradient"]["true labels"][0]
    (with_context, without) = (
        model.run({}, torch.tensor(prompts), watch=("mlp_in",)).mlp_in
        for prompts in (task.given["true"].in_context, task.zero_shot)
    )
    assert with_context is not None
    assert without is not None
    groups = grouped(task.given["true"].demos)
    slopes = model.gradient(lambda own: demo_loss(model, own, groups), model.start)
    for layer, (name, W) in enumerate(model.start.items()):
        dW = Patch.of(with_context[layer, :, 0], without[layer, :, 0], W).matrices()[0]
        ahead, behind = (demo_loss(model, {name: W + way * dW / dW.norm()}, groups).item() for way in (1e-5, -1e-5))
        expected = -along[layer] * float(slopes[name].norm())
        assert (ahead - behind) / 2e-5 == pytest.approx(expected, rel=1e-5)


def test_tasks_do_not_depend_on_those_beside_them(random_model: Make, made_up: Make) -> None:
    model, tasks = patched(random_model().subject), made_up(4, uneven=True)
    fewer = {name: replace(own, in_context=own.in_context[:2]) for name, own in tasks[2].given.items()}
    tasks[2] = replace(tasks[2], queries=tasks[2].queries[:2], given=fewer)
    together = patch_numbers(model, tasks)
    for n, task in enumerate(tasks):
        alone = patch_numbers(model, [task])
        np.testing.assert_allclose(alone["patch_overlap"][0], together["patch_overlap"][n], rtol=1e-12)
        for what, own in alone["patch_along_gradient"].items():
            np.testing.assert_allclose(own[0], together["patch_along_gradient"][what][n], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("left", [0, 1e-12])
def test_where_demonstrations_change_nothing_there_is_a_size_of_0_and_no_cosine(
    left: float, random_model: Make, made_up: Make
) -> None:
    subject = copy.deepcopy(random_model().subject)
    subject.module.W_O.data[0] *= left  # the first layer's attention writes b_O alone, and perhaps what is rounding
    before = weights_sha256(subject.module.state_dict())
    numbers = patch_numbers(patched(subject), made_up(3))
    assert weights_sha256(subject.module.state_dict()) == before
    assert np.abs(numbers["patch_size"][:, 0]).max() <= 10 * left
    assert np.isnan(numbers["patch_overlap"][:, 0]).all()
    measures = patch_measures(numbers, 0)
    for measure in (measures["patch_overlap"], measures["patch_along_gradient"].sel(between="other")):
        assert np.isnan(measure.values).tolist() == [True, False]
        assert measure.message.startswith("no number in layer 0: ")
    assert np.isfinite(measures["patch_size"].values).all()
    subject.module.W_O.data[1] *= left
    nothing = patch_measures(patch_numbers(patched(subject), made_up(3)), 0)
    assert nothing["patch_overlap"].status == "undefined"
    assert nothing["patch_along_gradient"].sel(between="true labels").status == "undefined"
    assert nothing["patch_size"].values == pytest.approx([0, 0], abs=10 * left)


def test_measures_are_means_over_tasks_with_intervals(random_model: Make, made_up: Make) -> None:
    tasks = made_up(6)
    numbers = patch_numbers(patched(random_model().subject), tasks)
    measures = patch_measures(numbers, 0)
    assert (measures["patch_size"].unit, measures["patch_overlap"].unit) == ("ratio", "cosine")
    for name in ("patch_size", "patch_overlap"):
        assert measures[name].axes == ("layer",)
        np.testing.assert_allclose(measures[name].values, numbers[name].mean(axis=0), rtol=1e-12)
    along = measures["patch_along_gradient"]
    assert along.axes == ("between", "layer")
    assert along.coords["between"] == ("true labels", "shuffled labels", "other")
    for what, own in numbers["patch_along_gradient"].items():
        one = along.sel(between=what)
        np.testing.assert_allclose(one.values, own.mean(axis=0), rtol=1e-12)
        assert (one.interval[0] < one.values).all()
        assert (one.replicate, one.n) == ("task", 6)
    without = patch_numbers(patched(random_model().subject), [replace(task, other={}) for task in tasks])
    assert list(without["patch_along_gradient"]) == ["true labels", "shuffled labels"]


def test_untrained_models_stand_beside_each_number(random_model: Make, made_up: Make) -> None:
    tasks, subject = made_up(4), random_model().subject
    model = patched(subject)
    drawn = [patch_numbers(patching_untrained(model, subject.untrained(seed)), tasks) for seed in (0, 1)]
    for seed, own in enumerate(drawn):
        alone = patch_numbers(patched(subject.untrained(seed)), tasks)
        assert np.array_equal(own["patch_overlap"], alone["patch_overlap"])
    measures = patch_measures(patch_numbers(model, tasks), 0, drawn)
    for name in ("patch_size", "patch_overlap"):
        expected = [own[name].mean(axis=0) for own in drawn]
        np.testing.assert_allclose(measures[name].nulls["untrained"], expected, rtol=1e-12)
    other = measures["patch_along_gradient"].sel(between="other").nulls["untrained"]
    np.testing.assert_allclose(other, [own["patch_along_gradient"]["other"].mean(axis=0) for own in drawn], rtol=1e-12)
    drawn[1]["patch_overlap"][:, 0] = np.nan
    (_, second) = patch_measures(patch_numbers(model, tasks), 0, drawn)["patch_overlap"].nulls["untrained"]
    assert np.isnan(second).tolist() == [True, False]


@pytest.fixture
def label_mapping() -> Callable[..., list[Asked]]:
    """Tasks of the law that the shipped recipes of label mappings have."""

    def of(subject: Any, n: int) -> list[Asked]:
        own = LabelMapping.recorded(subject.source.record, subject.shape.d_vocab)
        tasks = generated_tasks("label-mapping", range(subject.shape.d_vocab), n, 4, 4, 0, own=own).tasks
        return asked(tasks, lambda some: prompts_of(subject, some), 0)

    return of


def test_a_model_of_label_frequencies_has_one_patch_for_all_queries(label_mapping: Callable[..., list[Asked]]) -> None:
    """It goes some way down the gradient, and as far with half of the labels wrong; another task's has none of it."""
    subject = load("noise-mapping")
    numbers = patch_numbers(patched(subject), label_mapping(subject, 12))
    assert numbers["patch_overlap"].mean(axis=0).min() > 0.97
    along = {what: own.mean(axis=0) for what, own in numbers["patch_along_gradient"].items()}
    assert along["true labels"].min() > 0.1
    assert np.abs(along["true labels"] - along["shuffled labels"]).max() < 0.02
    assert np.abs(along["other"]).max() < 0.06


def test_a_model_that_learns_in_context_has_patches_across_the_gradient(
    label_mapping: Callable[..., list[Asked]],
) -> None:
    subject = load("icl-mapping")
    numbers = patch_numbers(patched(subject), label_mapping(subject, 12))
    size, overlap = (numbers[name].mean(axis=0) for name in ("patch_size", "patch_overlap"))
    assert size == pytest.approx([0.24, 0.53], abs=0.15)
    assert overlap[0] < 0.9 < overlap[1]
    assert np.abs(numbers["patch_along_gradient"]["true labels"].mean(axis=0)).max() < 0.1


def test_labels_of_demonstrations_enter_through_the_gradient_alone(random_model: Make, made_up: Make) -> None:
    """Of demonstrations that are as they were, shuffled ones have the same numbers."""
    model, (task,) = patched(random_model().subject), made_up(1)
    same = replace(
        task, given={**task.given, "shuffled": replace(task.given["shuffled"], demos=task.given["true"].demos)}
    )
    first, second = (patch_numbers(model, [one])["patch_along_gradient"] for one in (task, same))
    assert np.array_equal(second["true labels"], second["shuffled labels"])
    assert np.array_equal(first["true labels"], second["true labels"])
    assert np.abs(first["shuffled labels"] - first["true labels"]).min() > 1e-4


def test_models_whose_mlps_read_otherwise_are_left_out_in_words(random_model: Make) -> None:
    attention_only = patching(random_model(d_mlp=None).subject)
    assert isinstance(attention_only, NotApplicable)
    assert "has no MLPs" in attention_only.reason
    found = patch_measures(attention_only, 0)
    assert list(found) == ["patch_size", "patch_overlap", "patch_along_gradient"]
    assert all((one.status, one.message) == ("not applicable", attention_only.reason) for one in found.values())


@pytest.mark.parametrize("mistake", ["without its norm", "of the gate alone"])
def test_a_wrong_reading_does_not_pass_the_identity(
    mistake: str, random_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = random_model(**GATED).subject
    assert identity_error(patched(subject)) < 1e-13
    reading: Any = subject.mlp_reading()
    if mistake == "without its norm":
        monkeypatch.setattr(reading, "_norm", lambda layer: lambda x: x)
    else:
        reading._names = ("W_gate",)
    assert isinstance(reading, MlpReading)
    monkeypatch.setattr(subject, "mlp_reading", lambda: reading)
    found = patching(subject)
    assert isinstance(found, NotApplicable)
    assert "patched, they do not answer as with the context" in found.reason
