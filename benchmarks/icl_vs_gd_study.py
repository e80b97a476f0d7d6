"""One model of `icl_vs_gd_verdicts.py`: its tasks, every run that its verdict compares with, and what is planted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from mesascope.data.few_shot.generated import generated_tasks
from mesascope.data.few_shot.tasks import FewShotTask, others
from mesascope.data.mapping import LabelMapping
from mesascope.models import LanguageModel
from mesascope.models.differentiable import Differentiable, Which, differentiable
from mesascope.probes.comparing.numbers import Number, number
from mesascope.probes.few_shot.prompts import Prompts, prompts_of
from mesascope.probes.icl_vs_gd.answers import accuracies, distances
from mesascope.probes.icl_vs_gd.asked import Asked
from mesascope.probes.icl_vs_gd.behaviour_measures import behaviour_measures
from mesascope.probes.icl_vs_gd.fine_tuned import Parameters, Setting, Stepped, as_far
from mesascope.probes.icl_vs_gd.inside import contrasts
from mesascope.probes.icl_vs_gd.inside_measures import inside_measures
from mesascope.probes.icl_vs_gd.names import AOU, CONTRAST, GAIN, GAIN_BY_LABELS, LABELS, RIVALS, Labels, Rule, Way
from mesascope.probes.icl_vs_gd.orders import in_orders, of_orders
from mesascope.probes.icl_vs_gd.plain_rivals import of_rivals
from mesascope.probes.icl_vs_gd.rules import KINDS, Kind, after, courses
from mesascope.probes.icl_vs_gd.runs import Runs
from mesascope.probes.icl_vs_gd.seen import Seen, seen
from mesascope.probes.icl_vs_gd.tuning import tuned, tuned_adam
from mesascope.probes.icl_vs_gd.verdicts import Evidence

N_TUNING, N_ORDERS, SEED = 8, 4, 20_251
SGD_STEPS = (4, 16)
"""Epochs: each of them is as many steps as there are demonstrations."""
SLOW = (0.03, 0.1, 0.3)
"""Rates of descent on all parameters: larger ones go too far."""
STEPS = (4, 16, 64)


def tasks_of(subject: LanguageModel, kind: str, n: int, seed: int = SEED) -> tuple[FewShotTask, ...]:
    law = LabelMapping()
    own = law if law.d_vocab == subject.shape.d_vocab else None
    vocabulary = [token for token in range(subject.shape.d_vocab) if token != subject.bos]
    return generated_tasks(kind, vocabulary, n, 4, 4, seed, own if kind == "label-mapping" else None).tasks


def labelled(subject: LanguageModel, tasks: Sequence[FewShotTask]) -> dict[Labels, list[Prompts]]:
    shuffled = [task.shuffled(SEED) for task in tasks]
    by_labels: dict[Labels, list[FewShotTask]] = {
        "true": list(tasks), "swapped": [task.swapped() for task in tasks], "shuffled": shuffled
    }  # fmt: skip
    return {labels: prompts_of(subject, some) for labels, some in by_labels.items()}


@dataclass(frozen=True)
class Kept:
    """Of one model, or planted in it, task by task: all that a verdict is made of."""

    inside: Mapping[Rule, Any]
    accuracy: Mapping[str, Any]
    apart: Mapping[Rule, Any]
    rivals: Mapping[str, Any]
    order: Mapping[str, Any]

    @property
    def measures(self) -> dict[str, Any]:
        answers = behaviour_measures(self.accuracy, self.apart, self.rivals, self.order, SEED)
        return inside_measures(self.inside, SEED) | answers

    @property
    def evidence(self) -> Evidence:
        return Evidence.of(self.measures)


class Study:
    """One model, with every run that its verdict compares with.

    chosen:      rates and steps; None: tuned on tasks apart
    parameters:  which of them descend
    """

    def __init__(
        self,
        subject: LanguageModel,
        kind: str,
        n_tasks: int,
        rules: Sequence[Rule],
        chosen: Mapping[Rule, Setting] | None = None,
        parameters: Which = "keys and values",
    ) -> None:
        self.subject, self.n, self.rules, self.chosen = subject, n_tasks, rules, chosen
        self.tasks = tasks_of(subject, kind, n_tasks + N_TUNING)
        found = differentiable(self.subject, parameters, least=torch.float64)
        assert isinstance(found, Differentiable)
        self.model = found
        every = asked_of(self.subject, self.tasks)
        self.asked, self.apart = every[:n_tasks], every[n_tasks:]

    @cached_property
    def settings(self) -> Mapping[Rule, Setting]:
        return self.chosen or {rule: Setting(rule, *self._tuned(self.model, rule)) for rule in self.rules}

    def _tuned(self, model: Differentiable, rule: Rule) -> tuple[Stepped, Stepped]:
        """By plain steps, and by Adam's."""
        own = tuned(model, self.apart, rule, steps=SGD_STEPS if rule == "sgd" else STEPS)
        print(f"    {own}", flush=True)
        return own.chosen, tuned_adam(model, self.apart, rule).chosen

    @cached_property
    def runs(self) -> Runs:
        prompts, own = self._zero_shot
        icl: dict[Labels, Sequence[Seen]] = {
            labels: seen(self.model, [task.given[labels].in_context for task in self.asked], own) for labels in LABELS
        }
        by_rule = {rule: dict(self._ways(setting)) for rule, setting in self.settings.items()}
        return Runs(0, seen(self.model, prompts, own), icl, by_rule, {})

    @property
    def _zero_shot(self) -> tuple[list[Any], list[Any]]:
        return [task.zero_shot for task in self.asked], [task.own for task in self.asked]

    def _ways(self, setting: Setting) -> Iterator[tuple[tuple[Way, Labels], Sequence[Seen]]]:
        """Those that verdicts read, as many as can descend together."""
        pair: tuple[Labels, ...] = ("true", "swapped")
        rate, steps = setting.tuned.rate, setting.tuned.steps
        ways: dict[Way, float] = {"tuned": rate, "third rate": rate / 3, "other": rate}
        jobs = [(way, labels) for way in ways for labels in pair]
        demos = [
            task.other[labels] if way == "other" else task.given[labels].demos
            for way, labels in jobs
            for task in self.asked
        ]
        rates = [ways[way] for way, _ in jobs for _ in self.asked]
        ends = courses(self.model, demos, KINDS[setting.rule], rates, sorted({max(1, steps // 2), steps}))
        half, whole = (batched([one.parameters for one in end], self.n) for end in (*ends,)[:2])
        found: dict[tuple[Way, Labels], Parameters] = dict(zip(jobs, whole, strict=True))
        for labels, some in zip(pair, half, strict=False):
            found["half run", labels] = some
            named = setting.rule, labels
            found["random weights", labels] = as_far(self.model, found["tuned", labels], SEED, named, 0)
        if setting.adam is not None:
            kind, demos = Kind(cut=KINDS[setting.rule].cut, adam=True), demos[: 2 * self.n]
            learned = after(self.model, demos, kind, setting.adam.rate, setting.adam.steps)
            by_adam = batched([one.parameters for one in learned], self.n)
            found |= {("adam", labels): some for labels, some in zip(pair, by_adam, strict=True)}
        return ((way, seen(self.model, *self._zero_shot, some)) for way, some in found.items())

    def kept(self, runs: Runs, order: Mapping[str, Any]) -> Kept:
        numbers: dict[Rule, Any] = {
            rule: {CONTRAST: contrasts(runs, ways), AOU: {}} for rule, ways in runs.fine_tuned.items()
        }
        apart = {rule: distances([runs], rule) for rule in self.rules}
        rivals = of_rivals(self.model, self.asked, runs)[RIVALS]
        return Kept(numbers, accuracies([runs], self.asked), apart, rivals, order)

    def order_in_context(self) -> dict[str, Any]:
        tasks = self.tasks[: self.n]
        orders = in_orders(tasks, N_ORDERS, SEED, lambda some: prompts_of(self.subject, some))
        return of_orders(self.model, self.asked, orders, self.runs, [], None)[0]

    # --- planted

    def planted(self, name: str) -> dict[Labels, Sequence[Seen]]:
        """What is shown in place of answers and attention in context, by the labels of demonstrations."""
        what, change = name.split(", rate x ")
        model = self.everything if what == "all" else self.model
        kind, stepped = self._planting(what)
        rng = np.random.default_rng(SEED)
        demos = [list(task.given[labels].demos) for labels in LABELS for task in self.asked]
        if kind.single:
            demos = [[one[place] for place in rng.permutation(len(one))] for one in demos]
        learned = after(model, demos, kind, float(change) * stepped.rate, stepped.steps)
        by_labels = batched([one.parameters for one in learned], self.n)
        return {labels: seen(model, *self._zero_shot, some) for labels, some in zip(LABELS, by_labels, strict=True)}

    def _planting(self, what: str) -> tuple[Kind, Stepped]:
        """How it descends, and as it was tuned."""
        if what == "all":
            return KINDS["gd"], tuned(self.everything, self.apart, "gd", rates=SLOW).chosen
        if what == "sgd":
            own = self.settings.get("sgd")
            return KINDS["sgd"], own.tuned if own else tuned(self.model, self.apart, "sgd", steps=SGD_STEPS).chosen
        rule: Rule = "lcgd" if what.startswith("lcgd") else "gd"
        setting = self.settings[rule]
        if what.endswith("adam"):
            assert setting.adam is not None
            return Kind(cut=rule == "lcgd", adam=True), setting.adam
        return KINDS[rule], setting.tuned

    @cached_property
    def everything(self) -> Differentiable:
        found = differentiable(self.subject, "all", least=torch.float64)
        assert isinstance(found, Differentiable)
        return found

    def blend(self, share: float, planted: Mapping[Labels, Sequence[Seen]]) -> Runs:
        """Of so much planted descent, and the rest in context."""
        runs = self.runs
        mixed = {
            labels: [_between(share, *pair) for pair in zip(runs.in_context[labels], planted[labels], strict=True)]
            for labels in LABELS
        }
        return replace(runs, in_context=mixed)


def asked_of(subject: LanguageModel, tasks: Sequence[FewShotTask]) -> list[Asked]:
    given = labelled(subject, tasks)
    strangers = [other for other in others(tasks) if other is not None]
    assert len(strangers) == len(tasks)
    other = labelled(subject, [task.with_demos(own) for task, own in zip(tasks, strangers, strict=True)])
    pair: tuple[Labels, ...] = ("true", "swapped")
    return [
        Asked.of({labels: some[n] for labels, some in given.items()}, {labels: other[labels][n] for labels in pair})
        for n in range(len(tasks))
    ]


def batched(found: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [found[first : first + size] for first in range(0, len(found), size)]


def _between(share: float, icl: Seen, ft: Seen) -> Seen:
    """Probabilities are mixed, and attention outputs of length 1: those after fine-tuning are longer."""
    p, q = (one.logits.softmax(dim=-1) for one in (icl, ft))
    a, b = (one.attn_out / one.attn_out.norm(dim=-1, keepdim=True) for one in (icl, ft))
    return Seen(((1 - share) * p + share * q).log(), (1 - share) * a + share * b, icl.scores)


PLANTED = (
    "gd, rate x 0.5", "gd, rate x 2", "adam, rate x 0.5", "adam, rate x 2", "sgd, rate x 1", "all, rate x 1",
    "lcgd, rate x 0.5", "lcgd, rate x 2", "lcgd adam, rate x 0.5",
)  # fmt: skip
SHARES = (0.0, 0.25, 0.5, 1.0)


def own_rule(name: str, rules: Sequence[Rule]) -> Rule:
    """Of what was planted: a drawn order is gradient descent where its own rule is not asked for."""
    if name.startswith("sgd"):
        return "sgd" if "sgd" in rules else "gd"
    return "lcgd" if name.startswith("lcgd") else "gd"


def in_context_learning(subject: LanguageModel, kind: str, n_tasks: int, seed: int = SEED) -> tuple[Number, Number]:
    """Accuracy in context above zero-shot, and above that with shuffled labels."""
    model = differentiable(subject)
    assert isinstance(model, Differentiable)
    tasks = asked_of(subject, tasks_of(subject, kind, n_tasks, seed))
    own = [task.own for task in tasks]
    labels: tuple[Labels, ...] = ("true", "shuffled")
    in_context = {some: seen(model, [task.given[some].in_context for task in tasks], own) for some in labels}
    runs = Runs(0, seen(model, [task.zero_shot for task in tasks], own), in_context, {}, {})
    found = behaviour_measures(accuracies([runs], tasks), {}, {}, {}, SEED)
    return number(found[GAIN]), number(found[GAIN_BY_LABELS])
