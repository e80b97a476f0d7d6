"""The columns of induction-heads' table of heads. Without torch, since tables are made from saved reports.

The first column orders them.
"""

from __future__ import annotations

from ..head_columns import HeadColumn
from .names import PERMUTED, PERMUTED_OV, REPLACEMENTS, ROTATED

COLUMNS = (
    HeadColumn("strength", "strength"),
    HeadColumn("excess", "excess", null=PERMUTED),
    HeadColumn("copying", "ov_copying_score", words="OV copying", null=PERMUTED_OV),
    HeadColumn("k_composition", "k_composition_from_previous", words="K-composition with previous-token", null=ROTATED),
    *(
        HeadColumn(f"ablation_{how}", "ablation", {"replacement": how}, words=f"{how} ablation (nat)".capitalize())
        for how in REPLACEMENTS
    ),
    HeadColumn("p_adjusted", "p_adjusted", words="Adjusted p"),
)
