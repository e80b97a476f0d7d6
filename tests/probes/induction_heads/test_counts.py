"""How many tokens pass through a model's layers and its unembedding: counts, which no busy machine changes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from mesascope.models import from_module
from mesascope.probes.induction_heads.probe import InductionHeads
from torch import Tensor, nn

N, PERIODS = 8, (6, 4)
LENGTHS = [1 + 2 * period for period in PERIODS]
LAYERS, HEADS = 3, 2


@pytest.fixture
def module() -> nn.Module:
    import transformers

    sizes = {"vocab_size": 40, "n_embd": 8, "n_layer": LAYERS, "n_head": HEADS, "n_positions": 32}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()


def counted(module: nn.Module, probe: InductionHeads) -> tuple[Counter[str], dict[str, Any]]:
    """Tokens that passed through each MLP, each projection and the unembedding, and the measures."""
    subject, found = from_module(module), Counter[str]()
    rows = lambda name: lambda part, args, output: found.update({name: args[0][..., 0].numel()})  # noqa: E731
    for layer, block in enumerate(subject.module.transformer.h):  # type: ignore[attr-defined]
        block.mlp.register_forward_hook(rows(f"mlp {layer}"))
        block.attn.c_attn.register_forward_hook(rows(f"projections {layer}"))
    unembed = subject.unembed

    def counting(state: Tensor) -> Tensor:
        found["unembedding"] += state[..., 0].numel()
        return unembed(state)

    subject.unembed = counting  # type: ignore[method-assign]
    return found, dict(probe.measure(subject, 0, batch_size=16).measures)


def test_nulls_are_projections_beside_the_passes(module: nn.Module) -> None:
    found, _ = counted(module, InductionHeads(periods=PERIODS, n_sequences=N, ablate="nothing"))
    repeated_and_controls, longest = N * 2 * sum(LENGTHS), N * LENGTHS[0]
    of_direct_path = 3  # whether heads add z W_O to the stream
    draws = 10  # 64 heads over all draws, and there are 6
    for layer in range(LAYERS):
        assert found[f"mlp {layer}"] == repeated_and_controls + longest + of_direct_path
        assert found[f"projections {layer}"] == found[f"mlp {layer}"] + draws * repeated_and_controls
    assert found["unembedding"] == 3 * (longest - N)  # repeated, controls and shuffled repeats


def test_single_heads_are_ablated_from_their_layer_up(module: nn.Module) -> None:
    without, _ = counted(module, InductionHeads(periods=PERIODS, n_sequences=N, ablate="nothing"))
    found, measures = counted(module, InductionHeads(periods=PERIODS, n_sequences=N, ablate="all"))
    assert measures["group_ablation"].sel(replacement="zero", group="induction").status == "not applicable"
    longest, replacements, layers = N * LENGTHS[0], 2, range(LAYERS)
    for layer in layers:
        above = replacements * HEADS * (layer + 1) * longest
        below = replacements * longest * (layer < LAYERS - 1)
        compared = (2 if layer == 0 else 3) * LENGTHS[0] * replacements  # whether passes go on, on one sequence
        assert found[f"mlp {layer}"] - without[f"mlp {layer}"] == above + below + compared
    ablations = replacements * HEADS * LAYERS
    assert found["unembedding"] - without["unembedding"] == ablations * N * (PERIODS[0] - 1)  # the second repeat
