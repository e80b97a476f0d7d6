"""A hub cache as the hub's client lays it out, with contents that are made up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

WEIGHTS = (".safetensors", ".bin")
STEPS = (0, *(2**n for n in range(10)), *range(1000, 144_000, 1000))
"""The 154 steps of a public suite."""
SAME = range(20, 106)
"""Places of those of them that hold the same weights in `suite`: 86."""


class MadeUpCache:
    """Revisions of one hub id."""

    def __init__(self, cache: Path, model: str = "owner/suite") -> None:
        self.model = model
        self.repository = cache / f"models--{model.replace('/', '--')}"

    def add(self, revision: str, files: Mapping[str, str | bytes], there: bool = True) -> Path:
        """A revision with these files, by name and content; its snapshot.

        there:  whether the blobs of weights are in the cache; else the links lead nowhere
        """
        commit = hashlib.sha1(f"{self.model} {revision}".encode()).hexdigest()
        snapshot = self.repository / "snapshots" / commit
        for folder in (self.repository / "blobs", self.repository / "refs", snapshot):
            folder.mkdir(parents=True, exist_ok=True)
        (self.repository / "refs" / revision).write_text(commit)
        for name, content in files.items():
            blob = self.blob(name, content)
            if there or not name.endswith(WEIGHTS):
                blob.write_bytes(as_bytes(content))
            (snapshot / name).symlink_to(f"../../blobs/{blob.name}")
        return snapshot

    def blob(self, name: str, content: str | bytes) -> Path:
        """Weights are named by SHA-256, smaller files by SHA-1."""
        digest = (hashlib.sha256 if name.endswith(WEIGHTS) else hashlib.sha1)(as_bytes(content))
        return self.repository / "blobs" / digest.hexdigest()


def as_bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def shards(first: str | bytes, second: str | bytes, config: str = "{}") -> dict[str, str | bytes]:
    """The files of a checkpoint in two shards."""
    return {
        "config.json": config,
        "tokenizer.json": "words",
        "model.safetensors.index.json": "which tensor is where",
        "model-00001-of-00002.safetensors": first,
        "model-00002-of-00002.safetensors": second,
    }


def suite(cache: Path) -> MadeUpCache:
    """154 revisions, 86 of them with the same weights; of two others the second shard is the same. No blob is there."""
    made = MadeUpCache(cache)
    for place, step in enumerate(STEPS):
        one, two = ("same", "same") if place in SAME else (f"first of {step}", f"second of {step}")
        if step == 143_000:
            two = "second of 142000"
        made.add(f"step{step}", shards(one, two), there=False)
    return made
