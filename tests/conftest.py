"""For every test: shapes checked at run time, slow tests only on demand, and a slow transformer to compare with."""

from __future__ import annotations

import dataclasses
import gc
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import cache, partial, wraps
from inspect import isclass
from types import NoneType
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import settings

SAME_SIZES = jaxtyping.jaxtyped("context")
"""Within it an axis has one size."""

RETURNED: ContextVar[tuple[Any] | None] = ContextVar("RETURNED", default=None)
"""What a function has returned, while that is checked."""


def meaning(annotation: Any, names: dict[str, Any]) -> Any:
    """What an annotation, kept as text, stands for; anything, where only a type checker's imports name it."""
    try:
        return eval(annotation, names) if isinstance(annotation, str) else annotation
    except NameError:
        return Any


def checked(function: Any = None, *, typechecker: Callable[[Any], Any]) -> Any:
    """jaxtyping's decorator, which its import hook writes above every function and class, at a fraction of its time.

    It binds every call to a signature and checks arguments twice, also where there are no shapes to compare.
    """
    if function is None:
        return partial(checked, typechecker=typechecker)
    if isclass(function):
        if dataclasses.is_dataclass(function):
            function.__init__ = checked(function.__init__, typechecker=typechecker)
        return function
    hints = {name: meaning(hint, function.__globals__) for name, hint in function.__annotations__.items()}
    function.__annotations__ = hints
    return once_a_kind(function, typechecker) if "jaxtyping" in repr(hints) else typechecker(function)


def once_a_kind(function: Any, typechecker: Callable[[Any], Any]) -> Any:
    """The function with its shapes checked, once for each kind of arguments with each kind of result."""
    fitting: dict[Any, set[Any]] = {}

    @typechecker
    @wraps(function)
    def by_type(*arguments: Any, **keywords: Any) -> Any:
        returned = RETURNED.get()
        return function(*arguments, **keywords) if returned is None else returned[0]

    @wraps(function)
    def with_shapes(*arguments: Any, **keywords: Any) -> Any:
        given = kind(arguments), kind(keywords)
        if given not in fitting:
            with SAME_SIZES:
                result = by_type(*arguments, **keywords)
            fitting[given] = {kind(result)}
            return result
        result = function(*arguments, **keywords)
        made = kind(result)
        if made not in fitting[given]:
            before = RETURNED.set((result,))
            try:
                with SAME_SIZES:
                    by_type(*arguments, **keywords)
            finally:
                RETURNED.reset(before)
            fitting[given].add(made)
        return result

    return with_shapes


def kind(value: Any) -> Any:
    """All of a value that types and shapes speak of, fit to be looked up."""
    return kinds_of(type(value))(value)


@cache
def kinds_of(type_: type) -> Callable[[Any], Any]:
    """`kind` for the values of one type."""
    if issubclass(type_, torch.Tensor | np.ndarray):
        return lambda array: (type_, array.dtype, array.shape)
    if issubclass(type_, tuple | list):
        return lambda values: (type_, *[kinds_of(type(value))(value) for value in values])
    if issubclass(type_, Mapping):
        return lambda held: (type_, *[(kind(key), kind(value)) for key, value in held.items()])
    if issubclass(type_, str | int | NoneType):
        return lambda value: (type_, value)
    return lambda _: type_


# before anything imports mesascope: every annotated shape and type is then checked at each call (an int is a float)
jaxtyping.jaxtyped = checked
jaxtyping.install_import_hook(
    "mesascope", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True, violation_type=TypeError))"
)

# tiny tensors gain nothing from threads, and lose much where cores are shared; other processes learn it by the variable
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile("mesascope", deadline=None, derandomize=True, database=None, max_examples=25)
settings.load_profile("mesascope")


TESTS = pathlib.Path(__file__).parent
FAST = {TESTS / line for line in (TESTS / "fast.txt").read_text().split()}
"""Files and folders that `-m fast` runs: the walls of the house, and formulas without models, some of every room."""


def is_fast(path: pathlib.Path) -> bool:
    return not FAST.isdisjoint((path, *path.parents))


def pytest_configure(config: pytest.Config) -> None:
    """Tests marked `slow` run only where a `-m` expression asks for them."""
    config.option.markexpr = config.option.markexpr or "not slow"


def pytest_ignore_collect(collection_path: pathlib.Path, config: pytest.Config) -> bool | None:
    """With `-m fast` the other files are not even imported, which takes longer than the fast tests do."""
    other = collection_path.name.startswith("test_") and not is_fast(collection_path)
    return True if other and config.option.markexpr == "fast" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if is_fast(item.path) and item.get_closest_marker("slow") is None:
            item.add_marker("fast")


def pytest_collection_finish() -> None:
    """What was imported stays: each full collection of garbage would look through a million objects of torch's."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20230531)


@pytest.fixture(scope="session")
def draw_step() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """A training step's tasks of each seed: tokens [seed, task, token, feature], labels [seed, task, d_out]."""
    return tasks_of_step


def tasks_of_step(tasks: Any, n: int, seeds: Sequence[int], step: int) -> tuple[torch.Tensor, torch.Tensor]:
    from mesascope.data.stream import draw_into

    tokens = np.full((len(seeds), tasks.d_in + tasks.d_out, tasks.n_context + 1, n), np.nan, dtype=np.float32)
    targets = np.full((len(seeds), tasks.d_out, n), np.nan, dtype=np.float32)
    for i, seed in enumerate(seeds):
        draw_into(tokens[i], targets[i], tasks, seed, step)
    return torch.from_numpy(tokens).permute(0, 3, 2, 1), torch.from_numpy(targets).mT


