"""The measures of a table for a paper: what is learned, whether answers are alike, and whether attention is."""

MEASURES = (
    "accuracy_zero-shot",
    "accuracy_in context",
    "accuracy_in context, shuffled labels",
    "accuracy_gd",
    "answer_distance_gd_in context",
    "contrast_mean_gd_in context",
    "first_layer_share_gd",
    "output_similarity_mean_gd_tuned",
    "output_similarity_margin_gd",
    "order_sensitivity_in context_conflicting",
)
