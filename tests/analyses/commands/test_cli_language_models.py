"""The command on language models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.analyses.commands import cli
from mesascope.analyses.commands.arguments import parse
from mesascope.analyses.commands.listing import rows
from mesascope.analyses.commands.run_options import run_options
from mesascope.data.errors import CheckpointRefused
from mesascope.models import AttentionOnlyConfig, LanguageModel, NotApplicable, Subject, load, save_checkpoint
from mesascope.probes import PROBES, GDAlignment, Probe

CONFIG = AttentionOnlyConfig(d_vocab=5, n_ctx=4, d_model=4, n_layers=1, n_heads=1, d_head=2)


@dataclass(frozen=True)
class Reads(Probe):
    """A stand-in for a probe of language models, which is only asked whether it applies."""

    name = "reads"
    version = "1"

    def applies(self, subject: Subject) -> NotApplicable | None:
        return None if isinstance(subject, LanguageModel) else NotApplicable("it reads no tokens")

    def measure(self, *arguments: Any) -> Any:
        raise AssertionError("nobody asked for it")

    claim = measure


@pytest.mark.parametrize(
    ("others", "advice"),
    [
        ([], "No probe applies to words as called."),
        (["reads"], "Probes that apply to words: reads. Choose one with -p NAME."),
    ],
)
def test_gd_alignment_says_that_it_does_not_apply_and_what_does(
    others: list[str], advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "reads_probe", sys.modules[__name__])
    known = {"gd-alignment": PROBES["gd-alignment"], **dict.fromkeys(others, "reads_probe:Reads")}
    monkeypatch.setattr("mesascope.probes.registered", lambda: known)
    monkeypatch.setattr("mesascope.analyses.commands.planning.registered", lambda: known)
    path = tmp_path / "words.safetensors"
    save_checkpoint(path, CONFIG, {name: torch.ones(shape) for name, shape in CONFIG.shapes.items()})
    assert cli.main(["run", str(path), "-p", "gd-alignment", "-o", str(tmp_path / "out")]) == 0
    refusal = GDAlignment().applies(load(path))
    assert isinstance(refusal, NotApplicable)
    reason = refusal.reason
    assert capsys.readouterr().out == (
        f"gd-alignment does not apply to words: {reason}{'' if reason.endswith('.') else '.'}\n{advice}\n"
    )
    assert not (tmp_path / "out").exists()
    assert cli.main(["run", str(path), "-p", "gd-alignment", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["not_applicable"]
    assert answer["applies"] == others


def test_a_language_model_without_a_tokenizer_is_told_which_option_would_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the probe that would apply was not the one asked for."""
    known = {name: PROBES[name] for name in ("gd-alignment", "token-norms")}
    monkeypatch.setattr("mesascope.probes.registered", lambda: known)
    monkeypatch.setattr("mesascope.analyses.commands.planning.registered", lambda: known)
    path = tmp_path / "words.safetensors"
    save_checkpoint(path, CONFIG, {name: torch.ones(shape) for name, shape in CONFIG.shapes.items()})
    assert cli.main(["run", str(path), "-p", "gd-alignment"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "No probe applies to words as called."
    assert lines[2].startswith("token-norms does not apply either: words has no tokenizer")
    assert "--tokens FILE" in lines[2]


def test_what_applies_knows_the_options_that_were_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An encoder has no induction heads; that token-norms needs a file is no advice to somebody who gave one."""
    path, tokens = tmp_path / "words.safetensors", tmp_path / "tokens.npy"
    config = replace(CONFIG, causal=False)
    save_checkpoint(path, config, {name: torch.ones(shape) for name, shape in config.shapes.items()})
    np.save(tokens, np.ones((3, 4), dtype=int))
    assert cli.main(["run", str(path), "-p", "induction-heads"]) == 0
    assert "No probe applies to words as called." in capsys.readouterr().out
    assert cli.main(["run", str(path), "-p", "induction-heads", "--tokens", str(tokens)]) == 0
    said = capsys.readouterr().out
    assert "Probes that apply to words: token-norms. Choose one with -p NAME." in said
    assert "--tokens FILE" not in said


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_every_dtype_can_be_asked_for(dtype: str) -> None:
    _, values = parse(["run", "m", "--dtype", dtype])
    assert run_options(values).dtype == dtype


def test_a_declared_layout_and_a_configuration_reach_the_run() -> None:
    _, values = parse(["run", "m.pt", "--layout", "mine.toml", "--model-config", "config.json"])
    options = run_options(values)
    assert (options.layout, options.model_config) == ("mine.toml", "config.json")


def test_training_steps_that_the_hub_is_known_to_publish_are_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("mesascope.models.opening.bridge.known_steps", lambda model: [0, 1000])
    refs = tmp_path / "models--owner--model" / "refs"
    refs.mkdir(parents=True)
    (refs / "step1000").touch()
    found = rows("revisions", "owner/model")
    assert found == [{"revision": "step1000", "cached": True}, {"revision": "step0", "cached": False}]


def test_revisions_of_nothing_are_refused() -> None:
    with pytest.raises(CheckpointRefused, match="did you mean lsa-1layer"):
        rows("revisions", "lsa-1layr")


def test_offline_reaches_the_libraries_before_they_are_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from mesascope.analyses.commands import cli; code = cli.main(sys.argv[1:]);"
        "import huggingface_hub.constants as hub; sys.exit(code != 3 or not hub.HF_HUB_OFFLINE)"
    )
    words = [sys.executable, "-c", code, "run", str(tmp_path / "absent.pt"), "--offline"]
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    refused = f"mesascope: error: {tmp_path / 'absent.pt'}: no such file; check the path\n"
    assert (done.returncode, done.stderr) == (0, refused)
