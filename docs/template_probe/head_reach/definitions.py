"""What each measure is: one or two sentences, with the paper. The page of a report shows them and links to them."""

from __future__ import annotations

DEFINITIONS = {
    "reach": "Mean distance in tokens between a query and the keys that a head attends to (Clark et al. 2019).",
    "layer_reach": "The mean of `reach` over the heads of a layer.",
    "mean_reach": "The mean of `reach` over all heads.",
}