@pytest.fixture(scope="session")
def reference_transformer() -> Callable[..., np.ndarray]:
    """The authors' transformer by loops, from the text of their code: see `transformer_by_loops`."""
    return transformer_by_loops


def transformer_by_loops(
    inputs: np.ndarray,
    layers: list[dict[str, np.ndarray]],
    *,
    n_heads: int = 1,
    d_out: int = 1,
    softmax: bool = False,
    dampening: float = 1.0,
    activation_clip: float | None = None,
    target_only: bool = False,
    query_in_context: bool = False,
    causal: bool = False,
    linear_from: int | None = None,
    embedding: dict[str, np.ndarray] | None = None,
    d_position: int = 0,
    one_hot_positions: bool = False,
    token_order: str = "joint",
) -> np.ndarray:
    """Predictions `[layer, task, d_out]` after each layer; nothing is vectorised, nothing shared with the library.

    layers: one dictionary an application, in the authors' shapes: query, key, value `[d_model, n_heads * k]`, linear
    `[n_heads * k, d_model]`, and where a layer norm precedes it, scale and offset `[d_model]`; of an MLP behind it
    first `[d_model, hidden]` and second `[hidden, d_model]`, and its norm's mlp_scale and mlp_offset.
    embedding: emb, first, first_b, second, second_b
    """
    readouts = np.zeros((len(layers), len(inputs), d_out))
    for task, tokens in enumerate(inputs.astype(np.float64)):
        h = tokens.copy() if token_order == "joint" else _separated(tokens, d_out, token_order == "separate")
        h = np.stack([
            _coded(_embedded(row, embedding), place, d_position, one_hot_positions) for place, row in enumerate(h)
        ])  # fmt: skip
        for number, layer in enumerate(layers):
            x = np.stack([_layer_norm(row, layer) for row in h])
            softmax_here = softmax and (linear_from is None or number < linear_from)
            keys = len(x) if query_in_context else len(x) - 1
            new = h.copy()
            for t in range(len(h)):
                seen = min(keys, t + 1) if causal else keys
                concatenated = np.concatenate(
                    [_head(x, t, seen, layer, n, n_heads, softmax_here) for n in range(n_heads)]
                )
                update = concatenated @ layer["linear"]
                if target_only:
                    update[:-d_out] = 0.0
                new[t] = _clipped(h[t] + dampening * update, activation_clip)
                if "first" in layer:
                    normed = _layer_norm(new[t], layer, "mlp_scale", "mlp_offset")
                    added = _tanh_gelu(normed @ layer["first"]) @ layer["second"]
                    new[t] = _clipped(new[t] + dampening * added, activation_clip)
            h = new
            readouts[number, task] = -h[-1, -d_out:]
    return readouts


def _head(
    x: np.ndarray, t: int, keys: int, layer: dict[str, np.ndarray], head: int, n_heads: int, softmax: bool
) -> np.ndarray:
    """What token t receives through one head: the sum of the values, weighted by its scores."""
    k = layer["query"].shape[1] // n_heads
    columns = range(head * k, (head + 1) * k)
    query = np.array([x[t] @ layer["query"][:, c] for c in columns])
    scores, values = [], []
    for i in range(keys):
        key = np.array([x[i] @ layer["key"][:, c] for c in columns])
        values.append(np.array([x[i] @ layer["value"][:, c] for c in columns]))
        scores.append(float(query @ key))
    if softmax:
        exponentials = np.exp(np.array(scores) / np.sqrt(k) - max(scores) / np.sqrt(k))
        scores = list(exponentials / exponentials.sum())
    return sum((score * value for score, value in zip(scores, values, strict=True)), np.zeros(k))


def _layer_norm(
    row: np.ndarray, layer: dict[str, np.ndarray], scale: str = "scale", offset: str = "offset"
) -> np.ndarray:
    if scale not in layer:
        return row
    centred = row - row.mean()
    return centred / np.sqrt((centred**2).mean() + 1e-5) * layer[scale] + layer[offset]


def _clipped(row: np.ndarray, clip: float | None) -> np.ndarray:
    return row if clip is None else np.minimum(np.maximum(row, -clip), clip)


def _tanh_gelu(row: np.ndarray) -> np.ndarray:
    """The approximation of `jax.nn.gelu`, number by number."""
    return np.array([0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))) for x in row])


def _separated(tokens: np.ndarray, d_out: int, own_slots: bool) -> np.ndarray:
    """x_1, y_1, x_2, y_2, ..., x_q: y in the last numbers of a token of its own, which is as wide as x, or as both."""
    d_in = tokens.shape[1] - d_out
    width = d_in + d_out if own_slots else d_in
    apart = np.zeros((2 * len(tokens) - 1, width))
    for place, token in enumerate(tokens):
        apart[2 * place, :d_in] = token[:d_in]
        if place < len(tokens) - 1:
            apart[2 * place + 1, width - d_out :] = token[d_in:]
    return apart


def _embedded(row: np.ndarray, at: dict[str, np.ndarray] | None) -> np.ndarray:
    if at is None:
        return row
    e = row @ at["emb"]
    return e + _tanh_gelu(e @ at["first"] + at["first_b"]) @ at["second"] + at["second_b"]


def _coded(row: np.ndarray, place: int, width: int, one_hot: bool) -> np.ndarray:
    """The position code behind it: sine and cosine of place * 10000^(-2k/width), k after k; or 1 at its place."""
    code = np.zeros(width)
    if one_hot:
        code[place] = 1.0
        return np.concatenate([row, code])
    for k in range(width // 2):
        angle = place * 10000.0 ** (-2 * k / width)
        code[2 * k], code[2 * k + 1] = np.sin(angle), np.cos(angle)
    return np.concatenate([row, code])
