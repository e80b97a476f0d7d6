"""The whole probe beside the same statistics from full caches: in NumPy, token by token, sharing nothing with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source
from mesascope.probes.findings import Findings
from mesascope.probes.measure import Measure, Measures
from mesascope.probes.token_norms.probe import TokenNorms
from scipy import stats

V, T, D, L, H, DH = 17, 10, 8, 4, 2, 4
EPS = 1e-3


def random_model(seed: int = 0, bos: int | None = 0, **settings: object) -> AttentionOnlyModel:
    sizes = {"d_vocab": V, "n_ctx": T, "d_model": D, "n_layers": L, "n_heads": H, "d_head": DH, "d_mlp": 6}
    config = AttentionOnlyConfig(**{**sizes, "norm_eps": EPS, **settings})
    rng = torch.Generator().manual_seed(seed)
    parameters = {
        name: 0.5 * torch.randn(shape, generator=rng, dtype=torch.float64) + name.endswith("scale")
        for name, shape in config.shapes.items()
    }
    source = Source("tiny", layout="in-memory", facts={"bos": bos})
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), source)


@dataclass(frozen=True)
class Slow:
    """Windows one by one, with every activation of each in a cache."""

    model: AttentionOnlyModel
    documents: list[list[int]]

    @cached_property
    def windows(self) -> list[list[int]]:
        """Nine tokens after BOS; a document's last window is shorter."""
        own = T - 1
        return [[0, *ids[at : at + own]] for ids in self.documents for at in range(0, len(ids), own)]

    @cached_property
    def caches(self) -> list[dict[str, list[np.ndarray]]]:
        stream = ("embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "final_norm")
        sites = (*stream, "v", "k", "z", "pattern")
        found = []
        for window in self.windows:
            run = self.model.run(torch.tensor([window]), {site: lambda x, layer: x for site in sites}, logits=True)
            cache = {site: [x[0].numpy() for x in values] for site, values in run.values.items()}
            found.append({**cache, "logits": [run.output[0].numpy()]})
        return found

    def states(self, layer: int) -> list[np.ndarray]:
        return [c["resid_pre"][0] if layer == 0 else c["resid_post"][layer - 1] for c in self.caches]

    def W(self, name: str) -> np.ndarray:
        return self.model.module.get_parameter(name).numpy()

    def read_out(self, h: np.ndarray) -> np.ndarray:
        centred = h - h.mean()
        normed = centred / np.sqrt((centred**2).mean() + EPS) * self.W("ln_final_scale") + self.W("ln_final_offset")
        z = normed @ self.W("W_U") + self.W("b_U")
        return np.exp(z - z.max()) / np.exp(z - z.max()).sum()

    def inner(self, h: np.ndarray, y: int) -> tuple[float, np.ndarray]:
        """Loss and minus its gradient, by central differences of the fourth order."""

        def loss(at: np.ndarray) -> float:
            return -np.log(self.read_out(at)[y])

        step, push = 2e-3, np.zeros(D)
        for d in range(D):
            e = step * np.eye(D)[d]
            push[d] = -(8 * (loss(h + e) - loss(h - e)) - (loss(h + 2 * e) - loss(h - 2 * e))) / (12 * step)
        return loss(h), push


@pytest.fixture(scope="module")
def slow() -> Slow:
    rng = np.random.default_rng(7)
    documents = [
        rng.integers(1, V, n).tolist() for n in (30, 9, 14, 10, 23, 18)
    ]  # two end mid-window, one by one token
    return Slow(random_model(), documents)


@pytest.fixture(scope="module")
def tokens_file(slow: Slow, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "documents.jsonl"
    path.write_text("".join(f'{{"tokens": {ids}}}\n' for ids in slow.documents))
    return path


@pytest.fixture(scope="module")
def found(slow: Slow, tokens_file: Path) -> Findings:
    return TokenNorms(tokens=str(tokens_file), untrained=0, maps=2).measure(slow.model, 0, 3)


@pytest.fixture(scope="module")
def measures(found: Findings) -> Measures:
    return Measures(found.measures)


def agree(measure: Measure, slow: object) -> None:
    np.testing.assert_allclose(measure.values, np.array(slow, dtype=np.float64), rtol=1e-6, atol=1e-9)


def split(per_window: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What stands at position 0, and at the others."""
    return np.array([x[0] for x in per_window]), np.concatenate([x[1:] for x in per_window])


def summary(norms: np.ndarray) -> list[float]:
    return [norms.mean(), np.sqrt((norms**2).mean()), *np.percentile(norms, (5, 50, 95))]


def test_norms_of_the_stream(slow: Slow, measures: Mapping[str, Measure]) -> None:
    norms = [split([np.linalg.norm(x, axis=1) for x in slow.states(layer)]) for layer in range(L + 1)]
    agree(measures["stream_norm"], [[summary(tokens) for tokens in places] for places in norms])


@pytest.mark.parametrize("site", ["resid_mid", "attn_out", "mlp_out"])
def test_norms_within_blocks(slow: Slow, measures: Mapping[str, Measure], site: str) -> None:
    norms = [split([np.linalg.norm(c[site][layer], axis=1) for c in slow.caches]) for layer in range(L)]
    agree(measures["norm"].sel(site=site), [[summary(tokens) for tokens in places] for places in norms])


@pytest.mark.parametrize("site", ["embed", "final_norm"])
def test_norms_outside_blocks(slow: Slow, measures: Mapping[str, Measure], site: str) -> None:
    places = split([np.linalg.norm(c[site][0], axis=1) for c in slow.caches])
    agree(measures["norm_outside_blocks"].sel(site=site), [summary(tokens) for tokens in places])


def test_growth(slow: Slow, measures: Mapping[str, Measure]) -> None:
    places = [split([np.linalg.norm(x, axis=1) for x in slow.states(layer)]) for layer in range(1, L + 1)]
    fits = [stats.linregress(range(1, L + 1), np.log([x.mean() for x in norms])) for norms in zip(*places, strict=True)]
    agree(measures["norm_growth"], [np.exp(fit.slope) for fit in fits])
    agree(measures["norm_growth_r2"], [fit.rvalue**2 for fit in fits])


def predictions(slow: Slow) -> list[tuple[np.ndarray, np.ndarray]]:
    """Surprisal and entropy at every position that has a next token."""
    found = []
    for window, cache in zip(slow.windows, slow.caches, strict=True):
        z = cache["logits"][0][:-1]
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        found.append((-np.log(p[range(len(z)), window[1:]]), -(p * np.log(p)).sum(axis=1)))
    return found


def test_loss_of_the_model(slow: Slow, measures: Mapping[str, Measure]) -> None:
    agree(measures["next_token_loss"], [part.mean() for part in split([s for s, _ in predictions(slow)])])


def covariates(slow: Slow) -> np.ndarray:
    """[token, covariate], a window's last token left out, BOS' count below any other's."""
    counts = np.bincount(np.concatenate(slow.documents), minlength=V)
    rows = []
    for window, (surprisal, entropy) in zip(slow.windows, predictions(slow), strict=True):
        for t in range(len(window) - 1):
            logs = np.log(counts[window[t]]) if counts[window[t]] else -1
            rows.append((t, logs, np.exp(-surprisal[t]), surprisal[t], entropy[t]))
    return np.array(rows).astype(np.float32)  # the same beginnings differ in the last digits


def columns(slow: Slow, name: str) -> np.ndarray:
    """[layer, window and position] of what is correlated."""
    if name == "resid":
        of = [slow.states(layer) for layer in range(L + 1)]
    else:
        of = [[c[name][layer] for c in slow.caches] for layer in range(1 if name in ("embed", "final_norm") else L)]
    norms = [np.concatenate([np.linalg.norm(x[:-1], axis=1) for x in states]) for states in of]
    return np.array(norms).astype(np.float32)


def test_rank_correlations_of_covariates(slow: Slow, measures: Mapping[str, Measure]) -> None:
    known = covariates(slow)
    for place, rows in enumerate((known[:, 0] >= 0, known[:, 0] > 0)):
        agree_at = measures["spearman_covariates"].values[..., place]
        np.testing.assert_allclose(agree_at, stats.spearmanr(known[rows]).statistic, rtol=1e-6)


MEASURED_AS = {"resid": "stream_spearman", "embed": "spearman_outside_blocks", "final_norm": "spearman_outside_blocks"}


def spearman_of(measures: Mapping[str, Measure], name: str, kind: str = "") -> np.ndarray:
    """[layer, covariate, position] of one quantity, whichever measure it is in."""
    found = measures[f"{kind}{MEASURED_AS.get(name, 'spearman')}"]
    values = found.values if name == "resid" else found.sel(quantity=name).values
    return values[None] if "layer" not in found.axes else values


@pytest.mark.parametrize("name", ["embed", "resid", "attn_out", "mlp_out", "final_norm"])
def test_rank_correlations(slow: Slow, measures: Mapping[str, Measure], name: str) -> None:
    spearman, partial = (spearman_of(measures, name, kind) for kind in ("", "partial_"))
    known = covariates(slow)
    for place, rows in enumerate((known[:, 0] >= 0, known[:, 0] > 0)):
        ranks = stats.rankdata(known[rows], axis=0)
        for layer, column in enumerate(columns(slow, name)):
            own = stats.rankdata(column[rows])
            for c in range(5):
                rho = stats.spearmanr(column[rows], known[rows, c]).statistic
                assert spearman[layer, c, place] == pytest.approx(rho, rel=1e-6)
                given = np.column_stack([np.ones(rows.sum()), *(ranks[:, z] for z in (0, 1) if z != c)])
                left = [v - given @ np.linalg.lstsq(given, v, rcond=None)[0] for v in (own, ranks[:, c])]
                assert partial[layer, c, place] == pytest.approx(np.corrcoef(left)[0, 1], rel=1e-6)


def test_inner_optimization(slow: Slow, measures: Mapping[str, Measure]) -> None:
    inner = [
        [
            [slow.inner(h, y) for h, y in zip(x[:-1], w[1:], strict=True)]
            for x, w in zip(slow.states(layer), slow.windows, strict=True)
        ]
        for layer in range(L + 1)
    ]
    losses = [split([np.array([loss for loss, _ in window]) for window in at]) for at in inner]
    agree(measures["inner_loss"], [[part.mean() for part in parts] for parts in losses])
    np.testing.assert_allclose(measures["inner_loss"].values[-1], measures["next_token_loss"].values, rtol=1e-10)
    names = ("step_gain", "step_first_order", "step_cosine")
    table: dict[str, list[list[float]]] = {name: [] for name in names}
    for layer in range(L + 1):
        states, pushes = slow.states(layer), [np.array([push for _, push in window]) for window in inner[layer]]
        if layer == L:
            break
        writes = [b[:-1] - a[:-1] for a, b in zip(states, slow.states(layer + 1), strict=True)]
        first_order = [(w * g).sum(axis=1) for w, g in zip(writes, pushes, strict=True)]
        sizes = [np.linalg.norm(w, axis=1) * np.linalg.norm(g, axis=1) for w, g in zip(writes, pushes, strict=True)]
        table["step_first_order"].append([part.mean() for part in split(first_order)])
        table["step_cosine"].append([p.mean() for p in split([f / s for f, s in zip(first_order, sizes, strict=True)])])
        table["step_gain"].append([(a - b).mean() for a, b in zip(losses[layer], losses[layer + 1], strict=True)])
    for name, values in table.items():
        agree(measures[name], values)
    assert measures["radial_push"].status == "not applicable"
    assert "zero by construction" in measures["radial_push"].message  # the model has a final norm


def writes(slow: Slow, layer: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each window, alpha [head, query, key] and f(x) [head, key, d]."""
    W_O = slow.W("W_O")[layer]
    return [(c["pattern"][layer], np.einsum("hjc,hcd->hjd", c["v"][layer], W_O)) for c in slow.caches]


def test_norm_based_attention(slow: Slow, measures: Mapping[str, Measure]) -> None:
    for layer in range(L):
        norms = [np.linalg.norm(f, axis=-1) for _, f in writes(slow, layer)]
        first, later = split([x.T for x in norms])
        np.testing.assert_allclose(
            measures["write_norm"].values[layer], np.stack([first.mean(0), later.mean(0)], 1), rtol=1e-6
        )
        np.testing.assert_allclose(
            measures["write_norm_variation"].values[layer], later.std(0) / later.mean(0), rtol=1e-6
        )
        weighted = split(
            [(a * norm[:, None]).sum(axis=-1).T for (a, _), norm in zip(writes(slow, layer), norms, strict=True)]
        )
        for place, part in enumerate(weighted):
            np.testing.assert_allclose(measures["weighted_write_norm"].values[layer, :, place], part.mean(0), rtol=1e-6)
        ov = np.linalg.norm(slow.W("W_V")[layer] @ slow.W("W_O")[layer], axis=(1, 2))
        np.testing.assert_allclose(measures["ov_norm"].values[layer], ov, rtol=1e-6)
        plain = split([a[:, :, 0].T for a, _ in writes(slow, layer)])[1]
        shares = []
        for (alpha, _), norm in zip(writes(slow, layer), norms, strict=True):
            weighted = alpha * norm[:, None]
            shares.append((weighted[:, :, 0] / weighted.sum(axis=-1)).T)
        np.testing.assert_allclose(measures["attention_to_first"].values[layer], plain.mean(0), rtol=1e-6)
        np.testing.assert_allclose(
            measures["weighted_attention_to_first"].values[layer], split(shares)[1].mean(0), rtol=1e-6
        )


def ratios(slow: Slow, layer: int) -> list[np.ndarray]:
    """Of each window, [query, (Attn-W, AttnRes-W, Attn-N, AttnRes-N)]."""
    found = []
    for (alpha, f), cache in zip(writes(slow, layer), slow.caches, strict=True):
        rows = []
        for i, x in enumerate(cache["resid_pre"][layer]):
            own = np.einsum("h,hd->d", alpha[:, i, i], f[:, i])
            mixed = np.einsum("hj,hjd->d", alpha[:, i], f) - own
            weights = 1 - alpha[:, i, i].mean()
            size = np.linalg.norm
            rows.append(
                (
                    weights,
                    weights / 2,
                    size(mixed) / (size(mixed) + size(own)),
                    size(mixed) / (size(mixed) + size(own + x)),
                )
            )
        found.append(np.array(rows))
    return found


def test_mixing_ratios(slow: Slow, measures: Mapping[str, Measure]) -> None:
    values = measures["mixing_ratio"].values
    assert np.isnan(values[:, 4]).all()
    assert np.isnan(values[..., 0]).all()
    for layer in range(L):
        np.testing.assert_allclose(values[layer, :4, 1], split(ratios(slow, layer))[1].mean(axis=0), rtol=1e-6)


def test_rank_correlations_of_attention(slow: Slow, measures: Mapping[str, Measure]) -> None:
    known = covariates(slow)
    later = known[:, 0] > 0
    for layer in range(L):
        write = np.concatenate([np.linalg.norm(f, axis=-1).mean(axis=0)[:-1] for _, f in writes(slow, layer)])
        mixing = np.concatenate([r[:-1, 3] for r in ratios(slow, layer)])
        for name, column in (("write_norm", write), ("mixing_ratio", mixing)):
            rho = [stats.spearmanr(column[later].astype(np.float32), c).statistic for c in known[later].T]
            np.testing.assert_allclose(spearman_of(measures, name)[layer, :, 1], rho, rtol=1e-6)


def test_maps_of_whole_windows(slow: Slow, found: Findings) -> None:
    maps = found.arrays["head_summed_norms"]
    for n, (alpha, f) in enumerate(writes(slow, 2)[:2]):
        pairs = np.linalg.norm(np.einsum("hij,hjd->ijd", alpha, f), axis=-1)
        np.testing.assert_allclose(maps[n, 2], pairs, rtol=1e-5, atol=1e-6)


def test_massive_activations(slow: Slow, measures: Mapping[str, Measure]) -> None:
    for layer in range(L + 1):
        sizes = [np.abs(x) for x in slow.states(layer)]
        medians = [np.sort(x.ravel())[(x.size - 1) // 2] for x in sizes]
        assert measures["median_activation"].values[layer] == pytest.approx(np.mean(medians), rel=1e-6)
        for place, part in enumerate((slice(0, 1), slice(1, None))):
            top = [np.sort(x[part].ravel())[::-1][:3] for x in sizes]
            np.testing.assert_allclose(
                measures["massive_activation"].values[layer, place], np.mean(top, axis=0), rtol=1e-6
            )
            ratio = np.mean([t[0] / m for t, m in zip(top, medians, strict=True)])
            assert measures["massive_ratio"].values[layer, place] == pytest.approx(ratio, rel=1e-6)
    assert not measures["massive_windows"].values.any()
    assert measures["massive_dimension"].status == "undefined"


def test_sinks_and_drains(slow: Slow, measures: Mapping[str, Measure]) -> None:
    flags = []
    for layer in range(L):  # among the few tokens of a shorter window the first has much attention anyway
        whole = [c["pattern"][layer] for c in slow.caches if c["pattern"][layer].shape[1] == T]
        importance = np.array([pattern[:, :, 0].mean(axis=1) for pattern in whole])
        flags.append(importance > 0.3)
        np.testing.assert_allclose(measures["sink_importance"].values[layer], importance.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(measures["sink_share"].values[layer], 100 * flags[-1].mean(axis=0), rtol=1e-6)
        half = [pattern[:, T // 2 :, 0].mean(axis=1) for pattern in whole]
        np.testing.assert_allclose(measures["bos_attention"].values[layer], np.mean(half, axis=0), rtol=1e-6)
        for name, site in (("value_drain", "v"), ("key_drain", "k")):
            first, later = split([np.linalg.norm(c[site][layer], axis=-1).T for c in slow.caches])
            np.testing.assert_allclose(measures[name].values[layer], first.mean(0) / later.mean(0), rtol=1e-6)
    agree(measures["sink_metric"], 100 * np.mean(flags))
    agree(measures["bos_attention_mean"], measures["bos_attention"].values.mean())
    peaks = [split([np.linalg.norm(x, axis=1) for x in slow.states(layer)]) for layer in range(L + 1)]
    agree(measures["state_peak"], [a.mean() / b.mean() for a, b in peaks])


def mean_cosine(states: np.ndarray) -> float:
    u = states / np.linalg.norm(states, axis=1, keepdims=True)
    return float((u @ u.T)[~np.eye(len(u), dtype=bool)].mean())


def test_anisotropy(slow: Slow, measures: Mapping[str, Measure]) -> None:
    """The pilot is the first whole windows, as many as have 512 tokens together, whatever the batch."""
    pilot = [n for n, window in enumerate(slow.windows) if len(window) == T][: 512 // T + 1]
    for layer in range(L + 1):
        states = slow.states(layer)
        later = np.concatenate([x[1:] for x in states])
        seen = np.concatenate([states[n][1:] for n in pilot])
        u = seen / np.linalg.norm(seen, axis=1, keepdims=True)
        parts = (u.sum(0) ** 2 - (u**2).sum(0)) / (len(u) * (len(u) - 1))
        rogue = np.argsort(-np.abs(parts))[:3]
        for place, chosen in enumerate((np.concatenate(states), later)):
            without = chosen.copy()
            without[:, rogue] = 0
            standardised = (chosen - seen.mean(axis=0)) / seen.std(axis=0)
            slow_values = [mean_cosine(x) for x in (chosen, without, standardised)]
            np.testing.assert_allclose(measures["anisotropy"].values[layer, :, place], slow_values, rtol=1e-6)
        u = later / np.linalg.norm(later, axis=1, keepdims=True)
        n = len(u)
        by_dimension = ((u.sum(0) ** 2) - (u**2).sum(0)) / (n * (n - 1))
        order = np.argsort(-np.abs(by_dimension))[:3]
        assert measures["rogue_dimension"].values[layer].tolist() == order.tolist()
        np.testing.assert_allclose(
            measures["rogue_share"].values[layer], by_dimension[order] / by_dimension.sum(), rtol=1e-6
        )


def test_every_measure_is_compared_here(found: Findings) -> None:
    elsewhere = {"norm_rows", "spearman_rows_frequency", "norm_rows_by_decile", "partial_stream_spearman"}
    source = Path(__file__).read_text(encoding="utf-8")
    for name in set(found.measures) - elsewhere:
        measure = found.measures[name]
        for label in measure.apart() or (name,):
            assert f'"{label}"' in source, (name, label)
