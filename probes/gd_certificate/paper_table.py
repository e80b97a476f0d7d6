"""The measures of a table for a paper: learning rates beside the best one, and how far the weights are from a step."""

MEASURES = (
    "learning_rate",
    "optimal_learning_rate",
    "gamma",
    "form_distance_gd",
    "form_distance_preconditioned_gd",
    "form_distance_gdpp",
    "optimum_distance",
    "expected_loss",
    "optimal_loss",
)
