"""Headers, revisions and names, read without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mesascope.data import CheckpointRefused, UsageError
from mesascope.models import RegressionConfig, save_checkpoint
from mesascope.models.opening.catalogue import Header, Member, find, read_header, shipped
from torch import Tensor

CONFIG = RegressionConfig(d_in=2, d_head=3)
Parameters = Callable[..., dict[str, Tensor]]


def header_of(*members: tuple[int, int]) -> Header:
    return Header(Path("family.safetensors"), {}, {}, tuple(sorted(Member(*member) for member in members)), ())


FAMILY = header_of((0, 500), (0, 1000), (3, 500), (3, 1000), (12, 500), (12, 1000))


@pytest.mark.parametrize(
    ("revision", "found"),
    [
        (None, [(0, 1000), (3, 1000), (12, 1000)]),
        ("seed3", [(3, 1000)]),
        ("step500", [(0, 500), (3, 500), (12, 500)]),
        ("seed3-step500", [(3, 500)]),
        ("all", [(0, 500), (0, 1000), (3, 500), (3, 1000), (12, 500), (12, 1000)]),
    ],
)
def test_a_revision_names_members(revision: str | None, found: list[tuple[int, int]]) -> None:
    assert [(member.seed, member.step) for member in FAMILY.select(revision)] == found


def test_every_member_is_named_by_its_own_revision() -> None:
    for member in FAMILY.members:
        assert FAMILY.select(member.revision) == (member,)


@pytest.mark.parametrize(
    "revision",
    [
        "seed1",
        "step501",
        "seed3-step7",
        "seed-step",
        "3",
        "",
        "-",
        "seed3-",
        "-step500",
        "seed3step500",
        "step500-seed3",
        "SEED3",
        "seed3 ",
        "seed03",
        "seed³",
        "seed٣",
        "seed" + "9" * 5_000,
        "main",
        "seed3-step500\n",
    ],
)
def test_a_revision_that_is_not_there_lists_what_is(revision: str) -> None:
    with pytest.raises(UsageError) as caught:
        FAMILY.select(revision)
    assert "expected seed0, seed3, seed12, step500, step1000, a pair like seed0-step500, or all" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_last_step_is_each_seeds_own() -> None:
    """A seed whose training stopped early is not left out."""
    family = header_of((0, 500), (0, 1000), (1, 500))
    assert [member.revision for member in family.select(None)] == ["seed0-step1000", "seed1-step500"]
    assert [member.revision for member in family.select("seed1")] == ["seed1-step500"]
    assert [member.revision for member in family.select("step1000")] == ["seed0-step1000"]


def test_a_single_checkpoint_has_no_revisions() -> None:
    single = header_of()
    assert single.select(None) == ()
    with pytest.raises(UsageError, match=r"revision 'seed0': family\.safetensors holds a single checkpoint; leave"):
        single.select("seed0")


def test_a_header_says_what_was_saved(tmp_path: Path, random_parameters: Parameters) -> None:
    parameters = random_parameters(CONFIG)
    family = {f"seed{s}/step{t}/{name}": w for s in (0, 10, 2) for t in (0, 50) for name, w in parameters.items()}
    save_checkpoint(tmp_path / "f.safetensors", CONFIG, family, {"steps": 50, "name": "é"})
    header = read_header(tmp_path / "f.safetensors")
    assert header.config == CONFIG.as_dict()
    assert header.record == {"steps": 50, "name": "é"}
    assert [(member.seed, member.step) for member in header.members] == [
        (0, 0), (0, 50), (2, 0), (2, 50), (10, 0), (10, 50)
    ]  # fmt: skip
    assert header.names == tuple(sorted(family))


def test_a_header_of_any_length_is_a_header(tmp_path: Path) -> None:
    """15392 bytes, for one, begin with a blank and `<`, as a page of HTML does."""
    parameters = {name: torch.zeros(shape) for name, shape in CONFIG.shapes.items()}
    lengths = set()
    for extra in range(14_000, 14_900, 8):
        save_checkpoint(tmp_path / "a.safetensors", CONFIG, parameters, {"padding": "x" * extra})
        lengths.add(int.from_bytes((tmp_path / "a.safetensors").read_bytes()[:8], "little"))
        assert read_header(tmp_path / "a.safetensors").record == {"padding": "x" * extra}
    assert 0x3C20 in lengths


def test_find_prefers_shipped_names_then_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mesascope.models.opening.catalogue.shipped", lambda: {"lsa-1layer": tmp_path / "shipped.safetensors"}
    )
    assert find("lsa-1layer") == tmp_path / "shipped.safetensors"
    (tmp_path / "mine.safetensors").touch()
    assert find(str(tmp_path / "mine.safetensors")) == tmp_path / "mine.safetensors"


@pytest.mark.parametrize("name", ["lsa-1lyer", "LSA-1layer", "lsa1layer"])
def test_an_unknown_name_is_offered_the_nearest(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mesascope.models.opening.catalogue.shipped", lambda: {"lsa-1layer": Path(), "lsa-2layer-recurrent": Path()}
    )
    with pytest.raises(CheckpointRefused, match=f"{name}: neither a file nor a shipped checkpoint; .*lsa-1layer"):
        find(name)


@pytest.mark.parametrize(
    "name", ["absent.safetensors", "folder/absent", "/absent", "a\0b", "x" * 5_000, "x" * 5_000 + ".npz"]
)
def test_a_file_that_is_not_there(name: str) -> None:
    with pytest.raises(CheckpointRefused) as caught:
        find(name)
    assert name in str(caught.value)


def test_shipped_names_are_those_of_the_files() -> None:
    assert all(path.is_file() and path.stem == name for name, path in shipped().items())
    for path in shipped().values():
        assert read_header(path).members
