"""Which checkpoint an item is, without reading it; and what is remembered of those that were opened."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.sweeps.identity import Identity, IdentityCache, Known, groups, identity_of
from mesascope.analyses.sweeps.items import Item, items_of
from mesascope.data.errors import OutputError

from .made_up_cache import SAME, STEPS, MadeUpCache, shards, suite

# -- hub caches -------------------------------------------------------------------------------------------------------


def test_86_of_154_revisions_are_the_same_and_nothing_is_read(hub: Path) -> None:
    made = suite(hub)  # without one blob of weights: all links lead nowhere
    found = groups(items_of([made.model]))
    assert len(found) == 154 - 86 + 1
    assert [len(group) for group in found if len(group) > 1] == [86]
    assert [item.revision for item in max(found, key=len)] == [f"step{STEPS[place]}" for place in SAME]
    assert [group[0] for group in found] == sorted((group[0] for group in found), key=items_of([made.model]).index)
    assert all(identity_of(group[0]).trusted for group in found)


def test_a_link_is_read_once_and_never_followed(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob may be a link to a store that has other names, of 64 hexadecimal digits, too."""
    plain, stored = MadeUpCache(hub, "owner/plain"), MadeUpCache(hub, "owner/stored")
    for made in (plain, stored):
        made.add("main", {"config.json": "{}", "model.safetensors": "the weights"})
    (hub / "xet").mkdir()
    for number, content in enumerate(("the weights", "others")):  # one name in the store for both
        (hub / "xet" / f"{number}".rjust(64, "a")).write_text(content)
    blob = stored.blob("model.safetensors", "the weights")
    blob.unlink()
    blob.symlink_to(hub / "xet" / "0".rjust(64, "a"))
    stored.add("main2", {"config.json": "{}", "model.safetensors": "others"}, there=False)
    stored.blob("model.safetensors", "others").symlink_to(hub / "xet" / "0".rjust(64, "a"))

    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise AssertionError("a link is followed")

    items = [Item("owner/plain"), Item("owner/stored"), Item("owner/stored", "main2")]
    with monkeypatch.context() as patch:
        patch.setattr(os.path, "realpath", refuse)
        patch.setattr(Path, "resolve", refuse)
        assert groups(items) == [items[:2], items[2:]]


def test_a_pickle_beside_the_weights_does_not_matter_and_one_in_their_place_does(hub: Path) -> None:
    made = MadeUpCache(hub)
    config = {"config.json": "{}"}
    made.add("a", {**config, "model.safetensors": "weights"})
    made.add("b", {**config, "model.safetensors": "weights", "pytorch_model.bin": "a twin", "README.md": "words"})
    made.add("c", {**config, "pytorch_model.bin": "a twin"})
    made.add("d", {**config, "pytorch_model.bin": "a twin"})
    assert [[item.revision for item in group] for group in groups(items_of([made.model]))] == [["a", "b"], ["c", "d"]]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors.index.json"])
def test_equal_weights_that_are_read_otherwise_are_another_checkpoint(hub: Path, name: str) -> None:
    made = MadeUpCache(hub)
    for revision, content in (("a", "one"), ("b", "one"), ("c", "two")):
        made.add(revision, {**shards("w", "v"), name: content})
    assert [[item.revision for item in group] for group in groups(items_of([made.model]))] == [["a", "b"], ["c"]]


def test_shards_that_are_exchanged_are_another_checkpoint(hub: Path) -> None:
    made = MadeUpCache(hub)
    made.add("a", shards("w", "v"))
    made.add("b", shards("v", "w"))
    assert len(groups(items_of([made.model]))) == 2


