"""What each measure of attention-learning is, and where it comes from. The guide page's table says the same.

Numbers are means over the places of a source, or over the queries of a sequence, where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        (
            "task_accuracy",
            "Share of places whose word has the largest logit; of a language model, share of queries whose next token"
            " has.",
        ),
        (
            "attention_accuracy head_attention_accuracy",
            "Share of places that attend most to the source place of their own word (Snell et al. 2021): of the mean"
            " over heads, and of each head.",
        ),
        (
            "ktiw_accuracy head_ktiw_accuracy",
            "Knowledge to translate individual words (Snell et al. 2021): share of source words that have the largest"
            " logit when all heads attend to them only, and of what each head reads out alone.",
        ),
        (
            "agreement head_agreement",
            "A(u, v) of each `pair` (Snell et al. 2021): how often, at the source where u is largest, v is among the"
            " largest 5 %, with equals in random order; of the model, and of each head.",
        ),
        (
            "agreement_push head_agreement_push",
            "A(push at a step, change of attention until the next): push = α (β − Σ α β), the gradient of a score that"
            " is linear in attention by the attention's logits.",
        ),
        (
            "first_crossing",
            "First checkpoint at which each accuracy is at least one half: the median over seeds. Seeds that never"
            " cross are censored, not left out.",
        ),
        (
            "ktiw_lead",
            "Training steps from KTIW's first crossing to attention's: the median over seeds.",
        ),
        (
            "crossing_order",
            "Share of seeds in which KTIW passes one half before attention, after it, at the same checkpoint, or"
            " neither does.",
        ),
        ("learned", "Share of seeds with a task accuracy of at least .95 (`--learned`)."),
        (
            "outcome",
            "Share of seeds that learned by attention (attention and KTIW of at least one half), by anti-attention"
            " (both below .1), otherwise, or not.",
        ),
        (
            "xi",
            "Task accuracy of other seeds at their first checkpoint whose attention agrees more with a finished seed's"
            " than beta does (Snell et al. 2021): of the twin's beta, and of the seed's own.",
        ),
        ("xi_star", "Best task accuracy of a seed, the mean over seeds (Snell et al. 2021)."),
    )
    for name in names.split()
}
