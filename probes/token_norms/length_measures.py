"""Lengths of representations at every site, and what they have to do with what the model predicts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable, Reduce, Site
from ..measure import Measure, missing
from ..statistics.ranks import independent_interval, spearman
from ..streaming import Watcher
from .accumulator import PLACES, Notes
from .inner_problem import Foresight, foresight
from .lengths import growth, lengths, percentiles
from .means import ALONE, STATISTICS, built, length_measure, rank_measures, without_interval
from .text import Reading

SITES: Mapping[str, Site] = {
    "embed": "embed",
    "resid": "resid_post",
    "attn_out": "attn_out",
    "resid_mid": "resid_mid",
    "mlp_out": "mlp_out",
    "final_norm": "final_norm",
}
"""What is measured, and the site it is watched at. Layer l of "resid" is the stream before block l, the last one that
after the last block; layer l of a write, or of the stream between attention and MLP, is that of block l."""
UNLAYERED = ("embed", "final_norm")
DECILES = 10
ROWS = 2**13
"""Rows of a vocabulary in float64 at a time."""


class SiteLengths(Watcher):
    """Notes the norm at every site, and surprisal and entropy of the next token where the model predicts it."""

    def __init__(self, subject: LanguageModel, notes: Notes) -> None:
        self.notes = notes
        self.no_prediction = no_prediction(subject)
        self.logits = self.no_prediction is None

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> Mapping[Site, Reduce]:
        watch: dict[Site, Reduce] = {site: partial(self._note, name) for name, site in SITES.items()}
        watch["resid_pre"] = lambda x, layer: self._note("resid", x, -1) if layer == 0 else None
        return watch

    def _note(self, name: str, x: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        norm = lengths(x)
        at = layer + (name == "resid")
        self.notes.mean(f"norm_{name}", torch.stack([norm, norm.square()], dim=-1), at)
        self.notes.token(name, norm, at)

    def take(self, tokens: Int[Tensor, "batch pos"], output: Float[Tensor, "batch pos width"]) -> None:
        truth = self.notes.reading.true_entropy(self.notes.windows)
        if truth is not None:
            self.notes.token("true_entropy", truth)
        if not self.logits:
            return
        targets = tokens[:, 1:].to(output.device)
        pairs = [foresight(logits[:-1], y) for logits, y in zip(output, targets, strict=True)]  # views, no copy
        for name, values in zip(Foresight._fields, map(torch.stack, zip(*pairs, strict=True)), strict=True):
            if name == "surprisal":
                self.notes.mean("next_token_loss", values)
            # nothing is known to follow a window's last token
            self.notes.token(name, torch.nn.functional.pad(values, (0, 1), value=torch.nan))

    def measures(self, subject: LanguageModel) -> dict[str, Measure]:
        found = {
            f"norm_{name}": length_measure(self.notes, name, name not in UNLAYERED)
            for name in SITES
            if (name, 0) in self.notes.sample.columns
        }
        found |= growth_measures(self.notes)
        if self.no_prediction is None:
            loss = self.notes.means("next_token_loss").apply(lambda x: x[:, 0])
            found["next_token_loss"] = built(loss, self.notes.reading, "nat", ("position",), {"position": PLACES})
        else:
            found["next_token_loss"] = missing("nat", "not applicable", self.no_prediction)
        return found | vocabulary_measures(subject, self.notes.reading)


def no_prediction(subject: LanguageModel) -> str | None:
    """Why there is no next token whose prediction could be looked at."""
    if not subject.shape.causal:
        return "a bidirectional model sees the next token: it does not predict it"
    unembedding = subject.unembedding()
    if isinstance(unembedding, NotApplicable):
        return unembedding.reason
    return None


def covariates(notes: Notes) -> dict[str, Float[np.ndarray, " token"]]:
    """What the sampled tokens' norms are correlated with. Ranks of log probabilities are those of probabilities."""
    sample, reading = notes.sample, notes.reading
    found = {"position": sample.position.astype(np.float64), "log_frequency": _of(reading.log_frequency, sample.token)}
    if ("surprisal", 0) in sample.columns:
        found["next_token_probability"] = -sample.columns["surprisal", 0]
        found |= {name: sample.columns[name, 0] for name in ("surprisal", "entropy")}
    if reading.truth is not None:
        found["true_log_frequency"] = _of(reading.truth.log_frequency, sample.token)
        found["true_entropy"] = sample.columns["true_entropy", 0]
    return found


def _of(log_frequency: Float[np.ndarray, " d_vocab"], token: Int[np.ndarray, " token"]) -> Float[np.ndarray, " token"]:
    """Each token's; a token that the text never holds (BOS) has occurred less than once."""
    found = log_frequency[token]
    return np.where(np.isfinite(found), found, -1.0)


def correlation_measures(notes: Notes, names: tuple[str, ...]) -> dict[str, Measure]:
    """Rank correlations of whichever of the named quantities were noted."""
    noted = tuple(name for name in names if (name, 0) in notes.sample.columns)
    return rank_measures(notes, noted, covariates(notes))


