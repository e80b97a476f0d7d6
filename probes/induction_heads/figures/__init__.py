"""Figures of induction-heads: where the heads are, where they look, how they connect, and what becomes of the loss."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...drawing import head_marks, marks
from ...drawing.head_marks import MOST_ROWS, Head
from ...drawing.marks import VERMILION, Look
from . import trajectory as induction_trajectory
from .trajectory import KINDS, WHOLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

SCORES = {
    "prefix_matching_score": ("prefix matching", 1.0, None),
    "excess": ("excess over its controls", 1.0, 0.0),
    "ov_copying_score": ("OV copying", 1.0, 0.0),
    "direct_logit_attribution": ("direct effect on the repeated token", None, 0.0),
}
ATTENTION = {
    "previous_token_score": ("to the previous token", 1.0, None),
    "duplicate_token_score": ("to earlier occurrences", 1.0, None),
    "current_token_score": ("to the token itself", 1.0, None),
    "first_token_score": ("to the first token", 1.0, None),
}
TEXT = {
    "text_matching_score": ("prefix matching in text", 1.0, None),
    "text_matching_excess": ("excess over the same offsets", 1.0, 0.0),
    "text_duplicate_score": ("to earlier occurrences in text", 1.0, None),
    "text_duplicate_excess": ("excess over the same offsets", 1.0, 0.0),
}
"""Maps of layers by heads: title, how far the colours go, and what they diverge from."""


# -- maps of layers by heads -------------------------------------------------------------------------------------------


def heads_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Every head: attention to what followed the current token's earlier occurrences; its excess over its controls;
    whether the head raises the logits of tokens that it attends to (OV eigenvalues); and what it adds to the logit of
    the repeated token. Symbols: verdicts.
    """
    return _maps(SCORES, findings, page)


