"""The measures of a table for a paper: how norms grow, what they go with, and where attention ends."""

MEASURES = (
    "norm_growth",
    "next_token_loss",
    "untrained_comparison_norm_growth_later",
    "untrained_comparison_spearman_log_frequency",
    "untrained_comparison_spearman_surprisal",
    "sink_metric",
    "bos_attention_mean",
)
