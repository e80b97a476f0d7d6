"""Bridges of TransformerLens: read over shared storage and left as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope.data.errors import CheckpointRefused, TaskError, UsageError
from mesascope.models import AttentionOnlyModel, load
from mesascope.models.opening.bridge import from_bridge, known_steps
from safetensors.torch import save_file
from torch import Tensor

# third parties' own: TransformerLens and what it imports
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning:transformer_lens"
)
FAMILIES = ("gpt2", "gpt_neox", "llama", "qwen3", "gemma2", "bert")
Tiny = Callable[[str], Any]


def tokens(size: int = 53) -> Tensor:
    return torch.randint(0, size, (2, 9), generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A bridge wants one from a directory, and refuses to boot without."""
    from tokenizers import Tokenizer, models
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({**{str(n): n for n in range(53)}, "<s>": 53}, unk_token="<s>"))
    marks = dict.fromkeys(("bos_token", "eos_token", "pad_token"), "<s>")
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(tokenizer_object=words, **marks).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def boot(module: Any, tokenizer: Any) -> Any:
    from transformer_lens.model_bridge import TransformerBridge

    module.config.architectures = [type(module).__name__]
    return TransformerBridge.boot_transformers("tiny", hf_model=module, tokenizer=tokenizer)


def native(**settings: Any) -> Any:
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    sizes = {"d_model": 16, "d_head": 8, "n_heads": 2, "n_layers": 2, "n_ctx": 12, "d_vocab": 11, "seed": 0}
    bridge = TransformerBridge.boot_native(TransformerBridgeConfig(**{**sizes, **settings})).eval()
    noise = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in bridge.parameters():  # biases and norms start at 0 and 1, where mistakes do not show
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=noise))
    return bridge


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bridge_is_read_and_left_as_it_was(family: str, tiny: Tiny, tokenizer: Any) -> None:
    module = tiny(family)
    with torch.no_grad():
        expected = module(tokens()).logits
    bridge = boot(module, tokenizer)
    calls: list[str] = []
    hook = bridge.original_model.register_forward_hook(lambda *_: calls.append("hook"))
    before = {name: (tensor.data_ptr(), tensor._version) for name, tensor in bridge.state_dict().items()}
    implementation = bridge.original_model.config._attn_implementation
    subject = from_bridge(bridge)
    assert float((subject.logits(tokens()) - expected).abs().max()) < 1e-4
    with pytest.raises(ZeroDivisionError):
        subject.run(tokens(), watch={"resid_post": lambda x, layer: 1 / 0})
    assert {name: (tensor.data_ptr(), tensor._version) for name, tensor in bridge.state_dict().items()} == before
    assert bridge.original_model.config._attn_implementation == implementation
    assert calls == []
    hook.remove()
    theirs = {tensor.untyped_storage().data_ptr() for tensor in bridge.original_model.state_dict().values()}
    ours = {tensor.untyped_storage().data_ptr() for tensor in subject.module.state_dict().values()}
    assert ours <= theirs
    with torch.no_grad():
        assert float((bridge(tokens()) - expected).abs().max()) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_that_the_bridge_shows(family: str, tiny: Tiny, tokenizer: Any) -> None:
    bridge = boot(tiny(family), tokenizer)
    weights: Any = from_bridge(bridge).weights()
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        assert torch.equal(getattr(weights, name), getattr(bridge, name))
    if weights.b_Q is not None:
        for name in ("b_Q", "b_K", "b_V", "b_O"):
            assert torch.equal(getattr(weights, name), getattr(bridge, name))


@pytest.mark.parametrize(
    "settings",
    [
        {"attn_only": True, "normalization_type": "LN"},
        {"attn_only": True, "normalization_type": None},
        {"attn_only": True, "normalization_type": "LN", "attention_dir": "bidirectional", "attn_scale": 8.0},
        {"normalization_type": "LNPre", "act_fn": "gelu_new"},
        {"normalization_type": "LN", "positional_embedding_type": "rotary", "rotary_dim": 4, "act_fn": "relu"},
        {"normalization_type": "LN", "act_fn": "silu", "use_attn_scale": False},
        {"normalization_type": "RMS", "gated_mlp": True, "d_vocab_out": 3},
        {"normalization_type": "RMSPre", "gated_mlp": True, "act_fn": "relu", "positional_embedding_type": "rotary"},
    ],
    ids=str,
)
def test_native_bridges_become_our_own_transformer(settings: dict[str, Any], tmp_path: Path) -> None:
    """In memory, and from a file of the bridge's state dict."""
    bridge = native(**settings)
    save_file(bridge.state_dict(), tmp_path / "toy.safetensors")
    config = {name: getattr(bridge.cfg, name) for name in ("n_heads", "n_ctx", "act_fn", "attn_only")}
    file = load(tmp_path / "toy.safetensors", layout="tl-native", model_config={**config, **settings})
    with torch.no_grad():
        expected = bridge(tokens(11))
    for subject, layout in ((from_bridge(bridge), "bridge-native"), (file, "tl-native")):
        assert isinstance(subject, AttentionOnlyModel)
        assert float((subject.logits(tokens(11)) - expected).abs().max()) < 1e-5
        assert subject.source.layout == layout


