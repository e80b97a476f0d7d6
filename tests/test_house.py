"""The house: who may import whom, what is exported, and how long things are."""

from __future__ import annotations

import ast
import graphlib
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jaxtyping
import pytest
import torch
from beartype import beartype
from jaxtyping import Float
from torch import Tensor

LAYERS = ("data", "models", "probes", "analyses")  # imports point left here: a layer sees those before it
# beyond these, models and data are strangers
OF_DATA_FOR_MODELS = {"errors", "recipe", "npz", "batch", "settings", "setting_files", "writing"}
ROOMS = {
    "models": ("opening_check", "rotary", "token_layout", "norms", "weights", "attention", "subject", "tokenizing",
               "vocabulary_product", "taps", "places", "key_values", "mlp_reading", "language_model", "differentiable",
               "own", "constructed", "predictor_check", "in_memory_sources", "regressors", "softmax_regressors",
               "copy_models", "wrapped_parts", "wrapped_subject", "wrapped_check", "wrapped_language_model",
               "hugging_face", "opening", "predictor_code", "predictor_file"),
    "probes": ("measure", "findings", "head_columns", "head_sets", "followed", "parts", "probe", "token_texts",
               "kept_attention", "streaming", "reading", "head_sequences", "statistics", "algorithms", "comparing",
               "regression", "few_shot", "drawing"),
    "analyses": ("reports", "runs", "timelines", "sweeps", "training", "reproduction", "exporting", "selftest",
                 "commands"),
}  # fmt: skip
"""Rooms of a layer, files and packages, each of which imports only those before it. After those of `probes` come the
probes themselves, which never import each other."""
ROOT = Path(__file__).parents[1]
PACKAGES = {layer: Path(importlib.import_module(f"mesascope.{layer}").__path__[0]) for layer in LAYERS}
MODULES = [(layer, path) for layer, folder in PACKAGES.items() for path in sorted(folder.rglob("*.py"))]
NAMES = {path: ".".join((layer, *path.relative_to(PACKAGES[layer]).with_suffix("").parts)) for layer, path in MODULES}
"""Each module's dotted name; a package's own is `package.__init__`."""
OTHERS = sorted(path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))

each_layer = pytest.mark.parametrize("layer", LAYERS)


class Import(NamedTuple):
    """`from ..base import names`, or each of `import names`; level 0 is absolute."""

    level: int
    base: str
    names: tuple[str, ...]
    only_for_type_checkers: bool


class Parsed(NamedTuple):
    """All of a file that the rules below speak of. Trees are not kept: they are large."""

    docstring: str | None
    imports: list[Import]
    functions: list[tuple[str, int]]
    """With the number of their lines."""


