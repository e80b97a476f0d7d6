"""The cases of `test_contract.py`: for each probe models that show its mechanism and models that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mesascope import analyses, models, probes
from mesascope.data import CopyTask, LabelMapping, LinearRegression, SoftmaxRegression
from mesascope.data.few_shot.generated import generated_tasks
from mesascope.models.constructed.copied_labels import copying_transformer
from mesascope.models.constructed.induction import induction_circuit, near_misses
from mesascope.models.constructed.norms import planted_norms
from mesascope.models.own.softmax_layer import SoftmaxLayerConfig, initialise_softmax_layer
from mesascope.probes import Probe
from mesascope.probes.attention_learning.probe import AttentionLearning
from mesascope.probes.deep_features.probe import DeepFeatures
from mesascope.probes.few_shot_heads.probe import FewShotHeads
from mesascope.probes.icl_algorithm.probe import ICLAlgorithm
from mesascope.probes.icl_vs_gd.probe import ICLvsGD
from mesascope.probes.label_copying.probe import LabelCopying
from mesascope.probes.shift_battery.probe import ShiftBattery
from mesascope.probes.spectral_filter.probe import SpectralFilter


@dataclass(frozen=True)
class Case:
    """A probe, models for it, and what has to come out.

    probe:    given a folder for its inputs
    shows:    whether a report says that the mechanism is there
    gauges:   pairs of parameters whose sizes may be exchanged without changing the function
    compared: measures that a gauge or another batch size must not move
    agrees:   (report, model) -> the number that was measured, and the same by other means
    """

    probe: Callable[[Path], Probe]
    planted: Callable[[], models.Subject]
    absent: Callable[[], models.Subject]
    shows: Callable[[analyses.Report], bool]
    gauges: tuple[tuple[str, str], ...]
    compared: tuple[str, ...]
    agrees: Callable[[analyses.Report, Any], tuple[float, float]]


# -- gd-alignment: one step of gradient descent, written down ----------------------------------------------------------

N_CONTEXT, D_IN, RATE = 8, 3, 2.0


def one_step() -> models.Subject:
    return models.from_transformer(models.gd_transformer(N_CONTEXT, RATE, D_IN))


def fresh() -> models.Subject:
    config = models.RegressionConfig(d_in=D_IN, d_head=D_IN + 1)
    return models.from_transformer(models.initialise(config, 0.5, torch.Generator().manual_seed(0)))


def loss_of_a_step(report: analyses.Report, model: Any) -> tuple[float, float]:
    """0.5 (y - η/N Σ y_i x_i.x)², task by task in NumPy."""
    recipe = report.recipes["evaluation"]
    tasks = LinearRegression(**recipe["settings"]).sample(recipe["n"], recipe["seed"])
    tokens, targets = tasks.inputs.double().numpy(), tasks.targets.double().numpy()[:, 0]
    losses = []
    for task, target in zip(tokens, targets, strict=True):
        x, y, query = task[:-1, :D_IN], task[:-1, D_IN], task[-1, :D_IN]
        losses.append(0.5 * (target - RATE / N_CONTEXT * np.sum(y * (x @ query))) ** 2)
    return report.measures["loss_model"].estimate, float(np.mean(losses))


# -- gd-certificate: the same step, read off its weights ---------------------------------------------------------------


def covariance(folder: Path) -> str:
    np.save(folder / "covariance.npy", np.eye(D_IN))
    return str(folder / "covariance.npy")


def loss_of_the_written_step(report: analyses.Report, model: Any) -> tuple[float, float]:
    """Half of d (1 - 2 η + η² (N + d + 1) / N), for Gaussian inputs."""
    expected = 0.5 * D_IN * (1 - 2 * RATE + RATE**2 * (N_CONTEXT + D_IN + 1) / N_CONTEXT)
    return report.measures["expected_loss"].estimate, expected


# -- spectral-filter: the same step, as a function of eigenvalues ------------------------------------------------------


def mean_response_of_a_step(report: analyses.Report, model: Any) -> tuple[float, float]:
    """η times the mean eigenvalue in each bin; summed over bins."""
    means = report.measures["eigenvalue"].values
    return float(report.measures["response"].values[0].sum()), RATE * float(means.sum())


# -- shift-battery: the same step, on larger inputs --------------------------------------------------------------------


def answers_at_twice_the_scale(report: analyses.Report, model: Any) -> tuple[float, float]:
    """The slope of answers on labels, beside that of training: c² times as large."""
    response = report.measures["response_scale"].sel(candidate="model").values
    return float(response[3] / response[2]), 4.0


# -- implicit-weights: two steps, layer by layer -----------------------------------------------------------------------


def two_steps() -> models.Subject:
    return models.from_transformer(models.gd_transformer(N_CONTEXT, RATE, D_IN, n_layers=2))


def loss_of_two_steps(report: analyses.Report, model: Any) -> tuple[float, float]:
    """Task by task in NumPy."""
    recipe = report.recipes["evaluation"]
    tasks = LinearRegression(**recipe["settings"]).sample(recipe["n"], recipe["seed"])
    losses = []
    for task, target in zip(tasks.inputs.double().numpy(), tasks.targets.double().numpy()[:, 0], strict=True):
        x, y, w = task[:-1, :D_IN], task[:-1, D_IN], np.zeros(D_IN)
        for _ in range(2):
            w = w + RATE / N_CONTEXT * x.T @ (y - x @ w)
        losses.append(0.5 * (target - w @ task[-1, :D_IN]) ** 2)
    return float(report.measures["loss"].values[1]), float(np.mean(losses))


# -- deep-features: the same step, on the features of an embedding ----------------------------------------------------


def embedded_step() -> models.Subject:  # its features are the inputs themselves, its slot holds the label
    config = models.RegressionConfig(d_in=D_IN, d_head=D_IN + 1, d_embed=D_IN + 1)
    weights = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in config.shapes.items()}
    weights |= dict(models.gd_transformer(N_CONTEXT, RATE, D_IN).named_parameters(), W_E=torch.eye(D_IN + 1).double())
    return models.from_transformer(models.RegressionTransformer(config, weights))


def fresh_embedding() -> models.Subject:
    config, rng = models.RegressionConfig(d_in=D_IN, d_head=12, d_embed=12), torch.Generator().manual_seed(0)
    return models.from_transformer(models.initialise(config, 0.5, rng))


# -- label-copying: labels are copied, then the same step --------------------------------------------------------------


def copied_step() -> models.Subject:
    return models.from_transformer(copying_transformer(N_CONTEXT, RATE, D_IN))


def fresh_tokens_apart() -> models.Subject:
    apart = {"n_layers": 2, "tied": False, "token_order": "separate", "d_position": 4}
    config = models.RegressionConfig(d_in=D_IN, d_head=D_IN + 1, **apart)
    return models.from_transformer(models.initialise(config, 0.1, torch.Generator().manual_seed(0)))


# -- induction-heads: a circuit of a previous-token and an induction head ----------------------------------------------

SMALL = {"d_vocab": 24, "n_ctx": 24}


def learned_in_context(report: analyses.Report, model: Any) -> tuple[float, float]:
    """Every token but BOS is equally likely in the first repeat, and certain in the second."""
    return report.measures["in_context_learning_score"].estimate, float(np.log(SMALL["d_vocab"] - 1))


# -- softmax-regression: one gradient step, made by a softmax layer ----------------------------------------------------


def softmax_step() -> models.Subject:
    return models.from_softmax_layer(models.softmax_gradient_layer(N_CONTEXT, 4 * RATE, D_IN))


def fresh_softmax_layer() -> models.Subject:
    rng = torch.Generator().manual_seed(0)
    return models.from_softmax_layer(initialise_softmax_layer(SoftmaxLayerConfig(D_IN), 0.5, rng))


def loss_of_a_softmax_layer(report: analyses.Report, model: Any) -> tuple[float, float]:
    """0.5 |f - b|², task by task in NumPy: every query [a_i ; 0] attends to all tokens [a_j ; b_j]."""
    recipe = report.recipes["evaluation"]
    tasks = SoftmaxRegression(**recipe["settings"]).sample(recipe["n"], recipe["seed"])
    W_KQ, w_V = (weight.detach().numpy() for weight in (model.module.W_KQ, model.module.w_V))
    losses = []
    for A, b in zip(tasks.inputs.numpy(), tasks.targets.numpy(), strict=True):
        tokens = np.column_stack([A, b])
        scores = []
        for a in A:
            attended = np.exp(np.append(a, 0) @ W_KQ @ tokens.T)
            scores.append(len(A) * attended @ tokens @ w_V / attended.sum())
        f = np.exp(scores) / np.exp(scores).sum()
        losses.append(0.5 * np.sum((f - b) ** 2))
    return report.measures["loss_model"].estimate, float(np.mean(losses))


# -- token-norms: attention that rests on the first token --------------------------------------------------------------


def mean_embedding(report: analyses.Report, model: Any) -> tuple[float, float]:
    rows = model.embedding().detach().numpy()
    measured = report.measures["norm_rows_W_E"].sel(statistic="mean").estimate
    return measured, float(np.mean([np.sqrt(np.sum(row**2)) for row in rows]))


def some_tokens(folder: Path) -> str:
    """Twelve documents of independent tokens; token 0, BOS, is not drawn."""
    path = folder / "tokens.npy"
    np.save(path, np.random.default_rng(5).integers(1, 50, size=(12, 63)))
    return str(path)


# -- attention-learning: a model that copies by attention --------------------------------------------------------------

WORDS = 12


def copying() -> models.Subject:
    return models.from_copy_transformer(models.plant_copying(WORDS, WORDS, n_heads=2))


def anti_attention() -> models.Subject:
    return models.from_copy_transformer(models.plant_anti_attention(WORDS))


def agreement_of_attention_and_beta(report: analyses.Report, model: Any) -> tuple[float, float]:
    """Place by place: the log-odds of its word, given the mean of what both heads read out of each source."""
    recipe = report.recipes["evaluation"]
    agreed = []
    for words in CopyTask(**recipe["settings"]).sample(recipe["n"], recipe["seed"]).tokens:
        logits = model.read_out(words[None])[0].mean(dim=0).numpy()
        pattern = model.pattern(words[None])[0].mean(dim=0).numpy()
        for target, word in enumerate(words):
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            others = np.delete(p, word, axis=1).sum(axis=1)
            beta = np.log(p[:, word]) - np.log(others)
            agreed.append(beta[pattern[target].argmax()] == beta.max())  # one of twelve is the largest twentieth
    return report.measures["agreement_beta"].estimate, float(np.mean(agreed))


# -- few-shot-heads: an induction head that answers pairs to recall ----------------------------------------------------


def effect_of_copying(report: analyses.Report, model: Any) -> tuple[float, float]:
    """The copied label has probability g / (g + V - 2), g = e^20, and any other label 1 / (g + V - 2)."""
    g, others = np.exp(20.0), SMALL["d_vocab"] - 2
    effect = report.measures["indirect_effect"].sel(patch="own prompt").at(layer=1, head=0)
    return effect.estimate, float((g - 1) / (g + others))


# -- icl-vs-gd: a model that was trained to read labels off its prompt -------------------------------------------------


def accuracy_in_context(report: analyses.Report, model: Any) -> tuple[float, float]:
    """Among a task's labels: token by token from the tasks that the recipe names, in NumPy."""
    recipe = report.recipes["evaluation"]
    law = LabelMapping.recorded(model.source.record, model.shape.d_vocab)
    k, queries = (recipe["settings"][name] for name in ("k", "queries"))
    right = []
    for task in generated_tasks("label-mapping", range(law.d_vocab - 1), recipe["n"], k, queries, recipe["seed"], law):
        before = [law.bos, *(token for demo in task.demos for token in (*demo.input, *demo.output))]
        prompts = torch.tensor([[*before, *query.input] for query in task.queries])
        logits = model.run(prompts, logits=True).output[:, -1].numpy()
        labels = [label[0] for label in task.labels]
        chosen = [labels[place] for place in logits[:, labels].argmax(axis=1)]
        right.append(np.mean([label == query.output[0] for label, query in zip(chosen, task.queries, strict=True)]))
    return report.measures["accuracy"].sel(way="in context").estimate, float(np.mean(right))


