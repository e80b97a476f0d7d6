"""The built pages, checked: every relative address exists, with its anchor, and nothing is loaded from the network."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FOLLOWED = {"a"}
"""Elements whose address a reader follows; those of all others are loaded by the page itself."""
_IN_STYLE = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


@dataclass
class Contents(HTMLParser):
    """The anchors of a page, and the addresses that it follows and loads."""

    anchors: set[str] = field(default_factory=set)
    addresses: list[tuple[str, str]] = field(default_factory=list)
    """(element, address)"""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := held.get(name))}
        self.addresses += [(tag, value) for name in ("href", "src", "data") if (value := held.get(name))]


def faults(site: Path) -> list[str]:
    """What is wrong with the pages and styles below a folder, in words."""
    pages = {path: contents(path) for path in sorted(site.rglob("*.html"))}
    found = [fault for path in pages for fault in faults_of(path, pages)]
    return found + [fault for path in sorted(site.rglob("*.css")) for fault in faults_of_style(path)]


def contents(path: Path) -> Contents:
    read = Contents()
    read.feed(path.read_text(encoding="utf-8"))
    return read


def faults_of(path: Path, pages: dict[Path, Contents]) -> list[str]:
    found = []
    for tag, address in pages[path].addresses:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            if tag not in FOLLOWED and parts.scheme != "data":
                found.append(f"{path}: <{tag}> loads {address} from the network")
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.is_file():
            found.append(f"{path}: {address} does not exist")
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
            found.append(f"{path}: {address} has no such anchor")
    return found


def faults_of_style(path: Path) -> list[str]:
    addresses = (one or other for one, other in _IN_STYLE.findall(path.read_text(encoding="utf-8")))
    return [f"{path}: loads {address} from the network" for address in addresses if address.startswith(("http", "//"))]