def test_only_digests_of_all_weights_are_trusted(hub: Path, tmp_path: Path) -> None:
    made = MadeUpCache(hub)
    small, copied, foreign = (made.add(name, shards("w", "v")) for name in ("small", "copied", "foreign"))
    one = "model-00001-of-00002.safetensors"
    sha1 = made.repository / "blobs" / ("b" * 40)  # as the client names what is not stored as a large file
    (small / one).unlink()
    (small / one).symlink_to(f"../../blobs/{sha1.name}")
    (copied / one).unlink()
    (copied / one).write_text("w")  # where there are no links
    (foreign / one).unlink()
    (foreign / one).symlink_to(tmp_path / ("c" * 64))
    for revision in ("small", "copied", "foreign"):
        twice = [Item(made.model, revision), Item(made.model, revision)]
        assert not identity_of(twice[0]).trusted
        assert identity_of(twice[0]) == identity_of(twice[1])
    assert len(groups(items_of([made.model]))) == 3
    linked = tmp_path / "linked"  # a directory of links is no snapshot
    linked.mkdir()
    (linked / "model.safetensors").symlink_to(made.blob(one, "w"))
    assert not identity_of(Item(str(linked))).trusted


# -- files ------------------------------------------------------------------------------------------------------------


def test_members_of_a_family_are_told_apart_and_never_grouped() -> None:
    items = items_of(["lsa-1layer"])
    identities = [identity_of(item) for item in items]
    assert len({identity.key for identity in identities}) == len(items)
    assert not any(identity.trusted for identity in identities)
    assert groups(items) == [[item] for item in items]


def test_a_file_is_told_by_its_place_its_size_and_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    keys = []
    for content, time in ((b"1234", 1), (b"1234", 2), (b"12345", 2), (b"1234", 1)):
        path.write_bytes(content)
        os.utime(path, ns=(time, time))
        keys.append(identity_of(Item(str(path))).key)
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]
    other = tmp_path / "b.npz"
    os.link(path, other)
    assert identity_of(Item(str(other))).key not in keys


def test_a_relative_name_means_what_it_does_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.npz").write_bytes(b"1234")
        os.utime(tmp_path / folder / "a.npz", ns=(1, 1))
        monkeypatch.chdir(tmp_path / folder)
        keys.append(identity_of(Item("a.npz")).key)
    assert keys[0] != keys[1]


