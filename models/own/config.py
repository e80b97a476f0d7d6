"""Checks of a module's parameters against its configuration."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...data.errors import CheckpointRefused


def check_shapes(parameters: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises CheckpointRefused unless the parameters have exactly these names and shapes."""
    if set(parameters) != set(shapes):
        missing, surplus = sorted(set(shapes) - set(parameters)), sorted(set(parameters) - set(shapes))
        raise CheckpointRefused(
            f"parameters do not match the configuration: missing {missing[:5]}, surplus {surplus[:5]}"
        )
    for name, shape in shapes.items():
        if (found := tuple(parameters[name].shape)) != shape:
            raise CheckpointRefused(f"{name} has shape {list(found)}; expected {list(shape)}")
