"""The check of an opened model: its parts, each worked out twice, and how far apart the two are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

Part = Literal[
    "logits",
    "patterns",
    "scores",
    "attention write",
    "values",
    "qk",
    "embed",
    "residual stream",
    "causality",
    "predictions",
]
"""What is compared.

logits:           of the watched pass with those of the model's own eager pass, or for mesascope's own transformers of
                  a plain pass in NumPy; without a head, the last states
patterns:         the site `pattern` with the attentions that this pass returns
scores:           the pattern that q and k as scored give, the site `attention`, with the same attentions
attention write:  the site `attn_out` with z W_O + b_O, after attention's own norm where the family has one
values:           the site `z` with the pattern's mean of x W_V + b_V
qk:               q . k as scored with the product of `weights().qk(layer, head, offset)`
embed:            the site `embed` with the first `resid_pre`, from one token to another
residual stream:  `resid_post` with the sum of `resid_pre`, `attn_out` and `mlp_out`, and `resid_mid` with its own sum
predictions:      of a regression transformer with those of a pass without taps
causality:        states before a token that is changed, with the same states before the change; where attention is
                  bidirectional they have to differ
"""

TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""The largest relative error of each dtype; the norm of the difference over the norm of what was expected."""


@dataclass(frozen=True)
class OpeningCheck:
    """What the check found, part by part.

    tolerance:     the largest relative error that passes
    errors:        the largest relative error over layers, of every part that was compared
    not_compared:  why a part was not compared
    """

    tolerance: float
    errors: Mapping[Part, float] = field(default_factory=dict)
    not_compared: Mapping[Part, str] = field(default_factory=dict)

    def passed(self, part: Part) -> bool | None:
        """Whether a part is within the tolerance; None if it was not compared."""
        return None if part not in self.errors else self.errors[part] <= self.tolerance

    @property
    def failed(self) -> tuple[Part, ...]:
        """The parts beyond the tolerance. An error that is not a number is beyond it."""
        return tuple(part for part in self.errors if not self.passed(part))

    def as_dict(self) -> dict[str, Any]:
        """For a report: strict JSON, so an error that is not finite is null."""
        compared = {
            part: {"passed": bool(self.passed(part)), "error": error if error < float("inf") else None}
            for part, error in self.errors.items()
        }
        left_out = {part: {"passed": None, "reason": reason} for part, reason in self.not_compared.items()}
        return {"tolerance": self.tolerance, "parts": {**compared, **left_out}}


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The norm of the difference over the norm of what was expected; infinite where it is not a number."""
    found, expected = found.double(), expected.double()
    distance, size = float((found - expected).norm()), float(expected.norm())
    if size == 0:
        return 0.0 if distance == 0 else float("inf")
    return distance / size if distance < float("inf") else float("inf")
