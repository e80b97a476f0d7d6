"""What a copy model does on some sources: attention, beta, push and saliency of every target and source; what is right.

Everything is computed in float64, whatever the weights are stored in: beta of a model that is sure differs from source
to source only in the last digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...models.copy_models import CopyModel
from ...models.own.copy_transformer import CopyTransformer
from ..probe import Progress, silent
from .odds import attention_push, log_odds

BySource = Float[Tensor, "sequence target source"]
ByHead = Float[Tensor, "sequence head target source"]


@dataclass(frozen=True)
class CopyReading:
    """Of some sources x, whose targets are their own words.

    attention:  mean over heads
    beta:       log-odds of target t when every head attends to source s only
    saliency:   embedding of source s times the gradient of log p(target t) by it
    right:      share of each target that is right, by the quantity: 1, 0, or less than 1 where several answers are as
                likely as the right one. Of KTIW it is the share of each source.
    head_…:     the same for single heads, the others as they are; None where there is one head
    """

    attention: BySource
    beta: BySource
    saliency: BySource
    task: Float[Tensor, "sequence target"]
    attended: Float[Tensor, "sequence target"]
    ktiw: Float[Tensor, "sequence source"]
    heads: HeadsReading | None

    @property
    def push(self) -> BySource:
        return attention_push(self.attention, self.beta)


@dataclass(frozen=True)
class HeadsReading:
    """The same for every head alone."""

    attention: ByHead
    beta: ByHead
    attended: Float[Tensor, "sequence head target"]
    ktiw: Float[Tensor, "sequence head source"]


def read_copies(
    subject: CopyModel, tokens: Int[Tensor, "sequence source"], batch_size: int, progress: Progress = silent
) -> CopyReading:
    """Reads the sources, so many at a time."""
    wide, parts = _in_float64(subject), []
    for batch in tokens.split(batch_size):
        parts.append(_read(wide, batch.to(subject.device)))
        progress(f"reading {subject.source.label}", sum(len(part.task) for part in parts) / len(tokens))
    heads = [part.heads for part in parts if part.heads is not None]
    names = ("attention", "beta", "saliency", "task", "attended", "ktiw")
    of_heads = ("attention", "beta", "attended", "ktiw")
    return CopyReading(
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in names},
        heads=HeadsReading(**{name: torch.cat([getattr(part, name) for part in heads]) for name in of_heads})
        if heads
        else None,
    )


def copy_betas(subject: CopyModel, tokens: Int[Tensor, "sequence source"], batch_size: int) -> BySource:
    """Beta alone: of a twin, whose attention says nothing."""
    wide = _in_float64(subject)
    return torch.cat([_beta(wide, batch.to(subject.device)).cpu() for batch in tokens.split(batch_size)])


def _in_float64(subject: CopyModel) -> CopyModel:
    """The same weights in float64; the caller's stay as they are."""
    weights = {name: weight.detach().double() for name, weight in subject.module.weights.items()}
    return CopyModel(CopyTransformer(subject.config, weights), subject.source)


def _read(subject: CopyModel, tokens: Int[Tensor, "sequence source"]) -> CopyReading:
    places = torch.arange(tokens.shape[1], device=tokens.device)
    pattern, alone = subject.pattern(tokens), subject.read_out(tokens)
    one_head = pattern.shape[1] == 1
    found = CopyReading(
        attention=pattern.mean(dim=1),
        beta=_beta(subject, tokens),
        saliency=_saliency(subject, tokens),
        task=share_right(subject.logits(tokens), tokens),
        attended=share_right(pattern.mean(dim=1), places.expand_as(tokens)),
        ktiw=share_right(alone.mean(dim=1), tokens),
        heads=None if one_head else _read_heads(subject, tokens, pattern, alone),
    )
    return _on_cpu(found)


def _on_cpu(found: CopyReading) -> CopyReading:
    heads = found.heads
    if heads is not None:
        heads = HeadsReading(**{name: value.cpu() for name, value in vars(heads).items()})
    return CopyReading(**{n: v.cpu() for n, v in vars(found).items() if isinstance(v, Tensor)}, heads=heads)


def _beta(subject: CopyModel, tokens: Int[Tensor, "sequence source"]) -> BySource:
    """Log-odds of every target's word, given what all heads read out of one source."""
    alone = subject.read_out(tokens).mean(dim=1)
    n = tokens.shape[1]
    logits = alone[:, None].expand(-1, n, -1, -1)
    return log_odds(logits, tokens[:, :, None].expand(-1, -1, n))


def _read_heads(
    subject: CopyModel, tokens: Int[Tensor, "sequence source"], pattern: ByHead, alone: Tensor
) -> HeadsReading:
    n, n_heads = tokens.shape[1], pattern.shape[1]
    whole = subject.logits(tokens)
    betas = []
    for head in range(n_heads):  # one at a time: the logits of every target and source are large
        without = whole - pattern[:, head] @ alone[:, head] / n_heads
        logits = without[:, :, None] + alone[:, head, None] / n_heads
        betas.append(log_odds(logits, tokens[:, :, None].expand(-1, -1, n)))
    places = torch.arange(n, device=tokens.device)
    return HeadsReading(
        attention=pattern,
        beta=torch.stack(betas, dim=1),
        attended=share_right(pattern, places.expand(len(tokens), n_heads, n)),
        ktiw=share_right(alone, tokens[:, None].expand(-1, n_heads, -1)),
    )


@torch.enable_grad()
def _saliency(subject: CopyModel, tokens: Int[Tensor, "sequence source"]) -> BySource:
    """One gradient for each target place: sequences do not touch each other."""
    embedded = subject.embedded(tokens).detach().requires_grad_()
    said = subject.logits_of(embedded).log_softmax(dim=-1)
    of_targets = rearrange(said.gather(-1, tokens[..., None]), "sequence target 1 -> target sequence")
    gradients = (torch.autograd.grad(one.sum(), embedded, retain_graph=True)[0] for one in of_targets)
    return torch.stack([(gradient * embedded.detach()).sum(dim=-1) for gradient in gradients], dim=1)


def share_right(numbers: Float[Tensor, "*rows answer"], answers: Int[Tensor, "*rows"]) -> Float[Tensor, "*rows"]:
    """Whether the right answer has the largest number: 1 or 0; of n answers that share the largest, 1/n each."""
    top: Bool[Tensor, "*rows answer"] = numbers == numbers.amax(dim=-1, keepdim=True)
    right = top.gather(-1, answers[..., None])[..., 0]
    return right.double() / top.sum(dim=-1)
