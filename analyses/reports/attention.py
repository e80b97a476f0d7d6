"""Attention of a report's heads as an object for notebooks: to point at, to draw, and to save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.errors import UsageError
from ...probes.kept_attention import RECIPE, KeptAttention
from .page_attention import view
from .pages import script, template
from .record import Record

if TYPE_CHECKING:
    import pandas as pd

    from ...probes.drawing.page import Build

FORMATS = (".pdf", ".svg", ".png", ".html")


@dataclass(frozen=True, eq=False)
class AttentionView:
    """Attention of some heads on one sequence. A notebook shows it with tokens to point at.

    kept:            `kept.pattern` is [head, query, key]
    report:          what it is of, in words
    value_weighted:  whether drawings show attention times ‖v W_O‖; the view to point at has both
    """

    kept: KeptAttention
    report: str
    value_weighted: bool = False

    def __post_init__(self) -> None:
        if self.value_weighted:
            self.kept.values("value-weighted")  # refused here where there is none, and not when it is drawn

    def plot(self, ax: Any = None, head: str | None = None) -> pd.DataFrame:
        """One head's map on the caller's axes (default: pyplot's current ones); returns the table of what is drawn.

        head:  its name; None: the first
        """
        from ...probes.drawing.page import draw_on
        from .figures import current_axes

        shown = self.kept if head is None else self.kept.only([head])
        table = draw_on(self._figure, shown.findings, current_axes() if ax is None else ax)
        assert table is not None, "there is at least one head"
        return table

    def save(self, path: str | Path, style: str = "neurips", width: float | None = None) -> Path:
        """Write all heads as a figure (.pdf, .svg, .png), or as a page to point at (.html).

        style, width:  of a figure; see `mesascope figures`
        """
        path = Path(path)
        if path.suffix not in FORMATS:
            raise UsageError(f"{path}: expected a name that ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
        try:
            if path.suffix == ".html":
                path.write_text(self._html(whole=True), encoding="utf-8", newline="")
            else:
                self._save_figure(path, style, width)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
        return path

    def _save_figure(self, path: Path, style: str, width: float | None) -> None:
        from ...probes.drawing import page

        drawn = page.render(self._figure, self.kept.findings, page.style_of(style, width))
        assert drawn is not None, "there is at least one head"
        page.save(drawn[0], path.with_suffix(""), [path.suffix[1:]])

    @property
    def _figure(self) -> Build:
        from ...probes.drawing.attention_maps import patterns_figure, value_weighted_figure

        return value_weighted_figure if self.value_weighted else patterns_figure

    def _html(self, whole: bool) -> str:
        return template("attention_page.html.jinja").render(
            whole=whole, title=f"{self.report} · attention", view=view(self.kept),
            script=script("attention_script.js.jinja"),
        )  # fmt: skip

    def _repr_html_(self) -> str:
        return self._html(whole=False)

    def __repr__(self) -> str:
        heads = ", ".join(self.kept.names)
        return f"Attention of {heads} in {self.report}\n{self.kept.sequence}\nsee .plot(), .save(FILE), .kept.pattern"


def attention(report: Record, heads: str | Sequence[str] | None, value_weighted: bool) -> AttentionView:
    """See `Report.attention`."""
    kept = KeptAttention.of(report.findings)
    if kept is None:
        raise UsageError(f"{report.label}: this report keeps no attention: {_why_not(report)}")
    if heads is not None:
        names = [heads] if isinstance(heads, str) else list(heads)
        if not names:
            raise UsageError(f"heads = []: expected some of {', '.join(kept.names)}, or None for all")
        _require_known(report, names)
        kept = kept.only(names)
    return AttentionView(kept, f"{report.label} · {report.probe}", value_weighted)


def _require_known(report: Record, names: Sequence[str]) -> None:
    """UsageError for what names no head, and for heads that the model does not have."""
    if absent := [name for name in names if name not in report.heads]:
        first, *_, last = report.heads
        raise UsageError(f"{', '.join(map(str, absent))}: no head of this model; expected {first} to {last}")


def _why_not(report: Record) -> str:
    if RECIPE in report.recipes:
        return "it is over several checkpoints, whose heads do not correspond; see each checkpoint's own report"
    if report.settings.get("attention") == "called":
        return "no head has a verdict; run the probe again with the heads you want, such as --attention L0H0"
    if "attention" in report.settings:
        return "attention = nothing; run the probe again with --attention called, or with heads, such as L0H0"
    return f"{report.probe} keeps none; run induction-heads"
