"""Reads off a survey where the parts of a model are: by what they read and write, whatever they are called."""

from __future__ import annotations

from collections import Counter
from itertools import takewhile

from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...data.errors import CheckpointRefused
from ..opening_check import TOLERANCES
from .anatomy import Anatomy, is_linear
from .layer import Layer, is_norm, same
from .projecting import Projections, output_matrix, projections
from .stream import writes
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
    blocks = _blocks(base, found)
    paths = [f"{blocks}.{number}" for number in range(len(found.attended))]
    layers = [Layer.of(found, path, attended) for path, attended in zip(paths, found.attended, strict=True)]
    layer = min(reversed(layers), key=lambda one: sum(not call.wrote.any() for call in one.calls))
    inside = projections(layer, tolerance)
    written = writes(layer, tolerance, base.config)
    return Anatomy(
        embed=_embed(found, tokens),
        blocks=blocks,
        d_model=layer.pre.shape[-1],
        d_head=layer.attended.v.shape[-1],
        n_heads=_n_heads(found),
        n_kv_heads=inside.n_kv_heads if inside else layer.attended.k.shape[1],
        attention=_path_of(base.get_submodule(paths[layers.index(layer)]), layer.attended.module),
        out=output_matrix(layer),
        norm=_norm_before(layer, inside),
        projections=inside.paths if inside else None,
        fused=inside.fused if inside else None,
        head_norms=inside.head_norms if inside else None,
        final_norm=_final_norm(found, paths[-1]),
        embed_norm=_embed_norm(found, paths[0]),
        **written._asdict(),
    )


def _embed(found: Survey, tokens: Int[Tensor, "batch pos"]) -> str:
    """The module that reads token ids and writes vectors."""
    for call in found.calls:
        if same(call.read, tokens) and call.wrote.is_floating_point():
            return call.path
    raise CheckpointRefused("none of its modules turns token ids into embeddings")


def _path_of(root: nn.Module, wanted: nn.Module) -> str:
    return next(path for path, module in root.named_modules() if module is wanted)


def _blocks(base: PreTrainedModel, found: Survey) -> str:
    """The path of the list whose members each call the attention function once."""
    if not found.attended:
        raise CheckpointRefused("it computes attention in its own code, not by the attention function of transformers")
    lists = [(path, module) for path, module in base.named_modules() if isinstance(module, nn.ModuleList)]
    calls = Counter(one.module for one in found.attended)
    if max(calls.values()) > 1:
        raise CheckpointRefused("its layers share modules: one attention is called for several layers")
    most, path, blocks = 0, "", nn.ModuleList()
    for name, members in lists:
        having = sum(any(part in calls for part in member.modules()) for member in members)
        if having > most:
            most, path, blocks = having, name, members
    inside = {part for block in blocks for part in block.modules()}
    if outside := sum(one.module not in inside for one in found.attended):
        raise CheckpointRefused(
            f"{outside} of its {len(found.attended)} attentions are outside {path!r}; expected one stack of layers, an"
            " encoder or a decoder alone"
        )
    for number, block in enumerate(blocks):
        if (within := sum(part in calls for part in block.modules())) != 1:
            kind = "no attention" if not within else f"attention {within} times"
            raise CheckpointRefused(f"its layer {number} calls {kind}; expected one in each layer")
    return path


def _n_heads(found: Survey) -> int:
    sizes = {(one.q.shape[1], one.q.shape[-1], one.k.shape[1], one.v.shape[-1]) for one in found.attended}
    if len(sizes) > 1:
        raise CheckpointRefused("its heads differ in number or width from layer to layer; expected the same in each")
    return sizes.pop()[0]


def _norm_before(layer: Layer, inside: Projections | None) -> str | None:
    """The norm whose output the projections read; None where they read the stream."""
    before = layer.calls[: layer.start]
    first = inside.paths[0] if inside else next((call.path for call in before if is_linear(call.module)), None)
    reading = next((call for call in before if call.path == first), None)
    if reading is None:
        raise CheckpointRefused("no projection comes before its attention")
    if same(reading.read, layer.pre):
        return None
    fitting = [call for call in before if same(call.wrote, reading.read) and same(call.read, layer.pre)]
    if not fitting:
        raise CheckpointRefused("what its projections read is not the output of one norm of the residual stream")
    return min(fitting, key=lambda call: not is_norm(call)).path


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
