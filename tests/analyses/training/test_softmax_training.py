"""Training softmax layers: the stated loss, one gradient a seed, and the same bytes whatever comes between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope.analyses import SoftmaxRecipe
from mesascope.analyses.training import training
from mesascope.analyses.training.objectives import initial, objective, unflatten
from mesascope.analyses.training.recipes import RECIPES
from mesascope.analyses.training.training import train
from mesascope.analyses.training.training_run import TrainingRun
from mesascope.data.batch import generator
from mesascope.models import SoftmaxLayer, load_all
from mesascope.models.opening.catalogue import read_header
from mesascope.models.own.plain_pass import plain_softmax_regression

TINY = SoftmaxRecipe(
    name="tiny",
    summary="a few steps on short documents",
    model={"output_scale": 2.0},
    tasks={"n_tokens": 6, "d_in": 3},
    checkpoint_steps=(0, 4, 12),
    seeds=(0, 7),
    batch_size=8,
)


def test_the_loss_is_half_the_squared_error_of_fresh_tasks() -> None:
    run = TrainingRun.start(TINY)
    losses, _ = objective(TINY, run.weights)(3)
    for seed, loss in zip(TINY.seeds, losses, strict=True):
        weights = {name: weight.detach().double().numpy() for name, weight in initial(TINY, seed).items()}
        A, b = TINY.family.draw(8, generator(seed, "training tasks", 3), torch.float32)
        predictions = plain_softmax_regression(TINY.config, weights, A.double().numpy(), b.double().numpy())
        assert float(loss) == pytest.approx(0.5 * np.sum((predictions - b.numpy()) ** 2, axis=1).mean(), rel=1e-5)


def test_each_seed_has_its_own_gradient() -> None:
    run = TrainingRun.start(TINY)
    run.weights.mul_(20)
    _, gradient = objective(TINY, run.weights)(0)
    for row, seed in enumerate(TINY.seeds):
        A, b = TINY.family.draw(8, generator(seed, "training tasks", 0), torch.float32)
        named = {name: weights[row] for name, weights in unflatten(TINY.config, run.weights).items()}
        layer = SoftmaxLayer(TINY.config, named).requires_grad_()
        loss = 0.5 * (layer(A, b) - b).square().sum(dim=1).mean()
        alone = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(layer.parameters()))])
        torch.testing.assert_close(gradient[row], alone, rtol=1e-4, atol=1e-7)


def test_a_broken_off_training_ends_in_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(TINY, tmp_path / "whole").read_bytes()
    monkeypatch.setattr(training, "REPORT_EVERY", 1)

    def stop(stage: str, fraction: float) -> None:
        if fraction >= 0.5:
            raise RuntimeError(stage)

    monkeypatch.setattr(training, "SAVE_EVERY", 3)
    with pytest.raises(RuntimeError):
        train(TINY, tmp_path / "part", progress=stop)
    assert train(TINY, tmp_path / "part").read_bytes() == whole
    assert train(replace(TINY, model={"output_scale": 3.0}), tmp_path / "other").read_bytes() != whole


def test_a_training_learns(tmp_path: Path) -> None:
    recipe = replace(TINY, checkpoint_steps=(0, 600), learning_rate=3e-2, batch_size=64)
    for first, last in read_header(train(recipe, tmp_path / "x")).record["training_loss"].values():
        assert last < 0.5 * first


def test_the_shipped_layers_were_trained_on_the_stated_tasks() -> None:
    recipe = RECIPES["softmax-attention-1layer"]
    for subject in load_all("softmax-attention-1layer", "step5000"):
        tasks = recipe.family.sample(400, seed=5)
        predictions = subject.predict(tasks.inputs.float(), tasks.targets.float())  # type: ignore[attr-defined]
        loss = float(0.5 * (predictions - tasks.targets).square().sum(dim=1).mean())
        recorded = subject.source.record["training_loss"][f"seed{subject.source.seed}"][-1]
        assert loss == pytest.approx(recorded, rel=0.3)