def test_a_directory_is_told_by_its_weights_and_configuration(tmp_path: Path) -> None:
    names = ("config.json", "model.safetensors", "tokenizer.json", "README.md", "pytorch_model.bin")
    for name in names:
        (tmp_path / name).write_text("content")
    before = identity_of(Item(str(tmp_path)))
    assert not before.trusted
    changed = []
    for name in names:
        (tmp_path / name).write_text("more content")
        changed.append(identity_of(Item(str(tmp_path))).key)
    assert [one != other for one, other in zip(changed, (before.key, *changed), strict=False)] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_how_a_file_is_read_is_part_of_its_identity(tmp_path: Path) -> None:
    path, layout, config = tmp_path / "a.pt", tmp_path / "layout.toml", tmp_path / "config.json"
    for file in (path, layout, config):
        file.write_bytes(b"one")
    item = Item(str(path))
    ways: list[dict[str, Any]] = [
        {}, {"layout": "tl-legacy"}, {"layout": str(layout)}, {"layout": {"roles": {}}}, {"model_config": config},
        {"model_config": {"n_heads": 2}}, {"model_args": {"n_heads": 2}}, {"model_args": {"n_heads": 3}},
        {"dtype": "float64"},
    ]  # fmt: skip
    keys = [identity_of(item, **way).key for way in ways]
    assert len(set(keys)) == len(ways)
    assert [identity_of(item, **way).key for way in ways] == keys
    for file in (layout, config):
        file.write_bytes(b"two")
    assert [old == identity_of(item, **way).key for old, way in zip(keys, ways, strict=True)] == [
        True, True, False, True, False, True, True, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize("model", ["no-such-name", "owner/nothing", "no/such/file.pt", "a.py:f", "../..", "\0"])
def test_what_is_not_there_has_an_identity_that_nobody_trusts(model: str, hub: Path) -> None:
    identity = identity_of(Item(model, "step0"))
    assert not identity.trusted
    assert groups([identity.item, Item(model)]) == [[identity.item], [Item(model)]]


# -- what is remembered -----------------------------------------------------------------------------------------------

SOURCE = {
    "name": "a",
    "layout": "mesascope",
    "revision": None,
    "weights_sha256": "12",
    "facts": {"x": 0.1},
    "record": {},
}


@pytest.fixture
def identity() -> Identity:
    return identity_of(Item("lsa-1layer", "seed0-step0"))


def test_what_is_known_comes_back_as_json_has_it(identity: Identity, tmp_path: Path) -> None:
    cache = IdentityCache(tmp_path / "new" / "out")
    assert cache.get(identity) is None
    assert not cache.out.exists()
    facts = {"clip": math.inf, "sizes": (1, 2), "third": 1 / 3, "none": None}
    cache.put(identity, Known({**SOURCE, "facts": facts}, "float32"))
    known = cache.get(identity)
    assert known is not None
    assert (known.dtype, known.source["name"]) == ("float32", "a")
    assert known.source["facts"] == {"clip": "Infinity", "sizes": [1, 2], "third": 1 / 3, "none": None}
    assert [path.name for path in (cache.out / ".sweep" / "weights").iterdir()] == [f"{identity.key}.json"]
    assert cache.get(identity_of(Item("lsa-1layer", "seed0-step500"))) is None
    cache.put(identity, Known(SOURCE, "float64"))
    assert cache.get(identity) == Known(SOURCE, "float64")


DAMAGE: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "cut": lambda text: text[:-20],
    "no object": lambda text: "[1, 2]",
    "deep": lambda text: "[" * 100_000,
    "a number of no JSON": lambda text: text.replace("0.1", "NaN"),
    "another identity": lambda text: text.replace("seed0-step0", "seed0-step9"),
    "no source": lambda text: text.replace('"source"', '"sauce"'),
    "no weights": lambda text: text.replace('"weights_sha256": "12"', '"weights_sha256": null'),
    "facts of another kind": lambda text: text.replace('"record": {}', '"record": []'),
    "a number for a name": lambda text: text.replace('"name": "a"', '"name": 3'),
    "no dtype": lambda text: text.replace('"dtype": "float32"', '"dtype": 32'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_as_good_as_none(damage: str, identity: Identity, tmp_path: Path) -> None:
    cache = IdentityCache(tmp_path)
    cache.put(identity, Known(SOURCE, "float32"))
    (path,) = (tmp_path / ".sweep" / "weights").iterdir()
    spoiled = DAMAGE[damage](path.read_text())
    assert spoiled != path.read_text()
    path.write_text(spoiled)
    assert cache.get(identity) is None
    cache.put(identity, Known(SOURCE, "float32"))
    assert cache.get(identity) is not None


def test_bytes_that_are_no_text_are_as_good_as_none(identity: Identity, tmp_path: Path) -> None:
    cache = IdentityCache(tmp_path)
    cache.put(identity, Known(SOURCE, "float32"))
    (path,) = (tmp_path / ".sweep" / "weights").iterdir()
    path.write_bytes(b"\xff\xfe")
    assert cache.get(identity) is None
    path.unlink()
    path.mkdir()
    assert cache.get(identity) is None


def test_another_identity_of_the_same_item_is_another_entry(identity: Identity, tmp_path: Path) -> None:
    cache = IdentityCache(tmp_path)
    cache.put(identity, Known(SOURCE, "float32"))
    for other in (replace(identity, reading="0"), replace(identity, files=()), replace(identity, item=Item("b"))):
        assert other.key != identity.key
        assert cache.get(other) is None


def test_a_place_that_cannot_be_written(identity: Identity, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match=r"out: cannot be written \(.*\); choose another folder with -o"):
        IdentityCache(tmp_path / "out").put(identity, Known(SOURCE, "float32"))
