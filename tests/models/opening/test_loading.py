"""One entry for everything that can be opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import CheckpointRefused, MesascopeError, UsageError
from mesascope.models import (
    CopyModel,
    LanguageModel,
    RegressionConfig,
    RegressionTransformer,
    SoftmaxRegressor,
    from_transformer,
    load,
    load_all,
    save_checkpoint,
    shipped,
)
from mesascope.models.opening import loading
from torch import Tensor

CONFIG = RegressionConfig(d_in=2, d_head=3)


@pytest.fixture
def family(tmp_path: Path, random_parameters: Callable[..., dict[str, Tensor]]) -> Path:
    tensors = {
        f"seed{seed}/step{step}/{name}": weight
        for seed in (0, 1)
        for step in (10, 20)
        for name, weight in random_parameters(CONFIG, 10 * seed + step).items()
    }
    save_checkpoint(tmp_path / "family.safetensors", CONFIG, tensors)
    return tmp_path / "family.safetensors"


def refusal(error: type[MesascopeError], *arguments: Any, **options: Any) -> str:
    for opener in (load, load_all):
        with pytest.raises(error) as caught:
            opener(*arguments, **options)
        assert "\n" not in str(caught.value)
    return str(caught.value)


def test_load_is_the_first_of_load_all(family: Path) -> None:
    for revision in (None, "step10", "all"):
        one, several = load(family, revision), load_all(family, revision)
        assert one.source == several[0].source
    assert [subject.source.revision for subject in load_all(family, "all")] == [
        "seed0-step10", "seed0-step20", "seed1-step10", "seed1-step20"
    ]  # fmt: skip


def test_a_path_may_be_a_string(family: Path) -> None:
    assert load(str(family)).source == load(family).source


def test_the_dtype_is_the_files_own_unless_asked(family: Path) -> None:
    inputs = torch.randn(2, 4, 3, dtype=torch.float64)
    own, cast = load(family), load(family, dtype=torch.float32)
    assert own.dtype == torch.float64
    assert cast.dtype == torch.float32
    assert own.device == cast.device == torch.device("cpu")
    torch.testing.assert_close(cast.predict(inputs.float()).double(), own.predict(inputs), rtol=1e-4, atol=1e-5)


def test_a_shipped_name_has_no_path(family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("catalogue", "loading"):
        monkeypatch.setattr(f"mesascope.models.opening.{module}.shipped", lambda: {"family": family})
    source = load("family", "seed1").source
    assert source.path is None
    assert (source.label, source.weights_sha256) == (
        "family-seed1-step20", load(family, "seed1").source.weights_sha256
    )  # fmt: skip


def test_the_last_step_of_a_seed_or_of_the_first_one(family: Path, tmp_path: Path) -> None:
    for seed, found in ((1, 1), (0, 0), (7, 0), (None, 0)):
        assert loading.load_seed(str(family), seed).source.revision == f"seed{found}-step20"
    single = tmp_path / "single.safetensors"
    save_checkpoint(single, CONFIG, dict(load(family).module.named_parameters()))
    assert loading.load_seed(str(single), 1).source.revision is None


def test_a_file_is_known_by_its_bytes(family: Path) -> None:
    assert loading.sha256_of(str(family)) == hashlib.sha256(family.read_bytes()).hexdigest()
    (name, path), *_ = shipped().items()
    assert loading.sha256_of(name) == hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_an_unknown_layout_or_a_revision_where_there_is_none(family: Path, tmp_path: Path) -> None:
    assert "did you mean mesascope?" in refusal(UsageError, family, layout="mesoscope")
    assert "holds its own configuration; leave out --model-args" in refusal(
        UsageError, family, model_args={"n_layers": 2}
    )
    np.savez(tmp_path / "a.npz", a=np.zeros(1))
    assert "single checkpoint" in refusal(UsageError, tmp_path / "a.npz", "seed0")


def test_a_file_under_another_layout_is_refused(family: Path, tmp_path: Path) -> None:
    assert "this is not the layout von-oswald-haiku" in refusal(CheckpointRefused, family, layout="von-oswald-haiku")
    np.savez(tmp_path / "a.npz", a=np.zeros(1))
    assert "a zip archive, not safetensors" in refusal(CheckpointRefused, tmp_path / "a.npz", layout="mesascope")
    assert "is not a name of the layout tl-legacy" in refusal(CheckpointRefused, family, layout="tl-legacy")


def test_what_is_not_there(tmp_path: Path) -> None:
    assert "neither a file nor a shipped checkpoint" in refusal(CheckpointRefused, "lsa-9layer-nowhere")
    assert "no such file" in refusal(CheckpointRefused, tmp_path / "absent.npz")
    assert "a directory" in refusal(CheckpointRefused, tmp_path)
    (tmp_path / "d.npz").mkdir()
    assert "a directory" in refusal(CheckpointRefused, tmp_path / "d.npz")


def test_every_shipped_checkpoint_opens_and_answers() -> None:
    for name in shipped():
        for subject in load_all(name):
            assert subject.source.path is None
            assert subject.source.record
            if isinstance(subject, LanguageModel):
                assert subject.logits(torch.zeros(2, 5, dtype=torch.int64)).shape == (2, 5, subject.shape.d_vocab)
                continue
            if isinstance(subject, SoftmaxRegressor):
                A, b = torch.zeros(2, 5, subject.d_in), torch.full((2, 5), 0.2)
                torch.testing.assert_close(subject.predict(A, b), b)  # equal tokens, equal probabilities
                continue
            if isinstance(subject, CopyModel):
                words = torch.arange(subject.config.n_ctx)[None]
                assert subject.logits(words).shape == (1, subject.config.n_ctx, subject.config.d_vocab)
                continue
            inputs = torch.zeros(2, 5, subject.d_in + subject.d_out, dtype=subject.dtype)
            assert subject.predict(inputs).shape == (2, subject.d_out)


def test_directories_and_hub_ids_go_to_the_loader_of_pretrained_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random_model: Callable[..., RegressionTransformer]
) -> None:
    """A stand-in says what it was asked; that loader's own tests open real models."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "mesascope.models.opening.loading._open_pretrained",
        lambda model, revision, device, dtype: from_transformer(random_model(), f"{model} at {revision}"),
    )
    (tmp_path / "model").mkdir()
    for cached, revision in (("gpt2", "main"), ("owner--name-1.4b", "step10")):
        repository = tmp_path / "cache" / f"models--{cached}"
        (repository / "snapshots" / "abc").mkdir(parents=True)
        (repository / "refs").mkdir()
        (repository / "refs" / revision).write_text("abc")
    for model, revision in [(str(tmp_path / "model"), None), ("owner/name-1.4b", "step10"), ("gpt2", "main")]:
        assert load(model, revision).source.name == f"{model} at {revision}"
    assert "neither a file nor a shipped" in refusal(CheckpointRefused, "gpt3")
    assert "no such file" in refusal(CheckpointRefused, "owner/name.safetensors")
    assert "config.json says how" in refusal(UsageError, "gpt2", layout="tl-legacy")


def test_a_revision_of_a_directory_or_what_no_cache_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    assert "is a directory, which holds a single checkpoint" in refusal(UsageError, tmp_path, "main")
    assert "nor in the local hub cache" in refusal(CheckpointRefused, "owner/name")
