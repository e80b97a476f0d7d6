"""What a name, a revision and a layout say before any weight is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mesascope.data.errors import CheckpointRefused, UsageError
from mesascope.models.opening.hub_cache import cached_revisions, cached_snapshot, full_revision
from mesascope.models.opening.naming import named


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one model of two revisions."""
    repository = tmp_path / "hub" / "models--owner--name"
    for commit, revision in (("abc", "main"), ("def", "step1000")):
        (repository / "snapshots" / commit).mkdir(parents=True)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return repository


def test_a_family_and_its_members() -> None:
    asked = named("lsa-1layer")
    assert asked.header is not None
    assert asked.file == asked.header.path
    assert [(member.seed, member.step) for member in asked.members] == [(seed, 5000) for seed in range(5)]
    (member,) = named("lsa-1layer", "seed3-step500").members
    assert member.revision == "seed3-step500"


def test_other_files_by_their_endings(tmp_path: Path) -> None:
    for name, layout in (("a.npz", "von-oswald-haiku"), ("a.pt", None)):
        (tmp_path / name).write_bytes(b"")
        asked = named(str(tmp_path / name))
        assert (asked.file, asked.layout, asked.header) == (tmp_path / name, layout, None)
    assert named(str(tmp_path / "a.pt"), layout="tl-legacy").layout == "tl-legacy"
    with pytest.raises(UsageError, match=r"a\.npz holds a single checkpoint; leave out --revision"):
        named(str(tmp_path / "a.npz"), "seed0")
    with pytest.raises(UsageError, match=r"layout 'tl-legac' is neither known nor a file .*; did you mean tl-legacy"):
        named(str(tmp_path / "a.pt"), layout="tl-legac")
    with pytest.raises(CheckpointRefused, match="no such file"):
        named(str(tmp_path / "b.npz"))


def test_arguments_that_do_not_go_together(tmp_path: Path, hub: Path) -> None:
    with pytest.raises(UsageError, match="holds its own configuration"):
        named("lsa-1layer", model_args={"n_layers": 2})
    with pytest.raises(UsageError, match=r"its config\.json says how to read it"):
        named("owner/name", layout="tl-legacy")
    with pytest.raises(UsageError, match="is a directory, which holds a single checkpoint"):
        named(str(tmp_path), "main")
    assert named(str(tmp_path)).file is None


def test_hub_ids_are_looked_up_in_the_cache(hub: Path) -> None:
    assert cached_revisions("owner/name") == ["main", "step1000"]
    assert cached_snapshot("owner/name", None) == hub / "snapshots" / "abc"
    assert cached_snapshot("owner/name", full_revision("1000")) == hub / "snapshots" / "def"
    assert cached_snapshot("owner/name", "def") == hub / "snapshots" / "def"  # a commit
    assert named("owner/name", "1000").file is None
    with pytest.raises(UsageError, match="revision 'step2000' is not in the local cache; did you mean step1000"):
        named("owner/name", "2000")
    with pytest.raises(UsageError, match="is not in the local cache"):
        cached_snapshot("owner/name", "../refs/main")
    with pytest.raises(CheckpointRefused, match="nor in the local hub cache; download it with `hf download"):
        named("other/name")
    with pytest.raises(CheckpointRefused, match="neither a directory nor a hub id"):
        cached_snapshot("../name", None)


def test_no_torch_is_imported() -> None:
    code = (
        "import sys; from mesascope.models.opening.naming import named; named('lsa-1layer');"
        " print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
