"""The measures of a table for a paper: how well the model predicts, how close one gradient step, the exact solution and
kernel smoothing come to it, and whether what it writes shifts the targets as that step does.
"""

MEASURES = (
    "loss_model",
    "loss_gd",
    "loss_exact",
    "prediction_difference_gd",
    "prediction_difference_exact",
    "prediction_difference_smoother",
    "unexplained_share_gd",
    "unexplained_share_smoother",
    "cosine_gd",
    "shift_cosine",
)
