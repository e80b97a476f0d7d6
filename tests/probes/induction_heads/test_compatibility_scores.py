"""Other definitions in use: beside the library that they are from, on trained models too, and where they end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import UsageError
from mesascope.models import AttentionScores, attention, load
from mesascope.probes.induction_heads import compatibility_scores as others
from mesascope.probes.induction_heads.scores import prefix_matching_score
from torch import Tensor

# third parties' own: TransformerLens and what it imports
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning:transformer_lens"
)
SHARED = Path(os.environ.get("MESASCOPE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
EXCLUDED = [(False, False), (True, False), (False, True), (True, True)]
TEXT = torch.tensor([[0, 3, 3, 5, 3, 1, 5, 3, 2, 0, 3], [4, 1, 2, 1, 2, 1, 2, 4, 1, 2, 2]])
PERIOD = 5
REPEATED = torch.tensor([[0, 4, 2, 7, 1, 6, 4, 2, 7, 1, 6]])

every_option = pytest.mark.parametrize("excluded", EXCLUDED, ids=str)
every_head = pytest.mark.parametrize("head", others.HEADS)
either_measure = pytest.mark.parametrize("measure", ["mul", "abs"])


def draw(n: int = 11, **form: Any) -> AttentionScores:
    rng = torch.Generator().manual_seed(1)
    q, k = (torch.randn(2, heads, n, 3, generator=rng, dtype=torch.float64) for heads in (4, 2))
    return AttentionScores.of(q, k, 0.9, **form)


def planted(target: Callable[[int], int], n: int) -> Tensor:
    """Query i attends to key target(i) alone, or to itself where it sees no such key."""
    pattern = torch.zeros(1, 1, n, n)
    for i in range(n):
        pattern[0, 0, i, target(i) if 0 <= target(i) <= i else i] = 1
    return pattern


@every_head
@either_measure
@every_option
def test_each_is_the_librarys_own_formula(
    head: str, measure: str, excluded: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformer_lens import head_detector

    monkeypatch.setattr(attention, "_BLOCK", 4)
    one = draw()
    found = others.detect_head(one, TEXT, head, measure, *excluded)
    expect = getattr(head_detector, f"get_{head}_detection_pattern")
    for b, h in np.ndindex(2, 4):
        expected = head_detector.compute_head_attention_similarity_score(
            one.pattern()[b, h],
            expect(TEXT[b : b + 1]),
            exclude_bos=excluded[0],
            exclude_current_token=excluded[1],
            error_measure=measure,
        )
        assert found[b, h].item() == pytest.approx(expected, abs=1e-12)


def test_all_by_name_without_a_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_BLOCK", 4)
    one = draw(window=7, soft_cap=2.0)
    found, given = (others.compatibility_scores(form, TEXT, PERIOD) for form in (one, one.pattern()))
    assert list(found) == list(given)
    assert len(found) == 3 + 2 * 3
    for name, values in found.items():
        assert (values.dtype, values.shape) == (torch.float64, (2, 4))
        torch.testing.assert_close(values, given[name], rtol=1e-12, atol=1e-12)
    single = others.detect_head(one, TEXT, "induction_head", "abs")
    torch.testing.assert_close(found["detect_head_induction_head_abs"], single, rtol=0, atol=0)
    assert "arena_stripe" not in others.compatibility_scores(one, TEXT)


def test_perfect_heads_in_each_definition() -> None:
    n = 2 * PERIOD + 1
    found = others.compatibility_scores(planted(lambda i: i - PERIOD + 1, n), REPEATED, PERIOD)
    assert found["olsson_per_query"].item() == found["olsson_per_entry"].item() == 1
    assert found["arena_stripe"].item() == 1  # the fixed offset; what is not called induction by itself
    assert found["detect_head_induction_head_mul"].item() == pytest.approx(PERIOD / n)
    strict = planted(lambda i: i - PERIOD + 1 if i > PERIOD else i, n)
    assert others.arena_stripe(strict, PERIOD).item() == pytest.approx(PERIOD / (PERIOD + 2))
    assert prefix_matching_score(strict, PERIOD).item() == 1


def test_the_two_readings_part_on_four_repeats() -> None:
    tokens = torch.cat([REPEATED[:, :1], REPEATED[:, 1 : 1 + PERIOD].repeat(1, 4)], dim=1)
    n = tokens.shape[1]
    found = others.compatibility_scores(planted(lambda i: i - PERIOD + 1, n), tokens, PERIOD)
    assert found["olsson_per_query"].item() == 1
    assert found["olsson_per_entry"].item() == 0.5


@pytest.mark.parametrize("shift", [-1, 1])
def test_one_place_away_nothing_is_found(shift: int) -> None:
    n = 2 * PERIOD + 1
    found = others.compatibility_scores(planted(lambda i: i - PERIOD + 1 + shift, n), REPEATED, PERIOD)
    for name in ("olsson_per_query", "olsson_per_entry", "arena_stripe", "detect_head_induction_head_mul"):
        assert found[name].item() == 0, name


def test_names_that_are_not_known() -> None:
    with pytest.raises(UsageError, match="did you mean induction_head"):
        others.detect_head(draw(), TEXT, "induction_heads")
    with pytest.raises(UsageError, match="expected 'mul' or 'abs'"):
        others.detect_head(draw(), TEXT, "induction_head", "max")


# ---- trained models, in the library's own hands ----


def boot_native(subject: Any) -> Any:
    """The library's own transformer with the weights of one of ours, and room for one token more: it wants that."""
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    config, weights = subject.config, dict(subject.module.named_parameters())
    rotary = {"positional_embedding_type": "rotary", "rotary_dim": config.d_head, "rotary_base": config.rotary_base}
    bridge = TransformerBridge.boot_native(
        TransformerBridgeConfig(
            **{name: getattr(config, name) for name in ("d_model", "d_head", "n_heads", "n_layers", "d_vocab")},
            n_ctx=config.n_ctx + 1,
            attn_only=True,
            normalization_type={"layer": "LN", "none": None}[config.norm],
            attn_scale=1 / config.scale,
            **(rotary if config.positions == "rotary" else {}),
        )
    ).eval()
    state = {name.replace("._original_component", ""): at for name, at in bridge.original_model.state_dict().items()}
    order = torch.arange(config.d_head)
    if config.positions == "rotary":  # theirs turns neighbouring dimensions
        order = order.view(2, -1).T.flatten()
    state["tok_embed.weight"].copy_(weights["W_E"])
    if "W_pos" in weights:
        state["pos.weight"][: config.n_ctx].copy_(weights["W_pos"])
    for layer in range(config.n_layers):
        for role in "QKV":
            turned = order if role in "QK" else torch.arange(config.d_head)
            at = f"layers.{layer}.attn.{role.lower()}"
            state[f"{at}.weight"].copy_(weights[f"W_{role}"][layer][..., turned].permute(0, 2, 1).flatten(0, 1))
            state[f"{at}.bias"].copy_(weights[f"b_{role}"][layer][..., turned].flatten())
        state[f"layers.{layer}.attn.o.weight"].copy_(weights["W_O"][layer].flatten(0, 1).T)
        state[f"layers.{layer}.attn.o.bias"].copy_(weights["b_O"][layer])
        if config.norm == "layer":
            state[f"layers.{layer}.ln1.weight"].copy_(weights["ln1_scale"][layer])
            state[f"layers.{layer}.ln1.bias"].copy_(weights["ln1_offset"][layer])
    return bridge


