"""Figures 9, 11 and 13: what trained weights are, and what GD++ does to the inputs."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.analyses.reports.record import Record
from mesascope.analyses.reproduction.judging import Statistic
from mesascope.analyses.reproduction.panels import CurvePanel, MatrixPanel
from mesascope.analyses.reproduction.von_oswald_needs import CONTEXTS

from .made_up import LAST, Measured, by, expect, family, judged, number, outcome


def layer(KQ: float, PV: float, PV_gdpp: float, spread: float) -> Record:
    """Shares by product and pattern; the second layer is another."""

    def of(seed: int, step: int) -> Measured:
        more = 0.001 * seed + (0 if step == LAST else 5)

        def by_pattern(gd: float, gdpp: float) -> dict:
            return {"gd": number([gd + more, 7], ("layer",)), "gdpp": number([gdpp + more, 7], ("layer",))}

        return {
            "outside_pattern": by("product", KQ=by("pattern", **by_pattern(KQ, 8)),
                                  PV=by("pattern", **by_pattern(PV, PV_gdpp))),
            "diagonal_spread": by("product", KQ=number([9, 9], ("layer",)), PV=number([spread + more, 7], ("layer",))),
        }  # fmt: skip

    weights = np.arange(2 * 2 * 1 * 3 * 3, dtype=float).reshape(2, 2, 1, 3, 3)  # seed, layer, head, row, column
    return family(of, KQ_aligned=weights, PV_aligned=-weights)


def test_weights_of_the_construction_are_reproduced() -> None:
    one, three = layer(0.02, 0.03, 8, 8), layer(8, 8, 0.05, 0.1)
    said, found = outcome(9, lsa_1layer=one, lsa_3layer_recurrent=three)
    assert said == "reproduced"
    expect(found, "one_layer_off_KQ", [0.02, 0.021, 0.022])
    expect(found, "one_layer_off_PV", [0.03, 0.031, 0.032])
    expect(found, "three_layers_off_PV", [0.05, 0.051, 0.052])
    expect(found, "three_layers_spread", [0.1, 0.101, 0.102])
    assert [panel.title for panel in found.panels] == [
        "KQ, one layer", "PV, one layer", "KQ, three layers", "PV, three layers"
    ]  # fmt: skip
    for panel, sign in zip(found.panels, (1, -1, 1, -1), strict=True):
        assert isinstance(panel, MatrixPanel)
        np.testing.assert_array_equal(panel.matrix, sign * np.arange(9.0).reshape(3, 3))
    assert outcome(9, lsa_1layer=three, lsa_3layer_recurrent=one)[0] == "not reproduced"


def heads(cancel: float, off: float) -> Record:
    def of(seed: int, step: int) -> Measured:
        more = 0.001 * seed + (0 if step == LAST else 5)
        return {name: number([value + more], ("layer",)) for name, value in
                {"heads_cancel": cancel, "heads_off_identity": off}.items()}  # fmt: skip

    KQ = np.stack([np.diag([1.0, 2.0]), np.diag([-1.0, -3.0])])[None, None]
    PV = np.zeros_like(KQ)
    PV[..., 0, 1, 1], PV[..., 1, 1, 1], PV[..., 0, 0] = 2.0, -1.0, 9.0
    return family(of, KQ=np.concatenate([KQ, 5 * KQ]), PV=np.concatenate([PV, PV]))


def test_heads_that_cancel_are_reproduced() -> None:
    said, found = outcome(11, softmax_1layer_2heads=heads(0.1, 0.05))
    assert said == "reproduced"
    expect(found, "heads_cancel", [0.1, 0.101, 0.102])
    expect(found, "heads_off_identity", [0.05, 0.051, 0.052])
    shown = {panel.title: panel.matrix for panel in found.panels if isinstance(panel, MatrixPanel)}
    np.testing.assert_array_equal(shown["head 0"], np.diag([2, 4]))
    np.testing.assert_array_equal(shown["head 1"], np.diag([1, 3]))
    np.testing.assert_array_equal(shown["sum"], np.diag([3, 7]))
    assert outcome(11, softmax_1layer_2heads=heads(0.9, 0.05))[0] == "not reproduced"
    assert outcome(11, softmax_1layer_2heads=heads(0.1, 0.5))[0] == "not reproduced"


PUBLISHED = {10: 0.179, 25: 0.099, 50: 0.056, 100: 0.029}


def curved(gamma: float, ratio: float = 0.8) -> Record:
    """GD++ and what it does are the same for every seed; the trained model shrinks nothing."""
    coords = {"layer": ("inputs", 0), "rank": (1, 2)}

    def of(seed: int, step: int) -> Measured:
        spread = {"model": [1.0 + seed, 3.0], "gdpp": [0.5, 0.5 * ratio], "gd": [0.5, 0.5]}
        spectra = {name: [[2.0, 1.0], [1.5, 1 - gamma]] for name in ("model", "gd", "gdpp")}
        axes = ("layer", "rank")
        return {
            "learned_gamma": number([gamma], ("layer",)),
            "curvature_spread": by("candidate", **{name: number(at, axes[:1], {"layer": ("inputs", 0)})
                                                   for name, at in spread.items()}),
            "curvature_eigenvalues": by("candidate", **{name: number(at, axes, coords)
                                                        for name, at in spectra.items()}),
        }  # fmt: skip

    return family(of, steps=(LAST,))


def curvature(**gammas: float) -> dict[str, Record]:
    return {f"lsa-2layer-recurrent N={n}": curved(gammas.get(f"N{n}", PUBLISHED[n])) for n in CONTEXTS}


def test_curvature_is_reproduced_and_no_training_has_a_part_in_it() -> None:
    said, found = judged(13, curvature())
    assert said == "reproduced"
    assert {n: found.statistics[f"gamma_{n}"] for n in CONTEXTS} == {
        n: Statistic.of_none(gamma) for n, gamma in PUBLISHED.items()
    }
    assert found.statistics["spread_ratio"].value == pytest.approx(0.8)
    spectrum, *_, gammas = found.panels
    assert isinstance(spectrum, CurvePanel)
    assert isinstance(gammas, CurvePanel)
    assert {curve.label: curve.y for curve in spectrum.curves} == {
        "as given": (2, 1), "after GD++": (1.5, 1 - 0.179), "after a trained layer": (1.5, 1 - 0.179)
    }  # fmt: skip
    assert gammas.curves[0].y == gammas.curves[1].y == tuple(PUBLISHED.values())


@pytest.mark.parametrize("n", CONTEXTS)
@pytest.mark.parametrize("times", [0.94, 1.06])
def test_another_gamma_is_not(n: int, times: float) -> None:
    assert judged(13, curvature(**{f"N{n}": PUBLISHED[n] * times}))[0] == "not reproduced"


def test_gd_plus_plus_that_flattens_nothing_is_not() -> None:
    assert judged(13, curvature() | {"lsa-2layer-recurrent N=10": curved(0.179, ratio=1.0)})[0] == "not reproduced"


def test_gammas_that_differ_are_no_single_fit() -> None:
    apart = family(lambda seed, step: {"learned_gamma": number([0.1 + seed], ("layer",))}, steps=(LAST,))
    said, found = judged(13, curvature() | {"lsa-2layer-recurrent N=25": apart})
    assert said == "not measured"
    assert "learned_gamma differs" in found.lacking["gamma_25"]
