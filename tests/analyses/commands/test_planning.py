"""Which probes run, and which of the given settings each of them gets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest
from annotated_types import Ge
from mesascope import models, probes
from mesascope.analyses.commands.planning import Outcome, chosen_probes, planned, probes_only_named
from mesascope.analyses.commands.run_options import RunOptions
from mesascope.data.errors import UsageError
from mesascope.probes import Probe


class Bare(Probe):
    """A probe that nobody measures with."""

    version: ClassVar[str] = "1"

    def applies(self, subject: Any) -> None:
        return None

    def measure(self, *arguments: Any) -> Any:
        raise AssertionError("nobody measures here")

    claim = measure


@dataclass(frozen=True)
class Quick(Bare):
    name: ClassVar[str] = "quick"

    limit: Annotated[int, Ge(1)] | None = None
    scale: float = 1.0
    word: str = "found"


@dataclass(frozen=True)
class Other(Bare):
    name: ClassVar[str] = "other"

    limit: Annotated[int, Ge(2)] | None = None
    scale: bool = False


@dataclass(frozen=True)
class Slow(Bare):
    name: ClassVar[str] = "slow"
    by_default: ClassVar[bool] = False

    patience: int = 1


@pytest.fixture(autouse=True)
def three_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "planned_probes", sys.modules[__name__])
    registered = {kind.name: f"planned_probes:{kind.__name__}" for kind in (Quick, Other, Slow)}
    monkeypatch.setattr(probes, "PROBES", registered)


def chosen(*names: str, **settings: Any) -> Sequence[Probe]:
    return chosen_probes(RunOptions(models=("m",), probe=names, settings=settings))


def test_without_names_the_quick_probes_run() -> None:
    assert chosen() == [Quick(), Other()]
    assert probes_only_named(RunOptions(models=("m",))) == [Slow()]


def test_slow_probes_run_when_named() -> None:
    assert chosen("slow") == [Slow()]
    assert chosen("all") == [Quick(), Other(), Slow()]
    assert chosen("slow", "quick", "slow") == [Slow(), Quick()]
    assert probes_only_named(RunOptions(models=("m",), probe=("quick",))) == []


def test_a_setting_goes_to_the_probes_that_have_it() -> None:
    assert chosen(limit="3", word="lost") == [Quick(limit=3, word="lost"), Other(limit=3)]
    assert chosen("other", scale=True) == [Other(scale=True)]
    assert chosen("quick", scale="2") == [Quick(scale=2.0)]


@pytest.mark.parametrize(
    ("names", "settings", "said"),
    [
        ((), {"scal": "1"}, "setting 'scal' is not known to quick, other; did you mean scale"),
        ((), {"scale": "1"}, "setting 'scale' has different types in quick and other; choose one with -p NAME"),
        ((), {"patience": "2"}, "setting 'patience' is one of slow; choose it with -p slow"),
        (("slow",), {"word": "x"}, "setting 'word' is one of quick; choose it with -p quick"),
        (("quick",), {"batchsize": 3}, "'batchsize' is not known to quick; did you mean batch_size"),
        (("quick",), {"scale": "big"}, "quick: scale = 'big'; expected a number"),
        (("quick", "other"), {"limit": "1"}, "other: limit = 1; expected a whole number of at least 2 or none"),
        (("quik",), {}, "probe 'quik' is not known; did you mean quick"),
    ],
)
def test_a_setting_that_nobody_can_take_is_refused(names: Sequence[str], settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        chosen(*names, **settings)


@dataclass(frozen=True)
class Elsewhere(Quick):
    name: ClassVar[str] = "quick"

    def applies(self, subject: Any) -> Any:
        return models.NotApplicable("this model is another one")


def plan(monkeypatch: pytest.MonkeyPatch, *names: str, **settings: Any) -> list[str]:
    """The probes that would run where `quick` does not apply."""
    monkeypatch.setitem(probes.PROBES, "quick", "planned_probes:Elsewhere")
    options = RunOptions(models=("m",), probe=names, settings=settings)
    jobs = planned(options, chosen_probes(options), [models.load("lsa-1layer")], Outcome())
    return [job.probe.name for job in jobs]


def test_a_setting_that_only_probes_elsewhere_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "setting 'word' is one of quick, but only other would run here; leave it out, or choose another model"
    with pytest.raises(UsageError, match=said):
        plan(monkeypatch, word="lost")
    with pytest.raises(UsageError, match=said):
        plan(monkeypatch, "quick", "other", word="lost")


def test_a_setting_that_one_of_the_probes_uses_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan(monkeypatch, limit="3") == ["other"]


def test_where_nothing_applies_the_reason_is_that(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan(monkeypatch, "quick", word="lost") == []
