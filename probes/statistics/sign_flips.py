"""Is the excess of a head over its controls more than chance? Sequence by sequence, over all heads at once.

Each sequence is paired with its own controls. Where a head does not care which tokens repeat, a sequence and its
control are exchangeable: the sign of each difference is a coin, which gives the test its null distribution whatever the
differences look like (Fisher 1935; Pitman 1937). Many heads are many tests: the false discovery rate over them is
controlled (Benjamini & Hochberg 1995).
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.stats import false_discovery_control

from ...data.recipe import named_seed

MARGIN = 10
"""The smallest p that the test can give, times the number of heads, is so many times below the level."""
_NUMBERS = 2**22  # sums of one chunk of flips


def sequences_needed(heads: int, level: float) -> int:
    """So many sequences that 2^-n, the smallest p there is, passes the false discovery rate with `MARGIN`, were a
    single one of the heads to pass."""
    return math.ceil(math.log2(MARGIN * heads / level))


def flips_needed(heads: int, level: float) -> int:
    """So many random flips that the smallest p they can give passes with `MARGIN`."""
    return math.ceil(MARGIN * heads / level)


def sign_flip_p(
    differences: Float[np.ndarray, "sequence *heads"], flips: int, seed: int
) -> Float[np.ndarray, "*heads"]:
    """One-sided p of a mean above 0: the share of random sign flips whose sum is at least as large, itself included.

    One table of flips serves all heads. Differences that are all 0 have p = 1.
    """
    n, *shape = differences.shape
    flat = differences.reshape(n, -1).astype(np.float64)
    observed = flat.sum(axis=0)
    reached = observed - 1e-12 * np.abs(flat).sum(axis=0)  # the same sum in another order is the same sum
    rng = np.random.default_rng(named_seed(seed, "sign flips"))
    count, chunk = np.zeros(flat.shape[1], dtype=np.int64), max(1, _NUMBERS // max(n, flat.shape[1]))
    for first in range(0, flips, chunk):
        signs = rng.integers(0, 2, size=(min(chunk, flips - first), n)) * 2.0 - 1.0
        count += (signs @ flat >= reached).sum(axis=0)
    return ((1 + count) / (1 + flips)).reshape(shape)


def adjusted(p: Float[np.ndarray, "*heads"]) -> Float[np.ndarray, "*heads"]:
    """p values as false discovery rates over all heads (Benjamini & Hochberg)."""
    return np.asarray(false_discovery_control(p.ravel())).reshape(p.shape)
