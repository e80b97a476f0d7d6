"""Settings of token-norms: what makes no sense, what it applies to, and what belongs to the identity of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mesascope.data.errors import UsageError
from mesascope.models import RegressionConfig, from_transformer
from mesascope.models.constructed.norms import planted_norms
from mesascope.models.own.regression_transformer import RegressionTransformer
from mesascope.probes.token_norms.probe import TokenNorms


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"text": "a", "tokens": "b"}, "text and tokens are both given"),
        ({"parts": "iner+outliers"}, "did you mean inner"),
        ({"limit": 1}, "limit = 1"),
        ({"context": 1}, "context = 1"),
        ({"untrained": -1}, "untrained = -1"),
        ({"maps": 2, "parts": "inner"}, "maps need the part 'attention'"),
    ],
)
def test_settings_that_make_no_sense(settings: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TokenNorms(**settings)


def test_what_it_applies_to(zipf_file: str) -> None:
    config = RegressionConfig(d_in=2, d_head=3)
    regressor = from_transformer(RegressionTransformer(config, {n: torch.zeros(s) for n, s in config.shapes.items()}))
    assert TokenNorms().applies(regressor).reason == (
        "this model is no language model. token-norms measures the token representations of language models"
    )
    assert TokenNorms().memory(regressor) is None
    model = planted_norms()
    assert "would apply with --tokens FILE" in TokenNorms().applies(model).reason
    assert TokenNorms(tokens=zipf_file).applies(model) is None
    assert TokenNorms(tokens=zipf_file).memory(model) > TokenNorms(tokens=zipf_file, untrained=0).memory(model)


def test_a_files_content_is_part_of_the_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.txt").write_text("Anna sleeps.")
    same = [TokenNorms(text=str(tmp_path / name)).fingerprint() for name in ("a", "b")]
    assert same[0] == same[1] != {}
    (tmp_path / "b" / "two.txt").write_text("Ben waits.")
    assert TokenNorms(text=str(tmp_path / "b")).fingerprint() != same[0]
    assert TokenNorms(tokens=str(tmp_path / "a" / "one.txt")).fingerprint().keys() == {"tokens_sha256"}
    assert TokenNorms().fingerprint() == {}
