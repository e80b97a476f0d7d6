"""Directories as they come: all that transformers loads in silence is refused, offline, and without code."""

from __future__ import annotations

import json
import os
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope.data.errors import CheckpointRefused, UsageError
from mesascope.models.opening.hub_cache import cached_revisions, step_of
from mesascope.models.opening.pretrained import open_directory, open_hub
from safetensors.torch import load_file, save_file
from torch import Tensor

SHARED = Path(os.environ.get("MESASCOPE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
Tiny = Callable[[str], Any]
State = dict[str, Tensor]


def tokens() -> Tensor:
    return torch.randint(0, 53, (2, 9), generator=torch.Generator().manual_seed(4))


@torch.no_grad()
def logits_of(module: Any) -> Tensor:
    return module(tokens()).logits


@pytest.fixture
def saved(tiny: Tiny, tmp_path: Path) -> Callable[..., Path]:
    """A directory of a family, its tensors and configuration changed before they are written."""

    def save(family: str, change: Callable[[State], State | None] | None = None, **config: Any) -> Path:
        folder = tmp_path / family
        tiny(family).save_pretrained(folder)
        file = folder / "model.safetensors"
        state = {name: tensor.clone() for name, tensor in load_file(file).items()}
        if change is not None:
            save_file(change(state) or state, file)
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**values, **config}))
        return folder

    return save


def rename_all(state: State) -> State:
    return {f"renamed.{name}": tensor for name, tensor in state.items()}


def rename_suffixes(state: State) -> State:
    return {name.replace("weight", "kernel"): tensor for name, tensor in state.items()}


def lose_one(state: State) -> None:
    del state["model.layers.1.self_attn.q_proj.weight"]


def lose_the_embedding(state: State) -> None:
    del state["model.embed_tokens.weight"]


def add_one(state: State) -> None:
    state["model.layers.1.self_attn.extra.weight"] = torch.zeros(2)


def add_a_layer(state: State) -> None:
    for name in [name for name in state if ".layers.2." in name]:
        state[name.replace(".layers.2.", ".layers.3.")] = state[name].clone()


def cut_one(state: State) -> None:
    state["model.layers.1.mlp.up_proj.weight"] = state["model.layers.1.mlp.up_proj.weight"][:-1].contiguous()


def turn_one(state: State) -> None:
    state["model.layers.1.mlp.up_proj.weight"] = state["model.layers.1.mlp.up_proj.weight"].mT.contiguous()


def poison(state: State) -> None:
    state["model.norm.weight"][3] = torch.nan


def overflow(state: State) -> None:
    state["model.norm.weight"][3] = torch.inf


def whole_numbers(state: State) -> None:
    state["model.norm.weight"] = state["model.norm.weight"].long()


def truth_values(state: State) -> None:
    state["model.norm.weight"] = state["model.norm.weight"] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename_all, "surplus tensor"),
        (rename_suffixes, "surplus tensor"),
        (lose_one, r"missing, 'model.layers.1.self_attn.q_proj.weight'"),
        (lose_the_embedding, r"missing, 'model.embed_tokens.weight'"),
        (add_one, "surplus tensor 'model.layers.1.self_attn.extra.weight'"),
        (add_a_layer, "surplus tensor 'model.layers.3"),
        (cut_one, r"has shape \[47, 32\]; expected \[48, 32\]"),
        (turn_one, r"has shape \[32, 48\]; expected \[48, 32\]"),
        (poison, "holds nan; expected finite weights"),
        (overflow, "holds inf; expected finite weights"),
        (whole_numbers, "has dtype torch.int64; expected"),
        (truth_values, "has dtype torch.bool; expected"),
    ],
)
def test_tensors_that_are_not_what_they_should_be(
    saved: Callable[..., Path], change: Callable[[State], State | None], message: str
) -> None:
    with pytest.raises(CheckpointRefused, match=message) as refusal:
        open_directory(saved("llama", change))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "config",
    [
        {"vocab_size": 10**9},
        {"hidden_size": 10**9},
        {"intermediate_size": 10**12},
        {"num_hidden_layers": 10**9},
        {"num_attention_heads": 10**9},
        {"num_hidden_layers": 2},
        {"num_hidden_layers": 4},
        {"num_attention_heads": 3},
        {"num_attention_heads": 0},
        {"vocab_size": -1},
        {"vocab_size": "many"},
        {"hidden_act": "os.system"},
        {"rope_parameters": {"rope_type": "none such"}},
        {"model_type": "llamma"},
        {"model_type": "vit"},
        {"model_type": "../llama"},
    ],
)
def test_configurations_that_the_weights_do_not_bear_out(saved: Callable[..., Path], config: dict[str, Any]) -> None:
    folder = saved("llama", **config)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(CheckpointRefused) as refusal:
        open_directory(folder)
    assert time.process_time() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert "\n" not in str(refusal.value)


