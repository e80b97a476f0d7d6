"""What axes, parts of a layer and forms of gradient descent are called. Without torch: figures and tables read it."""

from __future__ import annotations

from dataclasses import dataclass

LAYER, HEAD, BLOCK, FORM, PART = "layer", "head", "block", "form", "part"
LEVEL, BOUND = "level", "bound"
FIRST, LAST = "first", "last"
"""Steps of a plateau."""
STEP, CURVATURE, OTHER = "step", "curvature", "other"
BLOCKS = (STEP, CURVATURE, OTHER)
UNTRAINED = "untrained"


@dataclass(frozen=True)
class Form:
    """A form that a layer may have.

    name:   of its label
    title:  in sentences
    label:  in figures
    """

    name: str
    title: str
    label: str


GD = Form("gd", "gradient descent", "GD")
PRECONDITIONED = Form("preconditioned_gd", "preconditioned gradient descent", "preconditioned GD")
GDPP = Form("gdpp", "GD++", "GD++")
PRECONDITIONED_GDPP = Form("preconditioned_gdpp", "preconditioned GD++", "preconditioned GD++")
FORMS = (GD, PRECONDITIONED, GDPP, PRECONDITIONED_GDPP)
"""The fewest free numbers first; with one layer, whose curvature reaches no prediction, the first two."""
