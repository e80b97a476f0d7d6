"""What each measure of deep-features is, and where it comes from. The guide page's table says the same.

p are answers, g their derivatives by the query's input; f features, s label slots of what the embedding gives.
"""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        (
            "loss",
            "Mean of ½‖y − ŷ‖²: of the model, of answering `zero`, of the answer read before attention (`embedding`),"
            " of gradient descent (`feature_gd`) and ridge regression (`feature_ridge`) on the features of the model's"
            " own embedding, of one step on features as attention reads them (`attended_gd`), and of the `twin`.",
        ),
        (
            "unexplained_share",
            "Mean of ‖p − p_candidate‖ over mean of ‖p − p_embedding‖: how much of what attention adds to the answers a"
            " candidate does not explain.",
        ),
        ("prediction_difference", "Mean of ‖p − p_candidate‖."),
        ("model_difference", "Mean of ‖g − g_candidate‖."),
        (
            "slope_agreement",
            "Mean over tasks of the cosine of g with that of the candidate (von Oswald et al. 2023); with one input, of"
            " the product of their signs.",
        ),
        (
            "learning_rate",
            "η of `feature_gd` and of `attended_gd`, at which answers are closest to the model's on tuning tasks.",
        ),
        ("ridge_penalty", "λ of `feature_ridge`, fitted likewise."),
        (
            "linear_readout",
            "R² of the label read linearly off the query's state, before attention (`embedding`) and after each layer:"
            " ridge regression on tuning tasks, its penalty by generalised cross-validation, judged on other tasks.",
        ),
        ("readout_sign", "1, or −1 where the model's predictions were turned."),
        ("token_layout", "1 at the layout that is used, 0 at the others that were tried."),
        ("label_share", "(Σ y·ŷ)² / (Σ y² Σ ŷ²): what predictions explain of the labels, at their best scale."),
        ("layout_gain", "The label share, minus that in the best layout in which the model answers something else."),
    )
    for name in names.split()
}
