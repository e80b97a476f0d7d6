"""A reproduction's folder: of each figure its files and its record, and one page over all records that are there.

    figure-09.pdf, .svg, .png, .csv    as it is drawn, and exactly what is drawn
    figure-09-column.pdf               for a column of a paper, where there are several panels
    figure-09.json                     its verdict and all numbers behind it
    index.html, verdicts.csv, verdicts.md
    checkpoints/, reports/             what was trained and measured

Each file is complete or absent. The same reports make the same bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...data.errors import OutputError, UsageError
from ..reports.record import read_json
from ..reports.records import dumps, json_value
from ..reports.saving import publish_file, publish_files
from .papers import Paper
from .results import FigureResult

FORMAT = "mesascope-reproduction-1"
PAGE = "index.html"


def stem(number: int) -> str:
    return f"figure-{number:02d}"


def save_figure(result: FigureResult, paper: Paper, out: Path) -> list[Path]:
    """The files of a figure. Raises OutputError where they cannot be written."""
    name = stem(result.claim.number)
    record = {"format": FORMAT, "paper": paper.name, **result.as_dict()}

    def fill(folder: Path) -> list[Path]:
        from .figures import draw  # matplotlib takes a second

        written = []
        if result.numbers is not None and result.numbers.panels:
            written += draw(result.numbers.panels, folder / name, result.reduced)
        (folder / f"{name}.json").write_text(dumps(json_value(record)) + "\n", encoding="utf-8", newline="")
        return [*written, folder / f"{name}.json"]

    with writing(out):
        written = publish_files(out, fill)
        for old in set(out.glob(f"{name}*")) - set(written):  # a picture of an earlier call, of another verdict
            old.unlink()
    return written


def save_page(paper: Paper, out: Path) -> Path:
    """The page, and the verdicts as tables, over every figure that has a record in the folder."""
    from .page import page

    records = load_records(paper, out)
    with writing(out):
        publish_file(out / "verdicts.csv", verdicts_csv(paper, records))
        publish_file(out / "verdicts.md", verdicts_markdown(paper, records))
        publish_file(out / PAGE, page(paper, records, out))
    return out / PAGE


def load_records(paper: Paper, out: Path) -> list[dict[str, Any]]:
    """The records of a folder, by figure. UsageError for one of another paper or format."""
    found = []
    for number in sorted(paper.claims):
        file = out / f"{stem(number)}.json"
        if not file.is_file():
            continue
        record = read_json(file)
        if not isinstance(record, dict) or record.get("format") != FORMAT or record.get("paper") != paper.name:
            raise UsageError(f"{file}: no record of {paper.name}; move it away, or choose another folder with -o")
        found.append(record)
    return found


def verdict_of(record: dict[str, Any]) -> str:
    """`differs, because …`."""
    verdict = record["verdict"]
    return (
        f"{verdict['outcome']}, because {'; '.join(verdict['because'])}" if verdict["because"] else verdict["outcome"]
    )


def verdicts_csv(paper: Paper, records: list[dict[str, Any]]) -> str:
    """One row for each condition."""
    text = io.StringIO()
    names = ("figure", "outcome", "reduced", "statistic", "value", "low", "high", "n_seeds", "bounds", "holds")
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    for record in records:
        for one in record["conditions"]:
            found = record["statistics"].get(one["statistic"], {})
            table.writerow({
                "figure": record["number"],
                "outcome": record["verdict"]["outcome"],
                "reduced": record["reduced"],
                **{name: one[name] for name in ("statistic", "bounds", "holds")},
                **{name: found.get(name, "") for name in ("value", "low", "high", "n_seeds")},
            })  # fmt: skip
    return text.getvalue()


def verdicts_markdown(paper: Paper, records: list[dict[str, Any]]) -> str:
    """A table for a guide."""
    lines = ["| Figure | What it claims | Verdict | Size |", "|---|---|---|---|"]
    for record in records:
        claim = paper.claims[record["number"]]
        size = f"reduced: {record['reduced']}" if record["reduced"] else "full"
        cells = [str(claim.number), claim.claim, verdict_of(record), size]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """What cannot be written, in words."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{out}: the reproduction cannot be written ({error.strerror or error}); what was finished before is left."
            " Free some space, or choose another folder with -o"
        ) from error
