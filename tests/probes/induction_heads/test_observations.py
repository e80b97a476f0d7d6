"""What is seen of every period comes together: one mean z over all controls, and passes that are counted once."""

from __future__ import annotations

import numpy as np
import torch
from mesascope.models.constructed.induction import induction_circuit
from mesascope.probes.induction_heads.access import Access
from mesascope.probes.induction_heads.experiment import Experiment, Passes
from mesascope.probes.induction_heads.inputs import period_inputs, period_laws
from mesascope.probes.induction_heads.observations import observe
from mesascope.probes.parts import Parts

PERIODS = (5, 3)
N = 4


def experiment(kept: Parts) -> Experiment:
    subject = induction_circuit(d_vocab=12, n_ctx=11)
    laws = period_laws(subject.shape, subject.bos, PERIODS, 2)
    return Experiment(Passes(subject, 3, kept), Access.to(subject), period_inputs(laws, N, seed=0), seed=0)


def test_mean_z_is_over_the_tokens_of_all_controls() -> None:
    """Of both periods, whose sequences have different lengths: every token counts the same."""
    seen = experiment(Parts())
    tokens: list[np.ndarray] = []
    for inputs in seen.periods:
        layers = seen.subject.observe(inputs.control, {"z": lambda z, layer: z.double().numpy()})["z"]
        tokens.append(np.stack(layers).transpose(0, 2, 1, 3, 4).reshape(2, layers[0].shape[1], -1, layers[0].shape[-1]))
    lengths = [inputs.control.shape[1] for inputs in seen.periods]
    assert len(set(lengths)) == 2
    expected = np.concatenate(tokens, axis=2).mean(axis=2)
    np.testing.assert_allclose(observe(seen).mean_z.numpy(), expected, rtol=1e-6, atol=1e-9)


class Remembered(Parts):
    """Holds what it held before, as parts on a disk do."""

    def __init__(self, before: dict[str, object]) -> None:
        super().__init__()
        self.all = dict(before)
        self._ahead |= before

    def keep(self, name: str, part: object) -> None:
        self.all[name] = part


def test_what_was_spent_counts_also_where_it_was_found() -> None:
    first = Remembered({})
    whole = experiment(first)
    seen = observe(whole)
    assert list(first.all) == ["repeats-0", "controls-0", "repeats-1", "controls-1", "shuffled-repeats"]
    for found in (1, 3, 5):
        again = experiment(Remembered(dict(list(first.all.items())[:found])))
        assert torch.equal(observe(again).mean_z, seen.mean_z)
        assert again.passes.spent == whole.passes.spent
