"""What each measure of gd-alignment is, and where it comes from. The guide page's table says the same.

g is the sensitivity, the derivative of the prediction with respect to the query's x.
"""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        ("loss", "Mean over tasks of ½ (y − ŷ)²; of the `model` and of each candidate."),
        ("loss_difference", "The model's loss minus the candidate's, on the same tasks."),
        (
            "cosine",
            "Mean over tasks of cos(g_model, g_candidate), g the derivative of the prediction with respect to the"
            " query's x (von Oswald et al. 2023); 0 in a task where one of them is zero.",
        ),
        ("norm_ratio", "Mean of ‖g_model‖ / ‖g_candidate‖, the sizes of the same derivatives."),
        ("model_difference", "Mean of ‖g_model − g_candidate‖₂ (von Oswald et al. 2023)."),
        ("prediction_difference", "Mean of ‖ŷ_model − ŷ_candidate‖₂ (von Oswald et al. 2023)."),
        (
            "unexplained_share",
            "Mean ‖ŷ_model − ŷ_candidate‖₂ / mean ‖ŷ_model − median ŷ_model‖₂: 0 where the candidate gives every"
            " prediction, 1 where it is as far away as a constant.",
        ),
        ("token_layout", "1 at the layout that is used, 0 at the others that were tried."),
        (
            "label_share",
            "(Σ y·ŷ)² / (Σ y² Σ ŷ²): what predictions explain of the labels, at their best scale.",
        ),
        (
            "layout_gain",
            "The label share, minus that in the best layout in which the model answers something else.",
        ),
        ("readout_sign", "1, or −1 where the model's predictions were turned."),
        ("candidate_cosines", "Cosine of every candidate with every other: what these tasks can separate."),
        (
            "closeness_margins",
            "How much closer to the model's predictions one candidate is than another, paired over tasks.",
        ),
        (
            "loss_interpolated",
            "Loss half way between trained and constructed weights (von Oswald et al. 2023).",
        ),
        ("loss_path", "Loss from the trained (t = 0) to the constructed weights (t = 1)."),
        ("barrier", "Highest rise of the loss on that path above the straight line between its ends."),
        ("weight_distance", "‖Σ KQ ⊗ PV − constructed‖ / ‖constructed‖ over live entries."),
        (
            "product_distance",
            "‖trained − constructed‖ / ‖constructed‖ of aligned KQ and PV, live and dead entries apart; dead ones"
            " cannot reach the output.",
        ),
        (
            "outside_pattern",
            "‖P − nearest pattern‖ / ‖P‖ over live entries of a single linear head's KQ or PV. Constructed GD fills KQ"
            " with a multiple of the inputs' identity, PV with one of the labels'; `gdpp` fills both in PV.",
        ),
        (
            "diagonal_spread",
            "Standard deviation over the size of the mean of the inputs' diagonal, of the same KQ or PV.",
        ),
        ("head_write", "PV at (y, y), as it is, of each of several softmax heads (von Oswald et al. 2023, figure 11)."),
        ("head_diagonal", "Mean of the inputs' diagonal of KQ / √d_head, as it is, of each of several softmax heads."),
        ("heads_cancel", "Size of the sum of `head_write` over the sum of its sizes, in a softmax layer."),
        (
            "heads_off_identity",
            "‖S − nearest multiple of the identity‖ / ‖S‖ of S = Σ `head_write` · KQ over these heads, on the inputs'"
            " rows and columns.",
        ),
        (
            "loss_input_scale loss_weight_scale loss_other_distributions loss_other_distributions_weight_scale"
            " loss_noisy_labels",
            "Loss away from the training tasks: inputs or weights of another scale, inputs of other distributions,"
            " noisy labels (after von Oswald et al. 2023).",
        ),
        ("loss_by_layer", "Loss read out after each layer."),
        (
            "cosine_by_layer model_difference_by_layer prediction_difference_by_layer",
            "`cosine`, `model_difference` and `prediction_difference` of the read-outs of model and constructed model,"
            " each after as many layers.",
        ),
        (
            "curvature_eigenvalues",
            "Mean over tasks of the eigenvalues of Σ x xᵀ over the context, largest first, x as each layer reads it"
            " (of several layers).",
        ),
        ("curvature_spread", "Mean over tasks of the standard deviation of these eigenvalues over their mean."),
        ("loss_rollout", "Loss after each of 50 steps, dampened by 1, 0.875 and 0.75 (single-layer models)."),
        ("constructed_steps", "K, the steps of constructed models, and what decided it."),
        (
            "learning_rate",
            "η of gradient descent, of the mean loss 1/(2N) Σ; von Oswald et al. 2023 print η/N.",
        ),
        ("ridge_penalty", "λ of ridge regression."),
        ("given_learning_rate", "η of constructed gradient descent, where one was given for each layer."),
        ("learned_learning_rate learned_gamma", "η and γ of constructed GD++ (von Oswald et al. 2023)."),
        (
            "weights_learning_rate weights_gamma",
            "The η and γ that the trained weights themselves amount to.",
        ),
        (
            "cosine_by_gd_rate prediction_difference_by_gd_rate loss_by_gd_rate cosine_by_ridge_penalty"
            " prediction_difference_by_ridge_penalty loss_by_ridge_penalty",
            "Near-misses on purpose: gradient descent and ridge regression at settings that were not fitted.",
        ),
        (
            "cosine_between_seeds prediction_difference_between_seeds model_difference_between_seeds"
            " loss_path_between_seeds barrier_between_seeds weight_distance_between_seeds",
            "Ceilings: the same of two trained models of one recipe, over several seeds.",
        ),
    )
    for name in names.split()
}