CASES = {
    "attention-learning": Case(
        probe=lambda folder: AttentionLearning(n_sequences=12),
        planted=copying,
        absent=anti_attention,
        shows=lambda report: report.claim.badge == "Copies by attention",
        gauges=(("W_Q", "W_K"), ("W_V", "W_O")),
        compared=("task_accuracy", "attention_accuracy", "ktiw_accuracy", "agreement_beta", "head_agreement_beta"),
        agrees=agreement_of_attention_and_beta,
    ),
    "few-shot-heads": Case(
        probe=lambda folder: FewShotHeads(n_tasks=20, k=2, n_queries=2, random_sets=2),
        planted=lambda: induction_circuit(**SMALL),
        absent=lambda: near_misses(period=11, **SMALL),
        shows=lambda report: report.heads.get("L1H0") == "answer",
        gauges=(("W_Q", "W_K"), ("b_Q", "b_K"), ("W_V", "W_O")),
        compared=("indirect_effect", "total_effect", "group_excess", "accuracy_drop", "right_probability"),
        agrees=effect_of_copying,
    ),
    "deep-features": Case(
        probe=lambda folder: DeepFeatures(limit=60, n_context=N_CONTEXT),
        planted=embedded_step,
        absent=fresh_embedding,
        shows=lambda report: report.claim.badge == "A step of gradient descent on its features",
        gauges=(("W_V", "W_O"),),
        compared=("unexplained_share_feature_gd", "loss_attended_gd", "loss_feature_ridge", "linear_readout"),
        agrees=loss_of_a_step,
    ),
    "gd-alignment": Case(
        probe=lambda folder: probes.GDAlignment(limit=40, n_context=N_CONTEXT),
        planted=one_step,
        absent=fresh,
        shows=lambda report: report.measures["cosine_gd"].estimate > 0.999,
        gauges=(("W_Q", "W_O"),),
        compared=("cosine_gd", "loss_model", "prediction_difference_ridge"),
        agrees=loss_of_a_step,
    ),
    "gd-certificate": Case(
        probe=lambda folder: probes.GDCertificate(covariance=covariance(folder), n_context=N_CONTEXT),
        planted=one_step,
        absent=fresh,
        shows=lambda report: report.claim.badge.startswith("One step of gradient descent"),
        gauges=(("W_Q", "W_K"), ("W_V", "W_O"), ("W_Q", "W_O")),
        compared=("learning_rate", "form_distance_gd", "optimum_distance", "expected_loss"),
        agrees=loss_of_the_written_step,
    ),
    "icl-algorithm": Case(
        probe=lambda folder: ICLAlgorithm(limit=40, n_context=N_CONTEXT),
        planted=one_step,
        absent=fresh,
        shows=lambda report: report.claim.badge.startswith("Agrees with 1 step of gradient descent"),
        gauges=(("W_Q", "W_O"),),
        compared=("unexplained_share_ridge", "squared_share_cg", "error_cosine_min_norm", "loss_model", "cosine_gd"),
        agrees=loss_of_a_step,
    ),
    "icl-vs-gd": Case(
        probe=lambda folder: ICLvsGD(n_tasks=6, tuning_tasks=2, rates=(1.0,), steps=(8,), orders=2, untrained=1),
        planted=lambda: models.load("icl-mapping"),
        absent=lambda: models.load("iwl-mapping"),
        shows=lambda report: "no in-context learning" not in report.claim.found,
        gauges=(),
        compared=("contrast", "output_similarity", "answer_distance", "accuracy", "patch_along_gradient"),
        agrees=accuracy_in_context,
    ),
    "implicit-weights": Case(
        probe=lambda folder: probes.ImplicitWeights(limit=40, n_context=N_CONTEXT),
        planted=two_steps,
        absent=fresh,
        shows=lambda report: report.claim.badge.startswith("Output: 2 steps of gradient descent"),
        gauges=(("W_Q", "W_O"),),
        compared=("weight_distance_ridge", "loss", "layer_learning_rate", "exchange_slope_context", "linearity"),
        agrees=loss_of_two_steps,
    ),
    "induction-heads": Case(
        probe=lambda folder: probes.InductionHeads(n_sequences=12),
        planted=lambda: induction_circuit(**SMALL),
        absent=lambda: near_misses(period=11, **SMALL),
        shows=lambda report: "induction" in report.heads.values(),
        gauges=(("W_Q", "W_K"), ("b_Q", "b_K"), ("W_V", "W_O")),
        compared=("prefix_matching_score", "ov_copying_score", "loss_second_repeat"),
        agrees=learned_in_context,
    ),
    "label-copying": Case(
        probe=lambda folder: LabelCopying(limit=60, n_context=N_CONTEXT),
        planted=copied_step,
        absent=fresh_tokens_apart,
        shows=lambda report: report.claim.badge == "Copies labels",
        gauges=(("W_Q", "W_K"), ("W_V", "W_O")),
        compared=("prefix_matching_score", "copy_sensitivity_next", "loss_without_copies", "loss_gap_ablated"),
        agrees=loss_of_a_step,
    ),
    "spectral-filter": Case(
        probe=lambda folder: SpectralFilter(limit=60, n_context=N_CONTEXT),
        planted=one_step,
        absent=fresh,
        shows=lambda report: report.claim.badge.startswith("Filters like 1 step of gradient descent"),
        gauges=(("W_Q", "W_O"),),
        compared=("off_filter_share", "unexplained_share_ridge", "response", "learning_rate_gd"),
        agrees=mean_response_of_a_step,
    ),
    "shift-battery": Case(
        probe=lambda folder: ShiftBattery(limit=40, n_context=N_CONTEXT),
        planted=one_step,
        absent=fresh,
        shows=lambda report: report.claim.badge == "Follows 1 step of gradient descent under 7 of 7 shifts",
        gauges=(("W_Q", "W_O"),),
        compared=("response_scale", "loss_noise", "worst_unexplained_ridge", "scale_exponent"),
        agrees=answers_at_twice_the_scale,
    ),
    "softmax-regression": Case(
        probe=lambda folder: probes.SoftmaxRegressionProbe(limit=40, n_tokens=N_CONTEXT),
        planted=softmax_step,
        absent=fresh_softmax_layer,
        shows=lambda report: report.measures["cosine_gd"].estimate > 0.99,
        gauges=(),
        compared=("cosine_gd", "loss_model", "prediction_difference_copy", "shift_A", "shift_cosine"),
        agrees=loss_of_a_softmax_layer,
    ),
    "token-norms": Case(
        probe=lambda folder: probes.TokenNorms(tokens=some_tokens(folder), untrained=1),
        planted=lambda: begins_with_bos(planted_norms(sink=True)),
        absent=lambda: begins_with_bos(planted_norms()),
        shows=lambda report: report.measures["sink_metric"].estimate > 90,
        gauges=(("W_Q", "W_K"), ("b_Q", "b_K"), ("W_V", "W_O")),
        compared=("sink_metric", "mixing_ratio", "next_token_loss"),
        agrees=mean_embedding,
    ),
}


def begins_with_bos(model: Any) -> models.Subject:
    model.source = replace(model.source, facts={**model.source.facts, "bos": 0})
    return model