def test_positions_that_are_worked_out_are_bounded_by_those_that_are_stored(saved: Callable[..., Path]) -> None:
    for family in ("gpt2", "bert"):
        key = "n_positions" if family == "gpt2" else "max_position_embeddings"
        with pytest.raises(CheckpointRefused, match="expected"):
            open_directory(saved(family, **{key: 10**10}))


def test_a_head_that_is_missing_is_named_and_has_no_logits(saved: Callable[..., Path], tiny: Tiny) -> None:
    def headless(state: State) -> State:
        return {name.removeprefix("bert."): tensor for name, tensor in state.items() if name.startswith("bert.")}

    folder = saved("bert", headless, architectures=["BertModel"])
    subject = open_directory(folder)
    assert any("the checkpoint has no head (cls.predictions" in note for note in subject.source.notes)
    with pytest.raises(UsageError, match=r"has no logits: the checkpoint has no 'cls\.predictions"):
        subject.logits(tokens())
    with torch.no_grad():
        expected = tiny("bert").bert(tokens()).last_hidden_state
    assert float((subject.run(tokens()).output - expected).abs().max()) < 1e-4


def test_bert_as_it_was_published_opens(saved: Callable[..., Path], tiny: Tiny) -> None:
    """Two heads, norms named gamma and beta, and a buffer beside the parameters."""

    def published(state: State) -> State:
        old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in state.items()}
        old = {name.replace("LayerNorm.bias", "LayerNorm.beta"): tensor for name, tensor in old.items()}
        old["cls.seq_relationship.weight"], old["cls.seq_relationship.bias"] = torch.zeros(2, 32), torch.zeros(2)
        old["bert.pooler.dense.weight"], old["bert.pooler.dense.bias"] = torch.zeros(32, 32), torch.zeros(32)
        old["bert.embeddings.position_ids"] = torch.arange(64)[None]
        return old

    subject = open_directory(saved("bert", published))
    assert float((subject.logits(tokens()) - logits_of(tiny("bert"))).abs().max()) < 1e-4
    assert "not used: cls.seq_relationship.weight" in subject.source.notes


def test_gpt2_as_it_was_published_opens(saved: Callable[..., Path], tiny: Tiny) -> None:
    """Saved without its prefix, with masks that hold -inf beside the parameters."""

    def published(state: State) -> State:
        old = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}
        mask = torch.full((1, 1, 64, 64), -torch.inf).triu(1)
        return old | {f"h.{layer}.attn.bias": mask.clone() for layer in range(3)}

    subject = open_directory(saved("gpt2", published))
    assert float((subject.logits(tokens()) - logits_of(tiny("gpt2"))).abs().max()) < 1e-4


def test_a_tied_head_that_differs_is_used_and_identified(saved: Callable[..., Path]) -> None:
    """Stored twice with different numbers, whatever the configuration says of tying."""

    def differ(state: State) -> None:
        state["lm_head.weight"] = torch.zeros_like(state["model.embed_tokens.weight"])

    def one_of_both(state: State) -> State:
        return {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}

    subject = open_directory(saved("llama", differ, tie_word_embeddings=True))
    assert not subject.logits(tokens()).any()
    tied = open_directory(saved("llama", one_of_both, tie_word_embeddings=True))
    assert tied.logits(tokens()).any()
    assert tied.source.weights_sha256 != subject.source.weights_sha256


def test_a_digest_does_not_depend_on_how_often_a_tied_matrix_is_stored(saved: Callable[..., Path]) -> None:
    def head_alone(state: State) -> State:
        state["lm_head.weight"] = state.pop("transformer.wte.weight")
        return state

    def twice(state: State) -> None:
        state["lm_head.weight"] = state["transformer.wte.weight"].clone()

    digests = {open_directory(saved("gpt2", change)).source.weights_sha256 for change in (None, head_alone, twice)}
    assert len(digests) == 1


def test_pickled_weights_open_through_the_safe_reader(saved: Callable[..., Path], tiny: Tiny) -> None:
    folder = saved("llama")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    assert float((open_directory(folder).logits(tokens()) - logits_of(tiny("llama"))).abs().max()) < 1e-4
    torch.save(tiny("llama"), folder / "pytorch_model.bin")
    with pytest.raises(CheckpointRefused, match="pickle"):
        open_directory(folder)


