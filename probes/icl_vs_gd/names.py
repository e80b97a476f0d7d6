"""What ways of fine-tuning and of labelling demonstrations are called. Without torch: figures and tables read it."""

from __future__ import annotations

from typing import Literal

Rule = Literal["gd", "lcgd", "sgd"]
RULES: tuple[Rule, ...] = ("gd", "lcgd", "sgd")
FULL_BATCH: tuple[Rule, ...] = ("gd", "lcgd")
"""They sort demonstrations before the first step."""
TITLES = {"gd": "gradient descent", "lcgd": "layer-causal gradient descent", "sgd": "stochastic gradient descent"}

Labels = Literal["true", "swapped", "shuffled"]
"""The labels that demonstrations have: as they are, those of each class moved on to the next, or half of them wrong."""
LABELS: tuple[Labels, ...] = ("true", "swapped", "shuffled")

Way = Literal[
    "tuned",
    "other",
    "random weights",
    "half run",
    "third rate",
    "adam",
    "first demonstrations",
    "second demonstrations",
]
"""Parameters, each from a task's demonstrations:

tuned           by the rule, as tuned
other           those of another task
random weights  moved as far as tuned ones, in every matrix, in a random direction
half run        by half of the steps
third rate      by a third of the rate
adam            by the rule's gradients with Adam's steps
first, second   by the rule, as tuned, on one half of the demonstrations, or on the other
"""
FLOORS: tuple[Way, ...] = ("other", "random weights")
PLANTED: tuple[Way, ...] = ("third rate", "adam")
"""Gradient descent on the task's demonstrations by other steps. Half of the run is none of them: its parameters are
nearly those of the whole run."""

CONTRAST, AOU, RAW, SCORES, SHIFTS, LEFT = (
    "contrast",
    "output_similarity",
    "raw_output_similarity",
    "score_similarity",
    "score_shift_similarity",
    "activation_distance",
)
IN_CONTEXT, AT_HALF = "in context", "in context, half run"
ENDPOINT, DIRECTION, HALVES = "endpoint", "zero-mean direction", "halves of demonstrations"
MATCHED = "activation matching"
RULE, BETWEEN, LAYER = "rule", "between", "layer"
ABOVE_FLOOR, PLANTED_ABOVE, AGAINST_PLANTED, SHARE, MARGIN = (
    "contrast_above_floor",
    "planted_above_floor",
    "first_layer_against_planted",
    "first_layer_share",
    "output_similarity_margin",
)
ACCURACY, GAIN, GAIN_BY_LABELS, LEARNED = "accuracy", "accuracy_gain", "accuracy_gain_by_labels", "accuracy_learned"
DISTANCE, BEYOND, ORDER = "answer_distance", "distance_beyond_planted", "order_sensitivity"
RIVALS, RIVAL_AHEAD, RIVAL_ACCURACY = "rival_distance", "rival_ahead", "rival_accuracy"
TOP_ACCURACY, CONFIDENCE, LABEL_CONFIDENCE = "top_accuracy", "confidence", "label_confidence"
DIVERGENCE = "answer_divergence"
RECOVERED, RECOVERED_NULL = "recovered", "recovered_null"
OVERLAP, OVERLAP_COSINE, OVERLAP_INSIDE = "top_overlap", "top_overlap_cosine", "top_overlap_cosine_inside"
PATCH_SIZE, PATCH_OVERLAP, PATCH_ALONG = "patch_size", "patch_overlap", "patch_along_gradient"
TRUE_LABELS, SHUFFLED_LABELS, OTHER_TASK = "true labels", "shuffled labels", "other"
RIVAL_TITLES = {
    "label frequencies": "label frequencies",
    "nearest demonstration": "the nearest demonstration's label",
    "last demonstration": "the last demonstration's label",
    "copy": "copying",
}
ANOTHER_ORDER, UNTRAINED = "another order", "untrained"
WAY, RIVAL, DEMOS = "way", "rival", "demonstrations"
ZERO_SHOT, SHUFFLED = "zero-shot", "in context, shuffled labels"
Demonstrations = Literal["clean", "conflicting"]
CLEAN: Demonstrations = "clean"
CONFLICTING: Demonstrations = "conflicting"
"""One label of each class is another's, so that demonstrations of a class disagree."""
CHANCE, RATE, STEPS, PASSES, ONSET = "chance", "learning_rate", "steps", "passes", "in_context_onset"
