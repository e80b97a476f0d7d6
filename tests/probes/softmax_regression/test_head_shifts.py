"""The shifts of heads at one query, against NumPy by loops; planted moves; moves in random directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source
from mesascope.probes.head_sequences import read_sequences
from mesascope.probes.softmax_regression.head_measures import KEYS, head_findings
from mesascope.probes.softmax_regression.head_settings import HeadSettings
from mesascope.probes.softmax_regression.head_shifts import MovedHeads, head_shifts, random_shifts
from torch import Tensor

KEY_HEADS, GROUP, N, D = 2, 3, 7, 4
SHIFTS = (
    "shift_A", "shift_x", "shift_ratio_A", "shift_ratio_x", "share_of_bound_A", "share_of_bound_x", "shift_cosine",
    "shift_cosine_unscaled",
)  # fmt: skip


def moved(seed: int = 0, size: float = 1.0, move: float = 0.5) -> MovedHeads:
    rng = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(shape, generator=rng, dtype=torch.float64)  # noqa: E731
    A, x = size * normal(5, KEY_HEADS, N, D), normal(5, KEY_HEADS * GROUP, D)
    return MovedHeads(A, A + move * normal(*A.shape), x, x + move * normal(*x.shape))


def directions(draws: int, seed: int = 1) -> Tensor:
    drawn = torch.randn(5, draws, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn / drawn.norm(dim=-1, keepdim=True)


def f(A: np.ndarray, x: np.ndarray) -> np.ndarray:
    weights = np.exp([row @ x for row in A])
    return weights / weights.sum()


def by_hand(A: np.ndarray, A_after: np.ndarray, x: np.ndarray, x_after: np.ndarray) -> dict[str, float]:
    """All numbers of one head."""
    by_A, by_x = f(A, x) - f(A_after, x), f(A, x) - f(A, x_after)
    length = np.linalg.svd(A_after - A, compute_uv=False)[0]
    bound_A, bound_x = np.sqrt((x**2).sum()) / 2, np.linalg.svd(A, compute_uv=False)[0] / 2
    return {
        "shift_A": np.sqrt((by_A**2).sum()),
        "shift_x": np.sqrt((by_x**2).sum()),
        "shift_ratio_A": np.sqrt((by_A**2).sum()) / length,
        "shift_ratio_x": np.sqrt((by_x**2).sum() / ((x_after - x) ** 2).sum()),
        "bound_A": bound_A,
        "bound_x": bound_x,
        "share_of_bound_A": np.sqrt((by_A**2).sum()) / length / bound_A,
        "share_of_bound_x": np.sqrt((by_x**2).sum() / ((x_after - x) ** 2).sum()) / bound_x,
        "premise_A": float(np.abs(A_after @ x - A @ x).max() < 0.01),
        "premise_x": float(np.abs(A @ x_after - A @ x).max() < 0.01),
        "shift_cosine": by_x @ by_A / np.sqrt((by_A**2).sum() * (by_x**2).sum()),
        "shift_cosine_unscaled": cosine_across(A, A_after, x, x_after),
    }


def cosine_across(A: np.ndarray, A_after: np.ndarray, x: np.ndarray, x_after: np.ndarray) -> float:
    """Of both shifts by moves that are perpendicular to A and to x."""
    across = [end - start * np.vdot(end, start) / np.vdot(start, start) for start, end in ((A, A_after), (x, x_after))]
    by_A, by_x = f(A, x) - f(A + across[0], x), f(A, x) - f(A, x + across[1])
    return float(by_x @ by_A / np.linalg.norm(by_A) / np.linalg.norm(by_x))


@pytest.mark.parametrize("move", [0.5, 0.004])
def test_every_number_is_that_of_numpy_head_by_head(move: float) -> None:
    heads = moved(move=move)
    found = head_shifts(heads)
    for number in range(5):
        for head in range(KEY_HEADS * GROUP):
            keys = (each[number, head // GROUP].numpy() for each in (heads.A, heads.A_after))
            queries = (each[number, head].numpy() for each in (heads.x, heads.x_after))
            expected = by_hand(*keys, *queries)
            assert set(found) == set(expected)
            for name, value in expected.items():
                assert float(found[name][number, head]) == pytest.approx(value, rel=1e-7), name
    if move < 0.01:  # some moves are as small as the theorems ask, some are not
        assert 0 < found["premise_A"].mean() < 1
        assert 0 < found["premise_x"].mean() < 1


def test_a_whole_model_is_that_of_numpy_layer_by_layer() -> None:
    """Layer norm, keys and queries, what is written, and both shifts, by loops; then means over four queries."""
    sizes = {"d_vocab": 13, "n_ctx": 9, "d_model": 6, "n_layers": 2, "n_heads": 3, "d_head": 4}
    config, rng = AttentionOnlyConfig(**sizes), torch.Generator().manual_seed(0)
    parameters = {n: 0.7 * torch.randn(shape, generator=rng).double() for n, shape in config.shapes.items()}
    subject = AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))
    settings = HeadSettings(n_sequences=2, queries=4, untrained=0)
    arrays = head_findings(subject, settings, 0, 2).arrays
    w = {name: value.numpy() for name, value in parameters.items()}
    for number, tokens in enumerate(read_sequences(subject, settings, 0).groups[0].numpy()):
        h = w["W_E"][tokens] + w["W_pos"]
        for layer in range(2):
            written = h + w["b_O"][layer]
            qk = lambda state, role, head, at=layer: (  # noqa: E731
                layer_norm(state, w["ln1_scale"][at], w["ln1_offset"][at]) @ w[f"W_{role}"][at, head]
                + w[f"b_{role}"][at, head]
            )
            for head in range(3):
                q, k, v = (qk(h, role, head) for role in "QKV")
                z = np.stack([f(k[: t + 1], q[t] / 2) @ v[: t + 1] for t in range(9)])
                written = written + z @ w["W_O"][layer, head]
            for head, first in np.ndindex(3, 2):
                before, after = ((qk(state, "K", head), qk(state, "Q", head) / 2) for state in (h, written))
                each = [
                    by_hand(before[0][first : t + 1], after[0][first : t + 1], before[1][t], after[1][t])
                    for t in (2, 4, 6, 8)
                ]
                for name in each[0]:
                    expected, found = np.mean([one[name] for one in each]), arrays[f"{name}_{KEYS[first]}"]
                    assert found[number, layer, head] == pytest.approx(expected, rel=1e-6), name
            h = written


def layer_norm(state: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    centred = state - state.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * scale + offset


@pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("move", [1e-3, 1.0, 30.0])
def test_no_ratio_exceeds_its_bound(size: float, move: float) -> None:
    heads = moved(size=size, move=move)
    found, drawn = head_shifts(heads), random_shifts(heads, directions(6))
    for of in "Ax":
        bound = found[f"bound_{of}"]
        assert (found[f"shift_ratio_{of}"] <= bound).all()
        assert (drawn[f"shift_ratio_{of}"] <= bound[..., None]).all()
        for shares, ratios in ((found, bound), (drawn, bound[..., None])):
            share = shares[f"share_of_bound_{of}"]
            torch.testing.assert_close(share, shares[f"shift_ratio_{of}"] / ratios)
            assert (share > 0).all()


def test_the_bound_of_both_ratios_is_reached() -> None:
    """Two keys that weigh alike: |J| = 1/2, and a small move across them is the worst there is."""
    one, zero = torch.ones(1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64)
    A = torch.cat([one, -one], dim=-1)[..., None]  # [batch, kv_head, key, d_head]
    by_x = head_shifts(MovedHeads(A, A, zero, zero + 1e-4))
    assert float(by_x["shift_ratio_x"] / by_x["bound_x"]) == pytest.approx(1, abs=1e-6)
    by_A = head_shifts(MovedHeads(0 * A, 1e-4 * A, one, one))
    assert float(by_A["shift_ratio_A"] / by_A["bound_A"]) == pytest.approx(1, abs=1e-6)


def test_heads_that_do_not_move_have_no_ratio_and_no_cosine() -> None:
    heads = moved()
    found = head_shifts(MovedHeads(heads.A, heads.A, heads.x, heads.x_after))
    assert (found["shift_A"] == 0).all()
    assert (found["premise_A"] == 1).all()
    assert found["shift_ratio_A"].isnan().all()
    assert found["shift_cosine"].isnan().all()
    assert (found["shift_x"] > 0).all()


def test_what_all_keys_have_in_common_shifts_nothing_and_scales_cancel() -> None:
    heads = moved()
    same = torch.ones(N, 1, dtype=torch.float64)
    common = head_shifts(MovedHeads(heads.A, heads.A + same, heads.x, heads.x_after))
    assert common["shift_A"].max() < 1e-14
    found = head_shifts(heads)
    scaled = head_shifts(MovedHeads(3 * heads.A, 3 * heads.A_after, heads.x / 3, heads.x_after / 3))
    for name in ("shift_A", "shift_x", "shift_cosine"):
        torch.testing.assert_close(scaled[name], found[name])
    torch.testing.assert_close(scaled["shift_ratio_A"], found["shift_ratio_A"] / 3)


def rotation_to(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """A rotation, two reflections one after the other, that turns one vector of length 1 into another."""
    reflected = [np.eye(D) - 2 * np.outer(v, v) / (v @ v) for v in (start, start + end)]
    return reflected[1] @ reflected[0]


def test_random_moves_are_the_head_s_own_turned() -> None:
    """Each draw alone, with the turned move written out, gives what the head's own move would."""
    heads, drawn = moved(), directions(3)
    found = random_shifts(heads, drawn)
    assert set(found) == set(SHIFTS)
    for number, head, draw in np.ndindex(5, KEY_HEADS * GROUP, 3):
        A, A_after = (each[number, head // GROUP].numpy() for each in (heads.A, heads.A_after))
        x, x_after = (each[number, head].numpy() for each in (heads.x, heads.x_after))
        u = drawn[number, draw].numpy()
        R = rotation_to(x / np.linalg.norm(x), u)
        np.testing.assert_allclose(R @ R.T, np.eye(D), atol=1e-12)
        A_random, x_random = A + (A_after - A) @ R, x + u * np.linalg.norm(x_after - x)
        for values in ((A_random - A, A_after - A), (x_random - x, x_after - x)):
            spectra = [np.linalg.svd(np.atleast_2d(each), compute_uv=False) for each in values]
            np.testing.assert_allclose(*spectra)  # as long in every norm
        expected = by_hand(A, A_random, x, x_random)
        expected["shift_cosine"] = by_hand(A, A_random, x, x_after)["shift_cosine"]
        across = [
            end - start * np.vdot(end - start, start) / np.vdot(start, start)
            for start, end in ((A, A_after), (x, x_after))
        ]
        turned = A + (across[0] - A) @ R
        expected["shift_cosine_unscaled"] = by_hand(A, turned, x, across[1])["shift_cosine"]
        for name in SHIFTS:
            assert float(found[name][number, head, draw]) == pytest.approx(expected[name], rel=1e-7), name


def test_keys_and_queries_that_only_shrink_have_their_shift_in_common_and_none_without_it() -> None:
    heads = moved(size=0.3)
    shrunk = head_shifts(MovedHeads(heads.A, heads.A / 2, heads.x, heads.x / 2))
    torch.testing.assert_close(shrunk["shift_cosine"], torch.ones(5, KEY_HEADS * GROUP, dtype=torch.float64))
    assert shrunk["shift_cosine_unscaled"].isnan().all()
    both = head_shifts(MovedHeads(heads.A, heads.A_after - heads.A / 2, heads.x, heads.x_after - heads.x / 2))
    assert (both["shift_cosine"] - head_shifts(heads)["shift_cosine"]).abs().mean() > 0.1
    torch.testing.assert_close(both["shift_cosine_unscaled"], head_shifts(heads)["shift_cosine_unscaled"])


def test_the_cosine_with_a_small_move_in_a_random_direction_is_0_on_average() -> None:
    cosines = random_shifts(moved(move=1e-3), directions(2000))["shift_cosine"]
    assert cosines.std() > 0.3
    assert cosines.mean(dim=-1).abs().max() < 4 * float(cosines.std()) / 2000**0.5


def test_large_moves_have_a_shift_in_common_whatever_their_directions() -> None:
    assert random_shifts(moved(size=5, move=50), directions(200))["shift_cosine"].mean() > 0.2
