"""The house: who may import whom, what is exported, and how long things are."""

from __future__ import annotations

import ast
import graphlib
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LAYERS = ("data", "models", "probes", "analyses")  # imports point left here: a layer sees those before it
OF_DATA_FOR_MODELS = {"errors", "recipe", "npz", "batch", "settings"}  # beyond these, models and data are strangers
ROOMS = {
    "models": ("opening_check", "rotary", "token_layout", "weights", "attention", "norms", "subject", "tokenizing",
               "taps", "language_model", "own", "constructed", "predictor_check", "regressors", "hugging_face", "opening"),
    "probes": ("measure", "findings", "probe", "streaming", "statistics", "algorithms", "drawing"),
    "analyses": ("reports", "runs", "training", "commands"),
}  # fmt: skip
"""Rooms of a layer, files and packages, each of which imports only those before it. After those of `probes` come the
probes themselves, which never import each other."""
ROOT = Path(__file__).parents[1]
PACKAGES = {layer: Path(importlib.import_module(f"mesascope.{layer}").__path__[0]) for layer in LAYERS}
MODULES = [(layer, path) for layer, folder in PACKAGES.items() for path in sorted(folder.rglob("*.py"))]
NAMES = {path: ".".join((layer, *path.relative_to(PACKAGES[layer]).with_suffix("").parts)) for layer, path in MODULES}
"""Each module's dotted name; a package's own is `package.__init__`."""
OTHERS = sorted(path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))

each_module = pytest.mark.parametrize(("layer", "path"), MODULES, ids=[NAMES[path] for _, path in MODULES])
each_layer = pytest.mark.parametrize("layer", LAYERS)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(level, dotted name) of every import in a file, wherever it stands; level 0 is absolute."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = f"{node.module}." if node.module else ""
            yield from ((node.level, base + alias.name) for alias in node.names)


def targets(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports when it runs, wherever it does, without what only type checkers read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unread = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for line in block.body
        for node in ast.walk(line)
    }
    known = {name.removesuffix(".__init__") for name in NAMES.values()}
    package = NAMES[path].rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node not in unread:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name in known else base


def room(name: str) -> tuple[str, str]:
    """The layer and the room of a module."""
    layer, _, rest = name.partition(".")
    return layer, rest.partition(".")[0]


def lines_of_functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


@each_module
def test_imports_point_one_way(layer: str, path: Path) -> None:
    for level, name in imports(path):
        if level == 0:
            # an absolute name finds another copy: of the installed package, or of the folder one happens to stand in
            assert name.split(".")[0] not in {"mesascope", "tests", *LAYERS}, name
    for target in targets(path):
        other, there = room(target)
        assert LAYERS.index(other) <= LAYERS.index(layer), f"{layer} imports {target}"
        if (layer, other) == ("models", "data"):
            assert there in OF_DATA_FOR_MODELS, target


@each_module
def test_rooms_import_only_those_before_them(layer: str, path: Path) -> None:
    here, order = room(NAMES[path])[1], ROOMS.get(layer, ())
    for target in targets(path):
        other, there = room(target)
        if other != layer or there in (here, "") or here == "__init__" or layer == "data":
            continue
        assert there in order, f"{target} is a probe's own, or no room has its name"
        assert here not in order or order.index(there) < order.index(here), f"{here} imports {target}"


def test_every_room_has_its_place_in_the_order() -> None:
    for layer, order in ROOMS.items():
        found = {room(name)[1] for name in NAMES.values() if room(name)[0] == layer} - {"__init__"}
        assert set(order) <= found
        if layer != "probes":
            assert found == set(order)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {NAMES[path].removesuffix(".__init__"): set(targets(path)) for _, path in MODULES}
    graphlib.TopologicalSorter({name: reached - {name} for name, reached in graph.items()}).prepare()


