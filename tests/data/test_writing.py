"""Files written in one step: the old file or the new one, whatever happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mesascope.data.writing import write_atomically


def test_writing_replaces_whole_files(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.bin"
    write_atomically(target, b"one")
    write_atomically(target, b"two")
    assert target.read_bytes() == b"two"
    assert list(target.parent.iterdir()) == [target]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.bin"
    write_atomically(target, b"one")
    for step in ("fsync", "replace"):

        def fail(*arguments: Any) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(f"mesascope.data.writing.os.{step}", fail)
            with pytest.raises(OSError, match="No space left"):
                write_atomically(target, b"two")
        assert target.read_bytes() == b"one"
        assert list(tmp_path.iterdir()) == [target]
