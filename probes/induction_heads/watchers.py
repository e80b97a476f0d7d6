"""What is kept of forward passes over repeated tokens: a few float64 numbers for each sequence and head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ...data.repeated import RepeatedTokens
from ...models.attention import in_float32
from ...models.language_model import LanguageModel
from ...models.norms import Norm
from ...models.subject import AttentionScores, Reduce, Site
from ..streaming import Watcher
from .compatibility_scores import compatibility_scores
from .scores import (
    attention_by_offset,
    current_token_score,
    duplicate_token_score,
    first_token_score,
    prefix_matching_score,
    previous_token_score,
)
from .weights import folded_output

_LOGITS = 2**24  # at a time: 64 MiB in float32
_OFFSETS = 128  # up to so many are all kept, of more the lowest and the highest


class PerHead(Watcher):
    """Keeps what `reduce` makes of one site, by name: [sequence, layer, head, …]."""

    site: Site = "attention"

    def __init__(self) -> None:
        self._batch: dict[str, list[np.ndarray]] = {}
        self._found: dict[str, list[np.ndarray]] = {}

    @abstractmethod
    def reduce(self, activation: Any, layer: int) -> Mapping[str, Float[Tensor, "batch head *more"]]:
        """A few numbers of each sequence and head."""

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> dict[Site, Reduce]:
        self._batch = {}
        return {self.site: self._keep}

    def take(self, tokens: Int[Tensor, "batch pos"], output: Float[Tensor, "batch pos width"]) -> None:
        for name, layers in self._batch.items():
            self._found.setdefault(name, []).append(np.stack(layers, axis=1))

    def arrays(self) -> dict[str, Float64[np.ndarray, "sequence layer head *more"]]:
        return {name: np.concatenate(batches) for name, batches in self._found.items()}

    def _keep(self, activation: Any, layer: int) -> None:
        for name, values in self.reduce(activation, layer).items():
            self._batch.setdefault(name, []).append(values.double().cpu().numpy())


class HeadAttention(PerHead):
    """Every score of attention on sequences of one period, or on their controls.

    other_offsets:  offsets that an induction head would look at if another period were meant
    kept:           those of `kept_offsets` to keep the mean attention by offset of; none by default
    """

    def __init__(self, law: RepeatedTokens, other_offsets: Sequence[int], kept: Sequence[int] = ()) -> None:
        super().__init__()
        self._law, self._other_offsets, self._kept = law, other_offsets, list(kept)
        self.windows: dict[int, int] = {}

    def reduce(self, activation: AttentionScores, layer: int) -> Mapping[str, Float[Tensor, "batch head *more"]]:
        law, period = self._law, self._law.period
        if activation.window is not None and activation.window < law.length:
            self.windows[layer] = activation.window
        found = {
            "matching": prefix_matching_score(activation, period),
            "duplicate": duplicate_token_score(activation, period),
            "previous": previous_token_score(activation),
            "current": current_token_score(activation),
            "first": first_token_score(activation),
        }
        if self._other_offsets:
            elsewhere = [self._at_other_offset(activation, offset) for offset in self._other_offsets]
            found["other_offsets"] = torch.stack(elsewhere, dim=-1)
        if self._kept:
            found["by_offset"] = attention_by_offset(activation, law.first + period)[..., self._kept]
        return found

    def _at_other_offset(self, scores: AttentionScores, offset: int) -> Float[Tensor, "batch head"]:
        """Attention at one offset, mean over the queries of later repeats that have a key there; BOS is none."""
        first = self._law.first + max(self._law.period, offset)
        return scores.at_offset(offset)[..., first - offset :].mean(dim=-1, dtype=torch.float64)


class OtherDefinitions(PerHead):
    """The same heads as others score them: see `compatibility_scores`."""

    def __init__(self, period: int) -> None:
        super().__init__()
        self._period = period
        self._tokens = torch.empty(0, 0, dtype=torch.int64)

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> dict[Site, Reduce]:
        self._tokens = tokens
        return super().watch(tokens)

    def reduce(self, activation: AttentionScores, layer: int) -> Mapping[str, Float[Tensor, "batch head"]]:
        return compatibility_scores(activation, self._tokens.to(activation.q.device), self._period)


def kept_offsets(period: int) -> tuple[int, ...]:
    """0 to the period; of long ones the first and the last 64."""
    every = range(period + 1)
    return tuple(every) if len(every) <= _OFFSETS else (*every[: _OFFSETS // 2], *every[-_OFFSETS // 2 :])


class LogitAttribution(PerHead):
    """What each head's z adds to the logit of the repeated token, beyond the mean over all tokens.

    The final norm is linear where its division is held fixed, so a head's part is z W_O, centred and scaled as the norm
    does, divided by the actual state's spread, times W_U. Mean over the S - 1 tokens of the second repeat that follow
    from the first. Caps on logits are left out.
    """

    site: Site = "z"

    def __init__(
        self,
        final_norm: Norm,
        law: RepeatedTokens,
        W_O: Float[Tensor, "layer head d_head d_model"],
        W_U: Float[Tensor, "d_model d_vocab"],
    ) -> None:
        super().__init__()
        self._norm, self._W_U = final_norm, W_U
        self._W_O = folded_output(W_O, self._norm)
        self._mean = in_float32(W_U).mean(dim=1)
        self._queries = slice(law.first + law.period, law.first + 2 * law.period - 1)
        self._spread = self._direction = torch.empty(0)

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> dict[Site, Reduce]:
        targets = tokens[:, self._queries.start + 1 : self._queries.stop + 1].to(self._W_U.device)
        self._direction = self._W_U.mT[targets] - self._mean
        return {**super().watch(tokens), "final": self._keep_spread}

    def _keep_spread(self, state: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        self._spread = self._norm.spread(state[:, self._queries]).double().cpu()

    def reduce(self, activation: Float[Tensor, "batch head pos d_head"], layer: int) -> Mapping[str, Tensor]:
        z = activation[:, :, self._queries].to(self._direction.dtype)
        read = einsum(self._W_O[layer], self._direction, "head d_head d_model, b pos d_model -> b head pos d_head")
        return {"attribution": (z * read).sum(dim=-1)}

    def take(self, tokens: Int[Tensor, "batch pos"], output: Float[Tensor, "batch pos width"]) -> None:
        spread = self._spread.numpy()[:, None]
        self._batch = {
            name: [(unscaled / spread).mean(axis=-1) for unscaled in layers] for name, layers in self._batch.items()
        }
        super().take(tokens, output)


class MeanZ(Watcher):
    """Each head's mean z over all sequences and positions: what replaces its z in a mean ablation.

    count:  tokens so far
    """

    def __init__(self) -> None:
        self._sums: dict[int, Tensor] = {}
        self.count = 0

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> dict[Site, Reduce]:
        self.count += tokens.numel()
        return {"z": self._add}

    def _add(self, z: Float[Tensor, "batch head pos d_head"], layer: int) -> None:
        self._sums[layer] = self._sums.get(layer, 0) + z.sum(dim=(0, 2), dtype=torch.float64)

    def total(self) -> Float64[Tensor, "layer head d_head"]:
        """The sum, on the CPU; without a layer where the model does not show z."""
        if not self._sums:
            return torch.empty(0, 0, 0, dtype=torch.float64)
        return torch.stack([self._sums[layer] for layer in sorted(self._sums)]).cpu()

    def mean(self) -> Float64[Tensor, "layer head d_head"]:
        return self.total() / self.count


class NextTokenLoss(Watcher):
    """The loss of every token that has one before it, and whether it was the likeliest: [sequence, pos - 1].

    wanted:  of these only, and NaN for the others
    """

    def __init__(self, subject: LanguageModel, wanted: slice = slice(None)) -> None:
        self._subject, self._wanted = subject, wanted
        self._losses: list[np.ndarray] = []
        self._hits: list[np.ndarray] = []

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> dict[Site, Reduce]:
        return {}

    def take(self, tokens: Int[Tensor, "batch pos"], output: Float[Tensor, "batch pos width"]) -> None:
        rows = max(1, _LOGITS // (len(tokens) * self._subject.shape.d_vocab))
        losses, hits = (np.full((len(tokens), tokens.shape[1] - 1), np.nan) for _ in range(2))
        states, following = output[:, :-1][:, self._wanted], tokens[:, 1:][:, self._wanted]
        found = [
            self._losses_and_hits(states[:, first : first + rows], following[:, first : first + rows])
            for first in range(0, states.shape[1], rows)
        ]
        for kept, parts in zip((losses, hits), zip(*found, strict=True), strict=True):
            kept[:, self._wanted] = np.concatenate(parts, axis=1)
        self._losses.append(losses)
        self._hits.append(hits)

    def _losses_and_hits(
        self, states: Float[Tensor, "batch pos d_model"], following: Int[Tensor, "batch next"]
    ) -> tuple[np.ndarray, np.ndarray]:
        following = following.to(states.device)
        with torch.no_grad():
            logits = in_float32(self._subject.unembed(states))
        own = logits.gather(-1, following[..., None])[..., 0]
        losses = logits.logsumexp(dim=-1).double() - own.double()
        return losses.cpu().numpy(), (logits.argmax(dim=-1) == following).double().cpu().numpy()

    def arrays(self) -> dict[str, Float64[np.ndarray, "sequence next"]]:
        return {"loss": np.concatenate(self._losses), "hit": np.concatenate(self._hits)}
