"""The measures of a table for a paper: what the main rules leave unexplained, shift by shift."""

MEASURES = (
    "worst_unexplained_gd",
    "worst_unexplained_gdpp",
    "worst_unexplained_ridge",
    "worst_unexplained_min_norm",
    "scale_exponent_model",
    "order_sensitivity",
)
