"""Reading and writing checkpoints in mesascope's format: a `.safetensors` with the configuration in its metadata."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...data.errors import CheckpointRefused
from ...data.recipe import canonical_json
from ...data.writing import write_atomically
from ..copy_models import CopyModel
from ..own.attention_only import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer
from ..own.copy_transformer import CopyConfig, CopyTransformer
from ..own.regression_config import RegressionConfig
from ..own.regression_transformer import RegressionTransformer
from ..own.softmax_layer import SoftmaxLayer, SoftmaxLayerConfig
from ..regressors import TransformerRegressor
from ..softmax_regressors import LayerSoftmaxRegressor
from ..subject import Source
from ..weights import weights_sha256
from .catalogue import COPY_FORMAT, FORMAT, LANGUAGE_FORMAT, SOFTMAX_FORMAT, Header, Member
from .plain_check import checked
from .word_level import read_words, word_level

Config = RegressionConfig | AttentionOnlyConfig | SoftmaxLayerConfig | CopyConfig
Module = RegressionTransformer | AttentionOnlyTransformer | SoftmaxLayer | CopyTransformer
_FORMATS: dict[type[Config], str] = {
    RegressionConfig: FORMAT,
    AttentionOnlyConfig: LANGUAGE_FORMAT,
    SoftmaxLayerConfig: SOFTMAX_FORMAT,
    CopyConfig: COPY_FORMAT,
}
_DTYPES = {torch.float64, torch.float32, torch.float16, torch.bfloat16}


def save_checkpoint(
    path: str | Path,
    config: Config,
    parameters: Mapping[str, Tensor],
    record: Mapping[str, Any] | None = None,
    bos: int | None = None,
    words: Sequence[str] | None = None,
) -> None:
    """Write one checkpoint (names W_Q, …) or a family (names seed0/step500/W_Q, …) atomically.

    bos:    the token that begins a language model's sequences
    words:  the word of each token by id, BOS included, from which a word-level tokenizer is made
    """
    kind = _FORMATS[type(config)]
    metadata = {"format": kind, "config": canonical_json(config.as_dict()), "record": canonical_json(record or {})}
    if bos is not None:
        metadata["bos"] = str(bos)
    if words is not None:
        metadata["words"] = canonical_json(list(words))
    # clones: the format refuses tensors that share memory, and writes them as they lie there
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in parameters.items()
    }
    write_atomically(Path(path), _in_order(save(tensors, metadata)))


def _in_order(content: bytes) -> bytes:
    """The same file with sorted metadata: safetensors writes them in an order that changes from call to call."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # data begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + content[end:]


def open_member(
    header: Header, member: Member | None, name: str, path: str | None
) -> TransformerRegressor | AttentionOnlyModel | LayerSoftmaxRegressor | CopyModel:
    """One checkpoint of a file as a subject. Raises CheckpointRefused for surplus, missing, mis-shaped and non-finite
    tensors.
    """
    prefix = member.prefix if member else ""
    parameters = _read(header, prefix)
    refuse_unusable(parameters, header.path.name)
    try:
        module = _module(header, parameters)
    except CheckpointRefused as error:
        raise CheckpointRefused(f"{header.path.name}: {error}") from error
    source = Source(
        name,
        layout="mesascope",
        revision=member.revision if member else None,
        path=path,
        weights_sha256=weights_sha256(parameters),
        seed=member.seed if member else None,
        step=member.step if member else None,
        facts=module.config.as_dict(),
        record=header.record,
    )
    if isinstance(module, RegressionTransformer):
        return checked(TransformerRegressor(module, source))
    if isinstance(module, SoftmaxLayer):
        return checked(LayerSoftmaxRegressor(module, source))
    if isinstance(module, CopyTransformer):
        return checked(CopyModel(module, source))
    bos, words = _vocabulary(header, module.config.d_vocab)
    digest = None if header.words is None else hashlib.sha256(header.words.encode()).hexdigest()
    source = replace(source, facts={**source.facts, "bos": bos, "tokenizer_sha256": digest})
    tokenizer = None if words is None or bos is None else word_level(words, bos)
    return checked(AttentionOnlyModel(module, source, tokenizer))


def _vocabulary(header: Header, d_vocab: int) -> tuple[int | None, tuple[str, ...] | None]:
    """The token that begins sequences, and every token's word; None for what the file does not hold."""
    bos, words = header.bos, None
    if bos is not None and not (re.fullmatch("0|[1-9][0-9]{0,9}", bos, re.ASCII) and int(bos) < d_vocab):
        raise CheckpointRefused(f"{header.path.name}: bos = {bos!r:.40}; expected a token id below {d_vocab}")
    if header.words is not None:
        try:
            words = read_words(header.words, d_vocab)
        except CheckpointRefused as error:
            raise CheckpointRefused(f"{header.path.name}: {error}") from error
        if bos is None:
            raise CheckpointRefused(
                f"{header.path.name}: the metadata has words but no bos; expected the id of the token that begins"
                " sequences"
            )
    return None if bos is None else int(bos), words


def _module(header: Header, parameters: Mapping[str, Tensor]) -> Module:
    if header.format == LANGUAGE_FORMAT:
        return AttentionOnlyTransformer(AttentionOnlyConfig.from_dict(header.config), parameters)
    if header.format == SOFTMAX_FORMAT:
        return SoftmaxLayer(SoftmaxLayerConfig.from_dict(header.config), parameters)
    if header.format == COPY_FORMAT:
        return CopyTransformer(CopyConfig.from_dict(header.config), parameters)
    return RegressionTransformer(RegressionConfig.from_dict(header.config), parameters)


def _read(header: Header, prefix: str) -> dict[str, Tensor]:
    try:
        with safe_open(header.path, framework="pt", device="cpu") as file:
            return {
                name.removeprefix(prefix): file.get_tensor(name) for name in header.names if name.startswith(prefix)
            }
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointRefused(
            f"{header.path.name}: damaged safetensors ({error}); download or copy it again"
        ) from error


def refuse_unusable(parameters: Mapping[str, Tensor], file: str) -> None:
    """Raise CheckpointRefused unless weights are floating point, of one dtype, and finite."""
    for name, tensor in parameters.items():
        if tensor.dtype not in _DTYPES:
            raise CheckpointRefused(
                f"{file}: {name!r} has dtype {tensor.dtype}; expected float64, float32, float16 or bfloat16"
            )
        if not (finite := torch.isfinite(tensor)).all():
            raise CheckpointRefused(f"{file}: {name!r} holds {float(tensor[~finite][0])}; expected finite weights")
    if len(dtypes := {str(tensor.dtype) for tensor in parameters.values()}) > 1:
        raise CheckpointRefused(
            f"{file}: weights of several dtypes {sorted(dtypes)}; expected one; save it in one dtype"
        )
