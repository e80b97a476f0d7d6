"""Which checkpoints hold the same weights: by blobs without reading, by tensors where files have no digest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope.analyses.sweeps import audit as auditing
from mesascope.analyses.sweeps.audit import Audit, audit
from mesascope.analyses.sweeps.items import Item, items_of
from mesascope.models import load_all, save_checkpoint
from safetensors.numpy import save, save_file

from .made_up_cache import SAME, STEPS, MadeUpCache, shards, suite

Arrays = dict[str, np.ndarray]
N = 33


@pytest.fixture
def arrays(rng: np.random.Generator) -> Arrays:
    return {f"layer.{index}": rng.normal(size=(3, index + 1)).astype("f4") for index in range(N)}


@pytest.fixture
def directory(tmp_path: Path) -> Callable[..., Item]:
    """A directory with these weights, in as many shards as there are dictionaries."""

    def make(name: str, *parts: Arrays, **further: bytes) -> Item:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(name)
        names = [f"model-{n:05d}-of-{len(parts):05d}.safetensors" for n, _ in enumerate(parts, 1)]
        names = names if len(parts) > 1 else ["model.safetensors"]
        if len(parts) > 1:
            (folder / "model.safetensors.index.json").write_text(name)
        for file, part in zip(names, parts, strict=True):
            save_file(part, folder / file, {"format": "pt", "made": name})
        return Item(str(folder))

    return make


def names(found: Audit) -> list[list[str]]:
    return [[Path(item.model).name for item in group] for group in found.identical]


# -- hub caches -------------------------------------------------------------------------------------------------------


def test_86_of_154_revisions_and_a_shared_shard_without_reading(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = suite(hub)  # all links to weights lead nowhere
    monkeypatch.setattr(auditing, "_read", lambda path: pytest.fail(f"{path} is read"))
    found = audit(items_of([made.model]))
    assert (found.checkpoints, found.distinct) == (154, 69)
    assert [[item.revision for item in group] for group in found.identical] == [[f"step{STEPS[i]}" for i in SAME]]
    (partly,) = found.partly
    assert (partly.item.revision, partly.like.revision) == ("step143000", "step142000")
    assert partly.sentence == "1 of 2 weight files equal"
    assert found.not_compared == ()
    assert found.as_dict()["partly"][0]["equal"] == 1


def test_only_weights_count(hub: Path) -> None:
    made = MadeUpCache(hub)
    made.add("a", shards("w", "v", "one configuration"))
    made.add("b", {**shards("w", "v", "another"), "model.safetensors.index.json": "other words"})
    made.add("c", {"config.json": "", "pytorch_model.bin": "the same in a pickle"})
    made.add("d", shards("v", "w"))  # the same two files under each other's name
    found = audit(items_of([made.model]))
    assert [[item.revision for item in group] for group in found.identical] == [["a", "b", "d"]]
    assert (found.distinct, found.partly) == (2, ())


def test_a_copy_without_links_is_compared_with_the_cache(hub: Path, tmp_path: Path, arrays: Arrays) -> None:
    """The digest of a file's bytes is the name of its blob."""
    made, folder = MadeUpCache(hub), tmp_path / "copy"
    content = save(arrays)
    made.add("a", {"config.json": "", "model.safetensors": content})
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(content)
    cached, copied = Item(made.model, "a"), Item(str(folder))
    assert audit([cached, copied]).identical == ((cached, copied),)
    (folder / "model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert audit([cached, copied]).identical == ()


def test_a_shard_that_is_no_link_is_read(hub: Path, arrays: Arrays) -> None:
    half = [save(dict(list(arrays.items())[place::2])) for place in (0, 1)]
    made, last = MadeUpCache(hub), "model-00002-of-00002.safetensors"
    for revision, content in (("a", None), ("copied", half[1]), ("edited", half[1][:-1] + bytes([half[1][-1] ^ 1]))):
        snapshot = made.add(revision, shards(half[0], half[1]))
        if content:
            (snapshot / last).unlink()
            (snapshot / last).write_bytes(content)
    found = audit(items_of([made.model]))
    assert [[item.revision for item in group] for group in found.identical] == [["a", "copied"]]
    assert [partly.sentence for partly in found.partly] == ["32 of 33 tensors equal"]


# -- files that are read ----------------------------------------------------------------------------------------------


def test_31_of_33_tensors(directory: Callable[..., Item], arrays: Arrays) -> None:
    other = {**arrays, "layer.3": arrays["layer.3"] + 1, "layer.7": -arrays["layer.7"]}
    third = {**other, "layer.0": arrays["layer.0"] * 2}
    items = [directory(name, part) for name, part in (("a", arrays), ("b", other), ("c", arrays), ("d", third))]
    found = audit(items)
    assert names(found) == [["a", "c"]]
    assert [(partly.item, partly.like, partly.sentence) for partly in found.partly] == [
        (items[1], items[0], "31 of 33 tensors equal"),
        (items[3], items[1], "32 of 33 tensors equal"),
    ]


def test_of_several_that_share_as_much_the_nearest_is_named(directory: Callable[..., Item], arrays: Arrays) -> None:
    items = [
        directory(f"{n}", {name: array if name == "layer.0" else array + n for name, array in arrays.items()})
        for n in range(3)
    ]
    assert [(partly.like, partly.equal) for partly in audit(items).partly] == [(items[0], 1), (items[1], 1)]


def test_shards_order_and_metadata_do_not_matter(directory: Callable[..., Item], arrays: Arrays) -> None:
    half = [dict(list(arrays.items())[place::2]) for place in (0, 1)]
    backwards = dict(reversed(arrays.items()))
    items = [directory("a", arrays), directory("b", *half), directory("c", backwards)]
    assert names(audit(items)) == [["a", "b", "c"]]


def test_names_shapes_and_types_matter(directory: Callable[..., Item], arrays: Arrays) -> None:
    first, last = arrays["layer.0"], arrays["layer.32"]
    changed: dict[str, Arrays] = {
        "name": {**{k: v for k, v in arrays.items() if k != "layer.32"}, "layer.99": last},
        "shape": {**arrays, "layer.0": first.T.copy()},
        "type": {**arrays, "layer.0": first.view("i4")},
        "less": {k: v for k, v in arrays.items() if k != "layer.32"},
        "more": {**arrays, "layer.33": first},
    }
    items = [directory("a", arrays), *(directory(name, part) for name, part in changed.items())]
    found = audit(items)
    assert found.identical == ()
    with_first = {Path(p.item.model).name: p.sentence for p in found.partly if p.like == items[0]}
    assert with_first["name"] == "32 of 33 tensors equal"
    assert with_first["shape"] == "32 of 33 tensors equal"
    assert all(audit([items[0], item]).partly[0].equal == 32 + (item is items[-1]) for item in items[1:])
    assert audit([items[0], items[-1]]).partly[0].sentence == "33 of 34 tensors equal"


def test_equal_weights_of_two_kinds_of_evidence_are_joined(
    hub: Path, directory: Callable[..., Item], arrays: Arrays
) -> None:
    """A is known by its file, C by its tensors, and B by both."""
    half = [dict(list(arrays.items())[place::2]) for place in (0, 1)]
    c, b = directory("c", *half), directory("b", arrays)
    made = MadeUpCache(hub)
    made.add("a", {"model.safetensors": Path(b.model, "model.safetensors").read_bytes()})
    a = Item(made.model, "a")
    for order in ([a, b, c], [a, c, b], [c, a, b], [b, c, a]):
        found = audit(order)
        assert [set(group) for group in found.identical] == [{a, b, c}]
        assert (found.distinct, found.partly) == (1, ())


def test_members_of_a_family(tmp_path: Path) -> None:
    """Two steps of one seed are the same, and one tensor of another step is."""
    member = load_all("lsa-1layer", "seed0-step500")[0]
    weights = {name: tensor.detach() for name, tensor in member.module.named_parameters()}
    first = next(iter(weights))
    steps = {0: weights, 1: weights, 2: {name: w if name == first else w + 1 for name, w in weights.items()}}
    path = tmp_path / "family.safetensors"
    tensors = {f"seed0/step{step}/{name}": w for step, part in steps.items() for name, w in part.items()}
    save_checkpoint(path, member.module.config, tensors)
    zero, one, two = items_of([str(path)])
    found = audit([zero, one, two, *items_of(["lsa-1layer"], ["seed0-step500", "seed1-step500"])])
    assert [[item.revision for item in group] for group in found.identical] == [
        ["seed0-step0", "seed0-step1", "seed0-step500"]
    ]
    shared = found.partly[0]
    assert (shared.item, shared.like, shared.sentence) == (two, zero, f"1 of {len(weights)} tensors equal")
    digests = {subject.source.revision: subject.source.weights_sha256 for subject in load_all(str(path), "all")}
    assert digests["seed0-step0"] == digests["seed0-step1"] != digests["seed0-step2"]  # what opening finds


def test_pickles_are_compared_as_files(tmp_path: Path, arrays: Arrays) -> None:
    for name, scale in (("a.pt", 1), ("b.pt", 1), ("c.pt", 2)):
        torch.save({key: torch.tensor(scale * array) for key, array in arrays.items()}, tmp_path / "same.pt")
        (tmp_path / "same.pt").rename(tmp_path / name)  # the archive holds the name that it was written under
    found = audit([Item(str(tmp_path / name)) for name in ("a.pt", "b.pt", "c.pt")])
    assert (names(found), found.distinct, found.partly) == ([["a.pt", "b.pt"]], 2, ())


def test_a_file_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read, paths = auditing._read, []

    def counted(path: Path) -> tuple[str, dict[str, str]]:
        paths.append(path)
        return read(path)

    monkeypatch.setattr(auditing, "_read", counted)
    items = items_of(["lsa-1layer"])
    found = audit(items)
    assert found.checkpoints == len(items) > 10
    assert len(paths) == 1


def test_what_cannot_be_read_is_left_out_with_the_reason(
    hub: Path, directory: Callable[..., Item], arrays: Arrays, tmp_path: Path
) -> None:
    good, cut, gap = directory("good", arrays), directory("cut", arrays), directory("gap", arrays)
    for item, change in ((cut, lambda content: content[:-1]), (gap, lambda content: content + b"\0")):
        path = Path(item.model, "model.safetensors")
        path.write_bytes(change(path.read_bytes()))
    overlap = directory("overlap", {"a": np.ones(2, "f4"), "b": np.ones(2, "f4")})
    path = Path(overlap.model, "model.safetensors")
    path.write_bytes(path.read_bytes().replace(b"[0,8]", b"[8,8]"))
    (tmp_path / "empty").mkdir()
    missing, empty = Item("owner/none", "step0"), Item(str(tmp_path / "empty"))
    found = audit([cut, missing, good, gap, overlap, empty, Item(good.model)])
    assert (found.checkpoints, found.distinct) == (1, 1)
    reasons = dict(found.not_compared)
    assert set(reasons) == {cut, missing, gap, overlap, empty}
    assert reasons[cut] == (
        "model.safetensors: damaged safetensors (the file ends within 'layer.9'); download or copy it again"
    )
    assert "a tensor begins at byte 8, expected 0" in reasons[overlap]
    assert "goes on after its last tensor" in reasons[gap]
    assert "nor in the local hub cache; download it with `hf download owner/none --revision step0`" in reasons[missing]
    assert "no weight files" in reasons[empty]
