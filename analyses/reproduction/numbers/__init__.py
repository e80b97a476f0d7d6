"""The numbers of each figure, from saved reports: statistics that its claim is judged by, and what is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..figure_numbers import FigureNumbers
from . import attention_kinds, curvature, deeper, one_layer, other_inputs, rolled_out, transitions, weights
from .reading import Reports

_OF: Mapping[int, Callable[[Reports], FigureNumbers]] = {
    1: rolled_out.rolled_out,
    2: one_layer.one_step,
    3: deeper.several_steps,
    4: other_inputs.sines,
    5: other_inputs.separate_tokens,
    6: deeper.elsewhere,
    7: deeper.ten_layers,
    8: deeper.blocks,
    9: weights.matrices,
    10: rolled_out.rolled_out_otherwise,
    11: weights.two_heads,
    12: attention_kinds.softmax,
    13: curvature.curvature,
    14: attention_kinds.norms,
    15: transitions.transitions,
    16: transitions.fixed_tasks,
}


def numbers_of(figure: int, reports: Reports) -> FigureNumbers:
    """The numbers of a figure of von Oswald et al. 2023. `reports` by the keys of its needs."""
    return _OF[figure](reports)
