"""What those measures of heads are that tasks do not have. `definitions` has the others, one text for both."""

from __future__ import annotations

from collections.abc import Mapping

from .head_names import AVERAGED, MEANS

HEAD_DEFINITIONS: Mapping[str, str] = {
    **dict.fromkeys(
        ("share_of_bound_A", "share_of_bound_x"),
        "Of a head: the ratio of its shift to the move, over the tight bound of that ratio.",
    ),
    "shift_cosine_unscaled": (
        "Of a head: the cosine of both shifts by moves without their part along A and along x, which only scales the"
        " scores."
    ),
    **dict.fromkeys(
        (f"{of}_{name}" for of in MEANS for name in AVERAGED),
        "Mean over the heads of a layer (`layer_`), or over all heads (`mean_`), of the measure whose name follows.",
    ),
}
