"""The verdicts of `icl-vs-gd` on models whose answer is known, and how often it is wrong.

    python benchmarks/icl_vs_gd_verdicts.py models,planted,blends,alarms [--kinds icl,iwl] [--seeds 0,1,2,3,4,5]
        [--n-tasks 64] [--trained FOLDER] [--keep FOLDER] [--rules gd,lcgd,sgd] [--all] [--planted NAME;NAME]

models   trained models as they are: some learn in context, most do not
planted  the same models, whose answers and attention in context are replaced by those after gradient descent: at other
         rates than tuned, by Adam, in a drawn order, with all parameters, layer-causal. None is a run that the verdict
         compares with
blends   answers and attention between in context and planted gradient descent
alarms   the first condition, in-context learning, of many models without; how often it holds, with the upper limit of
         Clopper and Pearson

FOLDER of --trained holds icl-mapping.safetensors, iwl-mapping.safetensors and noise-mapping.safetensors, from
`mesascope train icl-mapping --seeds 0,1,2,3,4,5 -o FOLDER/icl-mapping.safetensors`; without it the shipped seed 0 is
taken. --keep keeps what was measured, task by task, and measures it only once.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from icl_vs_gd_study import PLANTED, SEED, SHARES, Kept, Study, in_context_learning
from mesascope.data.errors import TaskError
from mesascope.models import AttentionOnlyModel, AttentionOnlyTransformer, LanguageModel, load, load_all
from mesascope.models.differentiable import Which
from mesascope.probes.icl_vs_gd.names import IN_CONTEXT, SHUFFLED, ZERO_SHOT, Rule
from mesascope.probes.icl_vs_gd.runs import Runs
from mesascope.probes.icl_vs_gd.verdicts import LEAST_GAIN, Verdict, verdict
from scipy import stats

MAPPINGS = ("icl", "iwl", "noise")


# --- models


@dataclass(frozen=True)
class Case:
    """A model with a kind of tasks."""

    kind: str
    name: str
    task: str
    opened: Callable[[], LanguageModel]


def cases(trained: Path | None, seeds: Sequence[int]) -> Iterator[Case]:
    for kind in MAPPINGS:
        path = f"{kind}-mapping" if trained is None else trained / f"{kind}-mapping.safetensors"
        for seed in seeds if trained else (0,):
            yield Case(kind, f"{kind}-mapping seed {seed}", "label-mapping", _opened(path, f"seed{seed}-step4000"))
    shape = _opened("icl-mapping", None)
    for seed in seeds:
        yield Case("untrained", f"untrained {seed}", "label-mapping", _untrained(shape, 100 + seed))
    yield Case("induction", "induction-2layer step 4000", "recall", _opened("induction-2layer", "step4000"))
    yield Case("before", "induction-2layer step 1000", "recall", _opened("induction-2layer", "step1000"))
    yield Case("one layer", "induction-1layer", "recall", _opened("induction-1layer", None))
    yield Case("grammar", "tiny-grammar", "recall", _opened("tiny-grammar", None))


def without(trained: Path | None) -> Iterator[tuple[str, Callable[[], LanguageModel]]]:
    """Models that do not learn in context: untrained ones of several shapes, others, and steps before they do."""
    shapes = ({}, {"n_layers": 1}, {"n_layers": 4}, {"n_heads": 2, "d_head": 32})
    for name, changes in product(("icl-mapping", "induction-2layer", "tiny-grammar"), shapes):
        for seed in range(4):
            yield f"{name} {changes} untrained {seed}", _reshaped(name, changes, seed)
    steps = [("induction-1layer", "all"), ("tiny-grammar", "all"), ("iwl-mapping", None), ("noise-mapping", None)]
    steps += [("induction-2layer", f"step{step}") for step in (0, 500, 1000, 1300)]
    if trained is not None:
        steps[2:4] = [(str(trained / f"{kind}-mapping.safetensors"), "all") for kind in ("iwl", "noise")]
        steps += [(str(trained / "icl-mapping.safetensors"), f"step{step}") for step in (0, 500, 1000)]
    for path, revision in steps:
        for subject in load_all(path, revision):
            label = subject.source.label
            if not (label.startswith(("iwl", "noise")) and label.endswith("step0")):  # those of icl-mapping
                yield label, lambda subject=subject: subject


def _reshaped(name: str, changes: Mapping[str, int], seed: int) -> Callable[[], LanguageModel]:
    def opened() -> LanguageModel:
        subject = load(name)
        assert isinstance(subject, AttentionOnlyModel)
        config = replace(subject.config, **changes)
        nothing = {name: torch.zeros(shape) for name, shape in config.shapes.items()}
        return AttentionOnlyModel(AttentionOnlyTransformer(config, nothing), subject.source).untrained(seed)

    return opened


def _opened(path: str | Path, revision: str | None) -> Callable[[], LanguageModel]:
    return lambda: load(path, revision)


def _untrained(shape: Callable[[], LanguageModel], seed: int) -> Callable[[], LanguageModel]:
    return lambda: shape().untrained(seed)


# --- tables


def shown(kept: Kept) -> str:
    """The numbers that verdicts are made of."""
    found, decided = kept.evidence, verdict(kept.evidence)
    accuracy = " ".join(f"{kept.accuracy[way].mean():.2f}" for way in (ZERO_SHOT, IN_CONTEXT, SHUFFLED, *kept.apart))
    names = ("above_floor", "share", "beyond_planted")
    rules = " | ".join(f"{one.rule} " + ", ".join(_short(getattr(one, name)) for name in names) for one in found.rules)
    return f"{called(decided)} | {accuracy} | {rules} | order {_short(found.order)} | ahead {_short(found.rival_ahead)}"


def called(decided: Verdict) -> str:
    return decided.called + (f" {decided.rule}" if decided.rule else "")


def _short(number: Any) -> str:
    return f"{number.value:.3f} [{number.low:.3f}, {number.high:.3f}]"


class Keeper:
    """Measures once, where a folder is given."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def __call__(self, name: str, measured: Callable[[], Any]) -> Any:
        if self.folder is None:
            return measured()
        path = self.folder / f"{name.replace(' ', '_').replace(',', '')}.pickle"
        if path.exists():
            return pickle.loads(path.read_bytes())
        found = measured()
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(found))
        return found


