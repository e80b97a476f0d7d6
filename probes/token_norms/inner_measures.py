"""What each block's write does to the loss of reading the stream out at once, as measures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..measure import Measure, missing
from .accumulator import ModelPass
from .inner_watcher import InnerWatcher
from .quantity import Quantity, mean_measure
from .sample import PLACES

FORCED = "a falling loss forces a positive step cosine: it is no evidence of an inner optimizer"
NO_LENGTH = "zero by construction, but for the final norm's epsilon: the loss does not depend on the length of a state"
UNITS = {
    "inner_loss": "nat",
    "radial_push": "nat / norm",
    "step_gain": "nat",
    "step_first_order": "nat",
    "step_cosine": "cosine",
}


def inner_measures(model_pass: ModelPass, watcher: InnerWatcher) -> dict[str, Measure]:
    """The inner problem by layer and position."""
    if reason := watcher.missing:
        return {name: missing(unit, "not applicable", reason) for name, unit in UNITS.items()}
    found = {name: _by_layer(model_pass, name, watcher) for name in UNITS if name != "radial_push" or watcher.radial}
    if not watcher.radial:
        found["radial_push"] = missing(UNITS["radial_push"], "not applicable", NO_LENGTH)
    if found["step_cosine"].status == "ok":
        found["step_cosine"] = replace(found["step_cosine"], nulls=_controls(model_pass), no_nulls="")
    return found


def _by_layer(model_pass: ModelPass, name: str, watcher: InnerWatcher) -> Measure:
    messages = [f"{FORCED}; layer l is what block l writes"] if name == "step_cosine" else []
    if watcher.draw.size < watcher.draw.n_tokens:
        messages.append(f"on {watcher.draw.size:,} of {watcher.draw.n_tokens:,} tokens, drawn over all documents")
    quantity = Quantity(UNITS[name], ("layer", "position"), {"position": PLACES}, "; ".join(messages))
    return mean_measure(quantity, model_pass.noted.means(name), model_pass.text)


def _controls(model_pass: ModelPass) -> dict[str, np.ndarray]:
    """Step cosines without a relation of write and push, as samples [sample, layer, position]."""
    shuffled = model_pass.noted.means("step_cosine_shuffled")
    other_writes = model_pass.noted.means("step_cosine_other_writes")
    return {
        "shuffled targets": shuffled.values[None],
        "writes of other tokens": other_writes.ordered(("draw", "layer", "position")).values,
    }
