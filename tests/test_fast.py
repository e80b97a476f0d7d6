"""The fast tests: which they are, and that they see every room."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parent
FAST = (TESTS / "fast.txt").read_text().split()


def test_every_fast_file_is_there() -> None:
    assert [name for name in FAST if not (TESTS / name).exists()] == []
    assert len(FAST) == len(set(FAST))


def test_every_room_has_a_fast_test() -> None:
    rooms = {path.parent for path in TESTS.rglob("test_*.py")}
    seen = {folder for name in FAST for folder in (TESTS / name, *(TESTS / name).parents)}
    assert rooms - seen == set()