def test_a_native_state_dict_names_its_layout_and_needs_its_heads(tmp_path: Path) -> None:
    bridge = native(attn_only=True, normalization_type="LN")
    torch.save(bridge.state_dict(), tmp_path / "toy.pt")
    with pytest.raises(CheckpointRefused, match="give --layout tl-native, or"):
        load(tmp_path / "toy.pt")
    for args, said in (
        ({}, "n_heads = None in the configuration; expected"),
        ({"n_heads": 3}, "does not fit n_heads = 3"),
    ):
        with pytest.raises(CheckpointRefused, match=said):
            load(tmp_path / "toy.pt", layout="tl-native", model_args=args)
    torch.save({**bridge.state_dict(), "blocks.0.attn.sinks": torch.zeros(2)}, tmp_path / "more.pt")
    with pytest.raises(CheckpointRefused, match="sinks' is not a name of the layout tl-native"):
        load(tmp_path / "more.pt", layout="tl-native", model_args={"n_heads": 2})


@pytest.mark.parametrize(
    "settings",
    [
        {"normalization_type": "LN", "n_key_value_heads": 1},
        {"normalization_type": "LN", "attn_scores_soft_cap": 5.0},
        {"normalization_type": "LN", "output_logits_soft_cap": 5.0},
        {"normalization_type": "LN", "act_fn": "solu_ln"},
        {"normalization_type": "LN", "final_rms": True},
    ],
    ids=str,
)
def test_native_bridges_beyond_our_transformer_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(CheckpointRefused, match=sorted(set(settings) - {"normalization_type"} or settings)[0]):
        from_bridge(native(**settings))


def test_processed_weights_are_refused(tiny: Tiny, tokenizer: Any) -> None:
    bridge = boot(tiny("llama"), tokenizer)
    bridge.enable_compatibility_mode(disable_warnings=True)
    with pytest.raises(CheckpointRefused, match="enable_compatibility_mode"):
        from_bridge(bridge)


def test_what_is_no_bridge_is_refused() -> None:
    with pytest.raises(UsageError, match="is a Linear; expected a TransformerBridge"):
        from_bridge(torch.nn.Linear(2, 2))


def test_training_steps_are_known_without_the_hub() -> None:
    steps = known_steps("EleutherAI/pythia-70m")
    assert (len(steps), steps[0], steps[-1]) == (154, 0, 143_000)
    assert known_steps("gpt2") == []


def test_the_bridges_tokenizer_is_taken_over(tiny: Tiny, tokenizer: Any) -> None:
    subject = from_bridge(boot(tiny("llama"), tokenizer))
    assert subject.encode("7") == [7]
    assert subject.source.facts["tokenizer_sha256"]
    assert "transformer-lens" in subject.packages
    from tokenizers import Tokenizer, models

    own = Tokenizer(models.WordLevel({"7": 3, "<s>": 4}, unk_token="<s>"))
    assert from_bridge(boot(tiny("llama"), tokenizer), own).encode("7") == [3]
    assert from_bridge(native(attn_only=True, normalization_type="LN"), own).encode("7") == [3]


def test_a_tokenizer_that_the_bridge_made_up_is_left_out(tiny: Tiny, tmp_path: Path) -> None:
    """From a directory without one, a bridge boots with a tokenizer that gives no token for any text."""
    from transformer_lens.model_bridge import TransformerBridge

    tiny("gpt2").save_pretrained(tmp_path)
    bridge = TransformerBridge.boot_transformers(str(tmp_path), device="cpu", dtype=torch.float32)
    assert bridge.tokenizer is not None
    subject = from_bridge(bridge)
    assert subject.tokenizer is None
    with pytest.raises(TaskError, match="came without a tokenizer"):
        subject.encode("hello")
