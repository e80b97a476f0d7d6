"""Opening directories saved by `save_pretrained`, and hub models from the local cache: strictly, offline, without code.

transformers loads a file with all tensors renamed without an error. So mesascope reads the tensors with readers that
execute nothing, compares them with the configuration, passes them to transformers, and compares them again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, revert_weight_conversion
from transformers.initialization import no_init_weights
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING
from transformers.utils import logging

from ...data.errors import CheckpointRefused, nearest
from ..hugging_face.discovery import ENCODER_AND_DECODER
from ..hugging_face.opening_check import opened
from ..hugging_face.subject import HuggingFaceModel, facts_of, identifying, untested_family
from ..subject import Source
from ..weights import weights_sha256
from .catalogue import HUGGING_FACE
from .hub_cache import cached_snapshot, full_revision, step_of
from .in_memory import NO_TOKENIZER
from .safe_files import read_tensors
from .shards import Directory, bound_layers, read_directory
from .tokenizer_files import digest_of_files, open_tokenizer

# buffers that older versions stored with the parameters, and that transformers computes today
_BUFFERS = re.compile(
    r"(?:.*\.)?(?:attn\.(?:masked_)?bias|attention\.(?:masked_)?bias|rotary_emb\.inv_freq|position_ids|token_type_ids)"
)
_OTHER_HEADS = re.compile(  # of BERT's second training task, and of what a model was fine-tuned for
    r"(?:\w+\.)?pooler\..*|cls\.seq_relationship\..*|(?:classifier|score|qa_outputs|pre_classifier)\..*"
)
_CHUNK = 2**20


@dataclass(frozen=True)
class _Match:
    """A file's tensors under the model's names, with the missing head and notes on unused tensors.

    converted:  the names are those of `save_pretrained`, and transformers makes the model's tensors of several of them:
                it writes the experts of a mixture one by one, and computes with them stacked
    """

    tensors: Mapping[str, Tensor]
    missing_head: tuple[str, ...]
    notes: tuple[str, ...]
    converted: bool = False


def open_directory(
    path: str | Path,
    *,
    name: str | None = None,
    revision: str | None = None,
    commit: str | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> HuggingFaceModel:
    """A directory saved by `save_pretrained` as a subject. `dtype` defaults to the checkpoint's own.

    Raises CheckpointRefused for tensors that are missing, surplus, mis-shaped, not floating point, not finite, or
    outside the directory. A model without its head opens with a note; its logits raise UsageError.
    """
    folder = Path(path)
    with _quiet(), _naming(name or folder.name, folder):
        directory = read_directory(folder)
        stored = _read(directory)
        bound_layers(directory.config, len(stored))
        kind, config = _architecture(directory.config)
        empty = _empty(kind, config)
        match = _match(empty, stored)
        own = _common_dtype(match)
        with ThreadPoolExecutor(max_workers=1) as pool:  # hashing releases the GIL
            early = None if match.converted else pool.submit(weights_sha256, identifying(empty, match.tensors))
            _refuse_non_finite(match.tensors)
            module = _fill(kind, config, match, own)
            tokenizer = open_tokenizer(folder)
            # of the tensors that the model computes with, as for a model in memory
            digest = early or pool.submit(weights_sha256, identifying(module, module.state_dict()))
    notes = (*match.notes, *untested_family(config))
    if tokenizer is None:
        notes += (NO_TOKENIZER,)
    source = Source(
        name or folder.name,
        layout=HUGGING_FACE,
        revision=revision,
        path=None if name else str(path),
        commit=commit,
        weights_sha256=digest.result(),
        step=step_of(revision),
        facts=facts_of(module, tokenizer, None if tokenizer is None else digest_of_files(folder)),
        notes=notes,
    )
    module.to(device=torch.device(device), dtype=dtype or own)  # pyright: ignore[reportCallIssue, reportArgumentType]
    no_head = f"the checkpoint has no {match.missing_head[0]!r}" if match.missing_head else None
    return opened(module, source, tokenizer, no_head)


def open_hub(
    model: str,
    revision: str | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> HuggingFaceModel:
    """A hub model from the local cache; nothing is downloaded. The revision "1000" means "step1000"."""
    revision = full_revision(revision)
    snapshot = cached_snapshot(model, revision)
    return open_directory(snapshot, name=model, revision=revision, commit=snapshot.name, device=device, dtype=dtype)


def _read(directory: Directory) -> dict[str, Tensor]:
    files = directory.pickles or tuple(sorted({stored.file for stored in directory.tensors.values()}))
    tensors: dict[str, Tensor] = {}
    for file in files:
        for name, tensor in read_tensors(file).items():
            if name in tensors:
                raise CheckpointRefused(
                    f"{file.name}: {name!r} is in another weight file too; expected each tensor once"
                )
            tensors[name] = tensor
    return tensors


def _architecture(values: Mapping[str, Any]) -> tuple[type[PreTrainedModel], Any]:
    """The class that predicts tokens, and its configuration."""
    model_type = values["model_type"]
    if model_type not in CONFIG_MAPPING:
        raise CheckpointRefused(
            f"config.json: model_type {model_type!r} is not in transformers; {nearest(model_type, CONFIG_MAPPING)}"
        )
    try:
        config = CONFIG_MAPPING[model_type].from_dict(dict(values))
    except Exception as error:  # each family checks its own values, and raises as it likes
        raise CheckpointRefused(f"config.json: {_one_line(error)}") from error
    classes = [
        mapping[type(config)]
        for mapping in (MODEL_FOR_MASKED_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING)
        if type(config) in mapping
    ]
    if getattr(config, "is_encoder_decoder", False):
        raise CheckpointRefused(f"config.json: model_type {model_type!r} is not supported: {ENCODER_AND_DECODER}")
    if not classes:
        raise CheckpointRefused(
            f"config.json: model_type {model_type!r} does not predict tokens; expected a causal or masked language"
            " model"
        )
    named = [found for found in classes if getattr(found, "__name__", "") in (values.get("architectures") or ())]
    return cast(type[PreTrainedModel], (named or classes)[0]), config


def _empty(kind: type[PreTrainedModel], config: Any) -> PreTrainedModel:
    """The model on the meta device: names and shapes without memory."""
    try:
        with no_init_weights(), torch.device("meta"):
            return kind(config)
    except Exception as error:
        raise CheckpointRefused(f"config.json: {_one_line(error)}") from error


def _match(empty: PreTrainedModel, stored: Mapping[str, Tensor]) -> _Match:
    """The file's tensors, matched with the model's names, shapes and dtypes."""
    expected, prefix = empty.state_dict(), f"{empty.base_model_prefix}."
    converted = _is_converted(empty, stored)
    if converted:
        tensors, expected = dict(stored), revert_weight_conversion(empty, expected)
    else:
        tensors = _renamed(empty, stored, prefix, expected)
    notes = [f"not used: {name}" for name in sorted(tensors) if _OTHER_HEADS.fullmatch(name) and name not in expected]
    for name in sorted(set(tensors) - set(expected)):
        if not _BUFFERS.fullmatch(name) and not _OTHER_HEADS.fullmatch(name):
            raise CheckpointRefused(f"surplus tensor {name!r}; {type(empty).__name__} has no tensor of that name")
    missing = _missing(empty, tensors, expected)
    if inner := [name for name in missing if name.startswith(prefix)]:
        raise CheckpointRefused(
            f"{len(missing)} of {len(expected)} tensors are missing, {inner[0]!r} among them; the download may be"
            " incomplete"
        )
    tensors = {name: tensor for name, tensor in tensors.items() if name in expected}
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointRefused(f"{name!r} has shape {list(tensor.shape)}; expected {list(expected[name].shape)}")
        if not expected[name].is_floating_point() and tensor.dtype == expected[name].dtype:
            continue  # a table of whole numbers (experts by token in DeepSeek V4)
        if not tensor.is_floating_point() or tensor.element_size() < 2:
            raise CheckpointRefused(f"{name!r} has dtype {tensor.dtype}; expected 16, 32 or 64-bit floating point")
    notes += [f"the checkpoint has no head ({name} is missing): no logits" for name in missing[:1]]
    return _Match(tensors, tuple(missing), tuple(notes), converted)


def _is_converted(empty: PreTrainedModel, stored: Mapping[str, Tensor]) -> bool:
    """Whether transformers makes the model's tensors of several stored ones."""
    converters = [one for one in get_model_conversion_mapping(empty) if isinstance(one, WeightConverter)]
    return any(one.rename_source_key(name)[1] for one in converters for name in stored)


