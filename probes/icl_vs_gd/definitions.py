"""What each measure of icl-vs-gd is, and where it comes from. The guide page's table says the same.

Numbers are means over the queries of a task and then over tasks, at the last position of each prompt.
"""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        (
            "accuracy chance",
            "Share of queries whose right label is the most probable of the task's labels; ties share. And the accuracy"
            " of a guess among them.",
        ),
        ("accuracy_gain", "Accuracy in context minus accuracy zero-shot."),
        (
            "accuracy_gain_by_labels",
            "Accuracy in context minus accuracy in context with shuffled labels: in each class half of the labels are"
            " wrong.",
        ),
        ("accuracy_learned", "Accuracy after gradient descent minus accuracy zero-shot."),
        (
            "top_accuracy confidence label_confidence",
            "Share of queries whose right label is the most probable of all tokens, the probability of the most"
            " probable token, and that of the most probable label.",
        ),
        (
            "recovered recovered_null",
            "Rec2FTP (Dai et al. 2023): of the queries that zero-shot gets wrong and gradient descent right, the share"
            " that context gets right. And that share of all queries that zero-shot gets wrong.",
        ),
        (
            "answer_distance",
            "Total variation, half of Σ |p − q| over the vocabulary, between answers after tuned gradient descent and"
            " each `between`. Of `other` and `activation matching` it is from answers in context; of `another order`"
            " between two orders in context.",
        ),
        (
            "distance_beyond_planted",
            "The distance of answers in context from a rule minus that of the rule's own other run that is farthest"
            " from it: half of the steps, a third of the rate, or Adam.",
        ),
        ("answer_divergence", "KL divergence of answers after gradient descent from those in context."),
        (
            "top_overlap top_overlap_cosine top_overlap_cosine_inside",
            "Share of the K most probable tokens that two distributions have in common, and the cosine over common ones"
            " (Shen et al. 2024), with the penalty K − n outside of the root, or inside.",
        ),
        (
            "order_sensitivity",
            "Mean total variation between pairs of orders of the same demonstrations: clean, and with one label of each"
            " class another class's. Full-batch descent has 0.",
        ),
        (
            "rival_distance rival_accuracy",
            "Total variation of a rival without gradients from answers in context, and the rival's accuracy.",
        ),
        ("rival_ahead", "The distance of the nearest rule minus that of the nearest rival without gradients."),
        (
            "contrast contrast_mean",
            "Label-swap contrast: cosine of how exchanged labels change the direction of attention's output in context,"
            " and of how they change it after gradient descent; in each layer, and the mean over layers.",
        ),
        (
            "contrast_above_floor planted_above_floor",
            "The contrast of answers in context, or of the planted run with the smallest contrast, minus the larger of"
            " the floors: another task's demonstrations, random weights.",
        ),
        (
            "first_layer_share first_layer_against_planted",
            "In the first layer that has a number: the contrast in context over that of the planted run with the"
            " smallest, and minus it.",
        ),
        (
            "output_similarity output_similarity_mean",
            "SimAOU (Dai et al. 2023): cosine of n(h_icl) − n(h_zs) and n(h_ft) − n(h_zs), with h the output of"
            " attention and n(h) = h/‖h‖; in each layer, and the mean. Independent far endpoints have 0.5.",
        ),
        (
            "raw_output_similarity raw_output_similarity_mean",
            "The same cosine of h_icl − h_zs and h_ft − h_zs, not normalised.",
        ),
        (
            "output_similarity_margin",
            "Mean SimAOU minus that of its strongest control: shuffled, other, random weights.",
        ),
        (
            "score_similarity score_similarity_mean",
            "SimAM (Dai et al. 2023): cosine of attention scores, before the softmax, of a query's last token on its"
            " own tokens, in context and after gradient descent; mean over heads.",
        ),
        (
            "score_shift_similarity score_shift_similarity_mean",
            "The same cosine of what context and gradient descent add to the scores zero-shot.",
        ),
        (
            "activation_distance activation_distance_mean",
            "Σ ‖h_new − h_icl‖² / Σ ‖h_zs − h_icl‖² on held-out queries, with W_K and W_V fitted by Adam to attention's"
            " outputs in context: 0 where parameters can do all that context does, 1 where nothing.",
        ),
        (
            "patch_size patch_overlap",
            "The change of an MLP's input matrix that context stands for (Dherin et al. 2025): ‖dW‖/‖W‖, and the mean"
            " cosine of the changes that two queries stand for.",
        ),
        (
            "patch_along_gradient",
            "Cosine of that change and a step of gradient descent on the demonstrations: with true labels, with"
            " shuffled ones, and of another task.",
        ),
        (
            "learning_rate steps",
            "What was chosen for a rule on other tasks, by the loss of their queries.",
        ),
        ("passes", "Prompts that went forward through the model, and those through which gradients came back."),
        (
            "in_context_onset",
            "Steps of checkpoints: the last before in-context learning, and the first from which on it stays.",
        ),
    )
    for name in names.split()
}
