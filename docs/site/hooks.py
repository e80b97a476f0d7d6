"""What the build of the site adds to the files in docs/: generated pages, and a check of what was built."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import gallery
import links
import markup
import mesascope
import notebooks
import reference
import reproductions
from mesascope.data.errors import MesascopeError
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "docs"
"""What is made on the way: the package as one folder, reports, figures, notebooks as they ran."""
SOURCES = BUILD / "sources"


def on_startup(command: str, dirty: bool) -> None:
    """The installed package as one folder, which an editable install leaves in five."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    for package in ("mesascope", *(f"mesascope.{folder}" for folder in mesascope._FOLDERS)):
        source = Path(str(import_module(package).__file__)).parent
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, SOURCES.joinpath(*package.split(".")), dirs_exist_ok=True, ignore=ignored)


def on_config(config: MkDocsConfig) -> None:
    made = {"probes/": reference.guides(), "reference/": reference.navigation()}
    config.nav = [{name: made.get(str(held), held) for name, held in section.items()} for section in config.nav or []]


def on_files(files: Files, config: MkDocsConfig) -> None:
    for path, text in {**reference.pages(), **top_pages(), **notebook_pages()}.items():
        files.append(File.generated(config, path, content=text))
    for path in gallery_files():
        files.append(
            File.generated(
                config, f"gallery/{path.name}" if path.suffix == ".png" else path.name, abs_src_path=str(path)
            )
        )


def top_pages() -> dict[str, str]:
    """Pages that stand beside docs/, with their links as seen from there."""
    names = ("CHANGELOG", "CONTRIBUTING")
    texts = {f"{name.lower()}.md": (ROOT / f"{name}.md").read_text(encoding="utf-8") for name in names}
    return {path: text.replace("](docs/", "](") for path, text in texts.items()}


def notebook_pages() -> dict[str, str]:
    pages = {}
    for path in sorted((ROOT / "docs").glob("*.ipynb")):
        made = once(f"notebook-{path.stem}", path, lambda folder, path=path: notebooks.write(path, folder))
        pages[f"notebooks/{path.stem}.md"] = (made / "page.md").read_text(encoding="utf-8")
    return pages


def gallery_files() -> Iterator[Path]:
    made = once("gallery", gallery.RUNS, gallery.write)
    yield from (path for path in sorted(made.iterdir()) if path.suffix in (".png", ".md"))


def once(name: str, source: Path, write: Callable[[Path], None]) -> Path:
    """A folder that `write` fills, again only if the source, the package or the code of this folder has changed."""
    folder, known = BUILD / name, hashlib.sha256()
    for path in (source, *sorted(Path(__file__).parent.glob("*.py")), *sorted(SOURCES.rglob("*.*"))):
        known.update(path.read_bytes())
    stamp = folder / "made-of"
    if not stamp.is_file() or stamp.read_text() != known.hexdigest():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            write(folder)
        except MesascopeError as error:
            raise PluginError(str(error)) from error
        stamp.write_text(known.hexdigest())
    return folder


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return reproductions.shown(markup.titled(markdown).replace("<!-- probes -->", reference.guides_table()))


def on_post_build(config: MkDocsConfig) -> None:
    site = Path(config.site_dir)
    (site / "404.html").unlink()  # a server's page: its addresses begin at the server's root
    if faults := links.faults(site):
        raise PluginError("\n".join(["the built pages have faults:", *faults]))
