"""What each measure of spectral-filter is, and where it comes from. The guide page's table says the same.

X = U S Vᵀ is a context of N pairs, λ = s²/N, W the model's weights (its answer is W x), W* the minimum-norm solution.
"""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        (
            "response",
            "g, by bins with equal numbers of eigenvectors: Σ ω (W V)·(W* V) / Σ ω ‖W* V‖², ω the inputs' mean square"
            " along V. 0: nothing is learned there; 1: what least squares learns.",
        ),
        ("eigenvalue", "The mean λ of each bin, weighed as the response is."),
        (
            "off_filter_share",
            "The share of E‖W‖², weighed by ω, that no function g(λ) explains: what a free curve, a level and a slope"
            " in each bin, fitted to tuning tasks, leaves on others.",
        ),
        (
            "not_linear_share",
            "Σ ‖ŷ − W x‖² / Σ ‖ŷ‖² at the queries: what of the answers is not linear in the query, as every filter is.",
        ),
        (
            "unexplained_share",
            "The share of E‖W‖², weighed by ω, that a named filter leaves, fitted to tuning tasks, judged on others.",
        ),
        ("further_share", "How much more of E‖W‖² a named filter leaves than the closest one, paired over tasks."),
        (
            "steps",
            "Steps of a named filter's closest member; its interval: from the fewest to the most that are as close on"
            " the tuning tasks.",
        ),
        (
            "learning_rate time gamma initial_scale penalty",
            "A named filter's other settings, at which it is closest to the weights of the layer.",
        ),
        (
            "gradient_time",
            "Steps times learning rate of gradient descent: all that is known of many small steps (gradient flow).",
        ),
        ("relative_penalty", "Ridge's penalty over N times the mean λ."),
        (
            "noise_variance",
            "The variance of label noise at which ridge with this penalty is Bayes' rule: the penalty times the"
            " teachers' variance.",
        ),
        ("fitted_response", "The mean g of a named filter in each bin, weighed as the response is."),
        (
            "polynomial_degree",
            "Least degree of a polynomial g without constant term that leaves at most 1 % of E‖W‖² more than the free"
            " curve (`effective`), or less than 1e-9 (`exact`).",
        ),
        ("readout_sign", "1, or −1 where the model's predictions were turned."),
        ("token_layout", "1 at the layout that is used, 0 at the others that were tried."),
        ("label_share", "(Σ y·ŷ)² / (Σ y² Σ ŷ²): what predictions explain of the labels, at their best scale."),
        ("layout_gain", "The label share, minus that in the best layout in which the model answers something else."),
    )
    for name in names.split()
}
