"""What can be read of a model: everything of one without surprises, and words where something is missing."""

from __future__ import annotations

from mesascope.models import NotApplicable
from mesascope.models.constructed.induction import induction_circuit
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
