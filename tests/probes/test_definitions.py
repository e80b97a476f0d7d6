"""Definitions of measures: every measure that a probe can report has one, and the guide page says the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope import analyses, models, probes
from mesascope.analyses.reports.definitions import definitions, links
from mesascope.models.constructed.copied_labels import copying_transformer
from mesascope.models.constructed.induction import induction_circuit, near_misses
from mesascope.models.constructed.norms import planted_norms
from mesascope.probes import PROBES, Probe
from mesascope.probes.attention_learning.probe import AttentionLearning
from mesascope.probes.few_shot_heads.probe import FewShotHeads
from mesascope.probes.icl_algorithm import contest
from mesascope.probes.icl_algorithm.probe import ICLAlgorithm
from mesascope.probes.icl_vs_gd.probe import ICLvsGD
from mesascope.probes.implicit_weights import judging
from mesascope.probes.measure import Measure
from mesascope.probes.shift_battery import battery
from mesascope.probes.shift_battery.probe import ShiftBattery

DOCS = Path(__file__).parents[2] / "docs"


def defined(probe: str) -> Mapping[str, str]:
    package = PROBES[probe].partition(":")[0].removesuffix(".probe")
    return import_module(f"{package}.definitions").DEFINITIONS


def reported(probe: Probe, *subjects: models.Subject) -> set[str]:
    """The names of all measures of one checkpoint, or of several and of them together."""
    if len(subjects) == 1:
        made = analyses.run(subjects[0], probe)
        assert isinstance(made, analyses.Report)
        return set(made.measures)
    answer = analyses.run_family(subjects, probe)
    assert isinstance(answer, tuple)
    return set(answer[1].measures).union(*(member.measures for member in answer[0]))


def tokens(folder: Path, d_vocab: int, shape: tuple[int, int]) -> str:
    np.save(folder / "tokens.npy", np.random.default_rng(5).integers(1, d_vocab, size=shape))
    return str(folder / "tokens.npy")


def fresh(seed: int, step: int | None = None, n_layers: int = 1) -> models.Subject:
    config = models.RegressionConfig(d_in=3, d_head=4, n_layers=n_layers)
    made = models.from_transformer(
        models.initialise(config, 0.2, torch.Generator().manual_seed(seed)), f"m{seed}{step}"
    )
    object.__setattr__(made.source, "seed", seed)
    object.__setattr__(made.source, "step", step)
    return made


def of_induction_heads(folder: Path) -> set[str]:
    """With a text, with the definitions of others, and over steps."""
    sizes = {"d_vocab": 24, "n_ctx": 24}
    probe = probes.InductionHeads(n_sequences=8, tokens=tokens(folder, 24, (8, 24)), compatibility_scores=True)
    first, last = near_misses(period=11, **sizes), induction_circuit(**sizes)
    for step, subject in enumerate((first, last)):
        object.__setattr__(subject.source, "step", step)
    return reported(probe, first, last)


def of_gd_alignment(folder: Path) -> set[str]:
    """Of one and of two layers, with a learning rate for each, and over seeds."""
    small = {"limit": 20, "n_context": 6}
    rates = probes.GDAlignment(learning_rate=(1.0, 2.0), **small)
    return reported(probes.GDAlignment(**small), fresh(0), fresh(1)) | reported(rates, fresh(0, n_layers=2))


def of_gd_certificate(folder: Path) -> set[str]:
    """Over steps, too."""
    return reported(probes.GDCertificate(n_context=6), fresh(0, 1), fresh(0, 2))


def of_icl_algorithm(folder: Path) -> set[str]:
    """With a finite set of tasks, so that Bayes' rule takes part; each rule is fitted to each null, so to few."""
    np.savez(folder / "set.npz", weights=np.random.default_rng(0).normal(size=(3, 3)))
    probe = ICLAlgorithm(limit=20, n_context=6, task_set=str(folder / "set.npz"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contest, "UNTRAINED", 1)
        patch.setattr(contest, "SHUFFLES", 1)
        return reported(probe, models.from_transformer(models.gd_transformer(6, 2.0, 3)))


def of_icl_vs_gd(folder: Path) -> set[str]:
    """Over two steps."""
    few = {"n_tasks": 2, "tuning_tasks": 1, "k": 2, "n_queries": 1, "orders": 2, "untrained": 0, "matching": False}
    subjects = [models.load("icl-mapping") for _ in range(2)]
    for step, subject in enumerate(subjects):
        object.__setattr__(subject.source, "step", step)
    return reported(ICLvsGD(rules=("gd",), rates=(0.1,), steps=(1,), **few), *subjects)


def of_spectral_filter(folder: Path) -> set[str]:
    return reported(probes.SpectralFilter(limit=20, n_context=6), fresh(0))


def of_implicit_weights(folder: Path) -> set[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "NULLS", 1)
        patch.setattr(judging, "NULL_TASKS", 10)
        stack = models.gdpp_transformer(6, [2.0], [0.1], 3, n_layers=2)
        return reported(probes.ImplicitWeights(limit=20, n_context=6), models.from_transformer(stack))


def of_label_copying(folder: Path) -> set[str]:
    return reported(probes.LabelCopying(limit=20, n_context=6), models.from_transformer(copying_transformer(6, 2.0, 3)))


def of_deep_features(folder: Path) -> set[str]:
    settings = {"d_in": 2, "d_head": 4, "d_embed": 4}
    module = models.initialise(models.RegressionConfig(**settings), 0.5, torch.Generator().manual_seed(0))
    return reported(probes.DeepFeatures(limit=20, n_context=6), models.from_transformer(module))


def of_shift_battery(folder: Path) -> set[str]:
    probe = ShiftBattery(limit=20, n_context=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(battery, "UNTRAINED", 1)
        return reported(probe, models.from_transformer(models.gd_transformer(6, 2.0, 3)))


def of_token_norms(folder: Path) -> set[str]:
    return reported(probes.TokenNorms(tokens=tokens(folder, 50, (12, 63)), untrained=1), planted_norms())


def of_softmax_regression(folder: Path) -> set[str]:
    """Of a layer on tasks, and of the heads of a language model."""
    layer = models.from_softmax_layer(models.softmax_gradient_layer(6, 4.0, 3))
    heads = probes.SoftmaxRegressionProbe(tokens=tokens(folder, 24, (3, 20)), queries=2, untrained=0)
    on_tasks = reported(probes.SoftmaxRegressionProbe(limit=20, n_tokens=6), layer)
    return on_tasks | reported(heads, induction_circuit(d_vocab=24, n_ctx=24))


def of_attention_learning(folder: Path) -> set[str]:
    """Of copy models of two heads at two steps and in two seeds, and of the heads of a language model at two steps."""
    probe = AttentionLearning(n_sequences=4)
    copies = []
    for seed, step, knows in ((0, 0, False), (1, 0, False), (0, 9, True), (1, 9, True)):
        module = models.plant_copying(6, 6, knows_words=knows, n_heads=2, focus=20.0 + seed + step)
        copies.append(models.from_copy_transformer(module, "copies"))
        object.__setattr__(copies[-1].source, "seed", seed)
        object.__setattr__(copies[-1].source, "step", step)
    heads = [induction_circuit(d_vocab=24, n_ctx=24) for _ in range(2)]
    heads[0].module.get_parameter("W_Q").data *= 0.1
    for step, subject in enumerate(heads):
        object.__setattr__(subject.source, "name", "one training")
        object.__setattr__(subject.source, "step", step)
    return reported(probe, *copies) | reported(AttentionLearning(tokens=tokens(folder, 24, (3, 20))), *heads)


def of_few_shot_heads(folder: Path) -> set[str]:
    probe = FewShotHeads(n_tasks=4, k=2, n_queries=2, random_sets=1, given_heads="L0H0")
    return reported(probe, induction_circuit(d_vocab=24, n_ctx=24))


CASES = {
    "attention-learning": of_attention_learning,
    "deep-features": of_deep_features,
    "few-shot-heads": of_few_shot_heads,
    "gd-alignment": of_gd_alignment,
    "gd-certificate": of_gd_certificate,
    "icl-algorithm": of_icl_algorithm,
    "icl-vs-gd": of_icl_vs_gd,
    "implicit-weights": of_implicit_weights,
    "induction-heads": of_induction_heads,
    "label-copying": of_label_copying,
    "shift-battery": of_shift_battery,
    "softmax-regression": of_softmax_regression,
    "spectral-filter": of_spectral_filter,
    "token-norms": of_token_norms,
}


@pytest.mark.parametrize("name", PROBES)
def test_every_measure_that_can_be_reported_is_defined_and_no_other(name: str, tmp_path: Path) -> None:
    found = CASES[name](tmp_path)
    assert sorted(found - set(defined(name))) == []
    assert sorted(set(defined(name)) - found) == []


@pytest.mark.parametrize("name", PROBES)
def test_the_guide_page_says_the_same(name: str) -> None:
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    said: dict[str, str] = {}
    for table in re.findall(r"^\| measure \|.*?(?:\n\n|\Z)", page, flags=re.DOTALL | re.MULTILINE):
        header, _, *rows = (
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.split("\n") if line
        )
        for row in rows:
            cells = dict(zip(header, row, strict=True))
            text = cells["definition"].replace("\\|", "|")
            said |= dict.fromkeys(re.findall(r"`(\w+)`", cells["measure"]), text)
    assert said == dict(defined(name))


@pytest.mark.parametrize("name", PROBES)
def test_a_definition_is_a_sentence_or_two(name: str) -> None:
    for measure, text in defined(name).items():
        assert text.endswith("."), measure
        assert len(text.split()) <= 60, measure


# -- on a page ---------------------------------------------------------------------------------------------------------


def test_mentions_become_links_to_the_references_of_the_report() -> None:
    made = analyses.run(fresh(0), probes.GDAlignment(limit=20, n_context=6))
    assert isinstance(made, analyses.Report)
    texts = {name: one.text for one in definitions(made) for name in one.measures}
    assert '(<a href="#reference-1">von Oswald et al. 2023</a>)' in texts["cosine"]
    assert "query&#39;s x" in texts["cosine"]
    assert "<code>model</code>" in texts["loss"]
    assert "href" not in texts["ridge_penalty"]


def test_parts_of_a_measure_have_its_definition() -> None:
    made = analyses.run(fresh(0), probes.GDAlignment(limit=20, n_context=6))
    assert isinstance(made, analyses.Report)
    places = links(made, definitions(made))
    assert places["cosine_gd"] == places["cosine_ridge"] == places["cosine"] != places["loss"]
    assert places["learned_learning_rate"] == places["learned_gamma"]  # one text is of both
    measures: dict[str, Measure] = dict(made.measures)
    assert set(places) >= set(measures)
