"""Families that apply one layer several times: each application gets a module of its own, over the same tensors."""

from __future__ import annotations

import copy

from torch import nn
from transformers import PreTrainedModel
from transformers.models.albert.modeling_albert import AlbertTransformer


def unshare(module: PreTrainedModel) -> None:
    """Give every layer of ALBERT its own module; hooks, which are on modules, then tell the layers apart."""
    for part in module.modules():
        if isinstance(part, AlbertTransformer):
            n_layers, n_groups = part.config.num_hidden_layers, part.config.num_hidden_groups
            groups = list(part.albert_layer_groups)
            part.albert_layer_groups = nn.ModuleList(
                _over_the_same_tensors(groups[layer * n_groups // n_layers]) for layer in range(n_layers)
            )
            part.config = copy.copy(part.config)  # its own, so that the model's configuration stays as it is
            part.config.num_hidden_groups = n_layers


def _over_the_same_tensors(module: nn.Module) -> nn.Module:
    tensors = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
