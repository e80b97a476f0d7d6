"""Norms of embedding and unembedding rows, over the vocabulary, and how they go with the frequency of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from ...models.subject import NotApplicable
from ..measure import Measure, along, missing, without_interval
from ..statistics.ranks import independent_interval, spearman
from .accumulator import ModelPass
from .length_measures import STATISTICS
from .lengths import lengths, percentiles, whitened_lengths
from .quantity import NO_UNTRAINED, WEIGHTS_ALONE

DECILES = 10


@dataclass(frozen=True, eq=False)
class RowNorms:
    """Norms of a vocabulary's rows: of the embedding W_E, of the unembedding W_U, and of W_E whitened by W_U.

    whitened:        of the tokens that occur, which alone have a weight; None: there is nothing to whiten with
    no_unembedding:  why there is no W_U, and nothing to whiten with
    """

    by_matrix: dict[str, Float[np.ndarray, " d_vocab"]]
    whitened: Float[np.ndarray, " occurring"] | None = None
    no_unembedding: str = ""


def vocabulary_measures(model_pass: ModelPass) -> dict[str, Measure]:
    """The measures of `RowNorms`; over the tokens that occur where frequency is in it."""
    log_frequency = _log_frequency(model_pass)
    occurs = np.isfinite(log_frequency)
    norms = row_norms(model_pass, occurs)
    occurring = {matrix: values[occurs] for matrix, values in norms.by_matrix.items()}
    occurring |= {} if norms.whitened is None else {"W_E whitened": norms.whitened}
    of_occurring, matrices = np.stack(list(occurring.values()), axis=1), tuple(occurring)
    message = _frequencies_described(model_pass, occurs)
    return {
        "norm_rows": _norm_rows(norms),
        "spearman_rows_frequency": _spearman(of_occurring, log_frequency[occurs], matrices, message),
        "norm_rows_by_decile": _deciles(of_occurring, log_frequency[occurs], matrices),
    }


def row_norms(model_pass: ModelPass, occurs: Bool[np.ndarray, " d_vocab"]) -> RowNorms:
    embedding, unembedding = model_pass.subject.embedding(), model_pass.subject.unembedding()
    of_embedding = {"W_E": lengths(embedding).cpu().numpy()}
    if isinstance(unembedding, NotApplicable):
        return RowNorms(of_embedding, no_unembedding=unembedding.reason)
    tied = unembedding.mT.data_ptr() == embedding.data_ptr() and unembedding.mT.stride() == embedding.stride()
    by_matrix = of_embedding | {"W_U": of_embedding["W_E"] if tied else lengths(unembedding.mT).cpu().numpy()}
    if model_pass.subject.no_embedded_states() is not None:
        return RowNorms(by_matrix)
    some = torch.from_numpy(occurs).to(embedding.device)
    weights = torch.from_numpy(np.exp(_log_frequency(model_pass)[occurs])).to(embedding.device)
    return RowNorms(by_matrix, whitened_lengths(embedding[some], unembedding.mT[some], weights).cpu().numpy())


def _log_frequency(model_pass: ModelPass) -> Float[np.ndarray, " d_vocab"]:
    text = model_pass.text
    return text.log_frequency if text.truth is None else text.truth.log_frequency


def _frequencies_described(model_pass: ModelPass, occurs: Bool[np.ndarray, " d_vocab"]) -> str:
    source = "counted in the text" if model_pass.text.truth is None else "those of the grammar"
    return f"{occurs.sum():,} tokens that occur, taken as independent; their frequencies are {source}"


def _norm_rows(norms: RowNorms) -> Measure:
    by_matrix = {matrix: _summary(norms.by_matrix[matrix]) for matrix in ("W_E", "W_U") if matrix in norms.by_matrix}
    if norms.no_unembedding:
        by_matrix["W_U"] = missing("norm", "not applicable", norms.no_unembedding)
    return along("matrix", by_matrix)


def _summary(norms: Float[np.ndarray, " d_vocab"]) -> Measure:
    values = np.array([norms.mean(), np.sqrt((norms**2).mean()), *percentiles(norms)])
    coords = {"statistic": STATISTICS}
    return without_interval(values, "norm", ("statistic",), coords, message=WEIGHTS_ALONE, no_nulls=NO_UNTRAINED)


def _spearman(
    norms: Float[np.ndarray, "token matrix"],
    log_frequency: Float[np.ndarray, " token"],
    matrices: tuple[str, ...],
    message: str,
) -> Measure:
    """Rank correlation of rows' norms with frequency."""
    rho, unit = spearman(norms, log_frequency[:, None])[:, 0], "rank correlation"
    if not np.isfinite(rho).any():
        return missing(unit, "undefined", "all tokens that occur have the same norm, or the same frequency")
    holes = "" if np.isfinite(rho).all() else "; NaN where all rows have the same norm"
    interval, n = independent_interval(rho, len(norms)), len(norms)
    return Measure(
        rho, unit, interval, "token", n, ("matrix",), {"matrix": matrices},
        no_nulls=NO_UNTRAINED, message=message + holes,
    )  # fmt: skip


def _deciles(
    norms: Float[np.ndarray, "token matrix"], log_frequency: Float[np.ndarray, " token"], matrices: tuple[str, ...]
) -> Measure:
    """Median norms of rows by decile of the token's frequency, the rarest first."""
    order = np.argsort(log_frequency, kind="stable")
    medians = np.array([np.median(norms[some], axis=0) for some in np.array_split(order, min(DECILES, len(norms)))])
    axes, coords = ("decile", "matrix"), {"matrix": matrices}
    return without_interval(medians, "norm", axes, coords, message=WEIGHTS_ALONE, no_nulls=NO_UNTRAINED)
