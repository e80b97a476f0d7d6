"""The measures of a table for a paper: what the model knows, where it attends, and which of the two came first."""

MEASURES = (
    "task_accuracy",
    "ktiw_accuracy",
    "attention_accuracy",
    "agreement_beta",
    "agreement_uniform",
    "agreement_proxy",
    "agreement_push",
    "ktiw_lead",
    "learned",
)
