"""The claim card: each sentence where it belongs and nowhere else; of one checkpoint and of several seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.models.subject import Source
from mesascope.probes.icl_vs_gd.claim import BADGES, icl_vs_gd_claim
from mesascope.probes.icl_vs_gd.facts import EVERY_PARAMETER
from mesascope.probes.icl_vs_gd.verdicts import Evidence, verdict
from mesascope.probes.measure import Claim, Measure, flat, last_step, missing

from .made_up_numbers import NONE, made, over_seeds, over_steps

SOURCE = Source("some", "in-memory", notes=("Its tokenizer was not checked.",))
ALIKE = {"contrast": {"in context": 0.5}, "order": {"in context": {"clean": 0.0, "conflicting": 0.0}}}
"""As planted gradient descent: of one rule, which is then the closest."""
ONE_RULE: dict[str, Any] = {"rules": ("gd",), **ALIKE}
CASES: dict[str, dict[str, Any]] = {
    "none": {"accuracy": NONE},
    "not compared": {"rules": ()},
    "not learned": {"accuracy": {"gd": 0.5, "lcgd": 0.5}},
    "no trace": {"contrast": {"in context": 0.0}},
    "elsewhere": {},
    "apart": {**ONE_RULE, "apart": {"in context": 0.8}, "rivals": {"label frequencies": 0.9, "copy": 0.95}},
    "rival": {**ONE_RULE, "apart": {"in context": 0.8}, "rivals": {"copy": 0.05}},
    "closest": ONE_RULE,
    "undecided": ALIKE,
}


def claimed(measures: Mapping[str, Measure]) -> Claim:
    return icl_vs_gd_claim(measures, (SOURCE,))


def text(claim: Claim) -> str:
    return " ".join((claim.found, claim.rival, claim.evidence, *claim.limits, claim.methods))


@pytest.mark.parametrize("called", CASES)
def test_the_verdict_comes_first(called: str) -> None:
    measures = made(**CASES[called])
    found = verdict(Evidence.of(measures))
    claim = claimed(measures)
    assert found.called == called
    assert claim.found.startswith(found.sentences[0])
    assert claim.badge == BADGES.get(found.called, "Closest rival: gradient descent")
    assert ("no in-context learning" in claim.found) == (called == "none")
    assert ("Closest of these rivals: gradient descent." in claim.found) == (called == "closest")


def test_a_rule_is_not_the_closest_of_all_where_a_rival_is_nearer() -> None:
    nearer = claimed(made(**ONE_RULE | {"rivals": {"copy": 0.05}}))
    assert nearer.found.startswith("Closest rule: gradient descent. But the answers by copying are nearer. Answers in")
    assert nearer.rival.startswith("Nearer to answers in context than any gradient descent is copying, by 0.")
    assert nearer.badge == "Closest rule: gradient descent"
    assert "Closest rule" not in claimed(made(**ONE_RULE)).found


def test_every_badge_is_of_one_verdict() -> None:
    assert BADGES.keys() | {"closest"} == set(CASES)
    assert len(set(BADGES.values())) == len(BADGES)


@pytest.mark.parametrize("called", CASES)
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_card_says_nothing_that_is_no_number(called: str, seeds: int) -> None:
    members = [made(seed=seed, **CASES[called]) for seed in range(seeds)]
    claim = claimed(members[0] if seeds == 1 else over_seeds(*members))
    assert "nan" not in re.findall(r"\w+", text(claim))
    assert "None" not in text(claim)
    for part in (claim.found, claim.rival, claim.evidence, *claim.limits, claim.methods):
        assert part.endswith(".")
        assert "  " not in part
        assert ".." not in part
    assert SOURCE.notes[0] in claim.limits
    assert len(set(claim.limits)) == len(claim.limits)
    for sentence in re.split(r"(?<=[.:;]) ", text(claim)):
        assert len(re.sub(r"\([^)]*\)", "", sentence).split()) <= 32, sentence


def test_the_strongest_alternative() -> None:
    assert claimed(made()).rival.startswith("The nearest rival without gradients is label frequencies")
    none = claimed(made(accuracy=NONE)).rival
    assert re.match(r"Accuracy without demonstrations: 0\.\d+ \(95 % CI .*\)\. With shuffled labels: 0\.\d+ \(95", none)
    without = claimed(made(rivals={"label frequencies": None, "copy": None}))
    assert without.rival == "No rival without gradients was compared."


def test_accuracies_are_told_beside_chance() -> None:
    measures = made()
    evidence = claimed(measures).evidence
    assert evidence.startswith("Bootstrap over 40 tasks. Accuracy among a task's labels: zero-shot 0.")
    accuracy = flat(measures)["accuracy_in context, shuffled labels"].estimate
    assert f"in context with shuffled labels {accuracy:.3f}, after gradient descent" in evidence
    assert "; chance is 0.500." in evidence
    assert "chance" not in claimed({name: own for name, own in measures.items() if name != "chance"}).evidence


def test_numbers_are_those_of_the_rule_that_is_named_or_of_the_nearest() -> None:
    nearer = made(seed=1)
    title = {"gd": "gradient descent", "lcgd": "layer-causal gradient descent"}
    distances = {rule: flat(nearer)[f"answer_distance_{rule}_in context"].estimate for rule in title}
    nearest = min(distances, key=lambda rule: distances[rule])
    assert f"answers in context and after {title[nearest]}: {distances[nearest]:.3f}" in claimed(nearer).evidence
    assert claimed(nearer).evidence.count("SimAOU with") == 1
    learns = claimed(made(accuracy={nearest: 0.5}, seed=1)).evidence
    other = title["lcgd" if nearest == "gd" else "gd"]
    assert f"SimAOU with {other}, mean" in learns  # the nearest does not learn the demonstrations
    assert "SimAOU with gradient descent, mean" in claimed(made(**ONE_RULE)).evidence


def test_the_rule_that_is_named_is_told_though_another_has_nearer_answers() -> None:
    measures = made(**ALIKE)
    above, distance = measures["contrast_above_floor"], measures["answer_distance"]
    larger, nearer = np.array([0.3, 0.0]), np.zeros(distance.values.shape)
    nearer[1, distance.labels("between").index("in context")] = -0.05
    low, high = (bound + larger for bound in above.interval)
    measures["contrast_above_floor"] = replace(above, values=above.values + larger, interval=(low, high))
    measures["answer_distance"] = replace(distance, values=distance.values + nearer)
    claim = claimed(measures)
    assert claim.found.startswith("Closest of these rivals: gradient descent.")
    assert "SimAOU with gradient descent, mean" in claim.evidence


@pytest.mark.parametrize("called", CASES)
def test_simaou_stands_with_its_floor_and_never_decides(called: str) -> None:
    measures = made(**CASES[called])
    claim = claimed(measures)
    told = (
        "SimAOU does not decide: independent endpoints far from zero-shot have 0.5 by construction." in claim.evidence
    )
    assert told == (called != "not compared")
    higher = made(**{**CASES[called], "similarity": {"tuned": 0.99, "shuffled": 0.1}})
    assert (claimed(higher).badge, claimed(higher).found.split(".")[0]) == (claim.badge, claim.found.split(".")[0])
    if told:
        similarity = flat(measures)
        rule = "lcgd" if "SimAOU with layer-causal" in claim.evidence else "gd"
        endpoint = similarity[f"output_similarity_mean_{rule}_endpoint"].estimate
        assert f"a random vector {endpoint:.3f}." in claim.evidence
        assert f"another task {similarity[f'output_similarity_mean_{rule}_other'].estimate:.3f}" in claim.evidence


def test_a_control_that_is_not_there_is_not_told() -> None:
    for what, said in (("other", "another task"), ("adam", "Adam 0.")):
        assert said in claimed(made()).evidence
        assert said not in claimed(made(without=(what,))).evidence


def test_rules_that_were_not_tuned_are_named_with_the_reason() -> None:
    said = "mesascope did not compare layer-causal gradient descent: no rate can be chosen."
    assert said in claimed(made(rules=("gd",))).found
    assert "did not compare" not in claimed(made()).found
    assert "did not compare" not in claimed(made(rules=("gd",), accuracy=NONE)).found  # nothing to explain
    named = made(rules=("gd",), why="layer-causal gradient descent: no cut is possible.")
    assert claimed(named).found.endswith("did not compare layer-causal gradient descent: no cut is possible.")
    assert "did not compare" not in claimed(made(matching=False)).found  # what is fitted to attention is no rule
    neither = claimed(made(rules=()))
    assert neither.found.count("mesascope did not compare") == 2
    assert "SimAOU with" not in neither.evidence
    nothing = {name: own for name, own in made().items() if name not in ("learning_rate", "passes", "chance")}
    assert "did not compare" not in claimed(nothing).found


def test_methods_say_what_was_trained_and_how_it_was_chosen() -> None:
    methods = claimed(made(tuned="rate 1, 64 steps (loss 0.02)")).methods
    assert "examples of gradient descent and layer-causal gradient descent on W_K and W_V of every layer." in methods
    assert "Rates and steps were chosen on other tasks. Gd: rate 1, 64 steps (loss 0.02). Lcgd: rate" in methods
    assert methods.endswith("95 % confidence intervals: bootstrap over 40 tasks. In all, 9 prompts were passed.")
    assert "on all parameters." in claimed(made(facts=(EVERY_PARAMETER,))).methods
    assert "training examples of gradient descent on W_K" in claimed(made(rules=("gd",))).methods


def test_seeds_are_means_over_them() -> None:
    members = [made(seed=seed) for seed in range(4)]
    claim = claimed(over_seeds(*members))
    assert claim.evidence.startswith("t-interval over 4 seeds.")
    assert "95 % confidence intervals: t-interval over 4 seeds." in claim.methods
    mean = np.mean([flat(member)["output_similarity_mean_gd_tuned"].estimate for member in members])
    nearest_mean = np.mean([flat(member)["output_similarity_mean_lcgd_tuned"].estimate for member in members])
    assert any(f"mean over layers: {value:.3f}" in claim.evidence for value in (mean, nearest_mean))
    mixed = claimed(over_seeds(made(), made(rules=("gd",), seed=1)))
    one = "mesascope did not compare layer-causal gradient descent: mean over the 1 of 2 seeds where it is defined"
    assert one in mixed.found
    assert mixed.found.lower().count("layer-causal") == 1
    few = made(accuracy=NONE)
    wide = replace(few["accuracy_gain"], values=np.array(0.1), interval=(np.array(-0.2), np.array(0.4)))
    labels = replace(few["accuracy_gain_by_labels"], values=np.array(0.1), interval=(np.array(-0.2), np.array(0.4)))
    open_one = claimed({**few, "accuracy_gain": wide, "accuracy_gain_by_labels": labels})
    assert (open_one.badge, claimed(few).badge) == ("In-context learning not found", "No in-context learning")
    none = claimed(over_seeds(*(made(seed=seed, accuracy=NONE) for seed in range(3))))
    assert "no in-context learning" in none.found


def test_the_last_step_of_a_training_is_read() -> None:
    steps = over_steps({0: made(accuracy=NONE), 9: made()})
    assert steps["accuracy_gain"].axes == ("step",)
    assert claimed(last_step(steps)).found == claimed(made()).found


def test_one_task_has_no_interval_and_no_verdict() -> None:
    claim = claimed(made(n=1))
    assert claim.badge == "Not decided"
    assert claim.found == "These tasks do not decide: accuracy has no interval."
    assert claim.evidence.startswith("One task: no intervals.")
    assert "95 % confidence intervals" not in claim.methods
    assert "nan" not in re.findall(r"\w+", text(claim))


def test_measures_that_are_not_applicable_are_left_out() -> None:
    measures = made()
    for name in ("contrast_mean", "output_similarity_mean", "output_similarity_margin", "order_sensitivity"):
        measures[name] = missing("cosine", "not applicable", "not shown")
    claim = claimed(measures)
    assert "SimAOU with" not in claim.evidence
    assert "Label-swap contrast with" not in claim.evidence
    assert "order of demonstrations" not in claim.found
    assert "order of demonstrations" in claimed(made()).found
