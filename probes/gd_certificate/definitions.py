"""What each measure of gd-certificate is, and where it comes from. The guide page's table says the same.

T is a layer's tensor Σ KQ ⊗ PV and M its effective matrix, see `layer.py`; Λ is the covariance of the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        (
            "step_size",
            "η/N, the mean of the diagonal of M, the effective matrix: a layer's step is x_qᵀ M Xᵀ y. von Oswald et al."
            " 2023 print η/N as their learning rate.",
        ),
        ("learning_rate", "η: N times `step_size`."),
        (
            "least_step_size largest_step_size",
            "The least and the largest eigenvalue of (M + Mᵀ)/2: η/N along single directions. A step goes down the loss"
            " where all are above 0.",
        ),
        ("head_step_size", "What each head adds to `step_size`."),
        (
            "gamma",
            "γ of GD++, with which x ← (I − γ X Xᵀ) x is nearest to what a layer does to x (von Oswald et al. 2023).",
        ),
        (
            "block_share",
            "‖part‖ / ‖T‖, Frobenius, of the entries of a `step`, of the `curvature` of x, and of those where gradient"
            " descent has none (`other`). Their squares add up to 1.",
        ),
        (
            "form_distance",
            "‖T − nearest of the form‖ / ‖T‖: the share of a layer's weights that is not gradient descent, or not"
            " preconditioned gradient descent, or GD++.",
        ),
        ("identity_distance", "‖M − (tr M/d) I‖ / ‖M‖: Dist(M, I) of Ahn et al. 2023."),
        ("whitened_identity_distance", "The same of Λ^½ M Λ^½, as in Ahn et al. 2023."),
        ("curvature_distance", "The same of what a layer does to x: from the nearest γ, relative to all of it."),
        (
            "input_rank",
            "The directions that inputs have: fewer than d where Λ is singular. What a layer does in the others is left"
            " out.",
        ),
        (
            "optimal_learning_rate",
            "η* of the best single step of gradient descent for the law of the tasks (Mahankali et al. 2024).",
        ),
        (
            "optimum_distance",
            "‖Λ^½ (M − M*) Λ^½‖ / ‖Λ^½ M* Λ^½‖, where M* has the least expected loss for the law of the tasks.",
        ),
        (
            "gaussian_optimum_distance",
            "The same from Γ⁻¹/N, Γ = (1 + 1/N) Λ + (tr Λ/N) I: the optimum for Gaussian inputs and labels without"
            " noise (Zhang et al. 2024).",
        ),
        (
            "optimal_loss",
            "The least mean of ½ (y − ŷ)² that one layer of linear attention can have for the law of the tasks.",
        ),
        (
            "excess_loss",
            "What the `step` of the layer and its `other` entries lose on top of `optimal_loss`, each in closed form.",
        ),
        ("expected_loss", "`optimal_loss` and both parts of `excess_loss`: the layer's exact mean loss."),
        (
            "level_loss",
            "L_m, the least mean of (y − ŷ)² of a layer that has learned the m directions with the largest variances,"
            " and nothing in the others; without the factor ½, as in Zhang et al. 2025.",
        ),
        (
            "plateau_loss",
            "Over steps: twice `expected_loss` at the longest plateau nearest to each level, a mean over its flattest"
            " steps.",
        ),
        ("plateau_difference", "`plateau_loss` / `level_loss` − 1."),
        ("plateau_steps", "The `first` and the `last` checkpoint of that plateau."),
        ("plateau_decades", "Its length: log₁₀ of the last step over the first."),
        (
            "level_decades",
            "Over steps: decades over which twice `expected_loss` is within one eighth of the least gap between levels"
            " of `level_loss`.",
        ),
        ("levels_reached", "Over steps: at how many levels there is a plateau within 2 %."),
    )
    for name in names.split()
}
