"""What can be read of a model: everything of one without surprises, and words where something is missing."""

from __future__ import annotations

import pytest
import torch
from mesascope.models import (
    AttentionOnlyConfig,
    AttentionOnlyModel,
    AttentionOnlyTransformer,
    NotApplicable,
    Source,
)
from mesascope.models.constructed.induction import induction_circuit
from mesascope.probes import InductionHeads
from mesascope.probes.induction_heads.access import Access


def test_everything_can_be_read_of_a_model_without_surprises() -> None:
    subject = induction_circuit(d_vocab=12, n_ctx=11)
    access = Access.to(subject)
    assert access.no_logits is None
    assert isinstance(access.direct_path, tuple)
    assert access.direct_path[0].shape == (2, 1, subject.shape.d_head, subject.shape.d_model)


def test_what_attention_writes_must_be_the_sum_of_its_heads() -> None:
    """A model that halves what its heads write has no direct path through W_O."""
    subject = induction_circuit(d_vocab=12, n_ctx=11)
    run = subject.run

    def halved(tokens, keep):
        changed = {**keep, "attn_out": lambda out, layer: out / 2}
        return run(tokens, changed)

    subject.run = halved  # type: ignore[method-assign]
    direct_path = Access.to(subject).direct_path
    assert isinstance(direct_path, NotApplicable)
    assert direct_path.reason.startswith("this model normalises the output of attention")


@pytest.mark.parametrize(("outputs", "said"), [(3, "3 outputs, which are not those of its 9 tokens"), (0, "no logits")])
def test_outputs_that_are_no_tokens_leave_attention(outputs: int, said: str) -> None:
    """Losses, copying and ablations do not apply; matching is measured, and the claim names no loss."""
    config = AttentionOnlyConfig(d_vocab=9, n_ctx=16, d_model=8, n_layers=1, n_heads=2, d_head=4, d_vocab_out=outputs)
    rng = torch.Generator().manual_seed(0)
    weights = {name: 0.4 * torch.randn(shape, generator=rng) for name, shape in config.shapes.items()}
    model = AttentionOnlyModel(AttentionOnlyTransformer(config, weights), Source("toy", "in-memory"))
    probe = InductionHeads(n_sequences=6)
    measures = probe.measure(model, 0, 8).measures
    for name in ("ov_copying_score", "loss_first_repeat", "direct_logit_attribution"):
        assert measures[name].status == "not applicable", name
        assert said in measures[name].message, name
    assert measures["prefix_matching_score"].status == "ok"
    assert "loss" not in probe.claim(measures, (model.source,)).found
