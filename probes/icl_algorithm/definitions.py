"""What each measure of icl-algorithm is, and where it comes from. The guide page's table says the same.

g is the sensitivity, the derivative of the prediction with respect to the query's x.
"""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        ("loss", "Mean over tasks of ½ (y − ŷ)²; of the `model` and of each rule."),
        ("loss_difference", "The model's loss minus the rule's, on the same tasks."),
        (
            "unexplained_share",
            "Mean ‖ŷ_model − ŷ_rule‖₂ / mean ‖ŷ_model − median ŷ_model‖₂: 0 where the rule gives every prediction, 1"
            " where it is as far away as a constant.",
        ),
        (
            "squared_share",
            "Σ (ŷ_model − ŷ_rule)² / Σ (ŷ_model − mean ŷ_model)²: the squared prediction difference (Akyürek et al."
            " 2023) over the variance of the model's predictions.",
        ),
        ("prediction_difference", "Mean of ‖ŷ_model − ŷ_rule‖₂."),
        (
            "cosine",
            "Mean over tasks of cos(g_model, g_rule), g the derivative of the prediction with respect to the query's x"
            " (von Oswald et al. 2023); 0 in a task where one of them is zero.",
        ),
        ("norm_ratio", "Mean of ‖g_model‖ / ‖g_rule‖, the sizes of the same derivatives."),
        ("model_difference", "Mean of ‖g_model − g_rule‖₂."),
        (
            "error_cosine",
            "Cosine over tasks of the errors ŷ_model − y and ŷ_rule − y (after Fu et al. 2024).",
        ),
        (
            "candidate_distance",
            "Mean ‖ŷ_rule − ŷ_other‖₂, over the same variation of the model's predictions: what these tasks can"
            " separate.",
        ),
        (
            "order_share",
            "What every rule that ignores the order of the pairs leaves unexplained at least: mean over tasks and"
            " 4 orders of ‖ŷ_model − median over orders‖₁ / √d_out, over the same variation.",
        ),
        ("candidate_cosines", "Cosine of every rule's sensitivity with every other's."),
        (
            "closeness_margins",
            "How much closer to the model's predictions one rule is than another, paired over tasks.",
        ),
        ("fitted_settings", "How many numbers of a rule were fitted: steps, settings, entries of a matrix."),
        (
            "steps",
            "Steps of the rule's best member; its interval: from the fewest to the most that do as well on the tuning"
            " tasks.",
        ),
        (
            "learning_rate penalty momentum gamma initial_scale width noise_variance",
            "The rule's other settings, at which its predictions are closest to the model's.",
        ),
        ("readout_sign", "1, or −1 where the model's predictions were turned."),
        ("token_layout", "1 at the layout that is used, 0 at the others that were tried."),
        ("label_share", "(Σ y·ŷ)² / (Σ y² Σ ŷ²): what predictions explain of the labels, at their best scale."),
        ("layout_gain", "The label share, minus that in the best layout in which the model answers something else."),
    )
    for name in names.split()
}
