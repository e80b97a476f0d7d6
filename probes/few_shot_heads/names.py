"""What few-shot-heads calls its measures, sets of heads, nulls and axes. Without torch: figures and tables read it."""

from __future__ import annotations

from typing import Literal

HEADS = ("layer", "head")

Way = Literal["zero-shot", "in context", "in context, shuffled labels"]
WAYS: tuple[Way, ...] = ("zero-shot", "in context", "in context, shuffled labels")
"""The prompts: a query by itself, after its demonstrations, and after demonstrations whose labels carry no rule."""
ZERO_SHOT, IN_CONTEXT, SHUFFLED = WAYS
WAY = "way"

Patch = Literal["task mean", "own prompt"]
PATCHES: tuple[Patch, ...] = ("task mean", "own prompt")
"""Where the output comes from that replaces a head's: the mean over prompts of the task, or the prompt of the very
query. The mean holds the task and not the query's answer; the query's own prompt holds both."""
TASK_MEAN, OWN_PROMPT = PATCHES
PATCH = "patch"

Group = Literal["function-vector", "answer", "top by task mean", "top by own prompt", "given"]
GROUPS: tuple[Group, ...] = ("function-vector", "answer", "top by task mean", "top by own prompt", "given")
"""Sets of heads: those that are called so, the strongest of each patch, and those of the user."""
FUNCTION_VECTOR, ANSWER, TOP_TASK, TOP_OWN, GIVEN = GROUPS
CALLED: dict[Patch, Group] = {TASK_MEAN: FUNCTION_VECTOR, OWN_PROMPT: ANSWER}
TOP: dict[Patch, Group] = {TASK_MEAN: TOP_TASK, OWN_PROMPT: TOP_OWN}
GROUP = "group"

ANOTHER_SHUFFLE, RANDOM_HEADS = "another shuffle", "random heads of the same layers"
"""The nulls: the same replacement from prompts without a rule, and as many other heads."""

ACCURACY, GAIN, GAIN_BY_LABELS = "accuracy", "accuracy_gain", "accuracy_gain_by_labels"
PROBABILITY, TOTAL = "right_probability", "total_effect"
EFFECT, EFFECT_ON_ACCURACY = "indirect_effect", "indirect_effect_on_accuracy"
EXCESS, EXCESS_P = "indirect_excess", "indirect_excess_p"
SIZE = "group_size"
GROUP_EFFECT, GROUP_EXCESS = "group_effect", "group_excess"
DROP, DROP_OF_PROBABILITY = "accuracy_drop", "probability_drop"
BEYOND, BEYOND_OF_PROBABILITY = "accuracy_drop_beyond_random", "probability_drop_beyond_random"
DROP_P, AHEAD = "accuracy_drop_p", "accuracy_drop_beyond_given"
OVERLAP, RANKED = "overlap_with_given", "given_rank"
RULES, PASSES = "rules", "passes"

PURPOSES = ("prompts as they are", "one head replaced", "sets of heads replaced")
PURPOSE = "purpose"
CHOOSING, JUDGING = "choosing", "held out"
"""The halves of the tasks."""
