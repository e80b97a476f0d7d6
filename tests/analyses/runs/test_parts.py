"""A measurement that was interrupted goes on: the same bytes wherever it was, and no finished part is made again."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.reports.report import Report
from mesascope.analyses.reports.saving import same_files
from mesascope.analyses.runs import parts as module
from mesascope.analyses.runs.parts import PLACE, PartsOnDisk, forget_parts, unfinished
from mesascope.analyses.runs.running import run
from mesascope.analyses.runs.together import read_together
from mesascope.data.errors import OutputError
from mesascope.models import AttentionOnlyModel
from mesascope.probes.parts import Parts
from mesascope.probes.probe import Probe

from .readers import (
    FULL_WINDOWS,
    N_CTX,
    counted,
    induction_heads,
    pretend_clean,
    small_model,
    token_norms,
)

ABLATIONS = ["groups-zero", "groups-mean", "heads-zero", "heads-mean"]
NAMES = {
    "token-norms": ["text", "untrained-0", "untrained-1", "untrained-2"],
    "induction-heads": ["weights", "repeats-0", "controls-0", "shuffled-repeats", "text", *ABLATIONS],
}
"""The parts of each probe, in the order in which they are made."""
MAKE: dict[str, Callable[[str], Probe]] = {
    "token-norms": lambda text: token_norms(text, parts="outliers"),
    "induction-heads": lambda text: induction_heads(text, n_sequences=10, periods=5, compatibility_scores=True),
}
READ = {"token-norms": (3, 1), "induction-heads": (1, 0)}
"""How often the text is read, if that part is not there and if it is: token-norms also looks at its beginning before
and after.
"""
both = pytest.mark.parametrize("name", MAKE)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_clean(monkeypatch)


@dataclass(frozen=True)
class Odd:
    x: int


class Interrupted(BaseException):
    """As Ctrl-C or SIGTERM raise it, in the middle of whatever runs."""


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the parts that are made, as they are written."""
    names: list[str] = []
    keep = PartsOnDisk.keep

    def kept(self: PartsOnDisk, name: str, part: Any) -> None:
        keep(self, name, part)
        names.append(name)

    monkeypatch.setattr(PartsOnDisk, "keep", kept)
    return names


def measured(subject: AttentionOnlyModel, probe: Probe, out: Path, batch_size: int | None = None) -> Path:
    """What `run -o OUT` does."""
    kept = unfinished(out, subject, probe, 0, batch_size, force=False)
    assert kept is not None
    report = run(subject, probe, 0, batch_size, kept=kept)
    assert isinstance(report, Report)
    folder = report.save(out, "none")
    forget_parts(out, report.key)
    return folder


def interrupted(after: int, monkeypatch: pytest.MonkeyPatch, what: Callable[[], Any]) -> None:
    """Do something until so many parts are written."""
    keep, left = PartsOnDisk.keep, [after]

    def kept(self: PartsOnDisk, name: str, part: Any) -> None:
        if not left[0]:
            raise Interrupted
        keep(self, name, part)
        left[0] -= 1

    with monkeypatch.context() as patched:
        patched.setattr(PartsOnDisk, "keep", kept)
        with pytest.raises(Interrupted):
            what()


def windows_of(passes: list[tuple[int, int]]) -> int:
    return sum(n for n, length in passes if length == N_CTX)


