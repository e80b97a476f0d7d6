"""What each measure of induction-heads is, and where it comes from. The guide page's table says the same."""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        (
            "prefix_matching_score prefix_matching_by_period",
            "Mean attention of the second repeat's queries to the token after their earlier occurrence (Olsson et al."
            " 2022): the exact stripe, 1 for a perfect head. With more repeats all earlier occurrences count.",
        ),
        ("excess excess_by_period", "Prefix matching over the larger of its two controls, sequence by sequence."),
        (
            "p_value p_adjusted",
            "One-sided p of an excess above 0, from sign flips of sequences, and as false discovery rate over heads.",
        ),
        ("strength", "The excess of induction and anti-induction heads; no number for other heads."),
        (
            "text_matching_score text_matching_excess text_p_adjusted",
            "On the user's text: attention to what followed earlier occurrences of the same token, its excess over the"
            " same offsets without a match, and its false discovery rate over heads.",
        ),
        (
            "text_duplicate_score text_duplicate_excess",
            "On the user's text: attention to earlier occurrences of the same token, and its excess over the same"
            " offsets without a match.",
        ),
        (
            "duplicate_token_score duplicate_token_excess_by_period",
            "Attention of the second repeat's queries to the earlier occurrence itself, and its excess over the larger"
            " control.",
        ),
        (
            "previous_token_score current_token_score first_token_score",
            "Mean attention to the token before, to the token itself and to the first token, on sequences without"
            " repeats.",
        ),
        (
            "fixed_offset_score fixed_offset",
            "The largest mean attention to one offset from 2 on, on sequences without repeats, and which offset it is.",
        ),
        (
            "attention_by_offset",
            "Mean attention by relative offset at each period, axes `(period, layer, head, offset)`; no number at"
            " offsets that belong to another period.",
        ),
        (
            "ov_copying_score",
            "Σ Re λ / Σ |λ| over the eigenvalues of W_E W_V W_O W_U (Elhage et al. 2021), norms folded, worked out"
            " through d_head x d_head.",
        ),
        (
            "ov_top1_share",
            "Share of tokens whose own logit is the largest in their row of W_E W_V W_O W_U; of large vocabularies a"
            " sample.",
        ),
        (
            "direct_logit_attribution",
            "What the head adds to the logit of the repeated token beyond the mean over all tokens, the final norm's"
            " division held fixed.",
        ),
        (
            "ablation",
            "Rise of the loss on the second repeat when the head is ablated, axes `(replacement, layer, head)`;"
            " replacement `zero` or `mean` (of z, without repeats).",
        ),
        (
            "group_ablation",
            "Rise of the loss on the second repeat when all heads with a verdict are ablated together, axes"
            " `(replacement, group)`; groups are chosen on one half of the sequences and tested on the other.",
        ),
        (
            "in_context_learning_without",
            "The in-context learning score that is left when such a group is ablated, axes `(replacement, group)`.",
        ),
        (
            "composition",
            "|L R| / (|L| |R|) with each head of earlier layers (Elhage et al. 2021), axes `(read_by, earlier_layer,"
            " earlier_head, layer, head)`; read_by `queries`, `keys`, `values` for Q-, K- and V-composition. Beside"
            " random rotations, whose root mean square is 1 / √d_model; with rotary positions the QK product at the"
            " periods' offsets; up to 256 heads.",
        ),
        (
            "k_composition_from_previous",
            "K-composition of each head with that of the heads called `previous-token` which composes most with it; for"
            " any number of heads.",
        ),
        (
            "compatibility_score",
            "With `--compatibility-scores`: the definitions of other papers and tools, axes `(definition, layer,"
            " head)`.",
        ),
        (
            "loss_first_repeat loss_second_repeat accuracy_second_repeat loss_by_position",
            "Cross-entropy on the first and on the second repeat, share of the second repeat's tokens predicted, and"
            " the loss at each position, at the longest period. The first token of a repeat counts in no mean: nothing"
            " tells the model that a repeat begins.",
        ),
        (
            "in_context_learning_score",
            "Loss on the first repeat minus loss on the second; positive is better (after Olsson et al. 2022).",
        ),
        (
            "loss_shuffled_repeat",
            "Loss on a second repeat with the same tokens in another order, in which no token is followed by what"
            " followed it before.",
        ),
        (
            "order_gain",
            "Loss on the shuffled repeat minus loss on the second repeat: what the order of the tokens is worth.",
        ),
        (
            "induction_onset",
            "Over several steps of a training: the last checkpoint before any head is an induction head, and the first"
            " from which on they are as at the end (after Olsson et al. 2022).",
        ),
        ("token_ids", "How many ids the sequences were drawn from, and how many were left out."),
        ("near_threshold", "1 for heads whose verdict changes when a threshold moves by `tolerance`."),
        ("forward_passes", "Sequences that were passed through the model, by purpose."),
    )
    for name in names.split()
}
