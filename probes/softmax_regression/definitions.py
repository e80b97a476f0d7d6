"""What each measure of softmax-regression is, and where it comes from. The guide page's table says the same.

f(A, x) is the softmax of A x. Numbers are means over tasks, or over the queries of a head, where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Mapping

from .head_definitions import HEAD_DEFINITIONS

_DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        ("loss", "½ ‖f − b‖₂² (Li et al. 2024) of the `model` and of each candidate."),
        ("loss_difference", "The model's loss minus the candidate's, on the same tasks."),
        ("loss_over_gd", "The model's mean loss over that of one gradient step, on the same tasks."),
        (
            "cosine",
            "cos(g_model, g_candidate), g = ∂f₀/∂A with b held fixed, all n·d numbers of it (after Li et al. 2024, who"
            " do not say which derivative they take).",
        ),
        ("norm_ratio", "‖g_model‖ / ‖g_candidate‖, the sizes of the same derivatives."),
        ("model_difference", "‖g_model − g_candidate‖₂ (after Li et al. 2024)."),
        ("prediction_difference", "‖f_model − f_candidate‖₂ (Li et al. 2024)."),
        (
            "unexplained_share",
            "Mean ‖f_model − f_candidate‖₂ / mean ‖f_model − median f_model‖₂: 0 where the candidate gives every"
            " prediction, 1 where it is as far away as a constant.",
        ),
        ("candidate_cosines", "Cosine of every candidate with every other: what these tasks can separate."),
        (
            "closeness_margins",
            "How much closer to the model's predictions one candidate is than another, paired over tasks.",
        ),
        (
            "candidate_shift_cosine",
            "The cosine of both shifts with a candidate's prediction in the place of the model's.",
        ),
        (
            "shift_A",
            "‖f(A, x) − f(A′, x)‖₂, the data shift (Li et al. 2024). On tasks A′ is A with what the layer writes; of a"
            " head, the keys after its layer's attention write.",
        ),
        (
            "shift_x",
            "‖f(A, x) − f(A, x′)‖₂, the weight shift (Li et al. 2024). On tasks x′ is one gradient step from x = 0; of"
            " a head, the query after its layer's attention write.",
        ),
        ("shift_ratio_A", "The shift by A′ over the spectral norm of A′ − A."),
        ("shift_ratio_x", "The shift by x′ over ‖x′ − x‖₂."),
        ("shift_cosine", "The cosine of both shifts, by A′ and by x′."),
        (
            "first_order_bound_A",
            "‖diag f − f fᵀ‖₂ ‖x‖₂: the most that a small move of A shifts, per spectral norm of it.",
        ),
        ("first_order_bound_x", "‖(diag f − f fᵀ) A‖₂: the most that a small step of x shifts, per length of it."),
        ("bound_A", "‖x‖₂/2, which no ratio of a shift by A′ exceeds, however large the move."),
        ("bound_x", "‖A‖₂/2, which no ratio of a shift by x′ exceeds, however long the step."),
        (
            "log10_paper_bound_A log10_paper_bound_x",
            "log₁₀ of n^1.5 exp(10 R²), the paper's constant for such a ratio (Li et al. 2024); R is the largest of 4"
            " and the norms of A and x, before and after the move.",
        ),
        ("bound_reached_A bound_reached_x", "The largest ratio over its tight bound, of all tasks."),
        ("largest_move_A largest_move_x", "The largest change of an entry of A x by the move."),
        (
            "premise_A premise_x",
            "Share of tasks, or of a head's queries, at which the move changes no entry of A x by 0.01, as the theorems"
            " ask (Li et al. 2024).",
        ),
        (
            "KQ_diagonal",
            "s, the mean diagonal of the block of W_KQ that compares the a of a query with the a of a key: above 0"
            " tokens attend to similar ones, below to unlike ones.",
        ),
        ("KQ_identity_distance", "‖block − s I‖ / ‖block‖ (Frobenius): 0 for a multiple of the identity."),
        ("KQ_off_diagonal", "Mean size of the block's entries off the diagonal, over that of s."),
        ("V_on_b", "The entry of w_V that reads b."),
        ("V_on_A", "‖w_V‖₂ over the entries that read a."),
        (
            "learning_rate_written",
            "n c s w_V[b], the learning rate of the gradient step that these weights make to first order.",
        ),
        (
            "weight_distance_gd",
            "‖W_KQ ⊗ w_V − constructed‖ / ‖constructed‖ over entries that reach the prediction; the construction of one"
            " gradient step with the layer's own s.",
        ),
        ("loss_path", "Loss from the layer's weights (t = 0) to that construction (t = 1)."),
        ("loss_interpolated", "Loss half way between the two."),
        ("barrier", "Highest rise of the loss on that path above the straight line between its ends."),
        (
            "learning_rate",
            "η of gradient descent, one for all steps of a candidate; of the Gauss-Newton step its length. Fitted to"
            " the loss.",
        ),
        ("copy_factor", "κ of the copy, softmax(κ b), fitted to the loss."),
        (
            "smoother_sharpness smoother_factor",
            "s and κ of kernel smoothing, fitted to the model's predictions.",
        ),
        ("exact_settled", "Share of tasks at which the search for the exact solution ended at a gradient of 0."),
        ("output_scale", "c, the factor on what the layer writes: a setting of the layer."),
    )
    for name in names.split()
}

DEFINITIONS: Mapping[str, str] = {**HEAD_DEFINITIONS, **_DEFINITIONS}
"""Where tasks and heads share a name, one text holds for both."""
