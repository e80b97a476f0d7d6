"""Reads off a survey where the parts of a model are: by what they read and write, whatever they are called."""

from __future__ import annotations

from itertools import takewhile
from typing import Any, cast

from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...data.errors import CheckpointRefused
from ..opening_check import TOLERANCES
from .anatomy import Anatomy
from .layer import Layer, is_norm, same
from .mlp_reading import reads
from .projecting import output_matrix, projections
from .stack import find_stack, heads_of
from .stream import NOT_FOUND, Writes, writes
from .survey import Survey, survey

ENCODER_AND_DECODER = (
    "it is an encoder with a decoder; expected one stack of layers: give the encoder or the decoder alone"
)


def find_anatomy(base: PreTrainedModel, tokens: Int[Tensor, "batch pos"]) -> Anatomy:
    """Where the parts of a model are, from one short pass. Raises CheckpointRefused with the part that is missing.

    The parts are looked for in one block; the opening check compares every one. It is the block with the fewest modules
    that write zeros only, since those of ablated or pruned layers tell nothing of where the parts are.
    """
    if getattr(base.config, "is_encoder_decoder", False):
        raise CheckpointRefused(ENCODER_AND_DECODER)
    found, tolerance = survey(base, tokens), TOLERANCES[base.dtype]
    stack = find_stack(base, found)
    attended = stack.attended or [None] * stack.size
    layers = [Layer.of(found, path, one) for path, one in zip(stack.paths, attended, strict=True)]
    layer = min(reversed(layers), key=lambda one: sum(not call.wrote.any() for call in one.calls))
    written = writes(layer, tolerance, base.config)
    if not all(_has(base, path, written) for path in stack.paths):
        written = NOT_FOUND
    return Anatomy(
        embed=_embed(found, tokens),
        blocks=stack.path,
        d_model=layer.pre.shape[-1],
        final_norm=_final_norm(found, stack.paths[-1]),
        embed_norm=_embed_norm(found, stack.paths[0]),
        no_heads=stack.no_heads,
        **written._asdict(),
        **reads(layer, written),
        **cast(Any, heads_of(stack, base.config, layer.pre.shape[-1]))
        | _attention(base.get_submodule(stack.paths[layers.index(layer)]), layer, tolerance),
    )


def _has(base: PreTrainedModel, block: str, written: Writes) -> bool:
    """Whether a block has the modules that write in another (layers of a hybrid differ)."""
    paths = {path for path, _ in base.get_submodule(block).named_modules()}
    return {written.attn_out, written.mlp_out} <= paths


def _attention(block: nn.Module, layer: Layer, tolerance: float) -> dict[str, Any]:
    """What belongs to attention: fields of `Anatomy`."""
    attended = layer.attended
    if attended is None:
        return {"attention": None, "out": None}
    found: dict[str, Any] = {"attention": _path_of(block, attended.module), "out": output_matrix(layer, attended)}
    inside = projections(layer, attended, tolerance)
    norms = None if inside is None else _norms_before(layer, inside.paths[0])
    if inside is None or norms is None:
        return found
    return found | {
        "norm": next(iter(norms), None),
        "n_kv_heads": inside.n_kv_heads,
        "projections": inside.paths,
        "fused": inside.fused,
        "head_norms": inside.head_norms,
    }


def _embed(found: Survey, tokens: Int[Tensor, "batch pos"]) -> str:
    """The module that reads token ids and writes vectors."""
    for call in found.calls:
        if same(call.read, tokens) and call.wrote.is_floating_point():
            return call.path
    raise CheckpointRefused("none of its modules turns token ids into embeddings")


def _path_of(root: nn.Module, wanted: nn.Module) -> str:
    return next(path for path, module in root.named_modules() if module is wanted)


def _norms_before(layer: Layer, projection: str) -> list[str] | None:
    """The modules between the stream and a projection, a norm first; none where it reads the stream, and None where
    it reads something else.
    """
    before = layer.calls[: layer.start]
    reading = next(call for call in before if call.path == projection)
    if same(reading.read, layer.pre):
        return []
    fitting = [call for call in before if same(call.wrote, reading.read) and same(call.read, layer.pre)]
    return [call.path for call in sorted(fitting, key=lambda call: not is_norm(call))] or None


def _final_norm(found: Survey, last_block: str) -> str | None:
    """The norm between the last block and the output; None where there is nothing between them."""
    number, block = next((n, call) for n, call in enumerate(found.calls) if call.path == last_block)
    if same(block.wrote, found.output):
        return None
    for call in found.calls[number + 1 :]:
        if is_norm(call) and same(call.read, block.wrote) and same(call.wrote, found.output):
            return call.path
    raise CheckpointRefused("what follows its last layer is not one norm")


def _embed_norm(found: Survey, first_block: str) -> str | None:
    """The norm whose output enters the first block; None where there is no norm."""
    entering = next(call.read for call in found.calls if call.path == first_block)
    before = takewhile(lambda call: not call.path.startswith(f"{first_block}."), found.calls)
    return next((call.path for call in before if is_norm(call) and same(call.wrote, entering)), None)