@cache
def parsed(path: Path) -> Parsed:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = Parsed(ast.get_docstring(tree), [], [])
    unread: set[ast.AST] = set()
    for node in ast.walk(tree):  # a block before what stands in it
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            unread.update(node.body)
        elif isinstance(node, ast.Import):
            found.imports.extend(Import(0, "", (alias.name,), node in unread) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.imports.append(Import(node.level, node.module or "", names, node in unread))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.functions.append((node.name, (node.end_lineno or node.lineno) - node.lineno + 1))
    return found


def absolute(path: Path) -> Iterator[str]:
    """The outermost packages of the absolute imports in a file, wherever they stand."""
    return ((one.base or one.names[0]).split(".")[0] for one in parsed(path).imports if one.level == 0)


def targets(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports when it runs, wherever it does, without what only type checkers read."""
    known = {name.removesuffix(".__init__") for name in NAMES.values()}
    package = NAMES[path].rpartition(".")[0]
    for one in parsed(path).imports:
        if one.level and not one.only_for_type_checkers:
            above = package.split(".")[: len(package.split(".")) - one.level + 1]
            base = ".".join([*above, *([one.base] if one.base else [])])
            for alias in one.names:
                name = f"{base}.{alias}"
                yield name if name in known else base


def room(name: str) -> tuple[str, str]:
    """The layer and the room of a module."""
    layer, _, rest = name.partition(".")
    return layer, rest.partition(".")[0]


def test_imports_point_one_way() -> None:
    # an absolute name finds another copy: of the installed package, or of the folder one happens to stand in
    copies = [(path, name) for _, path in MODULES for name in absolute(path) if name in {"mesascope", "tests", *LAYERS}]
    assert copies == []
    for layer, path in MODULES:
        for target in targets(path):
            other, there = room(target)
            assert LAYERS.index(other) <= LAYERS.index(layer), f"{NAMES[path]} imports {target}"
            if (layer, other) == ("models", "data"):
                assert there in OF_DATA_FOR_MODELS, f"{NAMES[path]} imports {target}"


def test_rooms_import_only_those_before_them() -> None:
    for layer, path in MODULES:
        here, order = room(NAMES[path])[1], ROOMS.get(layer, ())
        for target in targets(path):
            other, there = room(target)
            if other != layer or there in (here, "") or here == "__init__" or layer == "data":
                continue
            assert there in order, f"{NAMES[path]} imports {target}: a probe's own, or no room has its name"
            assert here not in order or order.index(there) < order.index(here), f"{NAMES[path]} imports {target}"


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
        if (
            {"matplotlib", "seaborn"} & set(absolute(path))
            and "drawing" not in path.parts
            and "figures" not in path.parts
        ):
            assert NAMES[path] == "analyses.reports.figures", path


def test_no_file_among_the_probes_is_named_after_one() -> None:
    """What belongs to one probe stands in its package."""
    own = {path.name for path in PACKAGES["probes"].iterdir() if (path / "probe.py").is_file()}
    loose = [path.stem for path in PACKAGES["probes"].glob("*.py")]
    assert own
    assert set(loose) == {"__init__", *(name for name in ROOMS["probes"] if name in loose)}


def test_one_module_imports_transformer_lens_and_only_when_called() -> None:
    naming = [path for _, path in MODULES if "transformer_lens" in absolute(path)]
    assert [NAMES[path] for path in naming] == ["models.opening.bridge"]
    body = ast.parse(naming[0].read_text(encoding="utf-8")).body
    outermost = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [node for node in outermost if "transformer_lens" in ast.unparse(node)]


def test_one_module_runs_code_and_two_commands_reach_it() -> None:
    """`run --predictor` and `verify --predictor`: readers of checkpoints and reports cannot have a file run."""
    runs = re.compile(r"(?<![\w.])(?:(?:exec|eval|compile)\((?!\))|runpy|spec_from_file_location|SourceFileLoader)")
    texts = {NAMES[path]: path.read_text(encoding="utf-8") for _, path in MODULES}
    assert [name for name, text in texts.items() if runs.search(text)] == ["models.predictor_code"]
    code = {"models.predictor_code", "models.predictor_file"}
    assert {NAMES[path] for _, path in MODULES if code & set(targets(path))} == {
        "models.predictor_file",
        "analyses.commands.cli",
        "analyses.commands.planning",
        "analyses.runs.predictor_again",
    }


def test_nobody_imports_the_folders_as_a_second_copy() -> None:
    assert [(path, name) for path in OTHERS for name in absolute(path) if name in LAYERS] == []


def test_files_and_functions_are_short() -> None:
    for path in [path for _, path in MODULES] + OTHERS:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
        assert [(name, lines) for name, lines in parsed(path).functions if lines > 60] == [], path


def test_every_module_says_what_it_is() -> None:
    assert [NAMES[path] for _, path in MODULES if not parsed(path).docstring] == []


def test_imports_and_finding_checkpoints_and_probes_need_no_torch() -> None:
    modules = [*LAYERS, "models.opening.catalogue", "data.errors", "data.recipe", "probes.findings"]
    code = f"""if True:
        import importlib, sys
        for module in {modules}:
            importlib.import_module(f"mesascope.{{module}}")
            assert "torch" not in sys.modules, module
        from mesascope import models, probes
        models.shipped()
        assert "torch" not in sys.modules, "models.shipped"
        probes.registered()
        assert "torch" not in sys.modules, "probes.registered"
    """
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
    from mesascope.models.attention import linear_pattern
    from mesascope.probes.measure import missing

    with pytest.raises(TypeError, match="d_head is 4"):
        linear_pattern(torch.ones(2, 3), torch.ones(2, 4))
    with pytest.raises(TypeError, match="status"):
        missing("nat", "absent", "a word that no status is")


def test_every_result_is_checked_also_where_arguments_of_its_kind_have_fitted_before() -> None:
    class Rows:
        """Rows of the width that they were asked for, whatever their argument is."""

        width = 2

        @jaxtyping.jaxtyped(typechecker=beartype)
        def of(self, x: Float[Tensor, "row column"]) -> Float[Tensor, " column"]:
            return torch.ones(self.width)

    rows = Rows()
    for x in (torch.ones(3, 2), torch.ones(3, 2), torch.ones(4, 2)):
        assert rows.of(x).shape == (2,)
    for wrong in (torch.ones(3, 2, 2), torch.ones(3), torch.ones(3, 2, dtype=torch.int64), [3, 2]):
        with pytest.raises(Exception, match="violates type hint"):
            rows.of(wrong)
    rows.width = 3
    with pytest.raises(Exception, match=r"return .*violates type hint"):
        rows.of(torch.ones(3, 2))
    rows.width = 2
    assert rows.of(torch.ones(3, 2)).shape == (2,)
