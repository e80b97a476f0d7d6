"""The columns of few-shot-heads' table of heads. Without torch, since tables are made from saved reports."""

from __future__ import annotations

from ..head_columns import HeadColumn
from .names import ANOTHER_SHUFFLE, EFFECT, EXCESS, EXCESS_P, OWN_PROMPT, PATCH, TASK_MEAN

COLUMNS = (
    HeadColumn("excess_task_mean", EXCESS, {PATCH: TASK_MEAN}, words="Excess, task mean"),
    HeadColumn("excess_own_prompt", EXCESS, {PATCH: OWN_PROMPT}, words="Excess, own prompt"),
    HeadColumn("effect_task_mean", EFFECT, {PATCH: TASK_MEAN}, words="Effect, task mean", null=ANOTHER_SHUFFLE),
    HeadColumn("effect_own_prompt", EFFECT, {PATCH: OWN_PROMPT}, words="Effect, own prompt", null=ANOTHER_SHUFFLE),
    HeadColumn("p_task_mean", EXCESS_P, {PATCH: TASK_MEAN}, words="FDR, task mean"),
    HeadColumn("p_own_prompt", EXCESS_P, {PATCH: OWN_PROMPT}, words="FDR, own prompt"),
)
