"""The columns of attention-learning's table of heads. Without torch, since tables are made from saved reports."""

from __future__ import annotations

from ..head_columns import HeadColumn
from .names import BETA, CHANCE, OTHER_TARGETS, OWN_PROXY, OWN_SALIENCY, PAIR, UNIFORM

COLUMNS = (
    *(
        HeadColumn(f"agreement_{pair.name}", "head_agreement", {PAIR: pair.name}, words=words, null=OTHER_TARGETS)
        for pair, words in (
            (BETA, "Attention, beta"),
            (UNIFORM, "Attention, twin's beta"),
            (OWN_SALIENCY, "Saliency, beta"),
            (OWN_PROXY, "Beta, co-occurrence"),
        )
    ),
    HeadColumn("attention_accuracy", "head_attention_accuracy", words="Attention accuracy", null=CHANCE),
    HeadColumn("ktiw_accuracy", "head_ktiw_accuracy", words="KTIW accuracy", null=CHANCE),
)
