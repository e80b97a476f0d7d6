"""Report: a record, and what one does with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .record import Record


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

    def plot(self, ax: Any = None) -> Any:
        """The report's headline figure on the caller's axes (default: the current ones)."""
        from .figures import plot

        return plot(self, ax)

    def _repr_html_(self) -> str:
        from .html import fragment

        return fragment(self)
