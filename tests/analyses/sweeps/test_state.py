"""What a sweep leaves beside its reports, and what its status says of it."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.sweeps.items import Item
from mesascope.analyses.sweeps.state import Failure, Request, Skipped, SweepFolder, digest_of, status
from mesascope.data.errors import OutputError, UsageError

A, B, C = (Item("suite", f"step{step}") for step in (0, 1, 2))
ASKED = {"probes": {"one": {"limit": 2}, "two": {}}, "seed": 0}
MORE = {"probes": {"three": {}}, "seed": 1}
BROKEN = Failure("killed", "killed by signal 9: often out of memory", "Traceback", 2, signal=9)


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "out")


def report(folder: SweepFolder, place: str) -> str:
    """A finished report, as far as a sweep looks."""
    (folder.out / place).mkdir(parents=True)
    (folder.out / place / "report.json").write_text("{}")
    return place


def states(folder: SweepFolder) -> dict[Item, str]:
    return {row.item: row.state for row in status(folder.out)}


# -- the plan ---------------------------------------------------------------------------------------------------------


def test_a_plan_is_added_to_and_keeps_what_stands_there(folder: SweepFolder) -> None:
    first = folder.amend([A, B], ASKED)
    assert first == digest_of(ASKED) == digest_of({"seed": 0, "probes": {"two": {}, "one": {"limit": 2}}})
    assert folder.plan() == (Request(ASKED, (A, B)),)
    assert folder.amend([C, A], ASKED) == first
    assert folder.plan() == (Request(ASKED, (A, B, C)),)
    second = folder.amend([B], MORE)
    assert second != first
    assert SweepFolder(folder.out).plan() == (Request(ASKED, (A, B, C)), Request(MORE, (B,)))
    assert [request.digest for request in folder.plan()] == [first, second]


def test_a_plan_that_says_everything_already_is_not_written_again(folder: SweepFolder) -> None:
    folder.amend([A, B], ASKED)
    written = tree(folder.folder)
    folder.amend([B], ASKED)
    assert tree(folder.folder) == written


def test_two_sweeps_that_add_to_a_plan_at_once_lose_nothing(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reads the plan before the other has written."""
    folder.amend([A], ASKED)
    seen = folder._planned()
    with monkeypatch.context() as at_once:
        at_once.setattr(SweepFolder, "_planned", lambda self: seen)
        for items, asked in (([B], ASKED), ([C], ASKED), ([C], MORE), ([C], MORE)):
            SweepFolder(folder.out).amend(items, asked)
    found = {request.digest: request for request in folder.plan()}
    assert found[digest_of(MORE)].items == (C,)
    assert found[digest_of(ASKED)].items[0] == A
    assert set(found[digest_of(ASKED)].items) == {A, B, C}
    assert set(states(folder)) == {A, B, C}


def test_settings_of_python_are_those_that_are_read_back(folder: SweepFolder) -> None:
    digest = folder.amend([A], {"probes": {"one": {"scales": (0.5, float("inf")), "path": Path("a")}}})
    assert folder.plan()[0].digest == digest
    assert folder.plan()[0].asked == {"probes": {"one": {"scales": [0.5, "Infinity"], "path": "a"}}}


PLANS: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "a list": lambda text: "[]",
    "nothing asked": lambda text: text.replace('"asked"', '"ask"'),
    "asked of another kind": lambda text: '{"asked": 3, "digest": "a", "items": []}',
    "another digest": lambda text: text.replace(digest_of(ASKED), "0" * 8),
    "a changed request": lambda text: text.replace('"seed": 0', '"seed": 3'),
    "no items": lambda text: text.replace('"items"', '"things"'),
    "items of another kind": lambda text: text.replace('"suite"', "3"),
}


@pytest.mark.parametrize("damage", PLANS)
def test_a_damaged_plan_is_said_and_begun_anew(damage: str, folder: SweepFolder) -> None:
    folder.amend([A, B], ASKED)
    folder.amend([C], MORE)
    path, other = sorted((folder.folder / "plan").iterdir())
    spoiled = PLANS[damage](path.read_text())
    assert spoiled != path.read_text()
    path.write_text(spoiled)
    with pytest.raises(UsageError, match=rf"{path.name}: damaged; expected .* run the sweep again"):
        status(folder.out)
    folder.amend([A], ASKED)
    assert other.exists()
    assert folder.plan() == (Request(MORE, (C,)), Request(ASKED, (A,)))


def test_a_folder_without_a_sweep(tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match=r"plan: no such folder; expected the output folder of `mesascope sw"):
            status(out)
    assert list(tmp_path.iterdir()) == []


