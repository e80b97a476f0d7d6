"""Watches the length of representations at every site, and how well the model predicts the next token."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable, Reduce, Site
from ..streaming import Watcher
from .accumulator import ModelPass
from .inner_problem import Foresight, foresight
from .lengths import lengths

STREAM = "resid"
"""The residual stream: layer l is what block l reads, the last layer what comes after the last block."""
BLOCK_SITES: tuple[Site, ...] = ("attn_out", "resid_mid", "mlp_out")
"""Sites within each block: layer l is block l."""
OUTER_SITES: tuple[Site, ...] = ("embed", "final_norm")
"""Sites before the first and after the last block."""


class LengthWatcher(Watcher):
    """Notes the norm at every site, and surprisal and entropy of the next token where the model predicts it.

    stream_only:  the norms of the residual stream alone
    """

    def __init__(self, model_pass: ModelPass, stream_only: bool = False) -> None:
        self.noted, self.text = model_pass.noted, model_pass.text
        self._sites = () if stream_only else (*BLOCK_SITES, *OUTER_SITES)
        self.logits = no_prediction(model_pass.subject) is None

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> Mapping[Site, Reduce]:
        within: dict[Site, Reduce] = {site: partial(self._note, site) for site in self._sites}
        return within | stream_states(partial(self._note, STREAM))

    def _note(self, name: str, x: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        norm = lengths(x)
        self.noted.add_mean(f"norm_{name}", torch.stack([norm, norm.square()], dim=-1), layer, "power")
        self.noted.add_tokens(name, norm, layer)

    def take(self, tokens: Int[Tensor, "batch pos"], output: Float[Tensor, "batch pos width"]) -> None:
        truth = self.text.true_entropy(self.noted.windows)
        if truth is not None:
            self.noted.add_tokens("true_entropy", truth)
        if self.logits:
            self._note_predictions(tokens[:, 1:].to(output.device), output)

    def _note_predictions(
        self, targets: Int[Tensor, "batch target"], logits: Float[Tensor, "batch pos d_vocab"]
    ) -> None:
        windows = [foresight(of_one[:-1], y) for of_one, y in zip(logits, targets, strict=True)]  # views, no copy
        surprisal, entropy = (torch.stack(values) for values in zip(*windows, strict=True))
        self.noted.add_mean("next_token_loss", surprisal)
        for name, values in zip(Foresight._fields, (surprisal, entropy), strict=True):
            # nothing is known to follow a window's last token
            self.noted.add_tokens(name, torch.nn.functional.pad(values, (0, 1), value=torch.nan))


def stream_states(note: Reduce) -> dict[Site, Reduce]:
    """Watches the residual stream: before the first block as layer 0, after block l as layer l + 1."""

    def before_first_block(x: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        if layer == 0:
            note(x, 0)

    def after_block(x: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        note(x, layer + 1)

    return {"resid_pre": before_first_block, "resid_post": after_block}


def no_prediction(subject: LanguageModel) -> str | None:
    """Why the model predicts no next token; None where it does."""
    if not subject.shape.causal:
        return "this model's attention is bidirectional: it sees the next token, and does not predict it"
    unembedding = subject.unembedding()
    return unembedding.reason if isinstance(unembedding, NotApplicable) else None
