"""Slow loops over full copies of a model, in which nothing of the library computes a gradient, a step or a pass of many
tasks.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mesascope.models import AttentionOnlyModel
from mesascope.models.taps import Taps
from mesascope.probes.icl_vs_gd.rules import Demo
from torch import Tensor


def slowly(subject: Any, demos: Sequence[Demo], lr: float, rounds: int, rule: str) -> Any:
    """A copy of the whole model that has learned: one demonstration after the other, `backward`, steps."""
    module = copy.deepcopy(subject.module)
    own = isinstance(subject, AttentionOnlyModel)
    trained, masks = (own_trained if own else hugging_face_trained)(module)
    batches = [[demo] for demo in demos] if rule == "sgd" else [demos]
    for batch in batches * rounds:
        for parameter in trained:
            parameter.requires_grad_().grad = None
        for demo in batch:
            tokens = torch.tensor([demo.prompt])
            answers = (own_answers if own else hugging_face_answers)(module, subject, tokens, cut=rule == "lcgd")
            losses = [-answer[demo.label] + answer.exp().sum().log() for answer in answers]
            (torch.stack(losses).sum() / len(batch)).backward()
        with torch.no_grad():
            for parameter, mask in zip(trained, masks, strict=True):
                parameter -= lr * mask * parameter.grad
    return module


def matrices(subject: Any, module: Any) -> dict[str, Tensor]:
    return subject.key_value_places().read({name: x.detach() for name, x in module.named_parameters()})


def attended(subject: Any, module: Any, prompt: Sequence[int]) -> list[np.ndarray]:
    """What attention gives at the last position, by layer."""
    found: list[np.ndarray] = []
    tokens = torch.tensor([prompt])
    if isinstance(subject, AttentionOnlyModel):
        attend: Any = lambda x, layer: found.append(x[0, -1].detach().numpy())  # noqa: E731
        module.states(tokens, Taps({"attn_out": attend}, None))
        return found
    module.set_attn_implementation("eager")
    attentions = (
        [block.attn for block in module.transformer.h]
        if module.config.model_type == "gpt2"
        else [layer.self_attn for layer in module.model.layers]
    )
    hooks = [
        own.register_forward_hook(lambda _, args, out: found.append(out[0][0, -1].detach().numpy()))
        for own in attentions
    ]
    module(tokens, use_cache=False)
    for hook in hooks:
        hook.remove()
    return found


def own_trained(module: Any) -> tuple[list[Tensor], list[Tensor]]:
    trained = [module.W_K, module.W_V]
    return trained, [torch.ones_like(x) for x in trained]


def own_answers(module: Any, subject: Any, tokens: Tensor, cut: bool) -> list[Tensor]:
    """The logits after the last token: of the model, or of every layer's own state."""
    seen: list[Tensor] = []
    keep: Any = lambda x, layer: seen.append(x)  # noqa: E731
    taps = Taps({"resid_post": keep}, {"resid_pre": lambda x, layer: x.detach()} if cut else None)
    state = module.states(tokens, taps)
    if not cut:
        return [(state @ module.W_U + module.b_U)[0, -1]]
    return [(module.norm("ln_final")(x) @ module.W_U + module.b_U)[0, -1] for x in seen]


def hugging_face_trained(module: Any) -> tuple[list[Tensor], list[Tensor]]:
    if module.config.model_type == "gpt2":
        trained = [block.attn.c_attn.weight for block in module.transformer.h]
        masks = [torch.ones_like(x) for x in trained]
        for mask in masks:
            mask[:, : module.config.n_embd] = 0  # q
        return trained, masks
    layers = module.model.layers
    trained = [getattr(layer.self_attn, f"{role}_proj").weight for layer in layers for role in "kv"]
    return trained, [torch.ones_like(x) for x in trained]


def hugging_face_answers(module: Any, subject: Any, tokens: Tensor, cut: bool) -> list[Tensor]:
    """By transformers' own eager pass, which the copy's configuration does not name."""
    module.set_attn_implementation("eager")
    blocks, norm = (
        (module.transformer.h, module.transformer.ln_f)
        if module.config.model_type == "gpt2"
        else (module.model.layers, module.model.norm)
    )
    if not cut:
        return [module(tokens, use_cache=False).logits[0, -1]]
    seen: list[Tensor] = []
    hooks = [block.register_forward_pre_hook(lambda _, args: (args[0].detach(), *args[1:])) for block in blocks]
    hooks += [
        block.register_forward_hook(lambda _, args, out: seen.append(out[0] if isinstance(out, tuple) else out))
        for block in blocks
    ]
    module(tokens, use_cache=False)
    for hook in hooks:
        hook.remove()
    return [module.lm_head(norm(x))[0, -1] for x in seen]