# -- notes ------------------------------------------------------------------------------------------------------------


def test_an_item_is_finished_while_all_its_reports_are_there(folder: SweepFolder) -> None:
    asked = folder.amend([A], ASKED)
    assert folder.reports_of(A, asked) is None
    reports = {"one": report(folder, "suite-step0/one/12"), "two": None}
    folder.finish(A, asked, reports)
    assert folder.reports_of(A, asked) == reports
    assert folder.reports_of(B, asked) is None
    assert folder.reports_of(A, digest_of(MORE)) is None
    (folder.out / "suite-step0/one/12/report.json").unlink()
    assert folder.reports_of(A, asked) is None


def test_a_failure_is_remembered_until_the_item_is_finished(folder: SweepFolder) -> None:
    asked = folder.amend([A, B], ASKED)
    assert folder.failure_of(A, asked) is None
    folder.fail(A, asked, Failure("refused", "no weights"))
    folder.fail(A, asked, BROKEN)
    folder.fail(B, asked, Failure("timeout", "timed out after 2 s"))
    assert folder.failure_of(A, asked) == BROKEN
    assert BROKEN.host == socket.gethostname()
    assert folder.failure_of(A, digest_of(MORE)) is None  # of another request nothing has failed
    folder.finish(A, asked, {"one": None})
    assert folder.failure_of(A, asked) is None
    assert folder.failure_of(B, asked) == Failure("timeout", "timed out after 2 s")
    folder.forget(B, asked)
    folder.forget(B, asked)
    assert folder.failure_of(B, asked) is None


def test_what_fails_is_no_longer_finished(folder: SweepFolder) -> None:
    asked = folder.amend([A], ASKED)
    for request in (asked, digest_of(MORE)):
        folder.finish(A, request, {"one": None})
    folder.fail(A, asked, BROKEN)
    assert folder.reports_of(A, asked) is None
    assert folder.reports_of(A, digest_of(MORE)) == {"one": None}
    assert states(folder) == {A: "failed"}


def test_a_failed_item_keeps_the_reports_of_its_other_probes(folder: SweepFolder) -> None:
    asked = folder.amend([A], ASKED)
    beside = {"one": report(folder, "suite-step0/one/12")}
    folder.fail(A, asked, BROKEN, beside)
    assert folder.reports_beside(A, asked) == beside
    assert folder.reports_beside(B, asked) == {}
    assert folder.reports_of(A, asked) is None
    assert [(row.state, row.reports) for row in status(folder.out)] == [("failed", beside)]
    (folder.out / "suite-step0/one/12/report.json").unlink()
    assert folder.reports_beside(A, asked) == {}


def test_a_folder_says_the_same_where_it_has_moved(folder: SweepFolder) -> None:
    asked = folder.amend([A, B, C], ASKED)
    folder.finish(A, asked, {"one": report(folder, "suite-step0/one/12"), "two": None})
    folder.log_of(B).write_text("what a process said")
    folder.fail(B, asked, replace(BROKEN, log=str(folder.log_of(B))), {"one": report(folder, "suite-step1/one/34")})
    folder.note_identical([[A, C]])
    before = status(folder.out)
    moved = folder.out.rename(folder.out.with_name("moved"))
    assert str(folder.out) not in "".join(path.read_text() for path in moved.rglob("*") if path.is_file())
    after = status(moved)
    assert [(row.item, row.state, row.reports, row.same_as) for row in after] == [
        (row.item, row.state, row.reports, row.same_as) for row in before
    ]
    assert after[1].failure is not None
    assert after[1].failure.log == str(SweepFolder(moved).log_of(B))
    assert Path(after[1].failure.log).read_text() == "what a process said"


def test_a_probe_that_does_not_apply_is_found_by_its_key(folder: SweepFolder) -> None:
    assert folder.skipped("0" * 16) is None
    folder.skip("0" * 16, "one", "suite-step0", "it reads no text")
    assert folder.skipped("0" * 16) == Skipped("one", "suite-step0", "it reads no text")
    assert folder.skipped("1" * 16) is None


def test_identical_checkpoints_point_to_the_measured_one(folder: SweepFolder) -> None:
    folder.note_identical([[A], [B]])
    assert not folder.out.exists()  # nothing to say
    folder.note_identical([[A, B], [C]])
    assert folder.identical() == {B: A}
    folder.note_identical([[C, A]])
    assert folder.identical() == {B: A, A: C}  # of B nothing new is known
    folder.note_identical([[A, C], [B]])  # the cache has changed
    assert folder.identical() == {C: A}