def stories() -> tuple[Any, Any]:
    from transformer_lens.model_bridge import TransformerBridge

    folder = str(SHARED / "stories260k")
    return load(folder), TransformerBridge.boot_transformers(folder, device="cpu", dtype=torch.float32)


def attention_only(name: str) -> tuple[Any, Any]:
    subject = load(name)
    return subject, boot_native(subject)


def eight_tokens() -> tuple[Any, Any]:
    folder = SHARED / "attention-only-induction"
    subject = load(folder / "working.safetensors", layout="tl-legacy", model_config=folder / "config.json")
    return subject, boot_native(subject)


TRAINED: dict[str, tuple[Callable[[], tuple[Any, Any]], int]] = {
    "stories260k": (stories, 20),
    "induction-2layer": (lambda: attention_only("induction-2layer"), 20),
    "attention-only-induction": (eight_tokens, 4),
}


@pytest.fixture(scope="module", params=TRAINED, ids=str)
def trained(request: pytest.FixtureRequest) -> tuple[Any, Any, Tensor, int]:
    """A subject, a throwaway bridge of the same weights that takes tokens for text, tokens, and their period."""
    pytest.importorskip("transformer_lens")
    opener, period = TRAINED[request.param]
    if request.param != "induction-2layer" and not SHARED.is_dir():
        pytest.skip(f"no real models at {SHARED}")
    subject, bridge = opener()
    subject.module.double()  # in float32, scores of tens leave their exponentials six digits
    bridge.double()
    bridge.to_tokens = lambda tokens, **_: tokens
    rng = torch.Generator().manual_seed(11)
    runs = torch.stack([torch.randperm(subject.shape.d_vocab - 4, generator=rng)[:period] + 3 for _ in range(3)])
    tokens = runs.repeat(1, 2)
    if subject.bos is not None:
        tokens = torch.cat([torch.full((3, 1), subject.bos), tokens], dim=1)
    return subject, bridge, tokens, period


