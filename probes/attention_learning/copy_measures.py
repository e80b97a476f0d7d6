"""What a copy model knows and where it attends, as measures over sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ...data.copying import CopyTask
from ...data.recipe import named_seed
from ...models.copy_models import CopyModel
from ..findings import Findings
from ..measure import Measure, along, missing
from ..probe import Progress, silent
from ..statistics.sample_measures import PerTask, task_measures
from .agreement import Agreements, agreements, others, shuffles
from .copy_reading import CopyReading, copy_betas, read_copies
from .names import (
    ATTENTION,
    ATTENTION_ARRAY,
    BETA,
    CHANCE,
    INPUTS,
    KTIW,
    ONE_CHECKPOINT,
    OWN_PROXY,
    OWN_SALIENCY,
    PAIR,
    PAIRS,
    PUSH_ARRAY,
    SALIENCY,
    TASK,
    TWIN_PROXY,
    UNIFORM,
    Pair,
)  # fmt: skip
from .proxy import fitted_proxy

HEADS = ("layer", "head")
_BAGS = 512
"""Sources that co-occurrence is read off."""
SHARE = "share"
MESSAGES = {
    TASK: "share of the target places whose word has the largest logit",
    ATTENTION: "share of the target places that attend most to their own source place, heads averaged",
    KTIW: "share of the source words that the model names if all heads attend to them only",
}


@dataclass(frozen=True)
class CopySettings:
    """What a user asks for, where the subject is a copy model.

    n_sequences:  sources that are read
    """

    n_sequences: int = 64


@dataclass(frozen=True)
class _Pairs:
    """Agreements of one model, with the draws of their nulls."""

    shuffled: np.ndarray
    other_targets: np.ndarray

    def of(self, u: Tensor | np.ndarray, v: Tensor | np.ndarray) -> Agreements:
        return agreements(np.asarray(u), np.asarray(v), self.shuffled, self.other_targets)


def copy_findings(
    subject: CopyModel,
    how: CopySettings,
    twin: CopyModel | str,
    seed: int,
    batch_size: int,
    progress: Progress = silent,
) -> Findings:
    """Accuracies and agreements of one copy model.

    twin:  the same model trained with uniform attention, or why there is none
    """
    task = CopyTask.recorded(subject.source.record, subject.config.d_vocab, subject.config.n_ctx)
    batch = task.sample(how.n_sequences, named_seed(seed, "copied sources"))
    bags = task.sample(_BAGS, named_seed(seed, "co-occurrence"))
    reading = read_copies(subject, batch.tokens, batch_size, progress)
    progress("co-occurrence", 1.0)
    said = _co_occurrence(bags.tokens, batch.tokens, subject.config.d_vocab)
    betas = twin if isinstance(twin, str) else copy_betas(twin, batch.tokens, batch_size)
    n, places = batch.tokens.shape
    pairs = _Pairs(shuffles(n, places, seed), others(n, places, seed))
    measures = {**_accuracies(reading, subject, seed), **_agreements(reading, betas, said, pairs, seed)}
    if reading.heads is not None:
        measures |= _of_heads(reading, subject, pairs, seed)
    arrays = {ATTENTION_ARRAY: reading.attention.numpy(), PUSH_ARRAY: reading.push.numpy()}
    return Findings({**measures, **one_checkpoint()}, arrays, {INPUTS: batch.recipe, "co-occurrence": bags.recipe})


def one_checkpoint() -> dict[str, Measure]:
    """What takes several checkpoints: a single one has none of it, and says so."""
    return {name: missing(unit, "not applicable", ONE_CHECKPOINT[name]) for name, unit in _UNITS.items()}


_UNITS = {"agreement_push": SHARE, "first_crossing": "training step", "ktiw_lead": "training steps"}


# -- accuracies --------------------------------------------------------------------------------------------------------


def _accuracies(reading: CopyReading, subject: CopyModel, seed: int) -> dict[str, Measure]:
    right = {TASK: reading.task, ATTENTION: reading.attended, KTIW: reading.ktiw}
    chance = _chance(subject, reading)
    found = {
        f"{name}_accuracy": PerTask(
            of.mean(dim=-1).numpy(), SHARE, nulls={CHANCE: np.array([chance[name]])}, higher_is_better=True,
            message=MESSAGES[name], replicate="sequence",
        )
        for name, of in right.items()
    }  # fmt: skip
    return task_measures(found, seed)


def _chance(subject: CopyModel, reading: CopyReading) -> Mapping[str, float]:
    word = 1 / subject.config.d_vocab
    return {TASK: word, ATTENTION: 1 / reading.attention.shape[-1], KTIW: word}


def _of_heads(reading: CopyReading, subject: CopyModel, pairs: _Pairs, seed: int) -> dict[str, Measure]:
    heads = reading.heads
    assert heads is not None, "asked for heads of several"
    chance, n_heads = _chance(subject, reading), subject.config.n_heads
    right = {ATTENTION: heads.attended, KTIW: heads.ktiw}
    words = {ATTENTION: "of each head alone", KTIW: "of what each head reads out alone"}
    found = {
        f"head_{name}_accuracy": PerTask(
            of.mean(dim=-1).numpy()[:, None], SHARE, HEADS,
            nulls={CHANCE: np.full((1, 1, n_heads), chance[name])}, higher_is_better=True,
            message=f"{MESSAGES[name]}: {words[name]}", replicate="sequence",
        )
        for name, of in right.items()
    }  # fmt: skip
    agreed = pairs.of(heads.attention[:, None], heads.beta[:, None])
    of_beta = agreement_measures({BETA.name: agreed}, seed, HEADS)
    return {**task_measures(found, seed), "head_agreement": along(PAIR, of_beta)}


# -- agreements --------------------------------------------------------------------------------------------------------


def agreement_measures(agreed: Mapping[str, Agreements], seed: int, axes: tuple[str, ...] = ()) -> dict[str, Measure]:
    """Of each pair, the mean over sequences with its interval and nulls."""
    metrics = {
        name: PerTask(
            of.samples, SHARE, axes, nulls=of.nulls, higher_is_better=None,
            message=f"how often, where {PAIRS[name].first} is largest, {PAIRS[name].second} is among the largest 5 %",
            replicate="sequence", no_number="NaN where no query attends to two sources",
        )
        for name, of in agreed.items()
    }  # fmt: skip
    return task_measures(metrics, seed)


def _co_occurrence(bags: Int[Tensor, "bag place"], tokens: Int[Tensor, "sequence place"], d_vocab: int) -> Tensor | str:
    """What each source's word says about each target's by occurring with it in other sources; or why there is none."""
    proxy = fitted_proxy(bags, bags, d_vocab)
    return proxy if isinstance(proxy, str) else proxy.of(tokens[:, :, None], tokens[:, None, :])


def _agreements(
    reading: CopyReading, betas: Tensor | str, said: Tensor | str, pairs: _Pairs, seed: int
) -> dict[str, Measure]:
    compared = {
        BETA: (reading.attention, reading.beta),
        UNIFORM: (reading.attention, betas),
        TWIN_PROXY: (betas, said),
        OWN_PROXY: (reading.beta, said),
        SALIENCY: (reading.saliency, betas),
        OWN_SALIENCY: (reading.saliency, reading.beta),
    }
    agreed: dict[str, Agreements] = {}
    reasons: dict[str, str] = {}
    for pair, (u, v) in compared.items():
        why = dict.fromkeys(each for each in (u, v) if isinstance(each, str))
        if why:
            reasons[pair.name] = "; ".join(why)
        else:
            agreed[pair.name] = pairs.of(u, v)  # pyright: ignore[reportArgumentType]
    found = agreement_measures(agreed, seed)
    told = {name: _explained(found[name], PAIRS[name], compared[PAIRS[name]]) for name in found}
    lacking = {name: missing(SHARE, "not applicable", why) for name, why in reasons.items()}
    return {"agreement": along(PAIR, {name: (told | lacking)[name] for name in PAIRS})}


def _explained(measure: Measure, pair: Pair, sides: tuple[object, object]) -> Measure:
    """With words where one side is the same for all sources: any order of them is as good as any other."""
    said = dict(zip((pair.first, pair.second), sides, strict=True))
    same = [name for name, numbers in said.items() if isinstance(numbers, Tensor) and _says_nothing(numbers)]
    words = f"{' and '.join(same)} {'is' if len(same) == 1 else 'are'} the same for every source: this is chance"
    return replace(measure, message=f"{measure.message}; {words}") if same else measure


def _says_nothing(numbers: Float[Tensor, "sequence target source"]) -> bool:
    return bool((numbers == numbers[..., :1]).all())
