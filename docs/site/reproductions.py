"""Reproductions that ship: a folder of results becomes one of docs/reproductions/, and the guide shows its verdicts.

`python docs/site/reproductions.py reproduced` takes over what `mesascope reproduce … -o reproduced` wrote.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
SHIPPED = DOCS / "reproductions"
PATTERNS = ("index.html", "verdicts.*", "figure-*.pdf", "figure-*.csv", "figure-*.json")
"""What ships of a reproduction. Its page holds the drawings, so that pictures beside it would say them again."""
MOST_BYTES = 5_000_000
GUIDE = "reproduction.md"
MARKER = "<!-- reproductions -->"


def ship(out: Path, shipped: Path = SHIPPED) -> Path:
    """Put the results of a folder in the place of those that shipped; returns where. ValueError where they are too
    large or none.
    """
    files = [path for pattern in PATTERNS for path in sorted(out.glob(pattern))]
    records = [path for path in files if path.suffix == ".json"]
    if not records or not (out / "index.html").is_file():
        raise ValueError(f"{out} holds no reproduction; expected what `mesascope reproduce PAPER -o {out}` writes")
    size = sum(path.stat().st_size for path in files)
    if size > MOST_BYTES:
        raise ValueError(f"{out}: {size:,} bytes would ship; expected at most {MOST_BYTES:,}")
    place = shipped / json.loads(records[0].read_text(encoding="utf-8"))["paper"]
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for path in files:
        shutil.copyfile(path, place / path.name)
    return place


def shown(markdown: str, shipped: Path = SHIPPED) -> str:
    """The guide with the verdicts of each reproduction that ships, whose figures lead to their place on its page."""
    folders = sorted(path.parent for path in shipped.glob("*/verdicts.md"))
    tables = [table(folder.name, (folder / "verdicts.md").read_text(encoding="utf-8")) for folder in folders]
    return markdown.replace(MARKER, "\n\n".join(tables))


def table(name: str, verdicts: str) -> str:
    """The table of a reproduction, each figure with an address."""
    page = f"reproductions/{name}/index.html"
    linked = re.sub(
        r"^\| (\d+) \|",
        lambda found: f"| [{found[1]}]({page}#figure-{int(found[1]):02d}) |",
        verdicts,
        flags=re.MULTILINE,
    )
    return f"{linked.strip()}\n\n[All figures and numbers of {name}]({page})."


if __name__ == "__main__":
    try:
        print(ship(Path(sys.argv[1])))
    except (ValueError, IndexError) as error:
        sys.exit(f"{error}; expected the folder of a reproduction")
