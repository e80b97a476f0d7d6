"""Pages of the API reference: one for each folder of the package and each probe, one for formulas that probes share.

Which names they hold is read off the package: what its folders export, and which probes are registered. So a new name
or a new probe is in the reference without a line here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from importlib import import_module

import formulas
from markup import in_cell
from mesascope import probes
from mesascope.analyses.commands.source_reading import describe
from mesascope.analyses.reports.parts import part

FOLDERS = {
    "models": "Open, wrap and construct what is measured.",
    "probes": "What every probe is made of, and how one is found by its name.",
    "analyses": "Run probes, save reports, make them again, compare them, train the shipped models.",
    "data": "Inputs, the recipes that draw them again, and errors.",
}


def pages() -> dict[str, str]:
    """Every page of the reference, as Markdown by its path."""
    made = {"reference/index.md": front_page()}
    made |= {f"reference/{folder}.md": folder_page(folder, words) for folder, words in FOLDERS.items()}
    made |= {f"reference/probes/{name}.md": probe_page(name) for name in probes.PROBES}
    return made | {"reference/formulas.md": shared_page()}


def navigation() -> list[object]:
    """How the pages stand in the menu."""
    of_probes = [{name: f"reference/probes/{name}.md"} for name in probes.PROBES]
    folders = [{f"mesascope.{folder}": f"reference/{folder}.md"} for folder in FOLDERS]
    return ["reference/index.md", *folders, {"Probes": of_probes}, {"Shared formulas": "reference/formulas.md"}]


def guides() -> list[str]:
    return [f"{name}.md" for name in probes.PROBES]


def front_page() -> str:
    package = import_module("mesascope")
    names = [name for name in package.__all__ if name in package._HOMES]
    links = [f"- [`mesascope.{folder}`]({folder}.md): {words}" for folder, words in FOLDERS.items()]
    links += [f"- [{name}](probes/{name}.md): {question(name)}" for name in probes.PROBES]
    links.append("- [Shared formulas](formulas.md): statistics, algorithms of in-context regression, comparisons.")
    return "\n".join(
        [
            "# API reference",
            "",
            inspect.getdoc(package) or "",
            "",
            table({name: package._HOMES[name] for name in names}),
            "",
            *links,
            "",
        ]
    )


def guides_table() -> str:
    """The probes with their guides, as the home page lists them."""
    rows = (f"| [{name}]({name}.md) | {in_cell(question(name))} |" for name in probes.PROBES)
    return "\n".join(["| probe | question |", "|---|---|", *rows])


def question(probe: str) -> str:
    """Which it answers, without the papers that follow in parentheses."""
    return describe(probes.home_of(probe)).what.partition(" (")[0]


def folder_page(folder: str, words: str) -> str:
    """All that a folder exports. Probes have pages of their own."""
    package = import_module(f"mesascope.{folder}")
    entries = (f"::: mesascope.{folder}.{name}" for name in package.__all__)
    return "\n\n".join([f"# mesascope.{folder}", words, table(dict.fromkeys(package.__all__, folder)), *entries, ""])


def probe_page(name: str) -> str:
    """Settings, measures with their definitions, and formulas of one probe."""
    module, _, kind = probes.home_of(name).partition(":")
    package = module.rpartition(".")[0]
    return "\n\n".join([
        f"# {name}",
        f"The [guide](../../{name}.md) says what it measures and how to read it; the [gallery](../../gallery.md#{name})"
        f" shows its figures. In Python: `ms.probes.{kind}`.",
        f"::: {module}.{kind}",
        "## Measures {#measures}",
        "\n".join(measures_table(name)),
        "## Formulas {#formulas}",
        "Functions of tensors, which need no model and no loader. Those of several probes: [shared](../formulas.md).",
        *map(entry, formulas.of_package(package)),
        "",
    ])  # fmt: skip


def shared_page() -> str:
    parts = ["# Shared formulas", "What several probes need: functions of arrays and tensors from anywhere."]
    for room, modules in formulas.shared().items():
        about = inspect.getdoc(import_module(f"mesascope.probes.{room}")) or ""
        parts += [f"## {room} {{#{room}}}", about, *map(entry, modules)]
    return "\n\n".join([*parts, ""])


def entry(module: ModuleType) -> str:
    """The functions and classes of one module, below a heading of its page."""
    return f"::: {module.__name__}\n    options: {{heading_level: 3, members: [{', '.join(formulas.public(module))}]}}"


def measures_table(name: str) -> Iterator[str]:
    """The definitions that also stand on the page of a report; each name can be linked to."""
    known: Mapping[str, str] = getattr(part(name, "definitions"), "DEFINITIONS", {})
    yield "| measure | definition |"
    yield "|---|---|"
    for text in dict.fromkeys(known.values()):
        names = (f'<span id="{measure}">`{measure}`</span>' for measure in known if known[measure] == text)
        yield f"| {', '.join(names)} | {in_cell(text)} |"


def table(folder_of: Mapping[str, str]) -> str:
    """Names, each with its first sentence and a link to its entry on the page of its folder."""
    rows = (
        f"| [`{name}`][mesascope.{at}.{name}] | {in_cell(first_sentence(at, name))} |" for name, at in folder_of.items()
    )
    return "\n".join(["| name | what |", "|---|---|", *rows])


def first_sentence(folder: str, name: str) -> str:
    """Of the docstring; of a value, which has none, of the string below its name."""
    package = import_module(f"mesascope.{folder}")
    value, home = getattr(package, name), package._HOMES.get(name)
    text = (
        inspect.getdoc(value)
        if callable(value)
        else below(f"{package.__name__}.{home}" if home else package.__name__, name)
    )
    return re.split(r"(?<=\.) (?=[A-Z])", " ".join((text or "").split("\n\n")[0].split()))[0]


def below(module: str, name: str) -> str | None:
    """The string that follows the line which gives a name its value."""
    found = re.search(
        rf'^{name}\b[^"]* = .*?^"""(.+?)"""', inspect.getsource(import_module(module)), re.DOTALL | re.MULTILINE
    )
    return found and found[1]
