"""The keys and queries that each layer forms, and those that it would form of the stream after its own attention write.

The model's own code makes both. One pass keeps the states that every layer reads and those after its attention has
written. A second pass computes, beside the model's own attention, attention whose projections read one or the other:
norms of q and k, rotations, scale and windows are the layer's own. What is formed of the unchanged states has to equal
the layer's own q and k. Where it does not, there is a reason in place of numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from ...models.language_model import LanguageModel
from ...models.opening_check import TOLERANCES, relative_error
from ...models.subject import AttentionScores, NotApplicable, Reduce, Site
from ...models.taps import OtherAttention, Project, ProjectHeads
from ...models.weights import AttentionWeights

Take = Callable[[int, AttentionScores, AttentionScores], None]
"""Given a layer, and its attention on the states before and after its write."""
States = Sequence[Float[Tensor, "batch pos d_model"]]
_ALL_ATTENDED = 1e-3  # of a row's attention that may be missing: kernels round


def no_head_shifts(subject: LanguageModel) -> NotApplicable | None:
    """Why the shifts of this model's heads cannot be measured, as far as that is known without a pass."""
    if not subject.shape.causal:
        return NotApplicable(
            "this model's attention is bidirectional. mesascope measures the shifts of causal attention."
        )
    for site in ("attention", "attn_out"):
        if reason := subject.not_shown.get(site):
            return NotApplicable(f"the shifts of this model's heads cannot be measured: {reason}")
    if subject.shape.positions == "alibi":
        return NotApplicable(_NOT_F.format("subtracts a slope times the distance from each score (ALiBi)"))
    weights = subject.weights()
    return weights if isinstance(weights, NotApplicable) else None


_NOT_F = "this model {}, so its attention is not the softmax of keys times a query"


def no_softmax_of_keys(scores: AttentionScores) -> NotApplicable | None:
    """Why a layer's attention is not f(A, x); None where it is."""
    if scores.slopes is not None:
        return NotApplicable(_NOT_F.format("subtracts a slope times the distance from each score (ALiBi)"))
    if scores.soft_cap is not None:
        return NotApplicable(_NOT_F.format(f"soft-caps its scores at {scores.soft_cap:g}"))
    unmodified = AttentionScores.of(scores.q, scores.k, scores.scale, scores.causal, window=scores.window)
    missing = 1 - (unmodified.log_normaliser - scores.log_normaliser).exp()
    if (lost := float(missing.max())) > _ALL_ATTENDED:
        return NotApplicable(
            _NOT_F.format(f"has learned attention sinks, which take up to {lost:.2g} of a query's attention")
        )
    return None


@dataclass(frozen=True)
class Projections:
    """A model's own projections of q and k, given the states to project."""

    subject: LanguageModel
    weights: AttentionWeights

    def of(self, states: States) -> Project:
        """Project these states, one for each layer, whatever the layer reads."""
        return self._role("Q", states), self._role("K", states)

    def _role(self, role: str, states: States) -> ProjectHeads:
        matrices: Tensor = getattr(self.weights, f"W_{role}")
        biases: Tensor | None = getattr(self.weights, f"b_{role}")

        def project(x: Float[Tensor, "batch pos d_model"], layer: int) -> Float[Tensor, "batch head pos d_head"]:
            read = self.subject.attention_input(states[layer], layer)
            wide = read @ rearrange(matrices[layer], "head d_model d_head -> d_model (head d_head)")
            heads = rearrange(wide, "batch pos (head d_head) -> batch head pos d_head", head=matrices.shape[1])
            return heads if biases is None else heads + biases[layer][:, None]

        return project


def states_around_writes(subject: LanguageModel, tokens: Int[Tensor, "batch pos"]) -> tuple[States, States]:
    """What each layer reads, and the stream after its attention has written, a norm that follows included.

    Where attention and MLP read the same state side by side, no such stream exists in the model: it is what the layer
    reads plus what its attention writes.
    """
    sites: tuple[Site, ...] = ("resid_pre", "attn_out", "resid_mid")
    keep: Reduce = lambda x, layer: x  # noqa: E731
    seen = subject.observe(tokens, dict.fromkeys(sites, keep))
    before = seen["resid_pre"]
    return before, seen["resid_mid"] or [x + write for x, write in zip(before, seen["attn_out"], strict=True)]


class _Layers:
    """Hands on each layer's attention before and after its write, unless it is not what the model itself computes."""

    def __init__(self, tolerance: float, take: Take) -> None:
        self._tolerance, self._take = tolerance, take
        self._held: dict[int, dict[str, AttentionScores]] = {}
        self.refused: NotApplicable | None = None

    def keep(self, name: str) -> Reduce:
        def reduce(scores: AttentionScores, layer: int) -> None:
            held = self._held.setdefault(layer, {})
            held[name] = scores
            if len(held) == 3 and self.refused is None:
                self._hand_on(layer, **held)
                del self._held[layer]

        return reduce

    def _hand_on(self, layer: int, own: AttentionScores, before: AttentionScores, after: AttentionScores) -> None:
        error = max(relative_error(before.q, own.q), relative_error(before.k, own.k))
        if error > self._tolerance:
            self.refused = NotApplicable(
                f"q and k that mesascope forms of the states that layer {layer} reads are not the layer's own: their"
                f" relative error is {error:.2g}, expected at most {self._tolerance:g}"
            )
        else:
            self.refused = no_softmax_of_keys(own)
        if self.refused is None:
            self._take(layer, before, after)


@torch.no_grad()
def read_layers(
    subject: LanguageModel, projections: Projections, tokens: Int[Tensor, "batch pos"], take: Take
) -> NotApplicable | None:
    """Two passes over the tokens. `take` is called once for each layer; or there is a reason why not."""
    before, after = states_around_writes(subject, tokens)
    layers = _Layers(TOLERANCES[subject.dtype], take)
    others = [
        OtherAttention(projections.of(states), {"attention": layers.keep(name)})
        for name, states in (("before", before), ("after", after))
    ]
    subject.run(tokens, {"attention": layers.keep("own")}, others=others)
    return layers.refused
