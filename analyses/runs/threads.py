"""How many threads a command takes: those asked for, those that the environment names, or a rule about shapes.

Never a timing: the same command on the same model takes the same number, on a busy machine as on a quiet one. Needs no
torch, so that a wrong number is refused at once.
"""

from __future__ import annotations

import os

MOST_THREADS = 1024
"""That a command can ask for, and a report be believed to have taken."""
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables of the environment that torch, NumPy and SciPy read as they load."""
SMALL = 2**18
"""Numbers of a model's largest matrix below which it gets one thread: 512 x 512. A thousand tokens times a smaller one
take less than the operating system's turn of a process, so that on a busy machine threads wait longer for each other
than they compute."""


def number_of_threads(asked: int | None, largest_matrix: int | None) -> int | None:
    """How many threads to take. None: as many as the libraries take by themselves, by a variable or one a core.

    asked:           by the user
    largest_matrix:  its numbers, of those that tokens are multiplied by; None: nobody knows
    """
    if asked is not None:
        return asked
    if largest_matrix is None or largest_matrix >= SMALL or any(os.environ.get(name) for name in VARIABLES):
        return None
    return 1


def largest_matrix(d_model: int, d_vocab: int = 0) -> int:
    """Numbers of the read-out, or of a square matrix as wide as the residual stream where that is larger."""
    return d_model * max(d_model, d_vocab)


def not_set(asked: int | None, of_blas: int | None) -> list[str]:
    """What a request for threads could not set, in a sentence.

    of_blas:  threads that the BLAS library of NumPy and SciPy says it takes; None: it does not say
    """
    if asked is None or of_blas is not None:
        return []
    return [
        f"--threads {asked} holds for torch only: mesascope cannot set the threads of this BLAS library of NumPy and"
        " SciPy. Set its own variable before the start (for Accelerate VECLIB_MAXIMUM_THREADS)."
    ]
