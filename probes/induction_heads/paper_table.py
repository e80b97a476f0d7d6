"""The measures of a table for a paper: what the model gains from repeats, and what is lost without its heads."""

MEASURES = (
    "loss_first_repeat",
    "loss_second_repeat",
    "in_context_learning_score",
    "order_gain",
    "accuracy_second_repeat",
    "group_ablation_mean_induction",
    "group_ablation_mean_previous-token",
)
