"""Finds what a block adds to the residual stream: the modules whose outputs lead from its input to its output."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..opening_check import relative_error
from .layer import Layer, is_norm, same
from .sizes import declared_numbers
from .survey import Call


class Writes(NamedTuple):
    """Paths of the modules that write, as in `Anatomy`."""

    attn_out: str | None
    mlp_out: str | None
    residual_factor: float = 1.0
    resid_mid: str | None = None
    in_place: bool = False
    parallel: bool = False


NOT_FOUND = Writes(None, None)
"""No two modules lead from the stream before the block to the stream after it."""


def writes(layer: Layer, tolerance: float, config: Any) -> Writes:
    """What attention and MLP write: with pre and post the stream before and after the block,

        post = pre + factor (attn_out + mlp_out)                                  norms before or within
        mid = norm(pre + attn_out),  post = norm(mid + mlp_out)                   norms after (BERT)

    NOT_FOUND if no two modules do.
    """
    found = _added(layer, tolerance, config) or _normed(layer, tolerance)
    if found is None:
        return NOT_FOUND
    written = {found.attn_out, found.mlp_out}
    in_place = any(call.changed_later for call in layer.calls if call.path in written)
    return found._replace(in_place=in_place, parallel=_parallel(layer, found))


def _parallel(layer: Layer, found: Writes) -> bool:
    """Whether nothing reads the stream between attention and MLP: both read what enters the block."""
    if found.resid_mid is not None:
        return False
    write = next(layer.in_stream(call.wrote) for call in layer.calls if call.path == found.attn_out)
    assert write is not None  # it was added to the stream
    step = found.residual_factor * write.double()
    read = [layer.in_stream(call.read) for call in layer.calls[layer.start :]]
    # nearer to the stream after attention than the stream before it is
    return bool(step.any()) and not any(
        (x.double() - layer.pre - step).norm() < step.norm() / 2 for x in read if x is not None
    )


def _added(layer: Layer, tolerance: float, config: Any) -> Writes | None:
    """The pair of outputs whose sum is nearest to the step from pre to post; of equal ones those of outer modules."""
    paths, outputs, first = _outputs(layer)
    step = (layer.post.double() - layer.pre.double()).flatten()
    if not step.any() or not outputs:
        return None
    rows = torch.stack([output.double().flatten() for output in outputs])
    gram, along = rows @ rows.T, rows @ step
    size = gram.diagonal()[:, None] + gram.diagonal() + 2 * gram
    factor = (along[:, None] + along) / size.clamp_min(1e-300)
    left = (step @ step - factor * (along[:, None] + along)).clamp_min(0) / (step @ step)
    number = torch.arange(len(paths), device=left.device)
    # attention's output ends before that of the MLP, unless a parallel MLP ended before attention
    ordered = (number[:, None] >= first) & ((number > number[:, None]) | (number < first))
    left = left.masked_fill(~ordered | (factor <= 0), torch.inf)
    if not left.numel() or left.min().sqrt() > max(tolerance, 1e-6):
        return None
    near = (left <= left.min() * 1.01 + 1e-13).nonzero().tolist()
    a, m = min(near, key=lambda pair: [(paths[n].count("."), n) for n in pair])
    return Writes(paths[a], paths[m], _declared(float(factor[a, m]), config, tolerance))


def _outputs(layer: Layer) -> tuple[list[str], list[Tensor], int]:
    """Paths and outputs of what writes in the shape of the stream; how many of them ended before attention."""
    shaped = [(n, call.path, layer.in_stream(call.wrote)) for n, call in enumerate(layer.calls)]
    kept = [(n, path, output) for n, path, output in shaped if output is not None]
    return [path for _, path, _ in kept], [output for *_, output in kept], sum(n < layer.start for n, *_ in kept)


def _declared(measured: float, config: Any, tolerance: float) -> float:
    """The number that the configuration declares, if it is near to what was measured; 1 before all others."""
    near = [value for value in (1.0, *declared_numbers(config)) if abs(value - measured) <= tolerance * abs(measured)]
    return near[0] if near else measured


def _normed(layer: Layer, tolerance: float) -> Writes | None:
    """Attention and MLP with a norm of the sum after each."""
    after = layer.calls[layer.start :]
    last = next((call for call in after if is_norm(call) and same(call.wrote, layer.post)), None)
    if last is None:
        return None
    for middle in after:
        if not is_norm(middle) or (mid := layer.in_stream(middle.wrote)) is None or middle is last:
            continue
        attn_out = _difference(layer, after, middle.read, layer.pre, tolerance)
        mlp_out = _difference(layer, after, last.read, mid, tolerance)
        if attn_out is not None and mlp_out is not None:
            return Writes(attn_out, mlp_out, resid_mid=middle.path)
    return None


def _difference(layer: Layer, calls: list[Call], whole: Tensor, part: Tensor, tolerance: float) -> str | None:
    """The outermost module whose output is what has to be added to a part."""
    total = layer.in_stream(whole)
    if total is None:
        return None
    fitting = [
        call.path
        for call in calls
        if (output := layer.in_stream(call.wrote)) is not None
        and relative_error(output, total.double() - part.double()) <= tolerance
    ]
    return min(fitting, key=lambda path: path.count("."), default=None)
