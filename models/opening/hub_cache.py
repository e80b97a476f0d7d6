"""Models in the local hub cache: which revisions there are, and where. No torch, and nothing is downloaded."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import constants

from ...data.errors import CheckpointRefused, UsageError, nearest


def full_revision(revision: str | None) -> str | None:
    """The revision "1000" means "step1000"."""
    return f"step{revision}" if revision is not None and revision.isdecimal() else revision


def step_of(revision: str | None) -> int | None:
    """The training step that the name of a revision says: of "step1000", and of "stage1-step1000-tokens5B"."""
    found = re.search(r"(?:^|-)step([0-9]{1,12})(?:-|$)", revision or "")
    return int(found[1]) if found else None


def cached_revisions(model: str) -> list[str]:
    """The revisions of a hub model in the local cache."""
    refs = repository_of(model) / "refs"
    return sorted(str(path.relative_to(refs)) for path in refs.rglob("*") if path.is_file())


def fetching(model: str, revision: str | None) -> str:
    """The command that downloads a model into the cache."""
    return f"hf download {model}" + (f" --revision {revision}" if revision else "")


def repository_of(model: str) -> Path:
    """The directory of a hub id in the cache. Raises CheckpointRefused for what cannot be one."""
    if not re.fullmatch(r"[\w.-]+(?:/[\w.-]+)?", model) or ".." in model:
        raise CheckpointRefused(f"{model}: neither a directory nor a hub id; expected an id like owner/name")
    return Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"


def cached_snapshot(model: str, revision: str | None) -> Path:
    """The snapshot's directory in the hub cache. Raises CheckpointRefused for a model that is not there, and UsageError
    for a revision that is not.
    """
    repository, wanted = repository_of(model), revision or "main"
    refs, snapshots = repository / "refs", repository / "snapshots"
    ref = refs / wanted
    named = refs in ref.parents and ".." not in ref.parts and ref.is_file()  # listing hundreds takes long
    commit = ref.read_text(encoding="utf-8").strip() if named else wanted
    if re.fullmatch(r"[0-9a-zA-Z]+", commit) and (snapshots / commit).is_dir():
        return snapshots / commit
    fetch, known = fetching(model, revision), cached_revisions(model)
    if not known and not snapshots.is_dir():
        raise CheckpointRefused(f"{model}: neither a directory nor in the local hub cache; download it with `{fetch}`")
    raise UsageError(
        f"{model}: revision {wanted!r} is not in the local cache; {nearest(wanted, known)}; download it with `{fetch}`"
    )
