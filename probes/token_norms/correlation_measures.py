"""Rank correlations of norms with where a token stands, how frequent it is, and what the model predicts after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ..measure import Measure, along, missing
from ..statistics.bootstrap import bootstrap_means
from ..statistics.ranks import correlations, document_moments, partial_given, standard_ranks
from .accumulator import Means, ModelPass
from .length_watcher import OUTER_SITES, STREAM
from .quantity import Quantity, mean_measure

BLOCK_QUANTITIES = ("attn_out", "mlp_out", "write_norm", "mixing_ratio")
"""What of each block is correlated: norms of its writes, of what its heads would send, and how much it mixes."""
GIVEN = ("position", "log_frequency")
"""What partial correlations control for."""
RANKED_PLACES = ("all", "later")
"""Labels of the axis "position": all tokens, and those after position 0."""
NEVER_OCCURS = -1.0
"""Log frequency of a token that the text never holds (BOS): less than once."""
UNIT = "rank correlation"
MEASURES = ("stream_spearman", "spearman", "spearman_outside_blocks")


@dataclass(frozen=True, eq=False)
class Covariates:
    """What norms are correlated with, of the sampled tokens of which all is known.

    rows:   of these tokens in the sample, by place
    ranks:  standard ranks [token, covariate] among these tokens, by place
    """

    labels: tuple[str, ...]
    rows: dict[str, Int[np.ndarray, " token"]]
    ranks: dict[str, Float[np.ndarray, "_ covariate"]]
    n_pieces: int

    @property
    def given(self) -> tuple[int, ...]:
        """Places of the controls among the variables (quantity, covariate 0, covariate 1, …)."""
        return tuple(1 + self.labels.index(name) for name in GIVEN)


def correlation_measures(model_pass: ModelPass) -> dict[str, Measure]:
    """Rank correlations of whichever quantities were noted; `spearman_covariates`: of the covariates themselves."""
    values = covariates(model_pass)
    ranked = _ranked_where_known(model_pass, values)
    if ranked is None:
        return _undefined(values)
    spearman, partial = _pair(model_pass, ranked, STREAM)
    found = {
        "spearman_covariates": _among_covariates(model_pass, ranked),
        "stream_spearman": spearman,
        "partial_stream_spearman": partial,
    }
    for measure, quantities in (("spearman", BLOCK_QUANTITIES), ("spearman_outside_blocks", OUTER_SITES)):
        pairs = {name: _pair(model_pass, ranked, name) for name in quantities if model_pass.noted.sample.has(name)}
        if pairs:
            found[measure] = along("quantity", {name: spearman for name, (spearman, _) in pairs.items()})
            found[f"partial_{measure}"] = along("quantity", {name: partial for name, (_, partial) in pairs.items()})
        elif reason := model_pass.subject.not_shown.get("attn_out"):
            found |= dict.fromkeys((measure, f"partial_{measure}"), missing(UNIT, "not applicable", reason))
    return found


def last_layer_correlations(model_pass: ModelPass) -> dict[str, float]:
    """Correlations of the last layer's norm after position 0, by covariate: those of `stream_spearman`, without the
    cost of resamples. {} where no token has all covariates.
    """
    ranked = _ranked_where_known(model_pass, covariates(model_pass))
    if ranked is None:
        return {}
    last_layer = model_pass.noted.sample.column(STREAM)[ranked.rows["later"], -1:]
    rho = standard_ranks(last_layer.astype(np.float32)).T @ ranked.ranks["later"] / len(last_layer)
    return dict(zip(ranked.labels, rho[0].tolist(), strict=True))


def _ranked_where_known(model_pass: ModelPass, values: dict[str, Float[np.ndarray, " token"]]) -> Covariates | None:
    """None where no token after position 0 has all covariates."""
    known = np.flatnonzero(np.isfinite(np.column_stack(list(values.values()))).all(axis=1))
    if not (model_pass.noted.sample.position[known] > 0).any():
        return None
    return ranked_covariates(model_pass, values, known)


def covariates(model_pass: ModelPass) -> dict[str, Float[np.ndarray, " token"]]:
    """What the sampled tokens' norms are correlated with. Ranks of log probabilities are those of probabilities."""
    sample, text = model_pass.noted.sample, model_pass.text
    found = {
        "position": sample.position.astype(np.float64),
        "log_frequency": _log_frequency_of(text.log_frequency, sample.token),
    }
    if sample.has("surprisal"):
        found["next_token_probability"] = -sample.columns["surprisal", 0]
        found |= {name: sample.columns[name, 0] for name in ("surprisal", "entropy")}
    if text.truth is not None:
        found["true_log_frequency"] = _log_frequency_of(text.truth.log_frequency, sample.token)
        found["true_entropy"] = sample.columns["true_entropy", 0]
    return found


