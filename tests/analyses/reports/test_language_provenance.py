"""Reports on language models, however opened, are made again from the record, from its command, from its Python."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from mesascope import models, probes
from mesascope.analyses.commands import cli
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.running import finished, run
from mesascope.analyses.runs.verifying import verify
from mesascope.data.errors import CheckpointRefused, UsageError
from mesascope.data.recipe import Recipe
from mesascope.models import LanguageModel, NotApplicable, Source, Subject
from mesascope.probes.findings import Findings
from mesascope.probes.measure import Claim, Measure
from mesascope.probes.probe import Probe, Progress, silent
from safetensors.torch import load_file, save_file

SIZES = {"d_vocab": 11, "n_ctx": 7, "d_model": 6, "n_layers": 2, "n_heads": 3, "d_head": 2}
LAYOUT = """
[model]
n_heads = 3
norm = "none"
[tensors]
W_E = "embed.W_E"
W_pos = "pos_embed.W_pos"
W_U = "unembed.W_U"
b_U = "unembed.b_U"
W_Q = "blocks.{layer}.attn.W_Q"
W_K = "blocks.{layer}.attn.W_K"
W_V = "blocks.{layer}.attn.W_V"
W_O = "blocks.{layer}.attn.W_O"
[file]
ignore = ["*.b_?"]
[check]
samples = "samples.npz"
"""


@dataclass(frozen=True)
class MeanLogit(Probe):
    """The mean of the largest logits."""

    name: ClassVar[str] = "mean-logit"
    version: ClassVar[str] = "1"
    batch_size: ClassVar[int] = 4

    n: int = 6

    def applies(self, subject: Subject) -> NotApplicable | None:
        return None if isinstance(subject, LanguageModel) else NotApplicable("no logits")

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        assert isinstance(subject, LanguageModel)
        rng = torch.Generator().manual_seed(seed)
        tokens = torch.randint(0, subject.shape.d_vocab, (self.n, 5), generator=rng)
        largest = subject.logits(tokens).double().amax(dim=(1, 2)).cpu().numpy()
        mean = np.asarray(largest.mean())
        measure = Measure(
            mean,
            "logit",
            (np.asarray(mean - 1), np.asarray(mean + 1)),
            "sequence",
            self.n,
            no_nulls="none is needed here",
        )
        return Findings(
            {"largest": measure}, {"largest": largest}, {"evaluation": Recipe("tokens", {}, seed, self.n, "0")}
        )

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return Claim("Found.", "No rival.", "6 sequences.", ("Anything else.",), "We looked.", ("Nobody. 2026.",))


@pytest.fixture(autouse=True)
def mean_logit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mean_logit_probe", sys.modules[__name__])
    monkeypatch.setitem(probes.PROBES, "mean-logit", "mean_logit_probe:MeanLogit")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tiny_llama(folder: Path, seed: int = 0) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    sizes: dict[str, Any] = {"vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = LlamaForCausalLM(LlamaConfig(**sizes, intermediate_size=8, max_position_embeddings=16))
    module.save_pretrained(folder)
    words = Tokenizer(WordLevel({"<s>": 0, "<unk>": 1, "cat": 2}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>").save_pretrained(folder)
    return folder


def commit_to_hub(cache: Path, commit: str, ref: str, seed: int) -> None:
    snapshot = cache / "models--someone--tiny" / "snapshots" / commit
    tiny_llama(snapshot, seed)
    (snapshot.parents[1] / "refs").mkdir(exist_ok=True)
    (snapshot.parents[1] / "refs" / ref).write_text(commit)


def legacy_state(path: Path, seed: int = 0) -> dict[str, torch.Tensor]:
    config = models.AttentionOnlyConfig(**SIZES, norm="none")
    rng = torch.Generator().manual_seed(seed)
    weights = {name: 0.3 * torch.randn(shape, generator=rng) for name, shape in config.shapes.items()}
    state = {"embed.W_E": weights["W_E"], "pos_embed.W_pos": weights["W_pos"]}
    state |= {"unembed.W_U": weights["W_U"], "unembed.b_U": weights["b_U"]}
    for layer in range(2):
        parts = {f"{a}_{b}": weights[f"{a}_{b}"][layer] for a in "Wb" for b in "QKVO"}
        state |= {f"blocks.{layer}.attn.{name}": tensor.clone() for name, tensor in parts.items()}
    torch.save(state, path)
    return weights


def opened_directory(here: Path) -> Subject:
    return models.load(tiny_llama(here / "tiny"), dtype=torch.float64)


def opened_hub(here: Path) -> Subject:
    commit_to_hub(here / "hub", "abc123", "step1000", 0)
    return models.load("someone/tiny", "1000")


def opened_hub_without_revision(here: Path) -> Subject:
    commit_to_hub(here / "hub", "abc123", "main", 0)
    return models.load("someone/tiny")


def opened_legacy(here: Path) -> Subject:
    legacy_state(here / "old.pt")
    facts = {"normalization_type": None, "attn_scale": 8.0, "attn_only": True, "model_name": "of, no effect"}
    (here / "config.json").write_text(json.dumps(facts))
    return models.load("old.pt", layout="tl-legacy", model_config="config.json", model_args={"attention_dir": "causal"})


def opened_declared(here: Path) -> Subject:
    weights = legacy_state(here / "theirs.pt")
    unbiased = {
        name: 0 * weight if name.startswith("b_") and name != "b_U" else weight for name, weight in weights.items()
    }
    config = models.AttentionOnlyConfig(**SIZES, norm="none")
    tokens = torch.arange(7)[None]
    logits = models.AttentionOnlyTransformer(config, unbiased)(tokens)
    np.savez("samples.npz", tokens=tokens.numpy(), logits=logits.detach().numpy())
    (here / "mine.toml").write_text(LAYOUT)
    return models.load("theirs.pt", layout="mine.toml", model_args={"causal": True})


def opened_own(here: Path) -> Subject:
    config = models.AttentionOnlyConfig(**SIZES)
    rng = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=rng) for name, shape in config.shapes.items()}
    models.save_checkpoint("own.safetensors", config, weights)
    return models.load("own.safetensors")


OPENED = [opened_directory, opened_hub, opened_hub_without_revision, opened_legacy, opened_declared, opened_own]
Open = Callable[[Path], Subject]
however_opened = pytest.mark.parametrize("opened", OPENED, ids=lambda f: f.__name__)


def made(subject: Subject) -> Report:
    report = run(subject, MeanLogit(), seed=3)
    assert isinstance(report, Report)
    return report


@however_opened
def test_the_record_alone_makes_it_again(opened: Open, here: Path) -> None:
    folder = made(opened(here)).save(here / "out", figures="none")
    for left_behind in ("mine.toml", "samples.npz", "config.json"):
        (here / left_behind).unlink(missing_ok=True)
    found = verify(folder)
    assert (found.verdict, found.differences) == ("bit-identical", ())


@however_opened
def test_its_command_makes_it_again(opened: Open, here: Path) -> None:
    report = made(opened(here))
    words = shlex.split(report.provenance["command"])[1:]
    assert cli.main([*words, "-o", str(here / "again"), "--figures", "none", "-q"]) == 0
    (file,) = (here / "again").rglob("report.json")
    again = json.loads(file.read_text())
    recorded = json.loads(json.dumps(report.record()))
    assert (again["measures"], again["key"]) == (recorded["measures"], recorded["key"])
    # the configuration is in the arguments, and an unnamed revision has become the commit that it was
    for source in (*again["sources"], *recorded["sources"]):
        del source["revision"]
    assert again["sources"] == recorded["sources"]


@however_opened
def test_its_python_makes_it_again(opened: Open, here: Path) -> None:
    report = made(opened(here))
    names: dict[str, Any] = {}
    exec(report.provenance["python"].replace(__name__, "mean_logit_probe"), names)
    assert names["report"].key == report.key
    assert names["report"].record()["measures"] == report.record()["measures"]


@however_opened
def test_a_finished_report_is_found_again(opened: Open, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("reports.provenance", "runs.running"):
        monkeypatch.setattr(f"mesascope.analyses.{place}.source_state", lambda: {"commit": "c", "dirty": False})
    subject = opened(here)
    folder = made(subject).save(here / "out", figures="none")
    assert finished(here / "out", subject, MeanLogit(), 3) == folder


@pytest.mark.parametrize("opened", [opened_directory, opened_legacy, opened_declared], ids=lambda f: f.__name__)
def test_what_has_moved_is_found_where_the_user_says(opened: Open, here: Path) -> None:
    subject = opened(here)
    folder = made(subject).save(here / "out", figures="none")
    there = Path(str(subject.source.path))
    (here / "elsewhere").mkdir()
    moved = Path(shutil.move(there, here / "elsewhere" / f"renamed{there.suffix}"))
    with pytest.raises(CheckpointRefused, match=r"no checkpoint at .*; give its place with --weights PATH"):
        verify(folder)
    assert verify(folder, weights=moved).verdict == "bit-identical"
    assert verify(folder, weights=moved.parent).verdict == "bit-identical"


def test_other_weights_at_the_same_place_are_noticed(here: Path) -> None:
    folder = made(opened_directory(here)).save(here / "out", figures="none")
    state = load_file(here / "tiny" / "model.safetensors")
    state["model.layers.0.self_attn.q_proj.weight"][0, 0] *= 1.01
    save_file(state, here / "tiny" / "model.safetensors")
    found = verify(folder)
    assert found.verdict == "weights differ"
    assert found.differences[0].startswith("tiny: weights_sha256: the report has ")


def test_another_tokenizer_is_noticed(here: Path) -> None:
    subject = opened_directory(here)
    report = made(subject)
    folder = report.save(here / "out", figures="none")
    words = here / "tiny" / "tokenizer.json"
    words.write_text(words.read_text().replace('"cat"', '"dog"'))
    found = verify(folder)
    assert found.verdict == "differs"
    assert any("facts.tokenizer_sha256" in line for line in found.differences)
    assert made(models.load("tiny", dtype=torch.float64)).key != report.key


def test_a_branch_that_has_moved_on_does_not_matter(here: Path) -> None:
    folder = made(opened_hub_without_revision(here)).save(here / "out", figures="none")
    commit_to_hub(here / "hub", "def456", "main", 1)
    assert models.load("someone/tiny").source.commit == "def456"
    assert verify(folder).verdict == "bit-identical"


def test_what_decides_the_numbers_is_recorded(here: Path) -> None:
    found = made(opened_directory(here)).provenance
    assert {"transformers", "tokenizers", "huggingface-hub"} <= set(found["environment"]["packages"])
    assert found["bos"] == 0
    assert len(found["tokenizer_sha256"]) == 64
    assert "scaled_dot_product_attention" in found["attention_implementation"]
    assert "transformers" not in made(opened_own(here)).provenance["environment"]["packages"]
    hub = made(opened_hub(here)).sources[0]
    assert (hub["name"], hub["revision"], hub["commit"], hub["path"]) == ("someone/tiny", "step1000", "abc123", None)


def test_a_declaration_does_not_count_by_its_place(here: Path) -> None:
    one = made(opened_declared(here))
    (here / "mine.toml").rename(here / "moved.toml")
    other = made(models.load("theirs.pt", layout="moved.toml", model_args={"causal": True}))
    assert one.key == other.key


def test_an_in_memory_model_has_to_be_passed_again(here: Path) -> None:
    from transformers import LlamaForCausalLM

    module = LlamaForCausalLM.from_pretrained(tiny_llama(here / "tiny"))
    report = made(models.from_module(module))
    assert report.provenance["command"] is None
    folder = report.save(here / "out", figures="none")
    with pytest.raises(UsageError, match="the report does not say how to open it"):
        verify(folder)
    assert verify(folder, subject=models.from_module(module)).verdict == "bit-identical"


@pytest.mark.parametrize("options", [{}, {"model_args": {}}, {"declaration": {"tensors": {}}}])
def test_a_record_that_lacks_what_opens_it_is_refused(options: dict[str, Any], here: Path) -> None:
    folder = made(opened_declared(here)).save(here / "out", figures="none")
    record = json.loads((folder / "report.json").read_text())
    record["sources"][0]["options"] = options
    (folder / "report.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match="options lacks"):
        verify(folder)
