"""What each figure of von Oswald et al. 2023 (arXiv 2212.07677) needs. Several figures share a need.

Sines have three of their recipe's seeds, and twelve blocks have one: the full size is about six hours of one core.
"""

from __future__ import annotations

from dataclasses import replace

from ..training.von_oswald_recipes import BATCHES as FIXED_SIZES
from ..training.von_oswald_recipes import NARROW as NARROW
from ..training.von_oswald_recipes import WIDTHS
from .needs import Need, Reduction

THREE = (0, 1, 2)
FIVE = (0, 1, 2, 3, 4)
ONE_LAYER_WIDTHS = tuple(sorted((10, *WIDTHS)))
"""N = d, of Figure 2."""
CONTEXTS = (10, 25, 50, 100)
"""Lengths N for which GD++ is fitted, in Figure 13."""


TASKS = 4000
"""That are evaluated: two models are compared on the same ones, so their losses' difference needs no more."""


def _aligned(
    recipe: str,
    reduced: Reduction,
    *,
    d_in: int = 10,
    seeds: tuple[int, ...] | None = None,
    over_steps: bool = True,
    limit: int = TASKS,
) -> Need:
    """gd-alignment, which need not search for the layout and the sign of our own models."""
    known = {"token_order": "joint", "label_slot": d_in, "sign": 1, "limit": limit}
    return Need(recipe, recipe, reduced, settings=known, seeds=seeds, over_steps=over_steps)


def _curvature(n_context: int) -> Need:
    need = _aligned("lsa-2layer-recurrent", Reduction(3000), over_steps=False)
    # the shorter the context, the more tasks the same accuracy of γ takes
    settings = {**need.settings, "n_context": n_context, "limit": 10_000 if n_context == 10 else TASKS}
    return replace(need, key=f"{need.key} N={n_context}", settings=settings)


_SINE_TWIN = Need("sine-mlp-gd", "sine-mlp-gd", Reduction(300), probe=None, seeds=THREE, over_steps=False)
NEEDS = {
    need.key: need
    for need in (
        _aligned("lsa-1layer", Reduction(1000, FIVE, measured=4)),
        *(
            _aligned(f"lsa-1layer-d{width}", Reduction(500), d_in=width, over_steps=False, limit=1000)
            for width in WIDTHS
        ),
        _aligned("lsa-2layer-recurrent", Reduction(3000, FIVE, measured=3)),
        _aligned("lsa-5layers", Reduction(1500, FIVE, measured=3)),
        Need(
            "sine-mlp", "sine-mlp", Reduction(300, measured=3), probe="deep-features", settings={"limit": TASKS},
            seeds=THREE, twin=_SINE_TWIN,
        ),
        Need(
            "separate-tokens", "separate-tokens", Reduction(500, FIVE, measured=None), probe="label-copying",
            settings={"limit": TASKS},
        ),
        _aligned("lsa-10layer-recurrent", Reduction(300, FIVE, measured=3), limit=1000),
        _aligned("blocks-12-mlp", Reduction(50, measured=2, limit=200), limit=1000),
        _aligned("blocks-12-mlp-own", Reduction(50, measured=2, limit=200), limit=1000),
        _aligned("lsa-3layer-recurrent", Reduction(2000, FIVE), over_steps=False),
        _aligned("softmax-1layer-1head", Reduction(2000, FIVE, measured=3)),
        _aligned("softmax-1layer-2heads", Reduction(2000, FIVE, measured=3)),
        *map(_curvature, CONTEXTS),
        _aligned("lsa-1layer-norm", Reduction(2000, FIVE, measured=3)),
        _aligned("lsa-2layer-norm", Reduction(1500, FIVE, measured=3)),
        _aligned("lsa-1layer-1head-10seeds", Reduction(500, FIVE, measured=None)),
        _aligned("lsa-1layer-2heads-10seeds", Reduction(500, FIVE, measured=None)),
        *(_aligned(f"lsa-1layer-fixed-{size}", Reduction(1500, measured=3)) for size in FIXED_SIZES),
    )
}  # fmt: skip
OF_FIGURES: dict[int, tuple[str, ...]] = {
    1: ("lsa-1layer",),
    2: ("lsa-1layer", *(f"lsa-1layer-d{width}" for width in WIDTHS)),
    3: ("lsa-2layer-recurrent", "lsa-5layers"),
    4: ("sine-mlp",),
    5: ("separate-tokens",),
    6: ("lsa-1layer", "lsa-2layer-recurrent", "lsa-5layers"),
    7: ("lsa-10layer-recurrent",),
    8: ("blocks-12-mlp", "blocks-12-mlp-own"),
    9: ("lsa-1layer", "lsa-3layer-recurrent"),
    10: ("lsa-1layer",),
    11: ("softmax-1layer-2heads",),
    12: ("softmax-1layer-1head", "softmax-1layer-2heads"),
    13: tuple(f"lsa-2layer-recurrent N={n_context}" for n_context in CONTEXTS),
    14: ("lsa-1layer-norm", "lsa-2layer-norm"),
    15: ("lsa-1layer-1head-10seeds", "lsa-1layer-2heads-10seeds"),
    16: tuple(f"lsa-1layer-fixed-{size}" for size in FIXED_SIZES),
}
"""Keys of `NEEDS`, by figure."""
