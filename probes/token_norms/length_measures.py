"""Lengths of representations at every site, how they grow with depth, and the loss of the model."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ..measure import Measure, along, missing
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from .accumulator import ModelPass, combined
from .length_watcher import BLOCK_SITES, OUTER_SITES, STREAM, no_prediction
from .lengths import PERCENTILES, growth_factor, growth_r2, percentile_intervals, percentiles
from .quantity import Estimate, Quantity, mean_measure, measure_from
from .sample import PLACES

STATISTICS = ("mean", "rms", "p5", "median", "p95")


def length_measures(model_pass: ModelPass) -> dict[str, Measure]:
    """Norms of the residual stream (layers 0 to L), of the sites within each block, and outside the blocks."""
    found = {"stream_norm": _norm(model_pass, STREAM, layered=True)}
    for name, sites, layered in (("norm", BLOCK_SITES, True), ("norm_outside_blocks", OUTER_SITES, False)):
        by_site = {site: _norm(model_pass, site, layered) for site in sites if model_pass.noted.sample.has(site)}
        if by_site:
            found[name] = along("site", by_site)
        elif reason := model_pass.subject.not_shown.get(sites[0]):
            found[name] = missing("norm", "not applicable", reason)
    return found | growth_measures(model_pass) | {"next_token_loss": _next_token_loss(model_pass)}


def _norm(model_pass: ModelPass, site: str, layered: bool) -> Measure:
    """Mean, root mean square and percentiles of the norms noted at one site, position 0 and the others apart."""
    sample = model_pass.noted.sample
    axes = ("layer", "position", "statistic")
    quantity = Quantity(
        "norm",
        axes if layered else axes[1:],
        {"position": PLACES, "statistic": STATISTICS},
        f"percentiles {sample.described}",
    )
    estimate = norm_estimate(model_pass, site)
    if not layered:
        estimate = Estimate(estimate.values[0], estimate.low[0], estimate.high[0], estimate.n_pieces)
    return measure_from(quantity, estimate, model_pass.text)


def norm_estimate(model_pass: ModelPass, site: str) -> Estimate:
    """[layer, position, statistic] of the norms noted at a site: as means "norm_<site>" of (norm, squared norm), and as
    the sample's column of the site's name.
    """
    powers = model_pass.noted.means(f"norm_{site}").ordered(("layer", "position", "power"))
    moments = combined(_mean_and_rms, powers)
    of_moments = (moments.values, *percentile_interval(moments.resampled))
    of_percentiles = _percentiles(model_pass, site)
    values, low, high = (np.concatenate(pair, axis=-1) for pair in zip(of_moments, of_percentiles, strict=True))
    return Estimate(values, low, high, moments.n_pieces)


def _mean_and_rms(powers: Float[np.ndarray, "*axes 2"]) -> Float[np.ndarray, "*axes 2"]:
    """From the means of a norm and of its square."""
    mean, mean_square = np.moveaxis(powers, -1, 0)
    return np.stack([mean, np.sqrt(mean_square)], axis=-1)


def _percentiles(model_pass: ModelPass, site: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Percentiles [layer, position, percentile] of the sampled tokens, and the bounds of their intervals."""
    sample, seed = model_pass.noted.sample, model_pass.noted.seed
    columns = sample.column(site)
    found = [
        [
            _percentiles_of(columns[rows, layer], sample.piece[rows], seed)
            for rows in (sample.rows_at(place) for place in PLACES)
        ]
        for layer in range(columns.shape[1])
    ]
    values, low, high = np.moveaxis(np.array(found), 2, 0)
    return values, low, high


def _percentiles_of(
    values: Float[np.ndarray, " token"], piece: Int[np.ndarray, " token"], seed: int
) -> Float[np.ndarray, "3 percentile"]:
    """Percentiles, and the lower and upper bounds of their intervals."""
    at = percentiles(values)
    used, of_used = np.unique(piece, return_inverse=True)
    tokens = np.bincount(of_used, minlength=len(used))
    below = np.stack([np.bincount(of_used, values <= bound, len(used)) for bound in at], axis=1)
    drawn = bootstrap_means(np.column_stack([below, tokens]), seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = drawn[:, : len(PERCENTILES)] / drawn[:, len(PERCENTILES) :]
    return np.stack([at, *percentile_intervals(values, shares)])


def growth_measures(model_pass: ModelPass) -> dict[str, Measure]:
    """How the mean norm of the stream grows with depth, at position 0 and after it."""
    means = model_pass.noted.means(f"norm_{STREAM}").at(power=0).ordered(("position", "layer"))
    last = means.values.shape[1] - 1
    layers = fitted_layers(last)
    fitted, axes, coords = means.at(layer=layers), ("position",), {"position": PLACES}
    message = f"fitted to the mean norm of the stream at layers {layers.start} to {last}"
    factor = Quantity("factor per layer", axes, coords, message, "the norm is 0 in some layer")
    r2 = Quantity("R²", axes, coords, message, "the norm is the same in all layers, or 0 in some")
    return {
        "norm_growth": mean_measure(factor, combined(growth_factor, fitted, axes=axes), model_pass.text),
        "norm_growth_r2": mean_measure(r2, combined(growth_r2, fitted, axes=axes), model_pass.text),
    }


def fitted_layers(last: int) -> slice:
    """Layers of the stream that growth is fitted to: from the first block's output on, where that makes a line."""
    return slice(1 if last >= 3 else 0, last + 1)


def _next_token_loss(model_pass: ModelPass) -> Measure:
    if reason := no_prediction(model_pass.subject):
        return missing("nat", "not applicable", reason)
    means = model_pass.noted.means("next_token_loss").at(layer=0)
    return mean_measure(Quantity("nat", ("position",), {"position": PLACES}), means, model_pass.text)
