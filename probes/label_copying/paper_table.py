"""The measures of a table for a paper: attention to labels, sensitivities, and losses beside a step's."""

MEASURES = (
    "first_layer_score",
    "copy_sensitivity_own",
    "copy_sensitivity_next",
    "copy_sensitivity_other_without_next",
    "next_over_own",
    "loss_model",
    "loss_gd",
    "loss_ablated",
    "loss_without_copies",
    "loss_copies_only",
)
