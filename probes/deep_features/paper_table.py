"""The measures of a table for a paper: losses, and distances from the step and from the twin."""

MEASURES = (
    "loss_model",
    "loss_feature_gd",
    "loss_attended_gd",
    "loss_feature_ridge",
    "loss_twin",
    "unexplained_share_feature_gd",
    "unexplained_share_attended_gd",
    "prediction_difference_twin",
    "slope_agreement_feature_gd",
    "slope_agreement_twin",
)
