"""What trainings and measurements cost: CPU milliseconds and seconds on one thread. Without torch.

Measured with `benchmarks/training_speed.py` and `mesascope run` on a virtual machine of two cores at 2.1 to 3 GHz. The
estimates that are made of them are printed as "about".
"""

from __future__ import annotations

from collections.abc import Mapping

TRAINING_MS: Mapping[str, float] = {
    "lsa-1layer": 0.8,
    "lsa-1layer-1head-10seeds": 0.8,
    "lsa-1layer-2heads-10seeds": 1.3,
    "lsa-2layer-recurrent": 5,
    "lsa-3layer-recurrent": 9,
    "lsa-5layers": 19,
    "lsa-10layer-recurrent": 43,
    "lsa-1layer-norm": 2.8,
    "lsa-2layer-norm": 9.4,
    "softmax-1layer-1head": 1.7,
    "softmax-1layer-2heads": 2.1,
    "separate-tokens": 19,
    "sine-mlp": 46,
    "sine-mlp-gd": 12,
    "blocks-12-mlp": 185,
    "blocks-12-mlp-own": 185,
    "lsa-1layer-fixed-128": 0.3,
    "lsa-1layer-fixed-512": 0.4,
    "lsa-1layer-fixed-2048": 0.8,
    "lsa-1layer-fixed-8192": 3.2,
    "lsa-1layer-d2": 0.2,
    "lsa-1layer-d5": 0.4,
    "lsa-1layer-d20": 2.5,
    "lsa-1layer-d30": 6,
    "lsa-1layer-d40": 10,
    "lsa-1layer-d50": 16,
}
"""Of one step of one seed, by recipe."""
MEASURING_S: Mapping[str, float] = {
    "lsa-2layer-recurrent": 12,
    "lsa-3layer-recurrent": 15,
    "lsa-5layers": 30,
    "lsa-10layer-recurrent": 40,
    "blocks-12-mlp": 70,
    "blocks-12-mlp-own": 70,
    "lsa-2layer-recurrent N=25": 25,
    "lsa-2layer-recurrent N=50": 40,
    "lsa-2layer-recurrent N=100": 75,
}
"""Of one checkpoint, by need, or else by recipe, where it is more than `OTHERS_S`. About half of it does not depend on
how many tasks there are."""
OTHERS_S = 4.0