def files_in(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def undisturbed(text: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The reports of runs that keep nothing."""
    with pytest.MonkeyPatch.context() as patched:
        pretend_clean(patched)
        made = {name: run(small_model(), make(text)) for name, make in MAKE.items()}
    folder = tmp_path_factory.mktemp("undisturbed")
    return {name: report.save(folder, "none") for name, report in made.items() if isinstance(report, Report)}


@both
def test_a_run_that_is_not_interrupted_leaves_no_parts(
    name: str, subject: AttentionOnlyModel, text: str, undisturbed: dict[str, Path], tmp_path: Path, written: list[str]
) -> None:
    assert same_files(undisturbed[name], measured(subject, MAKE[name](text), tmp_path))
    assert written == NAMES[name]
    assert not (tmp_path / ".sweep").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["small-0"]


@pytest.mark.parametrize(
    ("name", "n"), [("token-norms", 1), ("token-norms", 3), *(("induction-heads", n) for n in (1, 4, 5, 7))]
)
def test_an_interrupted_run_goes_on_from_its_last_part(
    name: str,
    n: int,
    subject: AttentionOnlyModel,
    text: str,
    undisturbed: dict[str, Path],
    tmp_path: Path,
    written: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interrupted(n, monkeypatch, lambda: measured(subject, MAKE[name](text), tmp_path))
    assert len(written) == len(files_in(tmp_path)) == n
    with counted(subject) as passes:
        folder = measured(subject, MAKE[name](text), tmp_path)
    assert written == NAMES[name]  # each once, over both runs
    assert windows_of(passes) == FULL_WINDOWS * READ[name]["text" in NAMES[name][:n]]
    assert same_files(undisturbed[name], folder)
    assert not (tmp_path / ".sweep").exists()


def test_it_may_be_interrupted_again_and_again(
    subject: AttentionOnlyModel, text: str, undisturbed: dict[str, Path], tmp_path: Path, written: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    name = "induction-heads"
    for _ in NAMES[name][:-1]:
        interrupted(1, monkeypatch, lambda: measured(subject, MAKE[name](text), tmp_path))
    assert same_files(undisturbed[name], measured(subject, MAKE[name](text), tmp_path))
    assert len(written) == len(set(written)) == len(NAMES[name])


# -- what is not used --------------------------------------------------------------------------------------------------


def begun(subject: AttentionOnlyModel, probe: Probe, out: Path, batch_size: int | None = None, **how: Any) -> Parts:
    kept = unfinished(out, subject, probe, how.get("seed", 0), batch_size, how.get("force", False))
    assert kept is not None
    return kept


def test_parts_of_anything_else_are_not_used(
    subject: AttentionOnlyModel, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = token_norms(text)
    begun(subject, probe, tmp_path).put("text", 1)
    assert begun(subject, probe, tmp_path).holds("text")
    assert begun(subject, token_norms(text), tmp_path).made("text", lambda: 2) == 1
    others = {
        "another part": begun(subject, probe, tmp_path).holds("untrained-0"),
        "settings": begun(subject, token_norms(text, untrained=0), tmp_path).holds("text"),
        "probe": begun(subject, induction_heads(text), tmp_path).holds("text"),
        "weights": begun(small_model(1), probe, tmp_path).holds("text"),
        "batch size": begun(subject, probe, tmp_path, 3).holds("text"),
        "seed": begun(subject, probe, tmp_path, seed=1).holds("text"),
        "forced": begun(subject, probe, tmp_path, force=True).holds("text"),
    }
    for what, changed in (("code", "code_sha256"), ("threads", "torch.get_num_threads"), ("version", "_version")):
        with monkeypatch.context() as patched:
            patched.setattr(f"mesascope.analyses.reports.provenance.{changed}", lambda *_: 77)
            others[what] = begun(subject, probe, tmp_path).holds("text")
    assert not any(others.values()), others
    assert begun(subject, probe, tmp_path).holds("text")


def test_a_part_in_the_place_of_another_is_not_used(subject: AttentionOnlyModel, text: str, tmp_path: Path) -> None:
    probe, other = token_norms(text), token_norms(text, untrained=0)
    begun(subject, probe, tmp_path).put("text", 1)
    begun(subject, other, tmp_path).put("text", 2)
    one, two = sorted((tmp_path / PLACE).glob("*/text.npz"))
    one.write_bytes(two.read_bytes())
    two.rename(two.with_name("untrained-0.npz"))
    for each in (probe, other):
        assert not any(begun(subject, each, tmp_path).holds(name) for name in ("text", "untrained-0"))


@pytest.mark.parametrize("damage", [b"", b"PK", b"nonsense" * 50])
def test_a_damaged_part_is_made_again(
    damage: bytes, subject: AttentionOnlyModel, text: str, tmp_path: Path, written: list[str]
) -> None:
    kept = begun(subject, token_norms(text), tmp_path)
    kept.put("text", 1)
    (path,) = (tmp_path / PLACE).glob("*/*.npz")
    path.write_bytes(damage)
    assert begun(subject, token_norms(text), tmp_path).made("text", lambda: 2) == 2
    assert begun(subject, token_norms(text), tmp_path).made("text", lambda: 3) == 2
    assert written == ["text", "text"]


def test_one_of_another_kind_of_data_is_made_again(
    subject: AttentionOnlyModel, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(token_norms(text)), "part_kinds", (Odd,))
    begun(subject, token_norms(text), tmp_path).put("text", Odd(1))
    monkeypatch.setattr(type(token_norms(text)), "part_kinds", ())
    assert not begun(subject, token_norms(text), tmp_path).holds("text")


def test_none_is_kept_of_changed_sources_and_of_unknown_weights(
    subject: AttentionOnlyModel, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(module, "source_state", lambda: {"commit": None, "dirty": True})
        begun(subject, token_norms(text), tmp_path).put("text", 1)
    subject.source = type(subject.source)("nobody knows", "in-memory")
    begun(subject, token_norms(text), tmp_path).put("text", 1)
    begun(subject, token_norms(text), tmp_path, force=True).put("text", 1)
    assert files_in(tmp_path) == []


def test_what_is_finished_has_no_parts(subject: AttentionOnlyModel, text: str, tmp_path: Path) -> None:
    probe = token_norms(text, untrained=0, parts="none")
    measured(subject, probe, tmp_path)
    assert unfinished(tmp_path, subject, probe, 0, None, force=False) is None


# -- with others -------------------------------------------------------------------------------------------------------


def test_a_shared_pass_is_kept_for_both(
    subject: AttentionOnlyModel, text: str, undisturbed: dict[str, Path], tmp_path: Path, written: list[str]
) -> None:
    probes = [MAKE[name](text) for name in MAKE]
    with counted(subject) as passes:
        read_together(subject, [(probe, begun(subject, probe, tmp_path)) for probe in probes], 0, None)
    assert windows_of(passes) == 2 * FULL_WINDOWS
    assert written == ["text", "text"]
    with counted(subject) as passes:  # as after a kill
        read_together(subject, [(probe, begun(subject, probe, tmp_path)) for probe in probes], 0, None)
        folders = [measured(subject, probe, tmp_path) for probe in probes]
    assert windows_of(passes) == FULL_WINDOWS
    assert all(map(same_files, undisturbed.values(), folders))
    assert not (tmp_path / ".sweep").exists()


def test_one_of_whom_the_part_is_there_does_not_read_again(
    subject: AttentionOnlyModel, text: str, tmp_path: Path
) -> None:
    one, other = (MAKE[name](text) for name in MAKE)
    begun(subject, one, tmp_path).put("text", 1)
    with counted(subject) as passes:
        read_together(subject, [(probe, begun(subject, probe, tmp_path)) for probe in (one, other)], 0, None)
    assert passes == []  # the other one reads alone, when its turn comes


# -- the disk ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_says_so_and_leaves_what_was_there(
    subject: AttentionOnlyModel, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = begun(subject, token_norms(text), tmp_path)
    kept.put("text", 1)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_plain", full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left"):
        kept.put("untrained-0", 2)
    (folder,) = (tmp_path / PLACE).iterdir()
    assert [path.name for path in folder.iterdir()] == ["text.npz"]


def test_another_run_may_finish_the_same_report_meanwhile(
    subject: AttentionOnlyModel, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = begun(subject, token_norms(text), tmp_path)
    kept.put("text", 1)
    (folder,) = (tmp_path / PLACE).iterdir()
    write, times = module.write_plain, []

    def taken_away(*given: Any) -> None:
        write(*given)
        if not times:
            forget_parts(tmp_path, folder.name)
        times.append(1)

    monkeypatch.setattr(module, "write_plain", taken_away)
    kept.put("untrained-0", 2)
    assert [path.name for path in folder.iterdir()] == ["untrained-0.npz"]
    assert len(times) == 2


def test_parts_of_other_reports_stay(subject: AttentionOnlyModel, text: str, tmp_path: Path) -> None:
    for probe in (token_norms(text), induction_heads(text)):
        begun(subject, probe, tmp_path).put("text", 1)
    one, other = sorted((tmp_path / PLACE).iterdir())
    forget_parts(tmp_path, one.name)
    forget_parts(tmp_path, "0" * 16)
    assert [path.name for path in (tmp_path / PLACE).iterdir()] == [other.name]
