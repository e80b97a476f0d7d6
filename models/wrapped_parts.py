"""The parts of a wrapped language model: functions of token ids, and weights, with the sizes that they agree on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..data.errors import TaskError, UsageError, nearest
from .attention import blocks_of
from .norms import Norm, norm_of
from .rotary import Rotary
from .subject import AttentionScores

OfIds = Callable[[Tensor], Tensor]
"""From token ids [batch, pos] to numbers of each of them."""


class Parts(TypedDict, total=False):
    """What can be given of a language model beside its logits; see `from_language_model`."""

    resid_pre: OfIds
    attn_out: OfIds
    resid_mid: OfIds
    mlp_out: OfIds
    resid_post: OfIds
    q: OfIds
    k: OfIds
    v: OfIds
    pattern: OfIds
    z: OfIds
    W_E: Tensor
    W_U: Tensor
    b_U: Tensor
    W_Q: Tensor
    W_K: Tensor
    W_V: Tensor
    W_O: Tensor
    b_Q: Tensor
    b_K: Tensor
    b_V: Tensor
    b_O: Tensor
    attention_norms: Sequence[Norm | nn.Module]
    final_norm: Norm | nn.Module
    rotary: Rotary
    scale: float


_STATES, _QUERIES, _KEYS = "layer batch pos d_model", "layer batch head pos d_head", "layer batch kv_head pos d_head"
ACTIVATIONS: Mapping[str, str] = {
    **dict.fromkeys(("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"), _STATES),
    "q": _QUERIES,
    "k": _KEYS,
    "v": _KEYS,
    "pattern": "layer batch head pos pos",
    "z": _QUERIES,
}
"""The axes of what functions of token ids return."""
WEIGHTS: Mapping[str, str] = {
    "W_E": "d_vocab d_model",
    "W_U": "d_model d_vocab",
    "b_U": "d_vocab",
    "W_Q": "layer head d_model d_head",
    "W_K": "layer kv_head d_model d_head",
    "W_V": "layer kv_head d_model d_head",
    "W_O": "layer head d_head d_model",
    "b_Q": "layer head d_head",
    "b_K": "layer kv_head d_head",
    "b_V": "layer kv_head d_head",
    "b_O": "layer d_model",
}
"""The axes of tensors."""
_PROJECTIONS = ("W_Q", "W_K", "W_V", "W_O")
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "resid_pre": ("resid_post",),
    "resid_post": ("resid_pre",),
    "q": ("k", "pattern"),
    "k": ("q", "pattern"),
    "W_U": ("resid_post",),
    "b_U": ("W_U",),
    "final_norm": ("W_U",),
    "attention_norms": ("W_Q",),
    **dict.fromkeys(_PROJECTIONS, (*_PROJECTIONS, "resid_pre", "attn_out", "pattern")),
    **{f"b_{role}": (f"W_{role}",) for role in "QKVO"},
}
"""Parts without which another one cannot be checked, or says only a half."""


def without(part: str) -> str:
    """Why a part is not shown."""
    return f"the model was wrapped without its {part}; give it with from_language_model(…, {part}=…)"


def check_given(given: Parts) -> None:
    """Raise UsageError for a part that nobody knows, and for one without those that it is checked against."""
    for part in given:
        if part not in Parts.__annotations__:
            raise UsageError(f"part {part!r} is not known; {nearest(part, Parts.__annotations__)}")
        if missing := [needed for needed in _NEEDS.get(part, ()) if needed not in given]:
            raise UsageError(
                f"{part} is given without {' and '.join(missing)}, which mesascope needs to check and to use it; give"
                f" {'them' if len(missing) > 1 else 'it'} too, or leave {part} out"
            )
        if part in ACTIVATIONS and not callable(given[part]):
            raise UsageError(
                f"{part} is a {type(given[part]).__name__}; expected a function from token ids [batch, pos] to numbers"
                f" [{_listed(ACTIVATIONS[part])}]"
            )
        if part in ("rotary", "scale") and not {"q", "W_Q"} & set(given):
            raise UsageError(f"{part} is given without q or W_Q, which alone use it; give q and k, or leave {part} out")


def called(part: str, function: OfIds, tokens: Int[Tensor, "batch pos"]) -> object:
    """What a function answers at first. UsageError where it fails."""
    try:
        with torch.no_grad():
            return function(tokens)
    except Exception as error:  # an unknown function may fail in any way
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UsageError(
            f"the function of {part} fails on random ids shaped {list(tokens.shape)} ({reason}); expected numbers for"
            " every id below d_vocab, in sequences of up to n_ctx"
        ) from error


class Sizes:
    """The sizes of axes, and which part told them."""

    def __init__(self, **known: int) -> None:
        self._known = {axis: (size, axis) for axis, size in known.items()}

    def of(self, axis: str) -> int:
        """0 where no part has such an axis."""
        return self._known.get(axis, (0, ""))[0]

    def bind(self, part: str, axes: str, value: object, **here: int) -> Tensor:
        """The value, if it is a tensor whose axes have the sizes known so far; its other sizes are known from now on.

        here:  sizes that hold for this value alone
        """
        if not isinstance(value, Tensor):
            raise UsageError(f"{part} is a {type(value).__name__}; expected a torch.Tensor [{_listed(axes)}]")
        names, shape = axes.split(), list(value.shape)
        if len(names) != len(shape) or 0 in shape:
            raise UsageError(f"{part} has shape {shape}; expected [{_listed(axes)}], none of them 0")
        for axis, size in zip(names, shape, strict=True):
            known, told_by = (here[axis], "the token ids") if axis in here else self._known.get(axis, (size, part))
            if size != known:
                raise UsageError(
                    f"{part} has shape {shape}; expected [{_listed(axes)}] with {axis} = {known}, as of {told_by}"
                )
            if axis not in here:
                self._known[axis] = (known, told_by)
        return value


def _listed(axes: str) -> str:
    return ", ".join(axes.split())


def as_norm(norm: object, part: str, width: int) -> Norm:
    """A norm as mesascope takes norms apart. CheckpointRefused for a module that is none."""
    if isinstance(norm, Norm):
        return norm
    if isinstance(norm, nn.Module):
        return norm_of(norm, width)
    raise UsageError(f"{part} is a {type(norm).__name__}; expected a models.Norm or the module of a layer or RMS norm")


class Reading:
    """The given activations of some tokens: each function is called once, and only if it is asked for."""

    def __init__(self, given: Parts, sizes: Sizes, tokens: Int[Tensor, "batch pos"], dtype: torch.dtype) -> None:
        self._given, self._sizes, self._tokens, self._dtype = given, sizes, tokens, dtype
        self._read: dict[str, Tensor] = {}

    def __call__(self, part: str) -> Float[Tensor, "layer batch *more"]:
        if part not in self._read:
            function: OfIds = self._given[part]  # pyright: ignore[reportTypedDictNotRequiredAccess]
            batch, pos = self._tokens.shape
            found = self._sizes.bind(part, ACTIVATIONS[part], function(self._tokens), batch=batch, pos=pos)
            wide = torch.promote_types(found.dtype, self._dtype) if part == "pattern" else self._dtype
            self._read[part] = found.detach().to(self._tokens.device, wide)
        return self._read[part]


@dataclass(frozen=True, kw_only=True)
class PatternScores(AttentionScores):
    """A given attention pattern, whose q and k are not known: they are NaN."""

    given: Float[Tensor, "batch head pos pos"]

    @classmethod
    def of_pattern(cls, pattern: Float[Tensor, "batch head pos pos"], causal: bool) -> PatternScores:
        rows = pattern[..., 0]
        unknown = torch.full_like(rows[:1, :1, :1, None], torch.nan).expand(*rows.shape, 1)
        return cls(unknown, unknown, 1.0, torch.zeros_like(rows), causal, given=pattern)

    def scores(self) -> Float[Tensor, "batch head pos pos"]:
        """The pattern's logarithm: the softmax's input, but for a constant in each row."""
        return self.given.log()

    def pattern(self) -> Float[Tensor, "batch head pos pos"]:
        return self.given

    def blocks(self) -> Iterator[tuple[int, Float[Tensor, "batch head query key"]]]:
        for first, last, keys in blocks_of(self.given.shape[-1], self.causal, row=self.given[:, :, 0].numel()):
            yield first, self.given[:, :, first:last, :keys]

    def at_offset(self, offset: int) -> Float[Tensor, "batch head query"]:
        self._refuse_outside("offset", offset)
        return self.given.diagonal(-offset, dim1=-2, dim2=-1)

    def to_key(self, key: int) -> Float[Tensor, "batch head pos"]:
        self._refuse_outside("key", key)
        return self.given[..., key]

    def _refuse_outside(self, name: str, value: int) -> None:
        n = self.given.shape[-1]
        if not 0 <= value < n:
            raise TaskError(f"{name} = {value}; expected 0 to {n - 1} for {n} tokens")


def weight(given: Parts, part: str, like: Tensor) -> Any:
    """A given tensor of weights, of the dtype and on the device of the logits; None where it is not given."""
    value: Any = given.get(part)
    return None if value is None else value.detach().to(like)
