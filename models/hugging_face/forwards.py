"""Forward methods replaced for a while: projections that give other q and k, and blocks that need not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..taps import Project, ProjectHeads
from .anatomy import Block


@contextmanager
def replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a module answer with another function; its hooks stay."""
    own = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


@contextmanager
def projecting(block: Block, layer: int, project: Project) -> Iterator[None]:
    """Let a layer's projections give other q and k, and zeros for v: who asks for them has v already."""
    anatomy = block.anatomy
    assert anatomy.projections is not None

    def zeros(x: Float[Tensor, "batch pos d_model"]) -> Tensor:
        return x.new_zeros(*x.shape[:-1], anatomy.n_kv_heads * anatomy.d_head)

    with ExitStack() as stack:
        if (fused := anatomy.fused) is not None:

            def all_in_one(x: Float[Tensor, "batch pos d_model"]) -> Tensor:
                q, k = (rearrange(heads(x, layer), "batch head pos d -> batch pos head d") for heads in project)
                return fused.fuse([q, k, zeros(x).unflatten(-1, (anatomy.n_kv_heads, -1))])

            stack.enter_context(replaced(block.part(anatomy.projections[0]), all_in_one))
        else:
            q, k, v = (block.part(path) for path in anatomy.projections)
            for module, heads in zip((q, k), project, strict=True):
                stack.enter_context(replaced(module, _side_by_side(heads, layer)))
            stack.enter_context(replaced(v, zeros))
        yield


def _side_by_side(heads: ProjectHeads, layer: int) -> Callable[[Tensor], Tensor]:
    def forward(x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos width"]:
        return rearrange(heads(x, layer), "batch head pos d -> batch pos (head d)")

    return forward


@contextmanager
def skipping(blocks: Sequence[Block], answer: Any) -> Iterator[None]:
    """Let some blocks answer with what the last of them had answered, without running.

    With a copy of it: the block that reads it may write into it.
    """
    with ExitStack() as stack:
        for block in blocks:
            stack.enter_context(replaced(block.module, lambda *args, **kwargs: _copied(answer)))
        yield


def _copied(answer: Any) -> Any:
    if isinstance(answer, tuple | list):
        return type(answer)(map(_copied, answer))
    return answer.clone() if isinstance(answer, Tensor) else answer
