"""Finds the list of a model's layers in a survey, and what each of them attended with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from ...data.errors import CheckpointRefused
from .layer import same
from .survey import Attended, Survey

OWN_CODE = "it computes attention in its own code, not by the attention function of transformers"


@dataclass(frozen=True, eq=False)
class Stack:
    """The layers of a model.

    path:      of the list, from the base model
    size:      how many layers there are
    attended:  the call of attention in each layer; None: there is not one call of one kind in each
    no_heads:  why not
    """

    path: str
    size: int
    attended: Sequence[Attended] | None
    no_heads: str | None = None

    @property
    def paths(self) -> list[str]:
        return [f"{self.path}.{number}" for number in range(self.size)]


def find_stack(base: PreTrainedModel, found: Survey) -> Stack:
    """The layers: each calls the attention function once, all with as many and as wide heads. Where they do not, the
    list whose members hand the stream on to each other, and the heads are not shown.

    Raises CheckpointRefused if there is neither, and for attention outside the list.
    """
    path = _attending(base, found)
    no_heads = OWN_CODE if path is None else _unlike(base.get_submodule(path), found.attended)
    if path is not None and no_heads is None:
        return Stack(path, len(found.attended), found.attended)
    chain = _chain(base, found)
    if chain is None or _declared_heads(base.config) is None:
        raise CheckpointRefused(str(no_heads))
    return Stack(*chain, None, no_heads)


def heads_of(stack: Stack, config: Any, d_model: int) -> dict[str, int]:
    """n_heads, n_kv_heads and d_head: as they attend, or as the configuration declares them."""
    if stack.attended is not None:
        one = stack.attended[0]
        return {"n_heads": one.q.shape[1], "n_kv_heads": one.k.shape[1], "d_head": one.v.shape[-1]}
    n_heads, declared = _declared_heads(config), config.get_text_config().to_dict()
    assert n_heads is not None  # asked by `find_stack`
    n_kv_heads, d_head = (declared.get(name) for name in ("num_key_value_heads", "head_dim"))
    return {"n_heads": n_heads, "n_kv_heads": n_kv_heads or n_heads, "d_head": d_head or d_model // n_heads}


def _declared_heads(config: Any) -> int | None:
    declared = getattr(config.get_text_config(), "num_attention_heads", None)
    return declared if isinstance(declared, int) and declared > 0 else None


def _attending(base: PreTrainedModel, found: Survey) -> str | None:
    """The path of the list with the most members that call attention; None: no module calls it."""
    calling = {one.module for one in found.attended}
    lists = [(path, members) for path, members in base.named_modules() if isinstance(members, nn.ModuleList)]
    having = {path: sum(any(part in calling for part in member.modules()) for member in members)
              for path, members in lists}  # fmt: skip
    path = max(having, key=having.__getitem__, default=None)
    if path is None or having[path] == 0:
        return None
    inside = {*base.get_submodule(path).modules()}
    if outside := sum(one.module not in inside for one in found.attended):
        raise CheckpointRefused(
            f"{outside} of its {len(found.attended)} attentions are outside {path!r}; expected one stack of layers, an"
            " encoder or a decoder alone"
        )
    return path


def _unlike(blocks: nn.Module, attended: Sequence[Attended]) -> str | None:
    """Why layers do not attend alike; None where they do."""
    calls = Counter(one.module for one in attended)
    if (most := max(calls.values())) > 1:
        return f"one module of attention is called {most} times in a pass; expected once"
    for number, block in enumerate(blocks.children()):
        if (within := sum(part in calls for part in block.modules())) != 1:
            kind = "no attention" if not within else f"attention {within} times"
            return f"its layer {number} calls {kind}; expected one call in each layer"
    if len({(one.q.shape[1], one.q.shape[-1], one.k.shape[1], one.v.shape[-1]) for one in attended}) > 1:
        return "its heads differ in number or width from layer to layer; expected the same in each"
    if any(one.biased for one in attended):
        return "a learned bias for each distance is added to its scores"
    return None


def _chain(base: PreTrainedModel, found: Survey) -> tuple[str, int] | None:
    """Path and size of the longest list whose members are called once each, and read what the one before wrote."""
    longest: tuple[str, int] | None = None
    for path, members in base.named_modules():
        if not isinstance(members, nn.ModuleList) or len(members) <= (longest[1] if longest else 0):
            continue
        calls = [[call for call in found.calls if call.path == f"{path}.{n}"] for n in range(len(members))]
        once = all(len(of_one) == 1 and of_one[0].read.is_floating_point() for of_one in calls)
        if once and all(same(before[0].wrote, after[0].read) for before, after in pairwise(calls)):
            longest = path, len(members)
    return longest
