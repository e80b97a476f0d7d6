"""Threads of this process: torch's, and those of the BLAS libraries that NumPy and SciPy call. Read, set, put back.

They are part of a result's environment: threads that share a sum can change its last digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import scipy.linalg  # noqa: F401 - loads SciPy's BLAS, so that it is among the libraries that are found
import torch
from threadpoolctl import ThreadpoolController


def blas_threads() -> int | None:
    """The most threads that a BLAS library of NumPy or SciPy takes; None: none of them can be asked (Accelerate)."""
    return max((library["num_threads"] for library in _blas().info()), default=None)


@contextmanager
def threads_set(torch_threads: int | None, blas_threads: int | None) -> Iterator[None]:
    """So many threads within the block, and afterwards as many as before. None leaves a number as it is.

    BLAS libraries that threadpoolctl does not know keep their own.
    """
    before = torch.get_num_threads()
    with _blas().limit(limits=blas_threads):
        if torch_threads is None:
            yield
            return
        torch.set_num_threads(torch_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries of this process; looking for them takes 10 ms."""
    return ThreadpoolController().select(user_api="blas")
