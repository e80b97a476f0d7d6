"""Which layout is suggested for names: none that cannot work."""

from __future__ import annotations

import pytest
from mesascope.models.opening.tl_legacy_names import layout_advice

DECLARE = "--layout FILE.toml that declares its names"
OTHERS = (
    f"give {DECLARE}; or wrap a regression model of another kind by --predictor FILE.py:function --d-in N, in Python"
    " models.from_predictor"
)


@pytest.mark.parametrize(
    "names",
    [
        ("embed.W_E", "blocks.0.attn.W_Q", "blocks.11.mlp.b_out", "blocks.0.attn.mask", "unembed.b_U"),
        ("unembed.W_U",),
    ],
)
def test_the_old_names_are_known(names: tuple[str, ...]) -> None:
    assert layout_advice(names) == f"give --layout tl-legacy, or {DECLARE}"


@pytest.mark.parametrize(
    "names",
    [
        ("transformer.h.0.attn.c_attn.weight", "transformer.wte.weight"),
        ("embed.W_E", "blocks.0.attn.W_Q", "blocks.0.attn.sinks"),  # one that the layout refuses
        ("blocks.00.attn.W_Q",),
        ("xblocks.0.attn.W_Q",),
        (),
    ],
)
def test_other_names_have_to_be_declared(names: tuple[str, ...]) -> None:
    assert layout_advice(names) == OTHERS


def test_names_of_a_native_bridge_are_known() -> None:
    names = ("embed.weight", "pos_embed.weight", "blocks.0.attn.q.bias", "blocks.3.mlp.gate.weight", "unembed.bias")
    assert layout_advice(names) == f"give --layout tl-native, or {DECLARE}"
    assert layout_advice((*names, "embed.W_E")) == OTHERS
