"""Normal random numbers that an initialisation would write over are not drawn.

transformers' `init_weights` fills some matrices twice or more: of GPT-2 small it draws 198 million numbers for 124
million weights, since output matrices get a narrower law afterwards and tied unembeddings are replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class _Law(NamedTuple):
    """What a whole tensor is to be filled with."""

    tensor: Tensor
    mean: float
    std: float


class DrawnOnce(TorchFunctionMode):
    """Within it `normal_` waits, if it is to fill a whole tensor: until anything else is done with that tensor, which
    then sees the numbers, or until `draw`. Another `normal_` takes its place.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[int, _Law] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        # torch's function, its method, and transformers' function in its place have the same name and arguments
        law = _law(*args, **given) if getattr(func, "__name__", "") == "normal_" else None
        if law is not None:
            self._waiting[_memory(law.tensor)] = law
            return law.tensor
        self.draw(_tensors((args, given)))
        return func(*args, **given)

    def draw(self, tensors: Iterable[Tensor]) -> None:
        """Fill those of the tensors that wait for it, in this order."""
        for tensor in tensors:
            law = self._waiting.pop(_memory(tensor), None) if self._waiting else None
            if law is not None:
                with torch.no_grad():
                    law.tensor.normal_(law.mean, law.std)


def _law(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: torch.Generator | None = None) -> _Law | None:
    """None where the numbers have to be drawn at once: from somebody's generator, or for a part of some memory."""
    whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.itemsize
    return _Law(tensor, mean, std) if generator is None and whole else None


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(held: Any) -> Iterator[Tensor]:
    if isinstance(held, Tensor):
        yield held
    elif isinstance(held, list | tuple):
        for one in held:
            yield from _tensors(one)
    elif isinstance(held, Mapping):
        yield from _tensors(list(held.values()))
