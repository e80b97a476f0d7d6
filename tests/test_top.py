"""The package's own name: what most scripts need, found by autocompletion, and nothing heavy before it is used."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import version

import mesascope as ms
import pytest


def test_names_are_found_by_autocompletion() -> None:
    assert {"load", "run", "models", "probes", "analyses", "data", "__version__"} <= set(dir(ms))
    for name in ("analyses", "data", "models", "probes"):
        package = importlib.import_module(f"mesascope.{name}")
        assert set(package.__all__) <= set(dir(package))
        assert [each for each in dir(package) if each.startswith("_")] == []


@pytest.mark.parametrize("name", [name for name in ms.__all__ if name != "__version__"])
def test_a_name_is_that_of_its_package(name: str) -> None:
    homes = [ms.analyses, ms.models]
    assert any(getattr(ms, name) is getattr(home, name, None) for home in homes)


def test_the_version_is_that_of_the_installation() -> None:
    assert ms.__version__ == version("mesascope")


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mesascope' has no attribute 'lode'"):
        ms.lode  # noqa: B018


def test_a_few_lines_are_enough() -> None:
    report = ms.run(ms.load("lsa-1layer"), ms.probes.GDAlignment(limit=12))
    assert isinstance(report, ms.Report)


def test_naming_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, mesascope as ms; dir(ms); ms.__version__; ms.models; ms.probes;"
        " sys.exit(bool({'torch', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
