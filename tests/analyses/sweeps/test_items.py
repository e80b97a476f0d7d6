"""The checkpoints that a sweep is asked for: members, cached revisions, files; and what is refused before anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesascope.analyses.sweeps.items import Item, items_of
from mesascope.data import CheckpointRefused, UsageError
from mesascope.models import shipped
from mesascope.models.opening.catalogue import read_header

from .made_up_cache import STEPS, MadeUpCache, shards, suite

FAMILY = "lsa-1layer"
MEMBERS = [member.revision for member in read_header(shipped()[FAMILY]).members]


def revisions_of(*arguments: object) -> list[str | None]:
    return [item.revision for item in items_of(*arguments)]  # pyright: ignore[reportArgumentType]


# -- families and files -----------------------------------------------------------------------------------------------


def test_every_member_of_a_family() -> None:
    assert len(MEMBERS) > 10
    assert revisions_of([FAMILY]) == MEMBERS
    assert revisions_of([FAMILY], ["all"]) == MEMBERS
    assert {item.model for item in items_of([FAMILY])} == {FAMILY}


def test_members_by_step_and_seed() -> None:
    assert revisions_of([FAMILY], ["step500", "step0"], [2, 0]) == [
        "seed0-step500", "seed2-step500", "seed0-step0", "seed2-step0",
    ]  # fmt: skip
    assert revisions_of([FAMILY], ["seed3", "seed3-step0"]) == ["seed3-step5000", "seed3-step0"]
    assert revisions_of([FAMILY], [], [4]) == [name for name in MEMBERS if name.startswith("seed4-")]


def test_each_once() -> None:
    assert revisions_of([FAMILY, FAMILY], ["seed0-step0", "step0", "seed0-step0"], [0, 1]) == [
        "seed0-step0",
        "seed1-step0",
    ]


@pytest.mark.parametrize(
    ("revisions", "seeds", "said"),
    [
        (["step7"], [], "revision 'step7' is not in lsa-1layer.safetensors; expected seed0"),
        (["step0"], [1, 7, 9], "seeds 7, 9: not in lsa-1layer; it has the seeds 0, 1, 2, 3, 4"),
        (["step0", "seed3"], [0, 1], "revision 'seed3' of lsa-1layer: not of the seeds 0, 1"),
    ],
)
def test_what_a_family_lacks(revisions: list[str], seeds: list[int], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        items_of([FAMILY], revisions, seeds)


def test_single_files_and_directories(tmp_path: Path) -> None:
    array, folder = str(tmp_path / "weights.npz"), str(tmp_path)
    np.savez(array, w=np.ones(2))
    assert items_of([array, folder], ["all"]) == [Item(array), Item(folder)]
    with pytest.raises(UsageError, match=r"revision 'step0': weights.npz holds a single checkpoint; leave out --rev"):
        items_of([array], ["step0"])
    with pytest.raises(UsageError, match=r"seeds 0, 1: weights.npz holds a single checkpoint; leave out --seeds"):
        items_of([array], [], [0, 1])
    with pytest.raises(UsageError, match="is a directory, which holds a single checkpoint; leave out --revision"):
        items_of([folder], ["step0"])
    with pytest.raises(UsageError, match="has no seeds; leave out --seeds"):
        items_of([folder], [], [0])


def test_a_refused_file_is_an_item_and_a_name_of_nothing_is_an_error(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no header")
    assert items_of([str(damaged)]) == [Item(str(damaged))]
    assert revisions_of([str(damaged)], ["step0", "all"], [0]) == ["step0", None]
    for name, said in (("lsa-1layr", "did you mean lsa-1layer"), (str(tmp_path / "none.pt"), "no such file")):
        with pytest.raises(CheckpointRefused, match=said):
            items_of([FAMILY, name])


# -- hub ids ----------------------------------------------------------------------------------------------------------


def test_every_cached_revision_in_the_order_of_its_steps(hub: Path) -> None:
    made = suite(hub)
    assert revisions_of([made.model]) == [f"step{step}" for step in STEPS]
    assert revisions_of([made.model], ["2", "step1000", "step2"]) == ["step2", "step1000"]
    (made.repository / "refs" / "step5").write_text("0" * 40)  # of this one only the name is there
    assert "step5" not in revisions_of([made.model])


def test_a_model_with_main_alone_is_what_run_opens(hub: Path) -> None:
    made = MadeUpCache(hub, "owner/one")
    snapshot = made.add("main", shards("a", "b"))
    assert items_of(["owner/one"]) == [Item("owner/one")]
    assert items_of(["owner/one"], ["main", snapshot.name]) == [
        Item("owner/one", name) for name in ("main", snapshot.name)
    ]
    made.add("step1", shards("a", "b"))
    assert revisions_of(["owner/one"]) == ["main", "step1"]


def test_all_that_the_cache_lacks_stands_in_one_error(hub: Path) -> None:
    made = suite(hub)
    with pytest.raises(UsageError) as refused:
        items_of([made.model, "owner/other"], ["step0", "step3", "all", "step1000", "7"])
    assert str(refused.value) == (
        "not in the local cache: owner/suite at step3, owner/suite at step7, owner/other at step0,"
        " owner/other at step3, owner/other, owner/other at step1000, owner/other at step7;"
        " mesascope downloads nothing; get them with `hf download owner/suite --revision step3"
        " && hf download owner/suite --revision step7"
        " && hf download owner/other --revision step0 && hf download owner/other --revision step3"
        " && hf download owner/other && hf download owner/other --revision step1000"
        " && hf download owner/other --revision step7`"
    )
    with pytest.raises(UsageError, match="owner/suite has no seeds"):
        items_of([made.model], [], [0])


# -- names ------------------------------------------------------------------------------------------------------------


def test_names_are_read_by_people_and_by_file_systems() -> None:
    assert re.fullmatch(r"pythia-70m-step1000-[0-9a-f]{8}", Item("EleutherAI/pythia-70m", "step1000").name)
    assert re.fullmatch(r"model\.pt-[0-9a-f]{8}", Item("/some/where/model.pt").name)
    assert Item("owner/name", "pr/1").label == "owner/name at pr/1"
    assert Item("owner/name").label == "owner/name"


@given(st.lists(st.tuples(st.text(min_size=1), st.text() | st.none()), min_size=2, max_size=6, unique=True))
def test_different_items_have_different_names(pairs: list[tuple[str, str | None]]) -> None:
    items = [Item(model, revision) for model, revision in pairs]
    names = [item.name for item in items]
    assert len(set(names)) == len(items)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}", name) for name in names)
    assert [Item.from_dict(item.as_dict()) for item in items] == items


@pytest.mark.parametrize("record", [{}, {"model": None}, {"model": "a", "revision": 3}, {"revision": "step0"}])
def test_what_is_no_record_of_an_item(record: dict[str, str | None]) -> None:
    with pytest.raises(ValueError, match="expected texts"):
        Item.from_dict(record)


def test_no_torch_is_imported() -> None:
    code = """if True:
        import sys
        from mesascope.analyses.sweeps import audit, identity, items, notes, revisions, state
        found = items.items_of(["lsa-1layer"])
        assert audit.audit(found).distinct == len(identity.groups(found)) == len(found)
        assert not {"torch", "transformers", "pandas", "matplotlib"} & set(sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
