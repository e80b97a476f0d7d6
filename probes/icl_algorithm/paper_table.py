"""The measures of a table for a paper: what the main rules leave unexplained."""

MEASURES = (
    "loss_model",
    "unexplained_share_gd",
    "unexplained_share_preconditioned",
    "unexplained_share_gdpp",
    "unexplained_share_newton",
    "unexplained_share_ridge",
    "unexplained_share_min_norm",
    "steps_gd",
    "cosine_gd",
    "norm_ratio_gd",
)
