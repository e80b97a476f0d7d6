"""What each measure of shift-battery is, and where it comes from. The guide page's table says the same.

ŷ is an answer, y the query's label; sums are over tasks and outputs.
"""

from __future__ import annotations

from collections.abc import Mapping

from .names import SHIFTS


def _each(metric: str) -> str:
    return " ".join(f"{metric}_{shift.name}" for shift in SHIFTS)


DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        (
            _each("response"),
            "Σ ŷ·y / Σ |y|², the slope of answers on labels, at every strength of the shift; of the `model` and of each"
            " rule. 1 for right answers, 0 for 0.",
        ),
        (
            _each("loss"),
            "Σ |ŷ − y|² / Σ |y|²: the squared error as a share of that of the zero predictor.",
        ),
        (
            _each("unexplained"),
            "Σ |ŷ_model − ŷ_rule|² / Σ |ŷ_model − mean ŷ_model|²: the share of the variance of the model's answers that"
            " the frozen rule does not give.",
        ),
        (
            "worst_unexplained",
            "The largest unexplained share of a rule at any strength of a shift, training left out.",
        ),
        (
            "rule_distance",
            "Σ |ŷ_rule − ŷ_other|² over the same variance of the model's answers, at the strength where it is largest:"
            " what a shift can separate.",
        ),
        (
            "scale_exponent",
            "Slope of log response against log c, for inputs c times as large with c up to 1: 2 for one step of"
            " gradient descent, 0 for least squares (Zhang et al. 2024).",
        ),
        (
            "order_sensitivity",
            "Mean over tasks of the variance of the answer over orders of the pairs, over the variance of answers"
            " between tasks (after Shen et al. 2023). 0 for every rule.",
        ),
        ("steps", "Steps of the frozen rule, searched on tuning tasks."),
        (
            "learning_rate penalty gamma",
            "The rule's other settings, at which its predictions on tasks as in training are closest to the model's.",
        ),
        ("readout_sign", "1, or −1 where the model's predictions were turned."),
        ("token_layout", "1 at the layout that is used, 0 at the others that were tried."),
        ("label_share", "(Σ y·ŷ)² / (Σ y² Σ ŷ²): what predictions explain of the labels, at their best scale."),
        ("layout_gain", "The label share, minus that in the best layout in which the model answers something else."),
    )
    for name in names.split()
}
