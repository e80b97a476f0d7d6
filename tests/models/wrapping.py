"""Models that are wrapped in tests, and their parts, read off as their owners would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from mesascope.models import AttentionOnlyModel, Rotary
from mesascope.models.subject import Site
from mesascope.models.wrapped_language_model import from_language_model
from mesascope.models.wrapped_subject import WrappedLanguageModel
from torch import Tensor

D_VOCAB, N_CTX = 40, 64
SITES: tuple[Site, ...] = (
    "resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "resid_mid", "mlp_out", "resid_post",
)  # fmt: skip
OF_WEIGHTS = ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O")
BELONGING = {
    "W_Q": ("b_Q", "b_K", "b_V", "b_O", "attention_norms", "rotary", "scale"),
    "q": ("rotary", "scale"),
    "W_U": ("b_U", "final_norm"),
}
STATES = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post", "pattern")
TOKENS = torch.randint(D_VOCAB, (2, 9), generator=torch.Generator().manual_seed(1))


def itself(x: Any, layer: int) -> Any:
    return x


def parts_of(model: AttentionOnlyModel) -> dict[str, Any]:
    """All that can be given of a model of ours."""
    seen = lru_cache(maxsize=1)(lambda ids: model.observe(ids, dict.fromkeys(SITES, itself)))
    shown = [site for site, values in seen(TOKENS[:, :3] % model.shape.d_vocab).items() if values]
    weights, module = model.weights(), model.module
    parts: dict[str, Any] = {site: lambda ids, site=site: torch.stack(seen(ids)[site]) for site in shown}
    parts |= {name: getattr(weights, name) for name in OF_WEIGHTS}
    parts |= {"W_E": module.W_E, "W_U": module.get_parameter("W_U"), "b_U": module.get_parameter("b_U")}
    parts |= {"final_norm": model.final_norm, "scale": module.config.scale}
    parts["attention_norms"] = [module.norm("ln1", layer) for layer in range(model.shape.n_layers)]
    return parts if weights.rotary is None else {**parts, "rotary": weights.rotary}


def wrapped(model: AttentionOnlyModel, parts: Mapping[str, Any], *names: str, **changed: Any) -> WrappedLanguageModel:
    """With these parts, and those that belong to them."""
    wanted = {*names, *(also for name in names for also in BELONGING.get(name, ())), *changed} - {None}
    given = {name: value for name, value in {**parts, **changed}.items() if name in wanted}
    return from_language_model(model.module, d_vocab=D_VOCAB, n_ctx=N_CTX, **given)


def of_gpt2(module: Any) -> dict[str, Any]:
    """Its parts as a user would read them, with hooks of torch and the tensors as they are stored."""
    blocks, heads = module.transformer.h, module.config.n_head

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(-2, -3)

    def column(name: str, place: int) -> Tensor:
        stored = torch.stack([getattr(block.attn.c_attn, name) for block in blocks]).chunk(3, dim=-1)[place]
        return split(stored) if name == "weight" else stored.unflatten(-1, (heads, -1))

    def read(name: str) -> Callable[[Tensor], Tensor]:
        return lambda ids: torch.stack(passed(module, blocks, ids, "attn", "ln_2")[name])

    parts: dict[str, Any] = {name: read(name) for name in STATES}
    parts |= {f"W_{role}": column("weight", place) for place, role in enumerate("QKV")}
    parts |= {f"b_{role}": column("bias", place) for place, role in enumerate("QKV")}
    parts["W_O"] = torch.stack([block.attn.c_proj.weight.unflatten(0, (heads, -1)) for block in blocks])
    parts["b_O"] = torch.stack([block.attn.c_proj.bias for block in blocks])
    parts |= {"W_E": module.transformer.wte.weight, "W_U": module.lm_head.weight.mT}
    return {**parts, "final_norm": module.transformer.ln_f, "attention_norms": [block.ln_1 for block in blocks]}


def of_llama(module: Any) -> dict[str, Any]:
    config, blocks = module.config, module.model.layers
    width = config.hidden_size // config.num_attention_heads

    def matrix(name: str) -> Tensor:
        return torch.stack([getattr(block.self_attn, name).weight.unflatten(0, (-1, width)).mT for block in blocks])

    def read(name: str) -> Callable[[Tensor], Tensor]:
        return lambda ids: torch.stack(passed(module, blocks, ids, "self_attn", "post_attention_layernorm")[name])

    parts: dict[str, Any] = {name: read(name) for name in STATES}
    parts |= {f"W_{role}": matrix(f"{role.lower()}_proj") for role in "QKV"}
    parts["W_O"] = torch.stack([block.self_attn.o_proj.weight.mT.unflatten(0, (-1, width)) for block in blocks])
    parts |= {"W_E": module.model.embed_tokens.weight, "W_U": module.lm_head.weight.mT}
    parts |= {"rotary": Rotary.of_base(10_000.0, width), "final_norm": module.model.norm}
    return {**parts, "attention_norms": [block.input_layernorm for block in blocks]}


def passed(module: Any, blocks: Any, ids: Tensor, attention: str, second_norm: str) -> dict[str, list[Tensor]]:
    """What torch's hooks see of one pass of transformers' own."""
    seen: dict[str, list[Tensor]] = {}

    def noting(name: str) -> Callable[..., None]:
        def note(_: Any, args: Any, output: Any) -> None:
            seen.setdefault(name, []).append(output[0] if isinstance(output, tuple) else output)

        return note

    def note_input(_: Any, args: Any) -> None:
        seen.setdefault("resid_mid", []).append(args[0])

    hooks = [block.register_forward_hook(noting("resid_post")) for block in blocks]
    hooks += [getattr(block, attention).register_forward_hook(noting("attn_out")) for block in blocks]
    hooks += [block.mlp.register_forward_hook(noting("mlp_out")) for block in blocks]
    hooks += [getattr(block, second_norm).register_forward_pre_hook(note_input) for block in blocks]
    try:
        output = module(ids, output_attentions=True, output_hidden_states=True)
    finally:
        for hook in hooks:
            hook.remove()
    seen["pattern"] = list(output.attentions)
    seen["resid_pre"] = list(output.hidden_states[: len(blocks)])
    return seen