def test_shards_open_as_one(tiny: Tiny, tmp_path: Path) -> None:
    tiny("llama").save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert float((open_directory(tmp_path).logits(tokens()) - logits_of(tiny("llama"))).abs().max()) < 1e-4


@pytest.mark.parametrize("length", range(0, 60, 7))
def test_truncated_weights_are_refused(saved: Callable[..., Path], length: int) -> None:
    folder = saved("llama")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) * length // 60])
    with pytest.raises(CheckpointRefused, match=r"model\.safetensors"):
        open_directory(folder)


def test_a_tokenizer_that_is_damaged_is_refused(saved: Callable[..., Path]) -> None:
    folder = saved("llama")
    assert open_directory(folder).tokenizer is None
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointRefused, match=r"tokenizer\.json: the tokenizer cannot be read"):
        open_directory(folder)


def test_the_callers_settings_are_left_alone(saved: Callable[..., Path]) -> None:
    from transformers.utils import logging

    logging.set_verbosity_info()
    try:
        open_directory(saved("llama"))
        with pytest.raises(CheckpointRefused):
            open_directory(saved("llama", lose_one))
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity_warning()


def hub_cache(folder: Path, cache: Path, revision: str = "main") -> None:
    """A directory as the hub's client would have cached it."""
    repository = cache / "models--someone--tiny"
    for place in ("blobs", "refs", "snapshots/abc123"):
        (repository / place).mkdir(parents=True)
    (repository / "refs" / revision).write_text("abc123")
    for file in folder.iterdir():
        file.rename(repository / "blobs" / file.name)
        (repository / "snapshots" / "abc123" / file.name).symlink_to(f"../../blobs/{file.name}")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
def test_hub_models_open_from_the_cache_alone(
    saved: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(
        CheckpointRefused, match=r"nor in the local hub cache; download it with `hf download someone/tiny`"
    ):
        open_hub("someone/tiny")
    hub_cache(saved("llama"), tmp_path / "hub", "step1000")
    for revision in ("step1000", "1000", "abc123"):
        subject = open_hub("someone/tiny", revision)
        assert subject.source.name == "someone/tiny"
        assert subject.source.path is None
        assert subject.source.step == (None if revision == "abc123" else 1000)
    assert cached_revisions("someone/tiny") == ["step1000"]
    for revision in (None, "step2000", "../../..", "abc123/../abc123", ""):
        with pytest.raises(UsageError, match=r"not in the local cache.*hf download someone/tiny"):
            open_hub("someone/tiny", revision)
    for name in ("../someone/tiny", "/someone", "someone/tiny/more", "..", "some one/tiny"):
        with pytest.raises(CheckpointRefused, match="hub id"):
            open_hub(name)


@pytest.mark.parametrize(
    ("revision", "step"),
    [("step512", 512), ("stage1-step1000-tokens5B", 1000), ("main", None), (None, None), ("footstep3", None)],
)
def test_the_step_that_a_revision_names(revision: str | None, step: int | None) -> None:
    assert step_of(revision) == step


@pytest.mark.usefixtures("offline")
def test_stories_say_what_the_original_implementation_says() -> None:
    folder = SHARED / "stories260k"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    subject = open_directory(folder)
    assert subject.tokenizer is not None
    assert (subject.bos, subject.source.facts["bos"]) == (1, 1)
    expected = (folder / "greedy.txt").read_text(encoding="utf-8")
    ids = torch.tensor([[subject.bos, *subject.encode(expected)]])
    # greedy decoding, by induction: each token is the most likely one after those before it
    assert torch.equal(subject.logits(ids)[0, :-1].argmax(-1), ids[0, 1:])
    assert subject.tokenizer.decode(ids[0], skip_special_tokens=True) == expected
    assert len(expected) == 460


def test_tables_of_whole_numbers_that_a_model_declares_are_read(tmp_path: Path) -> None:
    """MRA stores its positions; it is refused for its attention, not for their dtype, and another dtype is refused."""
    import transformers

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    module = transformers.MraForMaskedLM(transformers.MraConfig(vocab_size=53, max_position_embeddings=64, **sizes))
    module.save_pretrained(tmp_path)
    with pytest.raises(CheckpointRefused, match="none of its layers shows attention"):
        open_directory(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: tensor.int() if tensor.dtype == torch.int64 else tensor for name, tensor in tensors.items()},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(CheckpointRefused, match=r"position_ids' has dtype torch.int32"):
        open_directory(tmp_path)
