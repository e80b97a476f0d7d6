"""Results that the seeds of a family share because they are examined on the same tasks."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from ...data.batch import Batch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_RESULTS: WeakKeyDictionary[Batch, dict[Any, Any]] = WeakKeyDictionary()


def once_per_batch(
    function: Callable[Concatenate[Batch, Arguments], Result],
) -> Callable[Concatenate[Batch, Arguments], Result]:
    """Remember the results of `function(batch, …)` for as long as that very batch is alive, and no longer.

    The other arguments are hashable, and a result does not hold the batch.
    """

    @wraps(function)
    def remembered(batch: Batch, *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        results = _RESULTS.setdefault(batch, {})
        key = (function, arguments, tuple(named.items()))
        if key not in results:
            results[key] = function(batch, *arguments, **named)
        return results[key]

    return remembered


class LastResult:
    """Keeps the result of its last call, and gives it again to a call that is the same.

    Whoever owns this object decides how long the result is kept.
    """

    def __init__(self) -> None:
        self._call: Any = None
        self._result: Any = None

    def __call__(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        call = (function, arguments, named)
        if call != self._call:
            self._result = function(*arguments, **named)
            self._call = call
        return self._result
