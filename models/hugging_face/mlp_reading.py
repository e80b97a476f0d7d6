"""By which modules the MLPs of Hugging Face models read: found by what they read, whatever they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..mlp_reading import MlpReading, reading_name
from ..subject import NotApplicable
from .anatomy import Block, is_linear
from .layer import Layer, is_norm, same
from .stored import Stored, not_own
from .stream import Writes

_PARALLEL = (
    "its attention and its MLP read the same state side by side, so what the attention of a layer brings from the"
    " context does not enter the MLP of that layer"
)
_NO_MATRIX = "no matrix was found that multiplies what its MLPs read"
_EXPERTS = "its MLPs are mixtures of experts, so that which matrices read is another question at every token"
_UNLIKE = "the MLPs of its layers are not alike"


class ProjectedReading(MlpReading):
    """Of a Hugging Face model, by the parameters of each layer: one, or a gate and what it multiplies."""

    def __init__(self, stored: Sequence[Sequence[Stored]], norms: Sequence[nn.Module | None]) -> None:
        self._stored, self._norms = stored, norms

    def read(self, parameters: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "d_model width"]]:
        return {
            reading_name(layer): torch.cat([one.rows(parameters[one.name]) for one in held], dim=-1)
            for layer, held in enumerate(self._stored)
        }

    def write(
        self, matrices: Mapping[str, Float[Tensor, "d_model width"]], parameters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        written = {}
        for layer, held in enumerate(self._stored):
            widths = [one.rows(parameters[one.name]).shape[-1] for one in held]
            parts = matrices[reading_name(layer)].split(widths, dim=-1)
            written |= {one.name: one.rows(part) for one, part in zip(held, parts, strict=True)}
        return written

    def input(self, resid_mid: Float[Tensor, "*batch d_model"], layer: int) -> Float[Tensor, "*batch d_model"]:
        norm = self._norms[layer]
        return resid_mid if norm is None else norm(resid_mid)


def reading_of(module: nn.Module, blocks: Sequence[Block]) -> ProjectedReading | NotApplicable:
    """What the MLPs of a model read, and by which parameters."""
    anatomy = blocks[0].anatomy
    if anatomy.parallel:
        return NotApplicable(_PARALLEL)
    within = next((f"{path.split('.')[0]}." for path in anatomy.mlp_in if "." in path), "")
    if any(_has_experts(block, within) for block in blocks):
        return NotApplicable(_EXPERTS)
    if not anatomy.mlp_in:
        return NotApplicable(_NO_MATRIX)
    needed = {*anatomy.mlp_in, *(() if anatomy.mlp_norm is None else (anatomy.mlp_norm,))}
    if any(not needed <= {path for path, _ in block.module.named_modules()} for block in blocks):
        return NotApplicable(_UNLIKE)
    names = {part: name for name, part in module.named_modules()}
    stored = [[Stored.of(block.part(path), names) for path in anatomy.mlp_in] for block in blocks]
    if (reason := not_own(module, [one.name for held in stored for one in held])) is not None:
        return NotApplicable(f"{reason}; expected the matrices by which each MLP reads")
    return ProjectedReading(
        stored, [None if anatomy.mlp_norm is None else block.part(anatomy.mlp_norm) for block in blocks]
    )


def _has_experts(block: Block, within: str) -> bool:
    """Whether a parameter below a path holds several matrices. Those of convolutions are none."""
    return any(
        parameter.ndim > 2
        for path, part in block.module.named_modules()
        if path.startswith(within) and not isinstance(part, nn.modules.conv._ConvNd)
        for parameter in part.parameters(recurse=False)
    )


def reads(layer: Layer, written: Writes) -> dict[str, Any]:
    """What the MLP of a layer reads, and by what: fields of `Anatomy`. Of what ran after attention had written, the
    first linear module in the stream's width, all others that read the same, and the norm that wrote it.
    """
    if written.attn_out is None or written.parallel:
        return {}
    ended = next(n for n, call in enumerate(layer.calls) if call.path == written.attn_out)
    after = layer.calls[ended + 1 :]
    linear = [call for call in after if is_linear(call.module) and layer.in_stream(call.read) is not None]
    if not linear:
        return {}
    norms = [
        call.path
        for call in after
        if is_norm(call) and same(call.wrote, linear[0].read) and call.path != written.resid_mid
    ]
    return {
        "mlp_norm": min(norms, key=lambda path: path.count("."), default=None),
        "mlp_in": tuple(call.path for call in linear if same(call.read, linear[0].read)),
    }
