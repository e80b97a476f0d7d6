"""Measures of what the weights themselves look like: `outside_pattern` and `diagonal_spread` of single linear heads;
`head_write`, `head_diagonal`, `heads_cancel` and `heads_off_identity` of several softmax heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ...models.subject import NotApplicable
from ..measure import Measure, along, missing, without_interval
from ..regression.nulls import Untrained
from ..regression.products import Live, WeightProducts, live_entries, module_products, products
from .patterns import PATTERNS, filled_by, outside_share, spread_of_diagonal
from .setup import Setup
from .softmax_heads import softmax_heads, softmax_of_several_heads
from .weight_measures import NO_INTERVAL, PRODUCT

SHARE, RELATIVE, WEIGHT, SCORE = "share", "relative", "weight", "score / squared input"
PATTERN = "pattern"
PRODUCTS = ("KQ", "PV")
NO_NUMBER = "NaN in a layer where all of the entries are 0"
NO_MEAN = "NaN in a layer where the inputs' diagonal cannot reach the output, or has mean 0"
DEAD = "the x columns of PV cannot reach the output of this model"
SEVERAL_HEADS = "this model has several heads: the pattern is one of a single KQ and PV"
HEADS = {"head_write": WEIGHT, "head_diagonal": SCORE, "heads_cancel": SHARE, "heads_off_identity": SHARE}
"""Measures of softmax heads, with their units."""


def structure_measures(
    setup: Setup, untrained: Sequence[Untrained]
) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
    """Measures of single linear heads and of several softmax heads, and the products of these."""
    heads, arrays = _head_measures(setup, untrained)
    return _pattern_measures(setup, untrained) | heads, arrays


def _pattern_measures(setup: Setup, untrained: Sequence[Untrained]) -> dict[str, Measure]:
    """`outside_pattern` and `diagonal_spread` of single-head linear attention."""
    held = products(setup.subject)
    if isinstance(held, NotApplicable) or not held.single_head:
        reason = held.reason if isinstance(held, NotApplicable) else SEVERAL_HEADS
        return _no_patterns(reason)
    before = [module_products(model.module) for model in untrained]
    live = live_entries(held.config, setup.query_label_set)
    outside = {
        product: {pattern: _outside(held, before, live, product, pattern) for pattern in PATTERNS}
        for product in PRODUCTS
    }
    return {
        "outside_pattern": along(PRODUCT, {product: along(PATTERN, found) for product, found in outside.items()}),
        "diagonal_spread": along(PRODUCT, {product: _spread(held, before, live, product) for product in PRODUCTS}),
    }


def _outside(
    held: WeightProducts, untrained: Sequence[WeightProducts], live: Live, product: str, pattern: str
) -> Measure:
    filled, mask = filled_by(pattern, product, held.config.d_in), getattr(live, product)
    values, *nulls = (outside_share(getattr(of, product)[:, 0], mask, filled) for of in (held, *untrained))
    return _of_layers(values, nulls, SHARE, NO_NUMBER)


def _spread(held: WeightProducts, untrained: Sequence[WeightProducts], live: Live, product: str) -> Measure:
    mask, d_in = getattr(live, product), held.config.d_in
    if not mask[:, :d_in, :d_in].any():
        return missing(RELATIVE, "not applicable", DEAD)
    values, *nulls = (spread_of_diagonal(getattr(of, product)[:, 0], mask, d_in) for of in (held, *untrained))
    return _of_layers(values, nulls, RELATIVE, NO_MEAN)


def _of_layers(
    values: Float[np.ndarray, "layer *head"],
    untrained: Sequence[Float[np.ndarray, "layer *head"]],
    unit: str,
    no_number: str,
    higher_is_better: bool | None = False,
) -> Measure:
    complete = bool(np.isfinite(values).all())
    return without_interval(
        values,
        unit,
        ("layer", "head")[: values.ndim],
        message=NO_INTERVAL if complete else f"{NO_INTERVAL}; {no_number}",
        no_nulls="no untrained models of this architecture",
        nulls={"untrained": np.stack(untrained)} if untrained else None,
        higher_is_better=higher_is_better,
    )


def _no_patterns(reason: str) -> dict[str, Measure]:
    share, spread = (missing(unit, "not applicable", reason) for unit in (SHARE, RELATIVE))
    by_pattern = along(PATTERN, dict.fromkeys(PATTERNS, share))
    return {
        "outside_pattern": along(PRODUCT, dict.fromkeys(PRODUCTS, by_pattern)),
        "diagonal_spread": along(PRODUCT, dict.fromkeys(PRODUCTS, spread)),
    }


def _head_measures(setup: Setup, untrained: Sequence[Untrained]) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
    subject = softmax_of_several_heads(setup.subject)
    if isinstance(subject, NotApplicable):
        return {name: missing(unit, "not applicable", subject.reason) for name, unit in HEADS.items()}, {}
    held = module_products(subject.module)
    found, before = softmax_heads(held), [softmax_heads(module_products(model.module)) for model in untrained]
    measures = {
        name: _of_layers(getattr(found, name), [getattr(heads, name) for heads in before], unit, NO_NUMBER, better)
        for (name, unit), better in zip(HEADS.items(), (None, None, False, False), strict=True)
    }
    return measures, {"KQ": held.KQ.numpy(), "PV": held.PV.numpy()}
