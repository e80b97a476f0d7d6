"""W_K and W_V of Hugging Face models: matrices of their own, or slices of a projection that holds q, too."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import get_args

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..key_values import KeyValuePlaces, Role, matrix_name
from ..subject import NotApplicable
from .anatomy import Block
from .fused import Fused
from .stored import Stored, not_own

_NOT_MATRICES = "its k and v are not products of one matrix each with what attention reads; expected W_K and W_V"


class ProjectedKeyValues(KeyValuePlaces):
    """Of a Hugging Face model, by the parameters that hold them in each layer.

    fused:  how q, k and v lie in one parameter; None: W_K and W_V have one each
    """

    def __init__(
        self, stored: Sequence[Mapping[Role, Stored]], fused: Fused | None, n_kv_heads: int, layers: Sequence[str]
    ) -> None:
        self._stored, self._fused, self._n_kv_heads = stored, fused, n_kv_heads
        self._prefixes = tuple(f"{layer}." for layer in layers)

    def read(self, parameters: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "kv_head d_model d_head"]]:
        found = {}
        for layer, by_role in enumerate(self._stored):
            for role, stored in by_role.items():
                weight = stored.rows(parameters[stored.name])
                if self._fused is None:
                    matrix = rearrange(weight, "m (h d) -> h m d", h=self._n_kv_heads)
                else:
                    matrix = rearrange(self._fused.split(weight)["QKV".index(role)], "m h d -> h m d")
                found[matrix_name(role, layer)] = matrix
        return found

    def write(
        self, matrices: Mapping[str, Float[Tensor, "kv_head d_model d_head"]], parameters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        written = {}
        for layer, by_role in enumerate(self._stored):
            for role, stored in by_role.items():
                if self._fused is None:
                    weight = rearrange(matrices[matrix_name(role, layer)], "h m d -> m (h d)")
                else:
                    q, _, _ = self._fused.split(stored.rows(parameters[stored.name]))
                    k, v = (rearrange(matrices[matrix_name(one, layer)], "h m d -> m h d") for one in get_args(Role))
                    weight = self._fused.fuse([q, k, v])
                written[stored.name] = stored.rows(weight)
        return written

    def in_layers(self, name: str) -> bool:
        return name.startswith(self._prefixes)


def places_of(module: nn.Module, blocks: Sequence[Block]) -> ProjectedKeyValues | NotApplicable:
    """Where the layers of a model keep W_K and W_V."""
    anatomy = blocks[0].anatomy
    if anatomy.projections is None:
        return NotApplicable(_NOT_MATRICES)
    names = {part: name for name, part in module.named_modules()}
    stored: list[dict[Role, Stored]] = []
    for block in blocks:
        parts = {role: block.part(path) for role, path in zip(get_args(Role), anatomy.projections[1:], strict=True)}
        stored.append({role: Stored.of(part, names) for role, part in parts.items()})
    held = itertools.chain(*([one.name for one in by_role.values()] for by_role in stored))
    if (reason := not_own(module, list(held), times=1 if anatomy.fused is None else 2)) is not None:
        return NotApplicable(f"{reason}; expected W_K and W_V of each layer")
    return ProjectedKeyValues(stored, anatomy.fused, anatomy.n_kv_heads, [names[block.module] for block in blocks])
