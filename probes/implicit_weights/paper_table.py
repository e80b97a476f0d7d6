"""The measures of a table for a paper: how near each layer's model is to the main rules."""

MEASURES = (
    "loss",
    "weight_distance_gd",
    "weight_distance_preconditioned",
    "weight_distance_gdpp",
    "weight_distance_newton",
    "weight_distance_ridge",
    "weight_distance_min_norm",
    "steps_gd",
    "layer_learning_rate",
    "exchange_followed_context",
)
