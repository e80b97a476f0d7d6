"""The documentation site: what its pages and generators promise. `make docs` builds it, and follows every link."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import mesascope
import pytest
import yaml
from mesascope import probes
from mesascope.analyses.commands.arguments import parse
from mesascope.analyses.reports.figures import figures_of
from mesascope.analyses.reports.parts import part
from mesascope.data.errors import MesascopeError

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
GENERATED = {"gallery.md", "changelog.md", "contributing.md"}
MEASURES = {probe: part(probe, "definitions").DEFINITIONS for probe in probes.PROBES}
CLAIMS = re.split(r"^### ", (DOCS / "claims.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]


def tool(name: str) -> ModuleType:
    """A module of docs/site, which is no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS / "site"))
        return import_module(name)


formulas, gallery, links, markup, reference = map(tool, ("formulas", "gallery", "links", "markup", "reference"))


def pages_of(menu: object) -> set[str]:
    if isinstance(menu, str):
        return {menu}
    return set().union(*map(pages_of, menu.values() if isinstance(menu, dict) else menu))  # type: ignore[attr-defined]


# -- pages -------------------------------------------------------------------------------------------------------------


def test_the_menu_names_every_page() -> None:
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    notebooks = {f"notebooks/{path.stem}.md" for path in DOCS.glob("*.ipynb")}
    written = {path.name for path in DOCS.glob("*.md")} - set(reference.guides())
    assert pages_of(menu) == written | GENERATED | notebooks | {"probes/", "reference/"}
    assert pages_of(reference.navigation()) == set(reference.pages())


def test_lists_go_on_as_both_readers_of_markdown_understand_it() -> None:
    """GitHub goes on with an item at two blanks, Python-Markdown at four."""
    for page in DOCS.glob("*.md"):
        without_code = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        assert re.findall(r"\n\n {1,3}\S.*", without_code) == [], page


def test_every_term_of_the_glossary_has_measures_and_a_guide_that_exist() -> None:
    rows = re.findall(
        r"^\| (?!term|-)(.+?) \| (.+) \| (.+) \|$", (DOCS / "glossary.md").read_text("utf-8"), re.MULTILINE
    )
    terms = [term.lower() for term, _, _ in rows]
    assert len(terms) >= 40
    assert terms == sorted(set(terms))
    for term, _, where in rows:
        (guide,) = re.findall(r"\]\((.+?)\)", where)
        known = MEASURES.get(guide.removesuffix(".md")) or set().union(*MEASURES.values())
        assert (DOCS / guide).is_file(), term
        assert [name for name in re.findall(r"`(.+?)`", where) if name not in known] == [], term


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.splitlines()[0] for claim in CLAIMS])
def test_a_claim_has_a_command_measures_of_its_probe_and_a_limit(claim: str) -> None:
    """tests/test_docs.py runs the commands."""
    (command,) = re.findall(r"^\$ (mesascope run .+)$", claim, flags=re.MULTILINE)
    (probe,) = re.findall(r"-p (\S+)", command)
    read = claim[claim.index("Read ") : claim.index("*Does not show:*")]
    names = {name for name in re.findall(r"`([a-zA-Z0-9_]+)`", read) if name not in figures_of(probe)}
    candidates = {"gd", "gdpp", "smoother", "copy", "feature_gd", "attended_gd", "twin"}
    assert len(names - candidates) >= 1
    assert names - candidates <= set(MEASURES[probe])


# -- reference ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", mesascope._FOLDERS)
def test_the_reference_has_every_public_name(folder: str) -> None:
    page, package = reference.pages()[f"reference/{folder}.md"], import_module(f"mesascope.{folder}")
    for name in package.__all__:
        assert f"\n\n::: mesascope.{folder}.{name}\n" in page, name
        assert f"[`{name}`][mesascope.{folder}.{name}]" in page


def test_the_front_page_of_the_reference_links_every_name_of_mesascope() -> None:
    page = reference.pages()["reference/index.md"]
    missing = [name for name in mesascope.__all__ if name in mesascope._HOMES and f"[`{name}`][mesascope." not in page]
    assert missing == []


@pytest.mark.parametrize("name", probes.PROBES)
def test_the_reference_has_every_probe_with_its_measures_and_formulas(name: str) -> None:
    page, (module, _, kind) = reference.pages()[f"reference/probes/{name}.md"], probes.PROBES[name].partition(":")
    assert f"::: {module}.{kind}\n" in page
    assert [measure for measure in MEASURES[name] if f'<span id="{measure}">' not in page] == []
    assert page.count("    options: ") == len(list(formulas.of_package(module.rpartition(".")[0])))


