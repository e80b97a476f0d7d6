"""What each measure of implicit-weights is, and where it comes from. The guide page's table says the same.

W is the linear model after a layer, y = W x for the query x; D is what the models of two tasks differ by.
"""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        (
            "weight_distance",
            "√(E‖W − W_rule‖² / E‖W‖²), the rule fitted to W on tuning tasks; its square is ILWD (Akyürek et al. 2023)"
            " over the squared size of W.",
        ),
        ("weight_norm", "√(E‖W‖² / E‖W_ls‖²), W_ls the least-squares solution of minimum norm."),
        (
            "linearity",
            "1 − E(y(x) − W x)² / E y(x)², over other tasks' queries x with the same context; y(x) is the model's own"
            " pass.",
        ),
        ("loss", "Mean over tasks of ½ (y − ŷ)², ŷ the answer read after the layer."),
        (
            "layer_step_distance",
            "√(E‖ΔW − η G‖² / E‖ΔW‖²): how much of what a layer adds, ΔW, is no step along the gradient G at the model"
            " before it; of GD++ on inputs that the layers before have curved (Vladymyrov et al. 2024).",
        ),
        ("layer_learning_rate", "η of that step, for each layer."),
        ("descent_gamma", "γ of the GD++ that layers are compared with; 0: gradient descent is as near to the output."),
        (
            "exchange_slope",
            "Slope of the answer's change on D x, where another task's model is put into the `query`'s label, those of"
            " the `context`, or `both`.",
        ),
        ("exchange_share", "The share of the answer's change that lies along D x: the squared correlation about 0."),
        (
            "exchange_followed",
            "1 − E|change − predicted|² / E|change|²: from the exchanged model gradient descent (or GD++) predicts"
            " D Π (I − η XᵀX/N) x for `both`, D x for the `query`, and the difference for the `context`.",
        ),
        (
            "residual_share",
            "1 − E|y_l − (y − W x)|² / E|y_l − y|²: how much of what layers add to the context's labels makes them"
            " residuals of W.",
        ),
        ("fitted_settings", "How many numbers of a rule were fitted: steps, settings, entries of a matrix."),
        (
            "steps",
            "Steps of the rule's nearest member; its interval: from the fewest to the most that are as near on the"
            " tuning tasks.",
        ),
        (
            "learning_rate penalty gamma initial_scale",
            "The rule's other settings, at which its W is nearest to the model's.",
        ),
        ("readout_sign", "1, or −1 where the model's predictions were turned."),
        ("token_layout", "1 at the layout that is used, 0 at the others that were tried."),
        ("label_share", "(Σ y·ŷ)² / (Σ y² Σ ŷ²): what predictions explain of the labels, at their best scale."),
        ("layout_gain", "The label share, minus that in the best layout in which the model answers something else."),
    )
    for name in names.split()
}