def growth_measures(notes: Notes) -> dict[str, Measure]:
    """How the mean norm of the stream grows, position 0 left out; from the first block's output on, where that is
    enough for a line."""
    means = notes.means("norm_resid").apply(lambda x: x[:, :, 1, 0])
    last = len(means.values) - 1
    first = 1 if last >= 3 else 0
    words = f"fitted to the stream at layers {first} to {last}, without position 0"
    fits = {name: means.apply(lambda x, name=name: getattr(growth(x[:, first:]), name)) for name in ("factor", "r2")}
    return {
        "norm_growth": built(fits["factor"], notes.reading, "factor per layer", message=words),
        "norm_growth_r2": built(
            fits["r2"], notes.reading, "R²", message=words, missing_words="the norm stays the same"
        ),
    }


def vocabulary_measures(subject: LanguageModel, reading: Reading) -> dict[str, Measure]:
    """Norms of embedding and unembedding rows, over the vocabulary, and how they go with frequency.

    The whitened norm of e_w is ((e_w - mean) G (e_w - mean))^½ with G the covariance of unembedding rows, both weighted
    by frequency: twice the information that w gives about its neighbours, in the model of Oyama et al. 2023 (arXiv
    2212.09663).
    """
    embedding, unembedding = subject.embedding(), subject.unembedding()
    log_frequency = reading.log_frequency if reading.truth is None else reading.truth.log_frequency
    seen = np.isfinite(log_frequency)
    rows = {"W_E": row_lengths(embedding).cpu().numpy()}
    measures = {"norm_embedding_rows": _rows(rows["W_E"])}
    if isinstance(unembedding, NotApplicable):
        measures["norm_unembedding_rows"] = missing("norm", "not applicable", unembedding.reason)
    else:
        rows["W_U"] = row_lengths(unembedding.mT).cpu().numpy()
        measures["norm_unembedding_rows"] = _rows(rows["W_U"])
        weights = torch.from_numpy(np.exp(log_frequency)).to(embedding.device)
        rows["W_E whitened"] = whitened_lengths(embedding, unembedding.mT, weights).cpu().numpy()
    found, n = np.stack([values[seen] for values in rows.values()], axis=1), int(seen.sum())
    return measures | _by_frequency(found, log_frequency[seen], tuple(rows), reading, n)


def whitened_lengths(
    embedding: Float[Tensor, "d_vocab d_model"],
    unembedding: Float[Tensor, "d_vocab d_model"],
    weights: Float[Tensor, " d_vocab"],
) -> Float[Tensor, " d_vocab"]:
    """Norms of centred embeddings under the covariance of the unembedding, tokens weighted (in float64)."""
    share = (weights / weights.sum()).double()[:, None].split(ROWS)
    e, u = embedding.split(ROWS), unembedding.split(ROWS)
    middle_e, middle_u = (
        torch.stack([(p * x.double()).sum(dim=0) for p, x in zip(share, rows, strict=True)]).sum(dim=0)
        for rows in (e, u)
    )
    covariance = torch.zeros(len(middle_u), len(middle_u), dtype=torch.float64, device=u[0].device)
    for p, x in zip(share, u, strict=True):
        centred = x.double() - middle_u
        covariance += centred.mT @ (p * centred)
    squares = [(((x.double() - middle_e) @ covariance) * (x.double() - middle_e)).sum(dim=-1) for x in e]
    return torch.cat(squares).clamp_min(0).sqrt()


def row_lengths(matrix: Float[Tensor, "row d_model"]) -> Float[Tensor, " row"]:
    """`lengths`, some rows at a time: a vocabulary in float64 may be larger than the model."""
    return torch.cat([lengths(rows) for rows in matrix.split(ROWS)])


def _rows(norms: Float[np.ndarray, " d_vocab"]) -> Measure:
    values = np.array([norms.mean(), np.sqrt((norms**2).mean()), *percentiles(norms)])
    return without_interval(values, "norm", ("statistic",), {"statistic": STATISTICS})


def _by_frequency(
    norms: Float[np.ndarray, "token matrix"],
    log_frequency: Float[np.ndarray, " token"],
    matrices: tuple[str, ...],
    reading: Reading,
    n: int,
) -> dict[str, Measure]:
    """Rank correlation of rows' norms with frequency, and their medians by decile of it, the rarest first."""
    rho = spearman(norms, log_frequency[:, None])[:, 0]
    source = "the text" if reading.truth is None else "the grammar, which knows them"
    words = f"{n:,} tokens that occur, taken as independent; frequencies from {source}"
    if not np.isfinite(rho).any():
        whole = missing(
            "rank correlation", "undefined", "all occurring tokens are as long or as frequent as each other"
        )
    else:
        holes = "" if np.isfinite(rho).all() else "; NaN where all rows are of one length"
        interval = independent_interval(rho, n)
        whole = Measure(
            rho,
            "rank correlation",
            interval,
            "token",
            n,
            ("matrix",),
            {"matrix": matrices},
            no_nulls=ALONE,
            message=words + holes,
        )
    order = np.argsort(log_frequency, kind="stable")
    medians = np.array([np.median(norms[part], axis=0) for part in np.array_split(order, min(DECILES, n))])
    deciles = without_interval(medians, "norm", ("decile", "matrix"), {"matrix": matrices})
    return {"spearman_rows_frequency": whole, "norm_rows_by_decile": deciles}
