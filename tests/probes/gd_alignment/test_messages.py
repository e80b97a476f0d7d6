"""What measures say of themselves: why there is no number, or no interval. Each message beside a near miss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models import from_transformer, gd_transformer, gdpp_transformer
from mesascope.models.subject import NotApplicable
from mesascope.probes.algorithms.fitting import Fit, given
from mesascope.probes.comparing.settings import AT_END
from mesascope.probes.gd_alignment.constructed import ConstructedShape, constructed_gd
from mesascope.probes.gd_alignment.constructed_fits import GDPPFit
from mesascope.probes.gd_alignment.path_measures import path_measures
from mesascope.probes.gd_alignment.setting_measures import setting_measures
from mesascope.probes.gd_alignment.settings import Settings
from mesascope.probes.gd_alignment.setup import Setup
from mesascope.probes.gd_alignment.shift_measures import no_shift_measures
from mesascope.probes.gd_alignment.weight_comparison import PATH_LABELS, PathLosses, WeightComparison, compare_weights
from mesascope.probes.gd_alignment.weight_measures import weight_measures
from mesascope.probes.gd_alignment.weights import PATH, align
from mesascope.probes.measure import Measures
from mesascope.probes.regression.products import WeightProducts, live_entries, module_products
from mesascope.probes.regression.reading import Reading
from mesascope.probes.regression.splits import generated_splits

FITTED = Fit(3.0, 2.9, 3.1, n=60)


# ---- settings ----


def settings(n_layers: int = 1, gd: tuple[Fit, ...] | None = (FITTED,), gdpp: bool = False, **fits: Fit) -> Measures:
    """Measures of settings, all alike but those of some algorithms."""
    subject = from_transformer(gd_transformer(6, 3.0, 3, n_layers=n_layers))
    shape, tasks = ConstructedShape(6, 3, 1, n_layers), generated_splits(LinearRegression(6, 3), n=2, seed=0)
    setup = Setup(
        subject=subject,
        splits=tasks,
        shape=shape,
        seed=0,
        batch_size=2,
        reading=Reading(subject.layout, {}),
        steps=(1, 2),
    )
    curved = GDPPFit((FITTED,), (FITTED,)) if gdpp else None
    held = Settings(gd, curved, {"ridge": FITTED, "gd_1": FITTED, "gd_2": FITTED} | fits)
    return Measures(setting_measures(setup, held))


def test_with_one_layer_gdpp_has_no_settings_of_its_own() -> None:
    words = "with one layer GD++ is gradient descent: its γ does not change any prediction"
    one, two, asked = settings(1), settings(2), settings(1, gdpp=True)
    for name in ("learned_learning_rate", "learned_gamma"):
        assert (one[name].status, one[name].message) == ("not applicable", words)
        assert name not in two  # GD++ was not asked for, which is another reason
        assert (asked[name].status, asked[name].message) == ("ok", "")


def test_a_setting_says_that_it_is_at_an_end_or_was_given() -> None:
    at_end = Fit(1e4, 1e3, 1e5, n=60, at_end=True)
    m = settings(gd=(given(6.0),), ridge=at_end, gd_1=at_end)
    assert m["ridge_penalty"].message == m["learning_rate_gd_1"].message == AT_END
    assert (m["learning_rate_gd"].message, m["learning_rate_gd"].replicate) == ("given, not fitted", "none")
    assert (m["learning_rate_gd_2"].message, m["learning_rate_gd_2"].replicate) == ("", "task")


def test_a_setting_that_nothing_decides_is_undefined() -> None:
    nowhere = Fit(np.nan, np.nan, np.nan, n=60)
    m = settings(gd_2=nowhere)
    words = "no setting is closest: the model's predictions are not finite"
    assert (m["learning_rate_gd_2"].status, m["learning_rate_gd_2"].message) == ("undefined", words)
    assert all(m[name].status == "ok" for name in ("learning_rate_gd_1", "learning_rate_gd", "ridge_penalty"))


def test_rates_by_layer_stand_in_a_measure_of_their_own() -> None:
    words = "one learning rate was given for each layer: see given_learning_rate"
    several, one = settings(2, gd=(given(5.0), given(7.0))), settings(2)
    assert (several["learning_rate_gd"].status, several["learning_rate_gd"].message) == ("not applicable", words)
    assert several["given_learning_rate"].values.tolist() == [5, 7]
    assert one["learning_rate_gd"].status == "ok"
    assert "given_learning_rate" not in one


# ---- the path between weights ----


def paths(aligned: np.ndarray | NotApplicable, n_layers: int = 1) -> Measures:
    """Measures of one path to gradient descent, beside control paths that are straight lines."""
    straight = np.linspace([1.0] * 8, 2.0, len(PATH), axis=1)
    losses: PathLosses = {"gd": dict.fromkeys(PATH_LABELS, straight) | {"aligned": aligned}}
    return Measures(path_measures(losses, n_layers, seed=0))


@pytest.mark.parametrize(("peak", "finite"), [(np.inf, False), (np.nan, False), (1e100, True)])
@pytest.mark.parametrize("tasks", [slice(3, 4), slice(None)])
def test_a_path_of_infinite_loss_has_no_barrier(peak: float, finite: bool, tasks: slice) -> None:
    """Of one task or of all, half way: the ends are finite."""
    losses = np.ones((8, len(PATH)))
    losses[tasks, 10] = peak
    m = paths(losses)
    said = (m["barrier_gd_aligned"].status, m["barrier_gd_aligned"].message)
    assert said == (("ok", "") if finite else ("undefined", "the loss along the path is not finite"))
    curve = m["loss_path_gd_aligned"]
    assert np.isfinite(curve.values).tolist() == [finite or i != 10 for i in range(len(PATH))]
    assert ("the model diverges there" in curve.message) != finite
    assert m["barrier_gd_unaligned"].estimate == pytest.approx(0, abs=1e-12)  # a control has its own


def test_a_path_that_cannot_begin_says_why() -> None:
    m = paths(NotApplicable("the alignment is undefined"))
    for name in ("barrier_gd_aligned", "loss_path_gd_aligned", "loss_interpolated"):
        assert (m[name].status, m[name].message) == ("undefined", "the alignment is undefined"), name
    assert m["barrier_gd_unaligned"].status == "ok"
    assert paths(np.ones((8, len(PATH))))["loss_interpolated"].message == "half way to constructed gradient descent"


def test_half_way_is_to_a_model_that_was_asked_for() -> None:
    straight: PathLosses = {"gdpp": dict.fromkeys(PATH_LABELS, np.ones((8, len(PATH))))}
    alone = path_measures(straight, 1, seed=0)["loss_interpolated"]
    words = "constructed gradient descent was not asked for"
    assert (alone.status, alone.message) == ("not applicable", words)
    assert path_measures(straight, 2, seed=0)["loss_interpolated"].message == "half way to constructed GD++"
    without = paths(np.ones((8, len(PATH))), n_layers=2)["loss_interpolated"]
    assert without.message == "half way to constructed gradient descent"


# ---- weights ----


def weights(n_heads: int = 1) -> Measures:
    """Two layers of GD++, their work shared by so many heads, beside gradient descent."""
    single = module_products(gdpp_transformer(6, [15.0, 12.0], [0.3, 0.2], 3, n_layers=2, tied=False))
    config = type(single.config)(**{**single.config.as_dict(), "n_heads": n_heads})
    shape = (-1, n_heads, -1, -1)
    trained = WeightProducts(single.KQ.expand(shape), single.PV.expand(shape) / n_heads, config)
    constructed = module_products(gdpp_transformer(6, [5.0, 5.0], [0.0, 0.0], 3, n_layers=2, tied=False))
    compared = WeightComparison(trained, align(trained), {"gd": constructed}, [], live_entries(config), seed=0)
    return Measures(weight_measures(compared, n_context=6))


PRODUCTS = tuple(f"product_distance_gd_{product}_{entries}" for product in ("KQ", "PV") for entries in ("live", "dead"))


def test_several_heads_have_one_distance_alone() -> None:
    words = "this model has several heads: only the tensor summed over heads has a distance"
    one, two = weights(1), weights(2)
    for name in PRODUCTS:
        assert (one[name].status, two[name].status, two[name].message) == ("ok", "not applicable", words), name
        assert words not in one[name].message
    # that of the summed tensor, which does not know of heads
    assert two["weight_distance_gd_trained"].estimate == pytest.approx(one["weight_distance_gd_trained"].estimate)
    assert "weights_gamma" in one
    assert "weights_gamma" not in two


def test_weights_that_cannot_be_aligned_have_no_products_to_compare() -> None:
    """A KQ whose x diagonal has mean zero, which the summed tensor does not mind."""
    trained, constructed = (module_products(gd_transformer(6, rate, 3)) for rate in (5.0, 6.0))
    trained.KQ[..., range(3), range(3)] = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
    live = live_entries(trained.config)
    compared = WeightComparison(trained, align(trained), {"gd": constructed}, [], live, seed=0)
    m = Measures(weight_measures(compared, n_context=6))
    for name in PRODUCTS:
        assert m[name].status == "undefined", name
        assert m[name].message.startswith("the alignment is undefined: the mean of KQ's x diagonal is near zero (L0)")
    assert m["weight_distance_gd_trained"].status == "ok"
    assert "weights_gamma" not in m


def test_weights_have_no_interval_and_say_so() -> None:
    words = "a function of the weights alone: nothing was resampled"
    m = weights()
    controls = tuple(f"weight_distance_gd_{control}" for control in ("trained", "wrong_rate", "rotated"))
    for name in (*PRODUCTS, *controls, "weights_learning_rate", "weights_gamma"):
        assert (m[name].message, m[name].replicate) == (words, "none"), name
        assert np.isnan(m[name].interval).all(), name
    for other in (*settings(2).flat.values(), *paths(np.ones((8, len(PATH)))).flat.values()):
        assert words not in other.message
        assert np.isfinite(other.interval).all()


# ---- constructed models that cannot be compared ----


def comparison(layers: int, steps: int, *rates: float) -> WeightComparison | NotApplicable:
    """Weights of gradient descent of some layers beside constructed ones, of one rate or of one for each step."""
    subject = from_transformer(gd_transformer(6, 3.0, 3, n_layers=layers))
    shape, tasks = ConstructedShape(6, 3, 1, steps), generated_splits(LinearRegression(6, 3), n=2, seed=0)
    setup = Setup(
        subject=subject,
        splits=tasks,
        shape=shape,
        seed=0,
        batch_size=2,
        reading=Reading(subject.layout, {}),
        steps=(1, 2),
    )
    return compare_weights(setup, {"gd": constructed_gd(shape, rates)}, [])


def test_constructed_models_of_other_depth_or_with_rates_by_layer_have_no_weights_to_compare() -> None:
    assert isinstance(comparison(2, 2, 3.0), WeightComparison)
    assert comparison(2, 3, 3.0) == NotApplicable("the constructed models take 3 steps, but the model has 2 layers")
    words = "constructed layers have learning rates of their own, but all layers of this model share one block"
    assert comparison(2, 2, 3.0, 4.0) == NotApplicable(words)


def test_a_file_of_tasks_has_no_law_to_shift() -> None:
    words = "the tasks came from a file: mesascope does not know the law that it would shift"
    measures = no_shift_measures(["model", "gd"])
    assert measures
    assert all(m.status == "not applicable" and m.sel(candidate="gd").message == words for m in measures.values())
