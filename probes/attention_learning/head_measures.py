"""How well each head of a language model attends to what says most about the next token, as measures over sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ...data.errors import UsageError
from ...data.recipe import Recipe
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable
from ..findings import Findings, head_name
from ..head_sequences import Sequences, other_sequences, read_sequences
from ..measure import Measure, along, missing
from ..probe import Progress, silent
from ..statistics.sample_measures import PerTask, task_measures
from .agreement import Agreements
from .copy_measures import HEADS, SHARE, agreement_measures, one_checkpoint
from .direct_path import DirectPath
from .head_proxy import fitted_head_proxy
from .head_reading import HeadReading, Reader, no_heads, read_heads
from .head_saliency import no_saliency
from .head_settings import HeadHow
from .names import (
    ATTENTION,
    ATTENTION_ARRAY,
    CHANCE,
    INPUTS,
    KTIW,
    OWN_PROXY,
    OWN_SALIENCY,
    PAIR,
    PAIRS,
    PUSH_ARRAY,
    SALIENCY,
    TASK,
    TWIN_PROXY,
    UNIFORM,
)
from .proxy import Proxy

SAME = "beta is the same for every source"
NO_GOLD = {
    ATTENTION: "which token a head should attend to is not known of a language model: there is no gold source",
    KTIW: "what token is the translation of another is not known of a language model",
}
_OVER_HEADS = "mean over the heads that have a number in every sequence"
_NEXT = "share of the queries whose next token has the largest logit"


@dataclass(frozen=True)
class Beside:
    """What heads are compared with beside their own beta, each with the reason where it is not there."""

    twin: DirectPath | str
    proxy: Proxy | str
    saliency: NotApplicable | None

    @property
    def lacking(self) -> dict[str, str]:
        """Why there is no number, by the name of the pair."""
        twin, proxy = (each if isinstance(each, str) else "" for each in (self.twin, self.proxy))
        saliency = "" if self.saliency is None else self.saliency.reason
        why = {
            UNIFORM.name: [twin], OWN_PROXY.name: [proxy], TWIN_PROXY.name: [twin, proxy],
            OWN_SALIENCY.name: [saliency], SALIENCY.name: [saliency, twin],
        }  # fmt: skip
        return {name: "; ".join(filter(None, of)) for name, of in why.items() if any(of)}


def head_findings(
    subject: LanguageModel,
    how: HeadHow,
    twin: LanguageModel | str,
    seed: int,
    batch_size: int,
    progress: Progress = silent,
) -> Findings:
    """Agreements of every head, and the model's own accuracy.

    twin:  the same model trained with uniform attention, or why there is none
    """
    path = DirectPath.of(subject)
    if isinstance(path, NotApplicable):
        raise UsageError(f"{subject.source.label}: heads have no beta: {path.reason}")
    sequences = read_sequences(subject, how, seed, segments=True)
    progress("co-occurrence", 0.0)
    others = other_sequences(subject, how, seed, segments=True)
    beside = Beside(_twin_path(twin), fitted_head_proxy(others, subject.shape.d_vocab), _without_saliency(subject, how))
    reader = Reader(
        subject=subject,
        path=path,
        twin=None if isinstance(beside.twin, str) else beside.twin,
        proxy=None if isinstance(beside.proxy, str) else beside.proxy,
        with_saliency=beside.saliency is None,
        how=how,
        seed=seed,
    )
    reading = read_heads(reader, sequences, batch_size, progress)
    measures = head_measures(reading, beside.lacking, subject.shape.d_vocab, seed)
    return Findings(measures, _arrays(reading), _recipes(sequences, others, beside))


def _twin_path(twin: LanguageModel | str) -> DirectPath | str:
    if isinstance(twin, str):
        return twin
    path = no_heads(twin) or DirectPath.of(twin)
    return f"the twin's heads have no beta: {path.reason}" if isinstance(path, NotApplicable) else path


def _without_saliency(subject: LanguageModel, how: HeadHow) -> NotApplicable | None:
    if how.saliency == 0:
        return NotApplicable("saliency was not asked for (--saliency 0)")
    return no_saliency(subject)


def _recipes(sequences: Sequences, others: Sequences | None, beside: Beside) -> dict[str, Recipe]:
    if others is None or isinstance(beside.proxy, str):
        return {INPUTS: sequences.recipe}
    return {INPUTS: sequences.recipe, "co-occurrence": others.recipe}


def _arrays(reading: HeadReading) -> dict[str, np.ndarray]:
    """Values of single sequences, and the rows that checkpoints are compared by where there are any."""
    found = {f"{TASK}_accuracy": reading.right}
    for name, agreed in reading.agreed.items():
        found |= {f"head_agreement_{name}": agreed.samples, f"agreement_{name}": over_heads(agreed).samples}
    rows = {ATTENTION_ARRAY: reading.attention, PUSH_ARRAY: reading.push}
    return found | (rows if len(reading.attention) else {})


# -- measures ----------------------------------------------------------------------------------------------------------


def head_measures(reading: HeadReading, lacking: Mapping[str, str], d_vocab: int, seed: int) -> dict[str, Measure]:
    """Means over sequences, with their intervals and nulls; of what is lacking, why."""
    absent = {name: missing(SHARE, "not applicable", why) for name, why in lacking.items()}
    agreed = {name: _told(of) for name, of in reading.agreed.items()}
    of_heads = agreement_measures(agreed, seed, HEADS)
    of_all = agreement_measures({name: over_heads(of) for name, of in agreed.items()}, seed)
    same = _same(reading)
    of_heads = {name: _explained(measure, same) for name, measure in of_heads.items()}
    of_all = {name: _explained(measure, _OVER_HEADS) for name, measure in of_all.items()}
    task = PerTask(
        reading.right, SHARE, nulls={CHANCE: np.array([1 / d_vocab])}, higher_is_better=True, message=_NEXT,
        replicate="sequence",
    )  # fmt: skip
    return {
        **task_measures({f"{TASK}_accuracy": task}, seed),
        **{f"{name}_accuracy": missing(SHARE, "not applicable", why) for name, why in NO_GOLD.items()},
        "agreement": along(PAIR, {name: (of_all | absent)[name] for name in PAIRS}),
        "head_agreement": along(PAIR, {name: (of_heads | absent)[name] for name in PAIRS}),
        **one_checkpoint(),
    }


def over_heads(agreed: Agreements) -> Agreements:
    """The mean over heads that have a number in every sequence, in each sequence and each draw."""
    counted = np.isfinite(agreed.samples).all(axis=0)

    def mean(found: Float[np.ndarray, "*some layer head"]) -> Float[np.ndarray, "*some"]:
        chosen = found[..., counted]
        return chosen.mean(axis=-1) if chosen.shape[-1] else np.full(chosen.shape[:-1], np.nan)

    return Agreements(mean(agreed.samples), {name: mean(drawn) for name, drawn in agreed.drawn.items()})


def _told(agreed: Agreements) -> Agreements:
    """Without a null that has no draw: each sequence has one query."""
    return replace(agreed, drawn={name: drawn for name, drawn in agreed.drawn.items() if np.isfinite(drawn).any()})


def _same(reading: HeadReading) -> str:
    """L0H1, L2H3: beta is the same for every source; nothing where there are no such heads."""
    heads = [head_name((int(layer), int(head))) for layer, head in np.argwhere(reading.same)]
    return f"{', '.join(heads)}: {SAME}, so that any agreement is by chance" if heads else ""


def _explained(measure: Measure, words: str) -> Measure:
    return replace(measure, message=f"{measure.message}; {words}") if words else measure
