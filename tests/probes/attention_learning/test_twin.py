"""The twin with uniform attention: which one is taken, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope import models
from mesascope.data.errors import CheckpointRefused, UsageError
from mesascope.models.copy_models import CopyModel
from mesascope.models.opening import loading
from mesascope.models.opening.catalogue import shipped
from mesascope.models.opening.checkpoint import save_checkpoint
from mesascope.models.own.copy_transformer import CopyConfig
from mesascope.models.subject import Subject
from mesascope.probes.attention_learning import twin as twins
from mesascope.probes.attention_learning.copy_claim import HELD_UNIFORM, copy_claim
from mesascope.probes.attention_learning.twin import NO_TWIN, OWN_UNIFORM, twin_digests, twin_of

from .planted_copies import measured, random_copy

SHIPPED, TWIN = "copy-permutations-1head", "copy-permutations-1head-uniform"


def opened(name: str = SHIPPED, revision: str = "seed0-step40") -> CopyModel:
    subject = models.load(name, revision)
    assert isinstance(subject, CopyModel)
    return subject


def written(folder: Path, **changed: Any) -> Path:
    """A file of one model with uniform attention, or as changed."""
    of = {"d_vocab": 5, "n_ctx": 4, "d_model": 6, "n_heads": 2, "d_head": 3, "uniform_attention": True} | changed
    config = CopyConfig(**of)
    weights = {name: torch.ones(shape) for name, shape in config.shapes.items()}
    path = folder / f"{'-'.join(map(str, of.values()))}.safetensors"
    save_checkpoint(path, config, weights, {})
    return path


def label(found: Subject | str) -> str:
    assert isinstance(found, Subject)
    return found.source.label


# -- which one ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_a_shipped_model_has_its_twin_of_the_same_seed(seed: int) -> None:
    found = twin_of(opened(revision=f"seed{seed}-step40"), None)
    assert label(found) == f"{TWIN}-seed{seed}-step100"
    assert isinstance(found, CopyModel)
    assert found.config.uniform_attention


def test_a_shipped_twin_may_be_named() -> None:
    assert label(twin_of(opened(), TWIN)) == f"{TWIN}-seed0-step100"


def test_a_model_that_does_not_ship_has_none_unless_it_is_named(tmp_path: Path) -> None:
    subject = random_copy()
    assert twin_of(subject, None) == NO_TWIN
    found = twin_of(subject, str(written(tmp_path)))
    assert isinstance(found, CopyModel)
    assert found.module.W_E.unique().tolist() == [1.0]


def test_a_file_with_the_name_of_a_shipped_model_is_not_that_model(tmp_path: Path) -> None:
    path = tmp_path / f"{SHIPPED}.safetensors"
    path.write_bytes(Path(shipped()[SHIPPED]).read_bytes())
    assert twin_of(models.load(str(path), "seed0-step40"), None) == NO_TWIN  # pyright: ignore[reportArgumentType]


def test_a_seed_that_the_twin_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another seed's twin says what co-occurrence teaches as well."""
    subject, opens, asked = opened(), loading.load, []

    def load(named: str, revision: str | None = None) -> Subject:
        asked.append((named, revision))
        return opens(named, revision)

    monkeypatch.setattr(loading, "load", load)
    subject.source = subject.source.__class__(**{**vars(subject.source), "seed": 17})
    assert label(twin_of(subject, None)).startswith(f"{TWIN}-seed0")
    assert asked == [(TWIN, "seed17"), (TWIN, None)]


def test_a_twin_is_its_own() -> None:
    twin = opened(TWIN, "seed0")
    assert twin_of(twin, None) == OWN_UNIFORM
    assert twin_of(twin, "anything") == OWN_UNIFORM
    found = measured(twin, OWN_UNIFORM, n=4)
    for pair in ("uniform", "proxy", "saliency"):
        assert found.measures["agreement"].sel(pair=pair).message == OWN_UNIFORM
    claim = copy_claim(found.measures, (twin.source,), 0.95)
    assert HELD_UNIFORM in claim.found
    assert not any("No twin" in limit for limit in claim.limits)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"d_vocab": 6},
            "a copy model of 6 words, 4 places and 2 heads; in-memory is a copy model of 5 words, 4 places",
        ),
        ({"n_ctx": 3}, "a copy model of 5 words, 3 places and 2 heads"),
        ({"n_heads": 1}, "4 places and 1 head;"),
        ({"uniform_attention": False}, "its attention is learned; expected a model that was trained with uniform"),
    ],
)
def test_another_shape_is_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    path = written(tmp_path, **changed)
    with pytest.raises(UsageError) as caught:
        twin_of(random_copy(), str(path))
    assert str(caught.value).startswith(f"uniform = {path.stem}")
    assert said in str(caught.value)


def test_widths_may_differ(tmp_path: Path) -> None:
    """Beta is a number of every word and place, whatever it is formed from."""
    assert isinstance(twin_of(random_copy(), str(written(tmp_path, d_model=9, d_head=2))), CopyModel)


@pytest.mark.parametrize("named", ["tiny-grammar", "lsa-1layer"])
def test_another_kind_is_refused(named: str) -> None:
    kind = "a language model of " if named == "tiny-grammar" else "neither a copy model nor a language model;"
    with pytest.raises(UsageError, match=f"uniform = {named}.*: {kind}"):
        twin_of(opened(), named)


def test_language_models_want_the_same_layers_and_tokens() -> None:
    """One of the same shape that reads other tokens would be compared token by token."""
    subject, other = models.load("induction-2layer"), models.load("induction-1layer")
    assert isinstance(subject, models.LanguageModel)
    assert label(twin_of(subject, "induction-2layer")).startswith("induction-2layer")
    with pytest.raises(UsageError, match=r"1 layer and \d heads? in each; induction-2layer.*2 layers"):
        twin_of(subject, other.source.name)
    subject.source = subject.source.__class__(
        **{**vars(subject.source), "facts": {**subject.source.facts, "tokenizer_sha256": "a" * 64}}
    )
    with pytest.raises(UsageError, match="its tokenizer is another one than that of induction-2layer"):
        twin_of(subject, "induction-2layer")


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointRefused):
        twin_of(random_copy(), str(tmp_path / "a.safetensors"))
    with pytest.raises((UsageError, CheckpointRefused)):
        twin_of(random_copy(), str(tmp_path / "not-there.safetensors"))


# -- identity ----------------------------------------------------------------------------------------------------------


def test_the_twins_bytes_are_part_of_a_runs_identity(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = twin_digests(str(path))
    assert set(before) == {"uniform_sha256"}
    other = written(tmp_path, d_model=9)
    assert twin_digests(str(other)) != before
    path.write_bytes(other.read_bytes())
    assert twin_digests(str(path)) == twin_digests(str(other))


def test_by_default_those_that_ship_are(monkeypatch: pytest.MonkeyPatch) -> None:
    found = twin_digests(None)
    assert f"{TWIN}_sha256" in found
    assert f"{SHIPPED}_sha256" not in found
    assert twin_digests(TWIN)["uniform_sha256"] == found[f"{TWIN}_sha256"]
    held = shipped()
    monkeypatch.setattr(twins, "shipped", lambda: {**held, TWIN: held["copy-40of60-1head-uniform"]})
    assert twin_digests(None)[f"{TWIN}_sha256"] == found["copy-40of60-1head-uniform_sha256"]


def test_a_folder_is_known_by_its_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    subject = opened()
    monkeypatch.setattr(loading, "load", lambda named: subject)
    assert twin_digests(str(tmp_path)) == {"uniform_sha256": subject.source.weights_sha256}
