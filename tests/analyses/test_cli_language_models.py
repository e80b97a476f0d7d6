"""The command on language models, for which there is no probe yet."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mesascope.analyses import cli
from mesascope.analyses.arguments import parse, run_options
from mesascope.analyses.listing import rows
from mesascope.data.errors import CheckpointRefused
from mesascope.models import AttentionOnlyConfig, save_checkpoint

CONFIG = AttentionOnlyConfig(d_vocab=5, n_ctx=4, d_model=4, n_layers=1, n_heads=1, d_head=2)


def test_gd_alignment_says_that_it_does_not_apply(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "words.safetensors"
    save_checkpoint(path, CONFIG, {name: torch.ones(shape) for name, shape in CONFIG.shapes.items()})
    assert cli.main(["run", str(path), "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "not applicable, because no regression read-out and no constructed weights exist for this model" in said
    assert not (tmp_path / "out").exists()


def test_a_declared_layout_and_a_configuration_reach_the_run() -> None:
    _, values = parse(["run", "m.pt", "--layout", "mine.toml", "--model-config", "config.json"])
    options = run_options(values)
    assert (options.layout, options.model_config) == ("mine.toml", "config.json")


def test_training_steps_that_the_hub_is_known_to_publish_are_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("mesascope.models.bridge.known_steps", lambda model: [0, 1000])
    refs = tmp_path / "models--owner--model" / "refs"
    refs.mkdir(parents=True)
    (refs / "step1000").touch()
    found = rows("revisions", "owner/model")
    assert found == [{"revision": "step1000", "cached": True}, {"revision": "step0", "cached": False}]


def test_revisions_of_nothing_are_refused() -> None:
    with pytest.raises(CheckpointRefused, match="did you mean lsa-1layer"):
        rows("revisions", "lsa-1layr")