def attention_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Every head: mean attention to the previous token, to earlier occurrences of the current one, to the token itself,
    and to the first one. Symbols: verdicts.
    """
    return _maps(ATTENTION, findings, page)


def _maps(
    panels: Mapping[str, tuple[str, float | None, float | None]], findings: Findings, page: Page
) -> pd.DataFrame | None:
    """Maps two by two, those that the measures hold; one bar of colours where all share them."""
    measures = marks.last_step(findings.measures)
    found = {name: measures[name] for name in panels if name in measures}
    layers = [len(measure.values) for measure in found.values() if marks.has_number(measure)]
    if not layers:
        return None
    shared = len({(*panels[name][1:], measure.unit) for name, measure in found.items()}) == 1
    n_rows, tall = -(-len(found) // 2), head_marks.map_height(max(layers))
    if len(layers) < len(found):
        tall = max(tall, 1.0)  # room for words
    axes = page.grid(n_rows, 2, 0.4 + n_rows * (tall + (0.5 if shared else 0.9)) + 0.5 * shared)
    tables = []
    for (name, measure), ax in zip(found.items(), axes, strict=False):
        title, limit, middle = panels[name]
        tables.append(head_marks.head_map(measure, ax, title, findings.heads, limit, middle))
        ax.set_title(title)
        if not shared:
            head_marks.color_bar([ax], marks.unit_label(measure))
    for ax in axes[len(found) :]:
        ax.set_axis_off()
    if shared:
        head_marks.color_bar(axes, marks.unit_label(next(iter(found.values()))))
    if keys := head_marks.verdict_keys(findings.heads):
        page.legend(keys)
    return marks.together(tables)


def headline(findings: Findings, ax: Axes) -> pd.DataFrame:
    """The excess of every head's prefix matching over its controls, with the symbols of the verdicts."""
    measure = marks.last_step(findings.measures)["excess"]
    table = head_marks.head_map(measure, ax, SCORES["excess"][0], findings.heads, 1.0, middle=0.0)
    head_marks.color_bar([ax], f"{SCORES['excess'][0]} ({marks.unit_label(measure)})")
    if keys := head_marks.verdict_keys(findings.heads):
        ax.legend(handles=keys, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return table


# -- the evidence for the called heads ---------------------------------------------------------------------------------


def evidence_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The scores behind the verdict of each head that has one. Bars: 95 % intervals; grey: the same scores of
    attention spread evenly, of sequences without repeats, of heads whose weights were permuted.
    """
    measures = marks.last_step(findings.measures)
    found = {name: measures[name] for name in SCORES if marks.has_number(measures.get(name))}
    heads = head_marks.called(findings.heads)
    if not found or not heads:
        return None
    shown = heads[:MOST_ROWS]
    axes = page.grid(1, len(found), 1.3 + 0.19 * len(shown), sharey=True)
    tables, nulls = [], marks.null_names(found.values())
    for (name, measure), ax in zip(found.items(), axes, strict=True):
        title = induction_trajectory.HEADS[name]
        parts = [(head_marks.look(h, findings.heads), measure.at(layer=h[0], head=h[1])) for h in shown]
        tables.append(marks.rows(parts, ax, title, nulls))
        marks.reference(ax, x=0)
        ax.set(title=title, xlabel=marks.unit_label(measure))
    _say_how_many(page, len(shown), len(heads), "heads with a verdict")
    page.legend([*head_marks.verdict_keys(findings.heads), *marks.keys(found.values())])
    return marks.together(tables)


# -- where called heads look -------------------------------------------------------------------------------------------


def offsets_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Mean attention of each head with a verdict by how many tokens back it goes, at each period S, over the queries of
    the repeats. An induction head looks S - 1 back whatever S is, a duplicate-token head S.
    """
    measures = marks.last_step(findings.measures)
    found = {name: m for name, m in measures.items() if name.startswith("attention_by_offset_") and marks.has_number(m)}
    heads = head_marks.called(findings.heads)
    if not found or not heads:
        return None
    shown = heads[:MOST_ROWS]
    axes = page.grid(1, len(found), 1.3 + 0.14 * len(shown), sharey=True)
    tables = []
    for (name, measure), ax in zip(found.items(), axes, strict=True):
        title = f"$S$ = {name.removeprefix('attention_by_offset_')}"
        tables.append(head_marks.offset_map(measure, ax, title, shown, findings.heads))
        ax.set_title(title)
    head_marks.color_bar(axes, "probability")
    _say_how_many(page, len(shown), len(heads), "heads with a verdict")
    page.legend(head_marks.verdict_keys(findings.heads))
    return marks.together(tables)


def _say_how_many(page: Page, shown: int, of: int, what: str) -> None:
    if shown < of:
        page.figure.suptitle(f"the first {shown} of {of} {what}", fontsize=8)


# -- composition -------------------------------------------------------------------------------------------------------


def composition_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How much of what each previous-token head writes the keys of each induction head of a later layer read
    (K-composition), largest first. Grey: the same pair with a random rotation between the two.
    """
    measure = marks.last_step(findings.measures).get("k_composition")
    pairs = induction_trajectory.pairs(findings.heads)
    if measure is None or not marks.has_number(measure) or not pairs:
        return None
    found = sorted(((measure.at(**cell), look) for look, cell in pairs.items()), key=lambda p: -p[0].estimate)
    shown = [(look, part) for part, look in found[:MOST_ROWS]]
    (ax,) = page.grid(1, 1, 0.9 + 0.15 * len(shown), page.style.column)
    table = marks.rows(shown, ax, panel="K-composition")
    ax.set_xlabel("K-composition (1: all that is written is read)")
    ax.set_xlim(left=0)
    _say_how_many(page, len(shown), len(pairs), "pairs")
    if not measure.nulls:
        ax.set_title(textwrap.fill(measure.no_nulls, int(14 * page.style.column)), style="italic")
    matching = {head: verdict for head, verdict in findings.heads.items() if verdict in induction_trajectory.MATCHING}
    page.legend([*head_marks.verdict_keys(matching), *marks.keys(part for _, part in shown)])
    return table


# -- what becomes of the loss ------------------------------------------------------------------------------------------


def loss_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Loss of every token of a run that is said again and again; dotted: where a run begins. Grey: the same first run,
    followed by others that repeat nothing. Band: 95 % interval.
    """
    measure = marks.last_step(findings.measures).get("loss_by_position")
    if measure is None or not marks.has_number(measure):
        return None
    (ax,) = page.grid(1, 1, 2.2, page.style.column)
    series = Look("repeated", VERMILION, marker="")
    tables = [marks.null_bands(measure, ax, "loss", series.label)]
    tables.append(marks.curve(measure, series, ax, "loss"))
    for start in _runs(findings, len(measure.values)):
        marks.reference(ax, start)
    ax.set(xlabel="position of the token", ylabel=f"loss ({measure.unit})")
    nulls = [marks.null_key(look) for look in marks.null_looks(measure).values()]
    page.legend([marks.line_key(series), marks.band_key(marks.evidence([measure]), VERMILION), *nulls])
    return marks.together(tables)


def _runs(findings: Findings, tokens: int) -> Sequence[int]:
    """Where runs begin, of the longest period."""
    settings = findings.recipes["evaluation"].settings
    first, period = int(settings["bos"] is not None), max(settings["periods"])
    return range(first, tokens, period)


# -- heads taken away --------------------------------------------------------------------------------------------------

MOST_OTHERS = 5
"""Heads without a verdict that are shown, those whose loss is most."""


def ablation_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Rise of the loss on the second run when all heads of a verdict, or one head, are taken away; below, the
    in-context learning that is left. Groups were chosen on other sequences than they are tested on. Bars: 95 %
    intervals; grey: as many random heads of the same layers.
    """
    measures = marks.last_step(findings.measures)
    shown = _shown_alone(measures.get("ablation_zero"), findings.heads)
    rises = {kind: _rises(measures, findings.heads, shown, kind) for kind in KINDS}
    left = {kind: _left(measures, kind) for kind in KINDS}
    heights = [len(rises["zero"]), len(left["zero"])]
    if not all(heights):
        return None
    keywords = {"sharex": "row", "sharey": "row", "height_ratios": [rows + 0.5 for rows in heights]}
    axes = page.grid(2, len(KINDS), 1.6 + 0.19 * sum(heights), **keywords)
    tables = []
    for (kind, title), above, below in zip(KINDS.items(), axes[:2], axes[2:], strict=True):
        tables.append(marks.rows(rises[kind], above, panel=f"rise, {title}"))
        tables.append(marks.rows(left[kind], below, panel=f"left, {title}"))
        above.set(title=title, xlabel="rise of the loss (nat)")
        below.set_xlabel("in-context learning (nat)")
        for ax in (above, below):
            marks.reference(ax, x=0)
    alone = {head_marks.name(head): findings.heads.get(head_marks.name(head), "") for head in shown}
    drawn = [part for rows in (*rises.values(), *left.values()) for _, part in rows]
    page.legend([*head_marks.verdict_keys(alone), *marks.keys(drawn)])
    return marks.together(tables)


def _shown_alone(single: Measure | None, verdicts: Mapping[str, str]) -> list[Head]:
    """Of the heads that were taken away alone, those with a verdict and a few others, the most important first."""
    if single is None or not marks.has_number(single):
        return []
    known = [(int(layer), int(head)) for layer, head in np.argwhere(np.isfinite(single.values))]
    ordered = sorted(known, key=lambda head: -single.values[head])
    called = head_marks.called(verdicts)
    with_verdict = [head for head in ordered if head in called]
    others = [head for head in ordered if head not in called]
    kept = {*with_verdict[:MOST_ROWS], *others[:MOST_OTHERS]}
    return [head for head in ordered if head in kept]


def _rises(
    measures: Mapping[str, Measure], verdicts: Mapping[str, str], shown: Sequence[Head], kind: str
) -> list[tuple[Look, Measure]]:
    alone = [
        (head_marks.look(head, verdicts), measures[f"ablation_{kind}"].at(layer=head[0], head=head[1]))
        for head in shown
    ]
    return [*induction_trajectory.groups(measures.get(f"group_ablation_{kind}")).items(), *alone]


def _left(measures: Mapping[str, Measure], kind: str) -> list[tuple[Look, Measure]]:
    """In-context learning of the whole model, and without each group."""
    whole = measures.get("in_context_learning_score")
    if whole is None or not marks.has_number(whole):
        return []
    without = induction_trajectory.groups(measures.get(f"in_context_learning_without_{kind}"), "without {} heads")
    return [(WHOLE, replace(whole, nulls={}, no_nulls="those of the groups are drawn")), *without.items()]


def text_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The user's own text, every head: attention to what followed earlier occurrences of the same token, to those
    occurrences, and by how much it exceeds what the same offsets get where there is no match. Symbols: verdicts.
    """
    return _maps(TEXT, findings, page)


FIGURES = {
    "heads": heads_figure,
    "attention": attention_figure,
    "evidence": evidence_figure,
    "offsets": offsets_figure,
    "composition": composition_figure,
    "loss": loss_figure,
    "ablation": ablation_figure,
    "text": text_figure,
    "trajectory": induction_trajectory.trajectory_figure,
    "trajectory_losses": induction_trajectory.losses_figure,
}