def _renamed(
    empty: PreTrainedModel, stored: Mapping[str, Tensor], prefix: str, expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The file's tensors under today's names: families renamed tensors, and base models have no prefix."""
    found: dict[str, Tensor] = {}
    transforms = [one for one in get_model_conversion_mapping(empty) if not isinstance(one, WeightConverter)]
    bare = not any(name.startswith(prefix) for name in stored)
    for old, tensor in stored.items():
        name = old
        for transform in transforms:
            name, _ = transform.rename_source_key(name)
        name = prefix + name if bare and name not in expected else name
        if name in found:
            raise CheckpointRefused(f"two tensors have names for {name!r}, one of them {old!r}; expected one")
        found[name] = tensor
    return found


def _missing(empty: PreTrainedModel, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """The names that the file lacks. Of tied tensors, one is enough."""
    tied = dict(getattr(empty, "all_tied_weights_keys", None) or {})
    partners = {**tied, **{source: target for target, source in tied.items()}}
    return [name for name in expected if name not in tensors and partners.get(name) not in tensors]


def _refuse_non_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise CheckpointRefused for infinite numbers and NaN, by pieces to save memory. A finite sum has finite terms."""
    for name, tensor in tensors.items():
        for piece in tensor.reshape(-1).split(_CHUNK):
            if not torch.isfinite(piece.sum()) and not torch.isfinite(piece).all():
                value = float(piece[~torch.isfinite(piece)][0])
                raise CheckpointRefused(f"{name!r} holds {value}; expected finite weights")


def _common_dtype(match: _Match) -> torch.dtype:
    """The dtype of most numbers: some checkpoints store their norms in a wider one."""
    counts: dict[torch.dtype, int] = {}
    for tensor in match.tensors.values():
        if tensor.is_floating_point():
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.numel()
    return max(counts, key=lambda dtype: counts[dtype])


def _fill(kind: type[PreTrainedModel], config: Any, match: _Match, dtype: torch.dtype) -> PreTrainedModel:
    """The model with the file's tensors, compared with them again."""
    try:
        with torch.random.fork_rng(devices=[]):  # a missing head is initialised at random; its logits raise UsageError
            module = kind.from_pretrained(
                None, config=config, state_dict=dict(match.tensors), dtype=dtype, local_files_only=True
            )
    except Exception as error:
        raise CheckpointRefused(f"transformers cannot load it ({_one_line(error)})") from error
    state = module.state_dict()
    if match.converted:
        state = revert_weight_conversion(module, state)
    for name, tensor in match.tensors.items():
        if state[name].data_ptr() != tensor.data_ptr() and not torch.equal(state[name], tensor.to(state[name].dtype)):
            raise CheckpointRefused(
                f"{name!r} differs from the tensor that transformers ties it to; expected equal tensors; untie or"
                " re-save the model"
            )
    return module


@contextmanager
def _naming(name: str, folder: Path) -> Iterator[None]:
    """Put the model's name before every CheckpointRefused that does not name the directory."""
    try:
        yield
    except CheckpointRefused as error:
        if str(folder) in str(error):
            raise
        raise CheckpointRefused(f"{name}: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers, and restore the caller's logging settings afterwards."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(50)  # CRITICAL
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
