"""Report: a record, and what one does with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...probes.measure import flat
from .headline import badge
from .record import Record

if TYPE_CHECKING:
    from .attention import AttentionView


class Report(Record):
    """A `Record` that can be saved, tabulated and drawn. `analyses.verify` makes it again."""

    def save(self, out: str | Path, figures: str = "paper", keep_samples: int = 10_000) -> Path:
        """Write the report below `out`, complete or not at all, and return its folder.

        figures:       "paper" (PDF, SVG and PNG), "png", "main" (the main figure alone, as PNG) or "none"
        keep_samples:  tasks kept of the raw values, drawn with the report's seed
        """
        from .saving import save

        return save(self, Path(out), figures, keep_samples)

    def to_frame(self) -> Any:
        """A tidy pandas table: one row a number and null. See `docs/reports.md` for its columns."""
        from .tidy import frame

        return frame(self)

    def heads_frame(self) -> Any:
        """A pandas table with one row a head, indexed by its name (L3H5): `layer`, `head`, `verdict`, and for each
        number that the probe names X, X_low, X_high (its 95 % interval), X_null (the mean of its null model) and X_p.

        NaN where there is none. Of several steps it is the last. UsageError where the report has no numbers of heads.
        """
        from .heads import frame

        return frame(self)

    def plot(self, name: str | None = None, ax: Any = None, panel: str | int | None = None) -> Any:
        """One panel of a figure on the caller's axes (default: pyplot's current ones); returns the table of what is
        drawn.

        name:   of a figure; None: the main one, of a report over several steps the trajectory
        panel:  its title, or its number from 1; None: the first
        """
        from .figures import plot

        return plot(self, name, ax, panel)

    def attention(self, heads: str | Sequence[str] | None = None, value_weighted: bool = False) -> AttentionView:
        """Attention of the heads that the report keeps: a view to point at in a notebook, with `.plot(ax)` and
        `.save("FILE.pdf")` (or .svg, .png, .html).

        heads:           names, such as L1H4; None: all that are kept
        value_weighted:  whether drawings show attention times ‖v W_O‖

        UsageError for other heads, with those that are kept and the option that keeps others.
        """
        from .attention import attention

        return attention(self, heads, value_weighted)

    def __repr__(self) -> str:
        numbers = f"{len(flat(self.measures))} measures"
        more = "see .claim, .measures, .to_frame(), .plot(), .save(FOLDER)"
        return f"{self.probe} on {self.label}\n{badge(self)}\n{numbers}; {more}"

    def _repr_html_(self) -> str:
        from .html import fragment

        return fragment(self)
