"""The walk over transformers' registries, and the table of it that ships."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import transformers

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def families() -> ModuleType:
    """The script in `benchmarks`."""
    spec = importlib.util.spec_from_file_location("families", ROOT / "benchmarks" / "families.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_the_table_names_every_class_of_the_registries(families: ModuleType) -> None:
    page = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")
    if f"transformers {transformers.__version__}." not in " ".join(page.split()):
        pytest.skip("the table is of another version of transformers")
    rows = [tuple(line.split(" | ")[:2]) for line in page.splitlines() if line.startswith("| ")]
    named = [(model_type.removeprefix("| "), architecture) for model_type, architecture in rows]
    assert sorted(one for one in named if one[0] not in ("model type", "---")) == sorted(families.classes())
    opening = page.split("## What is refused")[0]
    assert sum(line.startswith("| ") for line in opening.splitlines()) - 2 >= 45


@pytest.mark.parametrize("model_type", ["olmo2", "fnet"])
def test_a_class_that_opens_and_one_that_does_not(model_type: str, families: ModuleType) -> None:
    (architecture,) = (name for known, name in families.classes() if known == model_type)
    row = families.tried(model_type, architecture)
    if model_type == "olmo2":
        assert (row.outcome, row.without) == ("right", ())
        assert max(row.errors) < 1e-5
    else:
        assert row.outcome == "refused"
        assert "none of its layers shows attention" in row.reason


@pytest.mark.slow
def test_no_class_of_the_registries_opens_and_differs(families: ModuleType) -> None:
    rows = [families.tried(model_type, architecture) for model_type, architecture in families.classes()]
    assert [row for row in rows if row.outcome == "WRONG"] == []
    assert sum(row.outcome == "right" for row in rows) >= 45
