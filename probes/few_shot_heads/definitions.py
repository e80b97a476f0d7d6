"""What each measure of few-shot-heads is, and where it comes from. The guide page's table says the same."""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    name: text
    for names, text in (
        (
            "accuracy",
            "Share of queries whose right label is the most probable of the task's labels; zero-shot, in context, and"
            " in context with shuffled labels.",
        ),
        (
            "right_probability",
            "Probability of the first token of the right label, among all tokens; zero-shot, in context, and in context"
            " with shuffled labels.",
        ),
        (
            "accuracy_gain accuracy_gain_by_labels",
            "Accuracy in context minus accuracy zero-shot, and minus accuracy with shuffled labels.",
        ),
        (
            "total_effect",
            "Probability of the right label in context minus that with shuffled labels, on the tasks that choose heads:"
            " what all labels are worth.",
        ),
        (
            "indirect_effect indirect_effect_on_accuracy",
            "Rise of the right label's probability, and of the accuracy, on a prompt with shuffled labels when a head's"
            " output at the last position is replaced by its mean over clean prompts of the task (Todd et al. 2024), or"
            " by its output in the query's own clean prompt.",
        ),
        (
            "indirect_excess",
            "The indirect effect on the probability minus that of the same replacement from prompts whose labels are"
            " shuffled another time.",
        ),
        (
            "indirect_excess_p",
            "False discovery rate over heads of an excess above 0, by flipping the signs of tasks.",
        ),
        ("group_size", "Number of heads in each set; the message names them."),
        (
            "group_effect group_excess",
            "Indirect effect on the right label's probability of all heads of a set together, on held-out tasks; and"
            " that effect minus the one of another shuffle.",
        ),
        (
            "accuracy_drop probability_drop",
            "Fall of the accuracy in context, and of the right label's probability, on held-out tasks when all heads of"
            " a set are replaced at the last position by their means over prompts with shuffled labels.",
        ),
        (
            "accuracy_drop_beyond_random probability_drop_beyond_random",
            "The same fall minus the mean fall for random sets of as many heads of the same layers.",
        ),
        (
            "accuracy_drop_p",
            "Share of the random sets, and of the set itself, whose ablation lowers the accuracy at least as much.",
        ),
        (
            "accuracy_drop_beyond_given",
            "Fall of the accuracy for each set minus the fall for the heads that the user gave, task by task.",
        ),
        (
            "overlap_with_given",
            "Share of each set's heads that the user gave, too.",
        ),
        (
            "given_rank",
            "How often a head that the user gave has a larger excess than a head outside the list; one half by chance.",
        ),
        ("rules", "Number of different rules among the tasks: those of a file, or one for each generated task."),
        ("passes", "Forward passes of one prompt each, by what they are for."),
    )
    for name in names.split()
}
