"""Regression transformers by a declared layout, of two kinds.

Without W_E, the linear- or softmax-attention transformer of `RegressionTransformer`, whose tokens are its residual
stream: roles W_Q, W_K, W_V, W_O, or their products KQ = W_Q W_K^T and PV = W_V W_O. Names without `{layer}` are one
block, which `n_layers` applications share.

With W_E, a `SequencePredictor`: W_E and b_E read in, W_U and b_U read out, and every role of a language model between
them (the GPT-2 of Garg et al. 2022, arXiv 2208.01066).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...data.errors import CheckpointRefused
from ..own.attention_only import AttentionOnlyConfig, AttentionOnlyTransformer
from ..own.regression_config import RegressionConfig
from ..own.regression_transformer import ROLES, RegressionTransformer, with_label_last
from ..regressors import SequencePredictor, SequenceRegressor, TransformerRegressor
from ..subject import Source
from ..token_layout import TokenLayout
from ..weights import weights_sha256
from .checkpoint import refuse_unusable
from .declarations import LINEAR, Declaration
from .layout_check import checked_tasks
from .plain_check import checked
from .state_dicts import Stacks, completed, defaults_note, stacked
from .tl_legacy_names import WRAP

TURNED = (
    "the file's model predicts +h[query, y slot], mesascope's -h: predictions have the other sign here, which"
    " gd-alignment finds on labels, or is told by --sign -1"
)
"""The note of a model that the read-out of `RegressionTransformer` turns."""


def regression_subject(
    declaration: Declaration,
    single: Mapping[str, Tensor],
    stacks: Stacks,
    settings: Mapping[str, Any],
    source: Source,
) -> TransformerRegressor | SequenceRegressor:
    """A subject from the tensors of each role. Raises CheckpointRefused for what neither kind has."""
    kind, known = (_sequence, AttentionOnlyConfig) if "W_E" in single else (_linear, RegressionConfig)
    shared = {"task", "order", "label_slot", "readout", "d_in", "d_out"}
    if unfit := sorted(set(settings) - shared - {field.name for field in fields(known)}):
        whose = "with" if "W_E" in single else "without"
        raise CheckpointRefused(f"{unfit[0]} is no setting of a regression transformer {whose} W_E; leave it out")
    if settings.get("readout", "+") not in ("+", "-"):
        raise CheckpointRefused(f"readout = {settings['readout']!r:.40} in [model]; expected '+' or '-'")
    return kind(declaration, single, stacks, {**settings}, source)


def _linear(
    declaration: Declaration, single: Mapping[str, Tensor], stacks: Stacks, settings: dict[str, Any], source: Source
) -> TransformerRegressor:
    if foreign := sorted({*single, *stacks} - LINEAR):
        raise CheckpointRefused(
            f"{foreign[0]}: a regression transformer without W_E has no such role; expected W_Q, W_K, W_V and W_O, or"
            f" KQ and PV; wrap another model by {WRAP}"
        )
    blocks = {role: stacked(role, layers, len(layers)) for role, layers in _factors(stacks, settings).items()}
    if sorted(blocks) != sorted(ROLES) or any(weight.ndim != 4 for weight in blocks.values()):
        raise CheckpointRefused(f"holds the roles {sorted(blocks)}; expected W_Q, W_K, W_V and W_O, or KQ and PV")
    readout, order, slot = settings.pop("readout", "-"), settings.pop("order", None), settings.pop("label_slot", None)
    if order not in (None, "joint"):
        raise CheckpointRefused(
            f"order = {order!r:.40} in [model]; expected 'joint': without positions, nothing pairs x and y of separate"
            f" tokens; wrap such a model by {WRAP}"
        )
    config = _linear_config(declaration, blocks["W_Q"], settings)
    refuse_unusable(blocks, Path(str(source.path)).name)
    unread = RegressionTransformer(config, blocks)
    layout = _layout(config.d_in, config.d_out, "joint", slot)
    sign = 1 if readout == "-" else -1
    note = checked_tasks(declaration, TransformerRegressor(unread, source), layout, sign, readout)
    module = with_label_last(unread, layout.slot)
    source = replace(
        source,
        weights_sha256=weights_sha256(module.state_dict()),
        facts={**config.as_dict(), "label_slot": layout.slot, "readout": readout},
        notes=(note,) if sign > 0 else (note, TURNED),
    )
    return checked(TransformerRegressor(module, source))


def _factors(stacks: Stacks, settings: Mapping[str, Any]) -> Stacks:
    """W_Q, W_K, W_V and W_O of each block; of products, one factor is the identity."""
    found = {role: layers for role, layers in stacks.items() if role not in ("KQ", "PV")}
    for product, factor, identity in (("KQ", "W_Q", "W_K"), ("PV", "W_O", "W_V")):
        if product not in stacks:
            continue
        if settings.get("softmax"):
            raise CheckpointRefused("KQ and PV with softmax = true; expected W_Q, W_K, W_V and W_O, which show d_head")
        if {factor, identity} & set(stacks):
            raise CheckpointRefused(f"both {product} and {factor} or {identity} are declared; expected one of the two")
        found[factor] = stacks[product]
        found[identity] = {
            layer: torch.eye(weight.shape[-1], dtype=weight.dtype).expand_as(weight).clone()
            for layer, weight in stacks[product].items()
        }
    return found


def _linear_config(declaration: Declaration, W_Q: Tensor, settings: Mapping[str, Any]) -> RegressionConfig:
    """Sizes from W_Q [block, head, d_model, d_head], the rest from the settings."""
    blocks, n_heads, d_model, d_head = W_Q.shape
    tied = not any("{layer}" in entry.name for entry in declaration.tensors.values())
    if tied and "n_layers" not in settings:
        raise CheckpointRefused(
            "holds one block of weights, and not how many layers apply it; expected n_layers in [model]"
        )
    d_out = settings.get("d_out", 1)
    found = {"d_in": d_model - d_out, "n_heads": n_heads, "d_head": d_head, "tied": tied}
    found |= {} if tied else {"n_layers": blocks}
    for name, value in found.items():
        if settings.get(name, value) != value:
            raise CheckpointRefused(f"{name} = {settings[name]!r:.40} in [model]; expected {value}, as in the weights")
    return RegressionConfig.from_dict({key: value for key, value in settings.items() if key != "task"} | found)


def _sequence(
    declaration: Declaration, single: Mapping[str, Tensor], stacks: Stacks, settings: dict[str, Any], source: Source
) -> SequenceRegressor:
    given = {key: settings.pop(key, None) for key in ("task", "order", "label_slot", "readout", "d_in", "d_out")}
    if given["order"] not in ("joint", "separate", "interleaved"):
        raise CheckpointRefused(
            f"order = {given['order']!r:.40} in [model]; expected how the tokens hold x and y: 'interleaved',"
            " 'separate' or 'joint'"
        )
    config, parameters = completed(_read_in(single), stacks, settings)
    if not config.n_logits:
        raise CheckpointRefused("lacks W_U, so it predicts nothing; expected the read-out")
    refuse_unusable(parameters, Path(str(source.path)).name)
    if given["readout"] == "-":
        parameters |= {name: -parameters[name] for name in ("W_U", "b_U")}
    width, d_out = config.d_vocab, config.n_logits
    d_in = width if given["order"] == "interleaved" else width - d_out
    for name, found in (("d_in", d_in), ("d_out", d_out)):
        if given[name] not in (None, found):
            raise CheckpointRefused(f"{name} = {given[name]!r:.40} in [model]; expected {found}, as in the weights")
    layout = _layout(d_in, d_out, given["order"], given["label_slot"])
    predictor = SequencePredictor(AttentionOnlyTransformer(config, parameters))
    subject = SequenceRegressor(predictor, layout, source)
    readout = given["readout"] or "+"
    note = checked_tasks(declaration, subject, layout, 1, readout)
    subject.source = replace(
        source,
        weights_sha256=weights_sha256(parameters),
        facts={**config.as_dict(), "order": layout.order, "label_slot": layout.slot, "readout": readout},
        notes=(*defaults_note(config, settings), note),
    )
    return subject


def _read_in(single: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with the read-in's bias in W_pos, since both are added to every token."""
    found = {role: tensor for role, tensor in single.items() if role != "b_E"}
    if "b_E" in single:
        positions = found.get("W_pos")
        if positions is None or positions.shape[-1:] != single["b_E"].shape:
            raise CheckpointRefused("b_E without W_pos of the same width; expected learned positions")
        found["W_pos"] = positions + single["b_E"]
    return found


def _layout(d_in: int, d_out: int, order: Any, slot: Any) -> TokenLayout:
    if slot is not None and type(slot) is not int:
        raise CheckpointRefused(f"label_slot = {slot!r:.40} in [model]; expected a whole number")
    try:
        return TokenLayout(d_in, d_out, order, slot)
    except ValueError as error:
        raise CheckpointRefused(str(error)) from error