def test_each_item_has_a_log_of_its_own(folder: SweepFolder) -> None:
    paths = [folder.log_of(item) for item in (A, B)]
    assert paths[0] != paths[1]
    paths[0].write_text("what a process said")
    assert paths[0].parent == folder.out / ".sweep" / "logs"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"kind": 3, "sentence": "a"}', '{"kind": "a"}', '{"reports": {"a": 3}}']
)
def test_damaged_notes_say_nothing(text: str, folder: SweepFolder) -> None:
    asked = folder.amend([A], ASKED)
    folder.finish(A, digest_of(MORE), {"one": None})
    folder.fail(A, asked, BROKEN)
    folder.skip("0" * 16, "one", "suite", "why")
    folder.note_identical([[B, A]])
    for path in folder.folder.rglob("*.json"):
        if path.parent.name != "plan":
            path.write_text(text)
    assert folder.reports_of(A, digest_of(MORE)) is None
    assert folder.failure_of(A, asked) is None
    assert folder.skipped("0" * 16) is None
    assert folder.identical() == {}
    assert states(folder) == {A: "pending"}


# -- status -----------------------------------------------------------------------------------------------------------


def test_each_item_is_done_failed_identical_or_pending(folder: SweepFolder) -> None:
    asked = folder.amend([C, A, B, Item("other")], ASKED)
    reports = {"one": report(folder, "suite-step0/one/12"), "two": None}
    folder.finish(A, asked, reports)
    folder.fail(B, asked, BROKEN)
    folder.note_identical([[A, C], [B]])
    rows = status(folder.out)
    assert [(row.item, row.state) for row in rows] == [
        (C, "identical"), (A, "done"), (B, "failed"), (Item("other"), "pending"),
    ]  # fmt: skip
    assert [row.same_as for row in rows] == [A, None, None, None]
    assert [row.failure for row in rows] == [None, None, BROKEN, None]
    assert [row.reports for row in rows] == [{}, reports, {}, {}]
    assert rows[0].as_dict()["same_as"] == A.as_dict()
    assert rows[2].as_dict()["failure"]["signal"] == 9
    shutil.rmtree(folder.out / "suite-step0")
    assert states(folder)[A] == "pending"


def test_an_item_is_done_when_everything_that_was_asked_of_it_is(folder: SweepFolder) -> None:
    first, second = folder.amend([A, B], ASKED), folder.amend([B], MORE)
    for item in (A, B):
        folder.finish(item, first, {"one": report(folder, f"{item.revision}/one/12"), "two": None})
    assert states(folder) == {A: "done", B: "pending"}
    folder.fail(B, second, BROKEN)
    assert states(folder) == {A: "done", B: "failed"}
    folder.finish(B, second, {"three": report(folder, "step1/three/34")})
    assert states(folder) == {A: "done", B: "done"}
    assert status(folder.out)[1].reports == {"one": "step1/one/12", "two": None, "three": "step1/three/34"}


def tree(folder: Path) -> Mapping[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in (folder, *folder.rglob("*"))}


def test_status_writes_nothing_and_needs_no_right_to(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = folder.amend([A, B, C], ASKED)
    folder.finish(A, asked, {"one": report(folder, "suite/one/12")})
    folder.note_identical([[A, C]])
    before = tree(folder.out)
    read_only(monkeypatch)
    assert states(folder) == {A: "done", B: "pending", C: "identical"}
    assert folder.amend([A, B], ASKED) == asked  # nothing new to write
    with monkeypatch.context() as there:
        there.setattr(Path, "unlink", lambda *arguments, **keywords: None)  # of what is not there
        folder.finish(A, asked, {"one": "suite/one/12"})
    assert tree(folder.out) == before


def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file system answers where nothing may be written; the rights of files do not stop root."""

    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)


def test_a_folder_that_cannot_be_written_is_said_at_once(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.amend([A], ASKED)
    read_only(monkeypatch)
    writes: list[Callable[[], object]] = [
        lambda: folder.amend([B], ASKED),
        lambda: folder.finish(A, "0", {}),
        lambda: folder.fail(A, "0", BROKEN),
        lambda: folder.forget(A, "0"),
        lambda: folder.skip("0", "one", "suite", "why"),
        lambda: folder.note_identical([[A, B]]),
        lambda: folder.log_of(A),
    ]
    for write in writes:
        with pytest.raises(OutputError, match=r"out: cannot be written \(Read-only file system\); choose another fol"):
            write()
