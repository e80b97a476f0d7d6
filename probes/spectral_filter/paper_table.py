"""The measures of a table for a paper: how much is no filter, and what the named ones leave."""

MEASURES = (
    "off_filter_share",
    "unexplained_share_gd",
    "unexplained_share_gdpp",
    "unexplained_share_newton",
    "unexplained_share_ridge",
    "unexplained_share_min_norm",
    "steps_gd",
    "gradient_time",
    "relative_penalty",
    "polynomial_degree_effective",
)
