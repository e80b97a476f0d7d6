"""What each measure of token-norms is, and where it comes from. The guide page's table says the same."""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        (
            "stream_norm norm norm_outside_blocks",
            "Euclidean norm over tokens: mean, root mean square, 5th, 50th and 95th percentile; sites `attn_out`,"
            " `resid_mid`, `mlp_out` within blocks, `embed` and `final_norm` outside.",
        ),
        ("norm_rows", "Euclidean norm of the rows of the vocabulary; axis `matrix`: `W_E`, `W_U`."),
        (
            "norm_growth norm_growth_r2",
            "Factor from layer to layer: slope of the log mean norm, at position 0 and after it (Heimersheim & Turner"
            " 2023); the message says from which layer on. And the R² of that line.",
        ),
        (
            "stream_spearman spearman spearman_outside_blocks",
            "Rank correlation with position, log frequency, probability and surprisal of the next token, entropy; of"
            " norms, and in `spearman` also of `write_norm` (mean over heads) and `mixing_ratio` (AttnRes-N).",
        ),
        (
            "partial_stream_spearman partial_spearman partial_spearman_outside_blocks",
            "The same rank correlations given position and log frequency.",
        ),
        (
            "spearman_covariates",
            "Rank correlations of these quantities among each other; on the grammar, of the estimated ones with the"
            " true ones.",
        ),
        (
            "spearman_rows_frequency norm_rows_by_decile",
            "Norms of embedding rows, unembedding rows, and embeddings whitened by the covariance of unembeddings"
            " (after Oyama et al. 2023), against frequency.",
        ),
        (
            "next_token_loss inner_loss",
            "Cross-entropy of the model; of reading the stream out at each layer, with the final norm's statistics"
            " recomputed there.",
        ),
        (
            "step_cosine",
            "Cosine of a block's write and the push, which is minus the gradient of the inner loss (after Wu & Varshney"
            " 2024).",
        ),
        (
            "step_gain step_first_order",
            "How much the inner loss falls in a block, and write · push: by how much it would, were it linear.",
        ),
        (
            "radial_push",
            "h · push / ‖h‖: how far a gradient step would lengthen the state; under a final norm zero by construction,"
            " and left out.",
        ),
        (
            "write_norm write_norm_variation",
            "‖f(x)‖ of each head, f(x) = (x W_V + b_V) W_O (Kobayashi et al. 2020); its standard deviation over its"
            " mean.",
        ),
        (
            "weighted_write_norm ov_norm",
            "Σ ‖α f(x)‖ over keys, a query's mean (Kobayashi et al. 2020); ‖W_V W_O‖ of each head.",
        ),
        (
            "attention_to_first weighted_attention_to_first",
            "Attention to the first token; its share of Σ ‖α f(x)‖ = Σ α ‖f(x)‖.",
        ),
        (
            "mixing_ratio",
            "‖mixed‖ / (‖mixed‖ + ‖preserved‖): Attn-W, AttnRes-W, Attn-N, AttnRes-N, and AttnResLn-N where a norm"
            " follows attention (Kobayashi et al. 2021).",
        ),
        (
            "massive_activation median_activation massive_ratio",
            "A window's largest |entries|, median |entry|, and one over the other (Sun et al. 2024).",
        ),
        (
            "massive_windows massive_dimension",
            "Share of windows with an entry above 100 and 1,000 times the median (Sun et al. 2024), and in which"
            " dimensions.",
        ),
        (
            "sink_importance sink_share sink_metric",
            "Mean attention to the first token over 64 queries; percentage of windows above .3; that over all heads (Gu"
            " et al. 2024).",
        ),
        (
            "bos_attention bos_attention_mean",
            "Attention to the first token over the second half of the queries (Ran-Milo et al. 2026).",
        ),
        ("value_drain key_drain state_peak", "Norm at position 0 over the mean norm after it."),
        (
            "anisotropy",
            "Mean cosine of two tokens' states: as they are, without the three rogue dimensions, standardised.",
        ),
        (
            "rogue_dimension rogue_share",
            "Dimensions that contribute most to the anisotropy, and their share (Timkey & van Schijndel 2021).",
        ),
        (
            "untrained_comparison",
            "Axis `statistic`: ten of these numbers on the first 128 tokens, beside those of untrained models on the"
            " same tokens.",
        ),
    )
    for name in names.split()
}
