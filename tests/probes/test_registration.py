"""Registration of probes: what a name stands for, and which names of settings would hide an option."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import pytest
from mesascope import probes
from mesascope.data.errors import UsageError
from mesascope.models import NotApplicable, from_copy_transformer, plant_copying
from mesascope.probes import PROBES, Probe, probe_class


@dataclass(frozen=True)
class Stranger(Probe):
    """A probe of somebody else, with a setting that `mesascope run` has, too."""

    name: ClassVar[str] = "stranger"
    version: ClassVar[str] = "1"
    by_default: ClassVar[bool] = False

    strength: float = 1.0
    device: str = "cpu"

    def applies(self, subject: Any) -> None:
        return None

    def measure(self, *arguments: Any) -> Any:
        raise AssertionError("nobody measures here")

    claim = measure


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_is_registered_under_its_own_name(name: str) -> None:
    kind = probe_class(name)
    assert kind.name == name
    assert kind().settings() == {field.name: field.default for field in fields(kind)}


@pytest.mark.parametrize("name", sorted(set(PROBES) - {"attention-learning"}))
def test_a_copy_model_is_told_in_true_words_what_it_is_not(name: str) -> None:
    """It reads tokens, has attention, and answers no regression of any kind."""
    refusal = probe_class(name)().applies(from_copy_transformer(plant_copying()))
    assert isinstance(refusal, NotApplicable)
    assert re.search("no language model|predicts no next token|does not answer linear-regression", refusal.reason)
    assert "reads no tokens" not in refusal.reason


def test_no_probe_needs_transformers_before_it_reads_such_a_model() -> None:
    """It takes seconds to import, also where nobody's model is one of its."""
    names = ", ".join(f"probe_class({name!r})" for name in PROBES)
    code = f"import sys; from mesascope.probes import probe_class; {names}; print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unknown_probe_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="'token-norm' is not known; did you mean token-norms"):
        probe_class("token-norm")


def test_a_setting_named_like_an_option_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stranger_probe", sys.modules[__name__])
    monkeypatch.setitem(probes.PROBES, "stranger", "stranger_probe:Stranger")
    with pytest.raises(
        UsageError, match="'stranger' has a setting 'device', which is an option of `mesascope run` or `sweep`"
    ):
        probe_class("stranger")


def test_settings_are_checked_wherever_a_probe_is_made() -> None:
    assert Stranger(strength=2).strength == 2.0
    with pytest.raises(UsageError, match="stranger: strength = 'strong'; expected a number"):
        Stranger(strength="strong")  # type: ignore[arg-type]


def test_installed_packages_are_searched_once_for_each_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = tmp_path / "another-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mesascope.probes]\nanother-probe = another.probe:Another\n")
    searches: list[str] = []
    search = metadata.entry_points
    monkeypatch.setattr(metadata, "entry_points", lambda **k: searches.append(k["group"]) or search(**k))
    assert "another-probe" not in probes.registered()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [probes.registered().get("another-probe") for _ in range(3)] == ["another.probe:Another"] * 3
    assert len(searches) <= 2  # the first path may have been searched before
    monkeypatch.setitem(probes.PROBES, "a-third", "third.probe:Third")
    assert probes.registered()["a-third"] == "third.probe:Third"
