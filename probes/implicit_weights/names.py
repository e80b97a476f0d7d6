"""Axes, the rules that each layer's weights are compared with, and how many of everything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..algorithms.families import Family
from ..algorithms.filtered import CURVATURE, GDPP, GRADIENT_DESCENT, LEAST_SQUARES, NEWTON, RATE, RIDGE
from ..algorithms.preconditioned import ONE_STEP

LAYER, RULE, PLACE = "layer", "rule", "place"
OUTPUT = "output"
"""The label along `layer` of a wrapped predictor's one read-out."""
UNTRAINED = "untrained"
QUERY, CONTEXT, BOTH = PLACES = ("query", "context", "both")
"""Where another task's model is written: the query's y slot, those of the context, all of them."""
FITTED_TASKS = 100
"""Tuning tasks of each fold that rules are fitted on. Every one has a whole matrix, so few are many numbers."""
NULLS, NULL_TASKS, NULL_LAYERS = 5, 100, 3
"""Untrained models; tasks that rules are fitted on again for each, and as many to judge by; layers that they are
fitted to: the first, the last and one between."""
MANY_LAYERS, FEWER_NULLS = 5, 3
"""With so many layers there are fewer untrained models, because each takes as long as the model itself."""
FRESH_QUERIES, FRESH_TASKS = 2, 300
"""Other queries of a context, and contexts, that say whether an answer is linear."""
EXCHANGED_TASKS, EXCHANGED_LAYERS = 100, 8
"""Tasks whose models are exchanged, and layers after which, evenly spread: each takes passes of its own."""
KEPT_TASKS, EXAMPLES = 100, 3
"""Tasks whose weights a report keeps, and those whose rules' it keeps, too."""
EQUAL = 0.01
"""Distances that differ by at most this are equal."""


GDPP_BY_LAYER = replace(GDPP, settings=(replace(CURVATURE, points=13), replace(RATE, points=21)))
"""With a coarser first grid, because it is fitted to every layer."""
FAMILIES: tuple[Family, ...] = (GRADIENT_DESCENT, ONE_STEP, GDPP_BY_LAYER, NEWTON, RIDGE, LEAST_SQUARES)
"""In the order of figures: families whose answer is linear in the query. (0 is at a distance of 1 from everything.)"""
BY_NAME = {family.name: family for family in FAMILIES}


def spread(n: int, most: int) -> list[int]:
    """At most so many places of 0, …, n - 1, evenly spread, the ends among them."""
    return [int(at) for at in np.unique(np.linspace(0, n - 1, min(n, most)).round())] if n else []