def test_formulas_are_told_from_what_knows_models_and_measures() -> None:
    found = {module.__name__.rpartition(".")[2] for module in formulas.of_package("mesascope.probes.token_norms")}
    assert found > {"lengths", "attention", "inner_problem", "outliers"}
    assert not found & {"probe", "claim", "definitions", "length_measures", "length_watcher"}
    assert {"spearman", "correlations"} < set(formulas.public(import_module("mesascope.probes.statistics.ranks")))
    assert {"statistics", "algorithms", "comparing"} <= set(formulas.shared())
    assert not {"drawing", "token_norms"} & set(formulas.shared())


def test_a_docstring_becomes_markdown() -> None:
    text = "Open <one> *file*, `as <it> is`.\n\nlimit, **parts:  the first x_i\n    of them\nThen:\n\n    a * b"
    listed = "`limit`, `**parts`\n:   the first x\\_i\n    of them"
    made = markup.of_docstring(text)
    assert made == f"Open \\<one> \\*file\\*, `as <it> is`.\n\n\n{listed}\n\nThen:\n\n    a * b"
    assert markup.of_docstring("Note: a sentence, no argument.") == "Note: a sentence, no argument."
    assert markup.titled("```toml file=pyproject.toml\nx\n```") == '```toml title="pyproject.toml"\nx\n```'


# -- gallery -----------------------------------------------------------------------------------------------------------


def test_the_commands_of_the_gallery_are_commands() -> None:
    runs = gallery.all_runs()
    assert {run["probe"] for run in runs} == set(probes.PROBES)
    for run in runs:
        program, *words = run["command"].split()
        assert program == "mesascope"
        command, options = parse(words)
        assert (command, options["probe"]) == ("run", run["probe"])


def test_a_new_probe_is_run_where_it_applies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "PROBES", {**probes.PROBES, "another": "of.this:Kind"})
    monkeypatch.setattr(gallery, "probe_class", lambda name: probes.GDAlignment)
    command = "mesascope run lsa-10layer-recurrent --revisions seed0-step0,seed0-step15000 -p another --figures none"
    assert gallery.all_runs()[-1] == {"probe": "another", "command": command}


def test_a_figure_without_a_picture_ends_the_build() -> None:
    figures = [(probe, name) for probe in probes.PROBES for name in figures_of(probe)]
    assert gallery.expected(figures[::-1]) == figures
    with pytest.raises(MesascopeError, match=f"no picture of {figures[3][1]} of {figures[3][0]}: add a run"):
        gallery.expected(figures[:3] + figures[4:])


def test_members_of_a_family_are_drawn_before_the_whole() -> None:
    reports = [f"reports/tiny{step}/norms" for step in ("-step0", "-step9", "")]
    assert gallery.members_first(reports) == [reports[1], reports[0], reports[2]]


# -- what was built ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ('<a href="b.html#there">', None),
        ('<a href="b.html"><img src="data:image/png;base64,x">', None),
        ('<a href="https://arxiv.org">', None),
        ('<a href="#here" id="here">', None),
        ('<a href="c.html">', "c.html does not exist"),
        ('<a href="b.html#nowhere">', "b.html#nowhere has no such anchor"),
        ('<a href="#nowhere">', "#nowhere has no such anchor"),
        ('<img src="c.png">', "c.png does not exist"),
        ('<script src="https://cdn.net/x.js">', "<script> loads https://cdn.net/x.js from the network"),
        ('<link href="//fonts.net/x.css">', "<link> loads //fonts.net/x.css from the network"),
    ],
)
def test_links_and_anchors_are_followed_and_nothing_comes_from_the_network(
    address: str, fault: str | None, tmp_path: Path
) -> None:
    (tmp_path / "a.html").write_text(address)
    (tmp_path / "b.html").write_text('<h2 id="there">')
    (tmp_path / "a.css").write_text("x { background: url(a.png); }")
    assert links.faults(tmp_path) == ([f"{tmp_path / 'a.html'}: {fault}"] if fault else [])
    (tmp_path / "a.css").write_text("@import 'https://fonts.net/x.css';")
    assert links.faults(tmp_path)[-1] == f"{tmp_path / 'a.css'}: loads https://fonts.net/x.css from the network"