def of_case(
    case: Case,
    parts: Sequence[str],
    n_tasks: int,
    rules: Sequence[Rule],
    planted: Sequence[str],
    everything: bool,
    keep: Keeper,
) -> None:
    study: list[Study] = []

    def opened() -> Study:
        which: Which = "all" if everything else "keys and values"
        study.extend([] if study else [Study(case.opened(), case.task, n_tasks, rules, parameters=which)])
        return study[0]

    def kept(what: str, runs: Callable[[Study], Runs], order: Callable[[Study], Any] = lambda study: {}) -> None:
        began, name = time.process_time(), f"{case.name} {what} {'+'.join(rules)} {n_tasks}{' all' * everything}"
        found = keep(name, lambda: opened().kept(runs(opened()), order(opened())))
        print(f"{case.name} | {what} | {shown(found)} | {time.process_time() - began:.0f} s", flush=True)

    if "models" in parts:
        kept("as it is", lambda study: study.runs, Study.order_in_context)
    for name in planted:
        if "lcgd" in rules or not name.startswith("lcgd"):
            kept(f"planted {name}", lambda study, name=name: replace(study.runs, in_context=study.planted(name)))
    if "blends" in parts:
        seen: list[Any] = []

        def of_share(study: Study, share: float) -> Runs:
            seen.extend([] if seen else [study.planted(PLANTED[0])])
            return study.blend(share, seen[0])

        for share in SHARES:
            kept(f"blend {share}", lambda study, share=share: of_share(study, share))


def alarms(models: Iterable[tuple[str, Callable[[], LanguageModel]]], n_tasks: int, seed: int) -> None:
    """Of each model, tasks of both kinds: is in-context learning seen where there is none?"""
    seen_in, n = [], 0
    for name, opened in models:
        subject, called = opened(), []
        for kind in ("label-mapping", "recall"):
            with suppress(TaskError):  # too few tokens, or a context that is too short
                gains = in_context_learning(subject, kind, n_tasks, seed)
                called += [kind] * all(gain.low > LEAST_GAIN for gain in gains)
                print(f"{name} | {kind} | {' | '.join(map(_short, gains))}", flush=True)
        n += 1
        seen_in += [f"{name} ({kind})" for kind in called[:1]]
    bound = stats.beta.ppf(0.95, len(seen_in) + 1, n - len(seen_in))
    print(f"{len(seen_in)} of {n} models are called, at most {bound:.1%} (one-sided, 95 %): {', '.join(seen_in)}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", type=lambda text: text.split(","))
    parser.add_argument("--kinds", type=lambda text: text.split(","))
    parser.add_argument(
        "--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1, 2, 3, 4, 5]
    )
    parser.add_argument("--n-tasks", type=int, default=64)
    parser.add_argument("--task-seed", type=int, default=SEED, help="of the tasks of alarms")
    parser.add_argument("--rules", type=lambda text: text.split(","), default=["gd", "lcgd"])
    parser.add_argument("--planted", type=lambda text: text.split(";"), default=PLANTED)
    parser.add_argument("--all", action="store_true", help="all parameters descend, not W_K and W_V alone")
    parser.add_argument("--trained", type=Path)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if "alarms" in given.parts:
        alarms(without(given.trained), given.n_tasks, given.task_seed)
    for case in cases(given.trained, given.seeds):
        if given.kinds is None or case.kind in given.kinds:
            planted = given.planted if "planted" in given.parts else ()
            of_case(case, given.parts, given.n_tasks, given.rules, planted, given.all, Keeper(given.keep))


if __name__ == "__main__":
    main()
