"""What each measure of label-copying is, and where it comes from. The guide page's table says the same.

Tokens are x_0, y_0, x_1, y_1, …, x_query, numbered from 0; A is the attention pattern of a head, queries by keys.
"""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        (
            "prefix_matching_score",
            "The share of the attention of a context's x tokens that goes to the next token, which holds their label:"
            " the mean of |A[2i, 2i + 1]| / Σ_j |A[2i, j]| (after Olsson et al. 2022: attention to what is copied).",
        ),
        ("next_attention", "The mean of A[2i, 2i + 1] as it stands; in linear layers, that of raw scores."),
        ("first_layer_score", "The largest prefix-matching score of a head of the first layer."),
        (
            "copy_sensitivity",
            "Norm of the gradient of the sum of a token's coordinates after the first layer, averaged over tasks, by"
            " itself (`own`), the `next` token, and the mean of others (von Oswald et al. 2023): `other` counts the"
            " next one, too, as the authors do; `other_without_next` does not.",
        ),
        ("next_over_own", "The sensitivity to the next token over that to itself."),
        (
            "loss",
            "Mean of ½‖y − ŷ‖²: of the model, of one step of gradient descent tuned on other tasks, of answering zero,"
            " and of the model with its first layer edited (`ablated`, `without_copies`, `copies_only`).",
        ),
        ("loss_gap", "The loss minus that of the tuned step of gradient descent, as a share of the latter."),
        (
            "loss_rise",
            "How much the loss rises with the first layer edited, paired over tasks, as a share of the tuned step's.",
        ),
        ("learning_rate", "η of the tuned step (η / N) Σ y_i ⟨x_i, x_query⟩, by least squares on tuning tasks."),
        ("readout_sign", "1, or −1 where the model's predictions were turned."),
        ("token_layout", "1 at the layout that is used, 0 at the others that were tried."),
        ("label_share", "(Σ y·ŷ)² / (Σ y² Σ ŷ²): what predictions explain of the labels, at their best scale."),
        ("layout_gain", "The label share, minus that in the best layout in which the model answers something else."),
    )
    for name in names.split()
}
