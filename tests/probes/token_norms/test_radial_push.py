"""The radial push: what lengthening a state would do to its loss, where no final norm makes that nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models.constructed.norms import planted_norms
from mesascope.probes import TokenNorms
from mesascope.probes.token_norms.length_watcher import stream_states
from mesascope.probes.token_norms.read_out import ReadOut

DOCUMENTS = np.random.default_rng(3).integers(1, 50, size=(8, 20))


def last_states(model: Any, window: torch.Tensor) -> np.ndarray:
    seen: dict[int, np.ndarray] = {}
    model.run(window, stream_states(lambda x, layer: seen.update({layer: x[0].double().numpy()})))
    return seen[model.shape.n_layers]


def test_without_a_final_norm_it_is_that_of_the_logits(tmp_path: Path) -> None:
    """At the last layer h . push is the target's logit minus the expected one, and its part along h that over ‖h‖."""
    np.save(tmp_path / "tokens.npy", DOCUMENTS)
    model: Any = planted_norms()
    probe = TokenNorms(tokens=str(tmp_path / "tokens.npy"), untrained=0, parts="inner")
    measure = probe.measure(model, 0, 4).measures["radial_push"]
    along = []
    for document in DOCUMENTS:
        window = torch.from_numpy(np.array([[0, *document]]))  # BOS
        with torch.no_grad():
            logits = model.module(window).double().numpy()[0, :-1]
            lengths = np.linalg.norm(last_states(model, window), axis=1)[:-1]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        along.append((logits[np.arange(len(document)), document] - (p * logits).sum(axis=1)) / lengths)
    first, later = np.array(along)[:, 0], np.array(along)[:, 1:]
    np.testing.assert_allclose(measure.values[-1], [first.mean(), later.mean()], rtol=1e-6)


NORMS = {"none": None, "layer norm": torch.nn.LayerNorm(6), "RMS norm": torch.nn.RMSNorm(6)}


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_ignores_length_and_nothing_else_does(name: str) -> None:
    W_U, norm = torch.randn(6, 9, generator=torch.Generator().manual_seed(0)), NORMS[name]
    read_out = ReadOut(W_U) if norm is None else ReadOut(W_U, norm)
    assert read_out.ignores_length() is (norm is not None)
