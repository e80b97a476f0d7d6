"""W_K and W_V of Hugging Face models: matrices of their own, or slices of a projection that holds q, too."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ..key_values import KeyValuePlaces, Role, matrix_name
from ..subject import NotApplicable
from .anatomy import Block
from .fused import Fused

_NOT_MATRICES = "its k and v are not products of one matrix each with what attention reads; expected W_K and W_V"
_NOT_OWN = (
    "{} is no parameter of its own: layers share it, or it is made of others (adapters, quantised weights); expected"
    " W_K and W_V of each layer"
)


@dataclass(frozen=True)
class _Stored:
    """A parameter that holds projections.

    columns:  it is stored as [d_in, d_out] (Conv1D); otherwise as [d_out, d_in]
    fused:    how q, k and v lie in it; None: it is W_K or W_V alone
    """

    name: str
    columns: bool
    fused: Fused | None

    def rows(self, weight: Tensor) -> Tensor:
        """For activations as rows, and back: [d_in, d_out] <-> as stored."""
        return weight if self.columns else weight.mT


class ProjectedKeyValues(KeyValuePlaces):
    """Of a Hugging Face model, by the parameters that hold them in each layer; where they are fused, one for both."""

    def __init__(self, stored: Sequence[Mapping[Role, _Stored]], n_kv_heads: int, layers: Sequence[str]) -> None:
        self._stored, self._n_kv_heads = stored, n_kv_heads
        self._prefixes = tuple(f"{layer}." for layer in layers)

    def read(self, parameters: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "kv_head d_model d_head"]]:
        found = {}
        for layer, by_role in enumerate(self._stored):
            for role, stored in by_role.items():
                weight = stored.rows(parameters[stored.name])
                if stored.fused is None:
                    matrix = rearrange(weight, "m (h d) -> h m d", h=self._n_kv_heads)
                else:
                    matrix = rearrange(stored.fused.split(weight)["QKV".index(role)], "m h d -> h m d")
                found[matrix_name(role, layer)] = matrix
        return found

    def write(
        self, matrices: Mapping[str, Float[Tensor, "kv_head d_model d_head"]], parameters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        written = {}
        for layer, by_role in enumerate(self._stored):
            for role, stored in by_role.items():
                if stored.fused is None:
                    weight = rearrange(matrices[matrix_name(role, layer)], "h m d -> m (h d)")
                else:
                    q, _, _ = stored.fused.split(stored.rows(parameters[stored.name]))
                    k, v = (rearrange(matrices[matrix_name(one, layer)], "h m d -> m h d") for one in get_args(Role))
                    weight = stored.fused.fuse([q, k, v])
                written[stored.name] = stored.rows(weight)
        return written

    def in_layers(self, name: str) -> bool:
        return name.startswith(self._prefixes)


def places_of(module: nn.Module, blocks: Sequence[Block]) -> ProjectedKeyValues | NotApplicable:
    """Where the layers of a model keep W_K and W_V."""
    anatomy = blocks[0].anatomy
    if anatomy.projections is None:
        return NotApplicable(_NOT_MATRICES)
    own, names = dict(module.named_parameters()), {part: name for name, part in module.named_modules()}
    stored: list[dict[Role, _Stored]] = []
    for block in blocks:
        by_role: dict[Role, _Stored] = {}
        for role, path in zip(get_args(Role), anatomy.projections[1:], strict=True):
            part = block.part(path)
            by_role[role] = _Stored(f"{names[part]}.weight", isinstance(part, Conv1D), anatomy.fused)
        stored.append(by_role)
    named = [[one.name for one in by_role.values()] for by_role in stored]
    times = Counter(own[name].data_ptr() for names in named for name in names if name in own)
    for name in itertools.chain(*named):
        if name not in own or times[own[name].data_ptr()] != (1 if anatomy.fused is None else 2):
            return NotApplicable(_NOT_OWN.format(name))
    return ProjectedKeyValues(stored, anatomy.n_kv_heads, [names[block.module] for block in blocks])
