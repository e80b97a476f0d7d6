"""The check of every opened file of mesascope's own transformers: its passes beside a plain one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ...data.errors import CheckpointRefused
from ..copy_models import CopyModel
from ..opening_check import TOLERANCES, OpeningCheck, Part, relative_error
from ..own.attention_only import AttentionOnlyModel
from ..own.plain_pass import plain_copies, plain_pass, plain_predictions, plain_softmax_regression
from ..regressors import TransformerRegressor
from ..softmax_regressors import LayerSoftmaxRegressor
from ..subject import Site

_TOKENS, _TASKS = 8, 3
_OTHERS: tuple[tuple[Site, ...], ...] = ((), ("attention",))  # other code runs where no pattern is watched
Own = TypeVar("Own", AttentionOnlyModel, TransformerRegressor, LayerSoftmaxRegressor, CopyModel)


def checked(subject: Own) -> Own:
    """The subject, with the check in its source. Raises CheckpointRefused if a pass differs from the plain one."""
    with torch.no_grad(), np.errstate(all="ignore"):  # numbers that are not finite are reported by the check
        check = _check_of(subject)
    source = subject.source
    name = Path(source.path).name if source.path else source.name
    for part in check.failed:
        raise CheckpointRefused(
            f"{name}: {part} differ from those of a plain pass (relative error {check.errors[part]:.2g}, allowed"
            f" {check.tolerance:g}); this is an error of mesascope, or the weights are far out of range"
        )
    subject.source = replace(source, opening_check=check.as_dict())
    return subject


def _check_of(subject: AttentionOnlyModel | TransformerRegressor | LayerSoftmaxRegressor | CopyModel) -> OpeningCheck:
    if isinstance(subject, AttentionOnlyModel):
        return _of_tokens(subject)
    if isinstance(subject, CopyModel):
        return _of_copies(subject)
    return _of_tasks(subject) if isinstance(subject, TransformerRegressor) else _of_documents(subject)


def _of_tokens(subject: AttentionOnlyModel) -> OpeningCheck:
    """Logits with everything, nothing and attention alone watched; patterns, and those that q and k give."""
    config, rng = subject.config, np.random.default_rng(0)
    tokens = rng.integers(config.d_vocab, size=min(_TOKENS, config.n_ctx))
    plain = plain_pass(config, _arrays(subject.module), tokens)
    given, logits = torch.from_numpy(tokens)[None], bool(config.n_logits)
    trace = subject.run(given, {"pattern": _kept, "attention": _kept}, logits=logits)
    others = (subject.run(given, dict.fromkeys(sites, _kept), logits=logits) for sites in _OTHERS)
    outputs = [trace.output, *(other.output for other in others)]
    patterns = torch.cat(trace.values["pattern"])
    scored = torch.cat([scores.pattern() for scores in trace.values["attention"]])
    return _check(subject.dtype, {
        "logits": [(output[0], plain.output) for output in outputs],
        "patterns": [(patterns, plain.patterns)],
        "scores": [(scored, plain.patterns)],
    })  # fmt: skip


def _of_tasks(subject: TransformerRegressor) -> OpeningCheck:
    """Predictions with nothing and with everything watched."""
    inputs = np.random.default_rng(0).standard_normal((_TASKS, _TOKENS, subject.d_in + subject.d_out))
    inputs[:, -1, subject.d_in :] = 0
    plain = plain_predictions(subject.config, _arrays(subject.module), inputs)
    given = torch.from_numpy(inputs).to(subject.device, subject.dtype)
    outputs = (subject.module(given), subject.module.run(given, {"pattern": _kept}).output)
    return _check(subject.dtype, {"predictions": [(output, plain) for output in outputs]})


def _of_documents(subject: LayerSoftmaxRegressor) -> OpeningCheck:
    """Predictions of softmax regression."""
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((_TASKS, _TOKENS, subject.d_in)), rng.dirichlet(np.ones(_TOKENS), _TASKS)
    plain = plain_softmax_regression(subject.config, _arrays(subject.module), A, b)
    given = (torch.from_numpy(array).to(subject.device, subject.dtype) for array in (A, b))
    return _check(subject.dtype, {"predictions": [(subject.module(*given), plain)]})


def _of_copies(subject: CopyModel) -> OpeningCheck:
    """Logits and patterns of a copy model, and logits made of its read-outs."""
    config = subject.config
    words = np.random.default_rng(0).integers(config.d_vocab, size=config.n_ctx)
    plain = plain_copies(config, _arrays(subject.module), words)
    given = torch.from_numpy(words)[None]
    pattern, read_out = subject.pattern(given), subject.read_out(given)
    return _check(subject.dtype, {
        "logits": [(output[0], plain.output) for output in (subject.logits(given), (pattern @ read_out).mean(dim=1))],
        "patterns": [(pattern, plain.patterns)],
    })  # fmt: skip


def _check(dtype: torch.dtype, pairs: Mapping[Part, list[tuple[Tensor, np.ndarray]]]) -> OpeningCheck:
    errors: dict[Part, float] = {}
    not_compared: dict[Part, str] = {}
    for part, compared in pairs.items():
        if all(found.isfinite().all() and np.isfinite(plain).all() for found, plain in compared):
            errors[part] = max(relative_error(found.cpu(), torch.from_numpy(plain)) for found, plain in compared)
        else:
            not_compared[part] = "numbers on random inputs are not finite"
    return OpeningCheck(TOLERANCES[dtype], errors, not_compared)


def _kept(activation: Any, layer: int) -> Any:
    return activation


def _arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: parameter.detach().double().cpu().numpy() for name, parameter in module.named_parameters()}
