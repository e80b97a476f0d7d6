"""The numerical check of a declared layout: what the model answers to the samples that came with the file."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...data.errors import CheckpointRefused, UsageError
from ...data.npz import read_npz
from ..own.attention_only import AttentionOnlyTransformer
from ..subject import Regressor
from ..token_layout import TokenLayout
from .declarations import Declaration

UNCHECKED = "the layout was not checked numerically: it declares no samples"


@torch.no_grad()
def checked_tokens(declaration: Declaration, module: AttentionOnlyTransformer) -> str:
    """Compare a language model with the declaration's samples. Returns the note on the result."""
    if declaration.samples is None:
        return UNCHECKED
    arrays = read_npz(declaration.samples, UsageError)
    if "tokens" not in arrays or len({"logits", "loss"} & set(arrays)) != 1:
        raise UsageError(
            f"{declaration.samples.name}: holds {sorted(arrays)}; expected tokens, and either logits or loss"
        )
    dtypes = {name: array.dtype for name, array in arrays.items()}
    if dtypes["tokens"].kind not in "iu" or any(
        dtypes[name].kind != "f" for name in ("logits", "loss") if name in dtypes
    ):
        found = ", ".join(f"{name} {dtype}" for name, dtype in sorted(dtypes.items()))
        raise UsageError(
            f"{declaration.samples.name}: dtypes {found}; expected integer tokens, floating-point logits or loss"
        )
    tokens = torch.from_numpy(arrays["tokens"].astype("int64"))
    vocabulary, longest = module.config.d_vocab, module.config.n_ctx
    if tokens.ndim != 2 or tokens.shape[1] > longest or not bool(((tokens >= 0) & (tokens < vocabulary)).all()):
        raise UsageError(
            f"{declaration.samples.name}: tokens of shape {list(tokens.shape)} do not fit; expected [batch, pos] with"
            f" at most n_ctx = {longest} positions, and ids from 0 to {vocabulary - 1}"
        )
    logits = module(tokens).double()
    if "loss" in arrays:
        what, expected = "loss", torch.from_numpy(arrays["loss"]).double()
        found = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    else:
        what, expected, found = "logits", torch.from_numpy(arrays["logits"]).double(), logits
    if found.shape != expected.shape:
        shape = list(found.shape)
        raise UsageError(f"{declaration.samples.name}: {what} of shape {list(expected.shape)}; expected {shape}")
    difference = float((found - expected).abs().max())
    if not difference <= declaration.tolerance:
        raise CheckpointRefused(
            f"with the layout {declaration.name}, mesascope misses the {what} of {declaration.samples.name} by"
            f" {difference:.3g}; expected at most {declaration.tolerance:.3g}; an axis may be in the wrong place"
        )
    return f"the layout was checked: it reproduces the {what} of {declaration.samples.name} within {difference:.1g}"


@torch.no_grad()
def checked_tasks(declaration: Declaration, subject: Regressor, layout: TokenLayout, sign: int, readout: str) -> str:
    """Compare a regressor with the declaration's samples. Returns the note on the result.

    layout:   where x and y stand in the tokens that the subject itself reads
    sign:     what the subject's predictions are multiplied by to give those of the file's model
    readout:  the declared sign of the file's model
    """
    if declaration.samples is None:
        return UNCHECKED
    inputs, expected = _tasks(declaration.samples.name, read_npz(declaration.samples, UsageError), subject)
    difference = float((sign * _answers(subject, layout, inputs) - expected).abs().max())
    if difference <= declaration.tolerance:
        return (
            f"the layout was checked: it reproduces the predictions of {declaration.samples.name} within"
            f" {difference:.1g}"
        )
    fitting = "an axis may be in the wrong place; no other order of the tokens fits, and no other sign"
    for other in dict.fromkeys((layout, *subject.layouts())):
        answers = _answers(subject, other, inputs)
        for turned, name in ((sign, readout), (-sign, "+" if readout == "-" else "-")):
            if float((turned * answers - expected).abs().max()) <= declaration.tolerance:
                fitting = f"they fit with order = {other.order!r}, label_slot = {other.slot}, readout = {name!r}"
    raise CheckpointRefused(
        f"with the layout {declaration.name}, mesascope misses the predictions of {declaration.samples.name} by"
        f" {difference:.3g}; expected at most {declaration.tolerance:.3g}; {fitting}"
    )


def _tasks(file: str, arrays: dict[str, np.ndarray], subject: Regressor) -> tuple[Tensor, Tensor]:
    """Inputs [task, token, d_in + d_out] and predictions [task, d_out] of the samples."""
    if set(arrays) != {"inputs", "predictions"} or any(array.dtype.kind != "f" for array in arrays.values()):
        raise UsageError(f"{file}: holds {sorted(arrays)}; expected inputs and predictions, in floating point")
    inputs, expected = (torch.from_numpy(arrays[name]).double() for name in ("inputs", "predictions"))
    width = subject.d_in + subject.d_out
    if inputs.ndim != 3 or inputs.shape[2] != width or expected.numel() != len(inputs) * subject.d_out:
        raise UsageError(
            f"{file}: inputs {list(inputs.shape)} and predictions {list(expected.shape)} do not fit; expected inputs"
            f" [task, token, {width}], x and then y with the query last, and predictions [task, {subject.d_out}]"
        )
    return inputs, expected.reshape(len(inputs), subject.d_out)


def _answers(subject: Regressor, layout: TokenLayout, inputs: Tensor) -> Tensor:
    return subject.read_as(layout).predict(inputs.to(subject.dtype)).double()