def test_only_figures_draw() -> None:
    """matplotlib and seaborn are imported by `drawing/` and by the `figures/` of probes alone."""
    for _, path in MODULES:
        found = {name.split(".")[0] for level, name in imports(path) if level == 0}
        if found & {"matplotlib", "seaborn"} and "drawing" not in path.parts and "figures" not in path.parts:
            assert NAMES[path] == "analyses.reports.figures", path


def test_no_file_among_the_probes_is_named_after_one() -> None:
    """What belongs to one probe stands in its package."""
    own = {path.name for path in PACKAGES["probes"].iterdir() if (path / "probe.py").is_file()}
    loose = [path.stem for path in PACKAGES["probes"].glob("*.py")]
    assert own
    assert set(loose) == {"__init__", *(name for name in ROOMS["probes"] if name in loose)}


@each_module
def test_one_module_imports_transformer_lens_and_only_when_called(layer: str, path: Path) -> None:
    def named(found: Iterator[tuple[int, str]]) -> list[str]:
        return [name for level, name in found if level == 0 and name.split(".")[0] == "transformer_lens"]

    assert bool(named(imports(path))) is (NAMES[path] == "models.opening.bridge")
    outermost = [
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not [node for node in outermost if "transformer_lens" in ast.unparse(node)]


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_nobody_imports_the_folders_as_a_second_copy(path: Path) -> None:
    assert not [name for level, name in imports(path) if level == 0 and name.split(".")[0] in LAYERS]


@pytest.mark.parametrize("path", [path for _, path in MODULES] + OTHERS, ids=lambda path: path.name)
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert [(name, lines) for name, lines in lines_of_functions(path) if lines > 60] == []


@each_module
def test_every_module_says_what_it_is(layer: str, path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "module", [*LAYERS, "models.opening.catalogue", "data.errors", "data.recipe", "probes.findings"]
)
def test_import_without_torch(module: str) -> None:
    code = f"import sys, mesascope.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_finding_checkpoints_and_probes_needs_no_torch() -> None:
    code = (
        "import sys; from mesascope import models, probes; models.shipped(); probes.registered();"
        " sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@each_layer
def test_every_export_resolves_to_what_it_is_called(layer: str) -> None:
    package = importlib.import_module(f"mesascope.{layer}")
    assert set(package._HOMES) <= set(package.__all__)
    for name in package.__all__:
        first = getattr(package, name)
        assert getattr(package, name) is first  # a submodule of that name would take its place by now
        if hasattr(first, "__name__"):
            assert first.__name__ == name
        if hasattr(first, "__name__") and name in package._HOMES:
            assert first.__module__ == f"mesascope.{layer}.{package._HOMES[name]}"


@each_layer
def test_no_export_is_named_like_a_module(layer: str) -> None:
    """`from .load import load` on first use: importing the submodule binds its own name, and shadows the function."""
    package = importlib.import_module(f"mesascope.{layer}")
    assert not set(package.__all__) & {module.name for module in pkgutil.iter_modules(package.__path__)}


@each_layer
def test_a_type_checker_sees_the_same_exports(layer: str) -> None:
    """The block under TYPE_CHECKING says the same as the table of lazy imports."""
    tree = ast.parse((PACKAGES[layer] / "__init__.py").read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == importlib.import_module(f"mesascope.{layer}")._HOMES


@each_layer
def test_an_unknown_name_is_an_attribute_error(layer: str) -> None:
    package = importlib.import_module(f"mesascope.{layer}")
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = package.no_such_thing


def test_shapes_are_checked_while_testing() -> None:
    """The import hook of conftest.py is at work: a wrong shape is an error at the call."""
    import torch
    from mesascope.models.attention import linear_pattern
    from mesascope.probes.measure import missing

    with pytest.raises(TypeError, match="d_head is 4"):
        linear_pattern(torch.ones(2, 3), torch.ones(2, 4))
    with pytest.raises(TypeError, match="status"):
        missing("nat", "absent", "a word that no status is")
