"""The notebooks in docs/ as pages: run, with what each cell shows below it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient

QUIET = ["--log-level=ERROR"]
"""A kernel warns of its own connection."""


def write(notebook: Path, folder: Path) -> None:
    """The notebook as `page.md`. Its cells run in that folder; an error in one of them ends the build."""
    read = nbformat.read(notebook, as_version=4)
    client = NotebookClient(read, timeout=300, resources={"metadata": {"path": str(folder)}}, extra_arguments=QUIET)
    client.execute(env={**os.environ, "OMP_NUM_THREADS": "1"})  # small models gain nothing from more threads
    parts = [part for cell in read.cells for part in of_cell(cell)]
    parts.append(f"*This page is `docs/{notebook.name}`, as it ran when the site was built.*")
    (folder / "page.md").write_text("\n\n".join(part for part in parts if part), encoding="utf-8")


def of_cell(cell: nbformat.NotebookNode) -> Iterator[str]:
    if cell.cell_type == "markdown":
        yield cell.source
        return
    yield f"```python\n{cell.source}\n```"
    for output in cell.outputs:
        yield of_output(output)


def of_output(output: nbformat.NotebookNode) -> str:
    """The richest form that a page shows: a picture, HTML, or text."""
    if output.output_type == "stream":
        return f"```text\n{output.text.strip()}\n```" if output.name == "stdout" else ""
    if picture := output.data.get("image/png"):
        encoded = "".join(picture.split())
        return f'<div class="output"><img alt="what the cell drew" src="data:image/png;base64,{encoded}"></div>'
    if "text/html" in output.data:
        lines = (line.strip() for line in output.data["text/html"].splitlines())
        return f'<div class="output">{"".join(lines)}</div>'
    return f"```text\n{output.data['text/plain']}\n```"
