"""What measures mean: the definitions of a probe, as the page of a report shows them and links to them.

A probe gives them in the module `definitions` of its package, as `DEFINITIONS`: one or two sentences for each measure,
with the paper it comes from. `x` in backticks is code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ...probes.measure import flat
from .parts import part
from .record import Record

_CODE = re.compile(r"`([^`]+)`")
_AUTHOR = re.compile(r"(?:[A-Z]\.[ -]?)+ ?(?P<surname>[^,.]+?)(?:,|\.| et al)")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


@dataclass(frozen=True)
class Definition:
    """measures: names, several where one text is of them all; place: where it stands on the page; text: HTML, with
    links to the references.
    """

    measures: tuple[str, ...]
    place: str
    text: Markup


def definitions(report: Record) -> list[Definition]:
    """Those of the report's measures that its probe defines, in the order of the report."""
    known: Mapping[str, str] = getattr(part(report.probe, "definitions"), "DEFINITIONS", {})
    named: dict[str, list[str]] = {}
    for measure in report.measures:
        if measure in known:
            named.setdefault(known[measure], []).append(measure)
    return [
        Definition(tuple(measures), f"definition-{n}", _html(text, report.claim.citations))
        for n, (text, measures) in enumerate(named.items(), start=1)
    ]


def links(report: Record, defined: Sequence[Definition]) -> dict[str, str]:
    """Where the definition of each measure stands, by its name and by the names of its parts: "cosine_gd"."""
    places = {measure: definition.place for definition in defined for measure in definition.measures}
    return {
        name: places[whole]
        for whole, measure in report.measures.items()
        if whole in places
        for name in (whole, *flat({whole: measure}))
    }


def reference(n: int) -> str:
    """Where the n-th citation stands on the page, counted from 0."""
    return f"reference-{n + 1}"


def _html(text: str, citations: Sequence[str]) -> Markup:
    """Text as HTML: code as code, and a mention such as "Sun et al. 2024" as a link to the citation, if any."""
    html = Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))
    for place, mention in _mentions(citations):
        html = Markup(mention.sub(rf'<a href="#{place}">\g<0></a>', str(html)))
    return html


def _mentions(citations: Sequence[str]) -> Iterator[tuple[str, re.Pattern[str]]]:
    """How a text mentions each citation: by its first author and its year."""
    for n, citation in enumerate(citations):
        author, year = _AUTHOR.match(citation), _YEAR.search(citation)
        if author and year:
            surname = re.escape(str(escape(author["surname"])))
            others = r"(?: et al\.| (?:&amp;|and) [\w ]+?)?"
            yield reference(n), re.compile(rf"\b{surname}{others} (?:{year[0]}|\({year[0]}\))", re.IGNORECASE)
