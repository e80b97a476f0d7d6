"""The twin: the same model trained with uniform attention, which shows what words are learned without attention."""

from __future__ import annotations

from typing import TypeVar, cast

from ...data.errors import UsageError
from ...data.recipe import file_sha256
from ...models.copy_models import CopyModel
from ...models.language_model import LanguageModel
from ...models.opening.catalogue import shipped
from ...models.opening.loading import load_seed, sha256_of
from ...models.subject import Subject

UNIFORM = "-uniform"
"""What the name of a shipped twin ends with."""
NO_TWIN = (
    "no model of the same recipe with uniform attention was given: train one (mesascope train NAME-uniform -o FILE)"
    " and name it (--uniform FILE)"
)
NO_TWIN_OF_TEXT = (
    "no model of the same shape with uniform attention was given: train one on the same text with every attention"
    " pattern held uniform, and name it (--uniform FILE)"
)
OWN_UNIFORM = "this model's own attention is uniform: it is its own twin"


Reads = TypeVar("Reads", CopyModel, LanguageModel)
"""What reads tokens, and so does its twin."""


def twin_of(subject: Reads, named: str | None) -> Reads | str:
    """The twin of the same seed at its last step, or why there is none.

    named:  a shipped name, a file, a directory or a hub id; None: the twin that ships with a shipped model

    Raises UsageError for a twin of another shape, and CheckpointRefused for one that cannot be opened.
    """
    if isinstance(subject, CopyModel) and subject.config.uniform_attention:
        return OWN_UNIFORM
    if named is None:
        source = subject.source
        named = f"{source.name}{UNIFORM}" if source.path is None else None
        if named not in shipped():
            return NO_TWIN if isinstance(subject, CopyModel) else NO_TWIN_OF_TEXT
    twin = load_seed(named, subject.source.seed)
    _refuse_other(subject, twin)
    return cast(Reads, twin)


def twin_digests(named: str | None) -> dict[str, str]:
    """SHA-256 of the file that is named, or of every shipped twin: part of a run's identity."""
    if named is None:
        return {f"{name}_sha256": file_sha256(path) for name, path in shipped().items() if name.endswith(UNIFORM)}
    return {"uniform_sha256": sha256_of(named)}


def _refuse_other(subject: CopyModel | LanguageModel, twin: Subject) -> None:
    """Raise UsageError unless words, places, layers and heads of both are the same."""
    own, other = _kind(subject), _kind(twin)
    if own != other:
        raise UsageError(
            f"uniform = {twin.source.label}: {other}; {subject.source.label} is {own}; expected the same model, trained"
            " with uniform attention"
        )
    if isinstance(twin, CopyModel) and not twin.config.uniform_attention:
        raise UsageError(
            f"uniform = {twin.source.label}: its attention is learned; expected a model that was trained with uniform"
            " attention (mesascope train NAME-uniform -o FILE)"
        )
    tokenizers = [of.source.facts.get("tokenizer_sha256") for of in (subject, twin)]
    if tokenizers[0] != tokenizers[1]:
        raise UsageError(
            f"uniform = {twin.source.label}: its tokenizer is another one than that of {subject.source.label}; expected"
            " a model that reads the same tokens"
        )


def _kind(subject: Subject) -> str:
    """What a twin must be as well, in words."""
    if isinstance(subject, CopyModel):
        config = subject.config
        return f"a copy model of {config.d_vocab:,} words, {config.n_ctx:,} places and {_heads(config.n_heads)}"
    if isinstance(subject, LanguageModel):
        shape = subject.shape
        layers = f"{shape.n_layers} layer{'s' * (shape.n_layers > 1)}"
        return f"a language model of {shape.d_vocab:,} words, {layers} and {_heads(shape.n_heads)} in each"
    return "neither a copy model nor a language model"


def _heads(n: int) -> str:
    return f"{n} head{'s' * (n > 1)}"
