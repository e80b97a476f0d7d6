"""The measures of a table for a paper: how well the model predicts, and how close constructed gradient descent, GD++
and ridge regression come to it.
"""

MEASURES = (
    "loss_model",
    "loss_gd",
    "loss_gdpp",
    "unexplained_share_gd",
    "unexplained_share_gdpp",
    "unexplained_share_ridge",
    "cosine_gd",
    "cosine_gdpp",
    "cosine_ridge",
    "weight_distance_gd_trained",
)