def scored(subject: Any, tokens: Tensor, score: Callable[[AttentionScores], Tensor]) -> Tensor:
    """[batch, layer, head], as one pass gives it."""
    kept = subject.run(tokens, watch={"attention": lambda one, layer: score(one)}).values["attention"]
    return torch.stack(kept, dim=1)


def test_trained_models_score_as_in_the_library(trained: tuple[Any, Any, Tensor, int]) -> None:
    from transformer_lens.head_detector import detect_head

    subject, bridge, tokens, _ = trained
    text = tokens.clone()
    text[:, 3::3] = text[:, 2:3]  # matches at many distances
    for sequences in (tokens[:1], text[:2]):
        for head in others.HEADS:
            for measure, excluded in (("mul", EXCLUDED[0]), ("mul", EXCLUDED[3]), ("abs", EXCLUDED[0])):
                options: Any = {"exclude_bos": excluded[0], "exclude_current_token": excluded[1]}
                expected = torch.stack(
                    [detect_head(bridge, one[None], head, error_measure=measure, **options) for one in sequences]
                )
                found = scored(
                    subject,
                    sequences,
                    lambda one, s=sequences, h=head, m=measure, o=options: others.detect_head(one, s, h, m, **o),
                )
                assert float((found - expected).abs().max()) < 1e-5


def test_trained_models_have_the_stripe_of_the_cache(trained: tuple[Any, Any, Tensor, int]) -> None:
    subject, bridge, tokens, period = trained
    with torch.no_grad():
        _, cache = bridge.run_with_cache(tokens)
    patterns = [cache["pattern", layer] for layer in range(subject.shape.n_layers)]
    stripe = torch.stack([one.diagonal(1 - period, -2, -1).mean(-1) for one in patterns], dim=1)
    found = scored(subject, tokens, lambda one: others.arena_stripe(one, period))
    assert float((found - stripe).abs().max()) < 1e-6
    first = tokens.shape[1] % period + period
    queries = range(first, tokens.shape[1])
    exact = torch.stack([torch.stack([one[:, :, i, i - period + 1] for i in queries]).mean(0) for one in patterns], 1)
    found = scored(subject, tokens, lambda one: prefix_matching_score(one, period))
    assert float((found - exact).abs().max()) < 1e-6
    if subject.source.name != "stories260k":
        assert found.max() > 0.5, "there is a head to find"
