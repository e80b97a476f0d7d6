"""About how much memory and how much work the probe takes: by the size of the layers."""

from __future__ import annotations

from ...models.own.regression_config import RegressionConfig
from ..probe import Cost
from ..regression.nulls import UNTRAINED

_BASE = 20_000_000  # bytes of models and libraries, whatever the layers; as measured
_COPIES = 6  # of one row of a layer's tensor, alive at once
_OPERATIONS, _OPERATIONS_OF_A_ROW = 80, 8  # of a layer, and of each row of its tensor
_NUMBERS_OF_AN_OPERATION = 28_000  # that take as long as the operation itself


def memory_in_bytes(config: RegressionConfig) -> int:
    """At the peak, beside Python, its libraries and the model: KQ and PV of every model, and a row of one layer."""
    products = 2 * config.n_blocks * config.n_heads * config.d_model**2
    return _BASE + 8 * ((1 + UNTRAINED) * products + _COPIES * config.d_model**3)


def cost(config: RegressionConfig) -> Cost:
    """Of one checkpoint, which has untrained models of its own."""
    weights = 4 * config.n_blocks * config.n_heads * config.d_model * config.d_head
    row = _OPERATIONS_OF_A_ROW * (1 + config.d_model**3 / _NUMBERS_OF_AN_OPERATION)
    operations = (1 + UNTRAINED) * config.n_blocks * (_OPERATIONS + config.d_model * row)
    return Cost(0, 0, UNTRAINED * weights, operations, (1, 1))