def _log_frequency_of(
    log_frequency: Float[np.ndarray, " d_vocab"], token: Int[np.ndarray, " token"]
) -> Float[np.ndarray, " token"]:
    found = log_frequency[token]
    return np.where(np.isfinite(found), found, NEVER_OCCURS)


def ranked_covariates(
    model_pass: ModelPass, values: dict[str, Float[np.ndarray, " token"]], known: Int[np.ndarray, " known"]
) -> Covariates:
    """Ranked in float32: what begins alike is alike, and only rounding in batches of another shape tells it apart."""
    sample = model_pass.noted.sample
    table = np.column_stack(list(values.values()))
    rows = {place: np.intersect1d(sample.rows_at(place), known) for place in RANKED_PLACES}
    ranks = {place: standard_ranks(table[at].astype(np.float32)) for place, at in rows.items()}
    return Covariates(tuple(values), rows, ranks, len(np.unique(sample.piece[known])))


def quantity_correlations(model_pass: ModelPass, ranked: Covariates, name: str) -> tuple[Means, Means]:
    """Plain and partial correlations of a quantity in all its layers, along (layer, covariate, position)."""
    spearman, partial = [], []
    column = model_pass.noted.sample.column(name)
    for place, rows in ranked.rows.items():
        full = _resampled_correlations(model_pass, column[rows], ranked.ranks[place], rows)
        spearman.append(full[:, :, 0, 1:])
        variables = range(1, 1 + len(ranked.labels))
        partial.append(np.stack([partial_given(full, 0, y, ranked.given) for y in variables], axis=-1))
    axes = ("layer", "covariate", "position")
    return _means(spearman, axes, ranked), _means(partial, axes, ranked)


def _means(by_place: list[np.ndarray], axes: tuple[str, ...], ranked: Covariates) -> Means:
    """From samples of which the first is that of the whole text."""
    samples = np.stack(by_place, axis=-1)
    return Means(samples[0], samples[1:], axes, ranked.n_pieces)


def _resampled_correlations(
    model_pass: ModelPass,
    column: Float[np.ndarray, "token layer"],
    ranks: Float[np.ndarray, "token covariate"],
    rows: Int[np.ndarray, " token"],
) -> Float[np.ndarray, "sample layer variable variable"]:
    """Correlations among (quantity, covariate 0, …): those of all tokens first, then those of each resample."""
    used, piece = np.unique(model_pass.noted.sample.piece[rows], return_inverse=True)
    moments = document_moments(standard_ranks(column.astype(np.float32)), ranks, piece, len(used))
    sums = np.concatenate([moments.sum(axis=0)[None], bootstrap_means(moments, model_pass.noted.seed)])
    return correlations(sums, column.shape[1], ranks.shape[1])


def _quantity(model_pass: ModelPass, ranked: Covariates, axes: tuple[str, ...], message: str = "") -> Quantity:
    ranks = f"ranks {model_pass.noted.sample.described}; in a resample tokens keep their ranks"
    return Quantity(
        UNIT,
        axes,
        {axis: ranked.labels for axis in axes if axis.startswith("covariate")} | {"position": RANKED_PLACES},
        "; ".join(filter(None, (message, ranks))),
        "one of the two is constant",
    )


def _pair(model_pass: ModelPass, ranked: Covariates, name: str) -> tuple[Measure, Measure]:
    """Plain and partial correlations of a quantity. Of one at a time: resamples of all layers' matrices are large."""
    spearman, partial = quantity_correlations(model_pass, ranked, name)
    axes = ("layer", "covariate", "position")
    if name in OUTER_SITES:
        axes, spearman, partial = axes[1:], spearman.at(layer=0), partial.at(layer=0)
    given = "given position and log frequency"
    return (
        mean_measure(_quantity(model_pass, ranked, axes), spearman, model_pass.text),
        mean_measure(_quantity(model_pass, ranked, axes, given), partial, model_pass.text),
    )


def _among_covariates(model_pass: ModelPass, ranked: Covariates) -> Measure:
    """Of the covariates among each other; the quantity beside them, the stream's first layer, is left out."""
    first_layer, samples = model_pass.noted.sample.column(STREAM)[:, :1], []
    for place, rows in ranked.rows.items():
        full = _resampled_correlations(model_pass, first_layer[rows], ranked.ranks[place], rows)
        samples.append(full[:, 0, 1:, 1:])
    axes = ("covariate", "covariate_2", "position")
    means = _means(samples, axes, ranked)
    return mean_measure(_quantity(model_pass, ranked, axes), means, model_pass.text)


def _undefined(values: dict[str, Float[np.ndarray, " token"]]) -> dict[str, Measure]:
    unknown = ", ".join(name.replace("_", " ") for name, of in values.items() if not np.isfinite(of).any())
    why = missing(UNIT, "undefined", f"no token has a finite {unknown}")
    return {f"{kind}{name}": why for name in MEASURES for kind in ("", "partial_")}
