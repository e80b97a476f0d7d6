"""The whole probe against the specification, on files that somebody else could have written."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from .slow_cases import Run, cases, equal, has_products, several_heads, single_head


@cases()
def test_behaviour_is_the_specifications(run: Run) -> None:
    """Losses, paired differences, the four comparisons, with every candidate."""
    prediction, sensitivity = run.behaviour(run.model)
    measures, half_squared = run.findings.measures, run.slow.half_squared
    loss = half_squared(prediction, run.targets)
    equal(measures["loss_model"].values, loss)
    equal(run.findings.arrays["prediction_model"], prediction)
    behaviours = {name: run.behaviour(p) for name, p in (run.constructed | run.algorithms[0]).items()}
    for name, (p, g) in behaviours.items():
        equal(measures[f"loss_{name}"].values, half_squared(p, run.targets))
        equal(measures[f"loss_difference_{name}"].values, loss - half_squared(p, run.targets))
        for metric, value in run.slow.comparisons(prediction, sensitivity, p, g).items():
            found = measures[metric].sel(candidate=name)
            equal(found.values, value)
            assert (found.status == "undefined") == math.isnan(value)
    names = list(measures["candidate_cosines"].labels("candidate"))
    assert set(behaviours) <= set(names)
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            if not {a, b} <= set(behaviours):
                continue
            compared = run.slow.comparisons(*behaviours[a], *behaviours[b])
            equal(measures["candidate_cosines"].values[i, j], np.nan_to_num(compared["cosine"]))  # 0 without direction
            margin = measures[f"prediction_difference_{b}"].values - measures[f"prediction_difference_{a}"].values
            equal(measures["closeness_margins"].values[i, j], margin)


@cases(lambda case: case.model.get("activation_clip") == 0.3)
def test_the_clip_bites(run: Run) -> None:
    """It changes what the model and the constructed ones answer."""
    for model in (run.model, *run.constructed.values()):
        free = replace(model, activation_clip=None)
        assert abs(run.slow.answers(model, run.inputs) - run.slow.answers(free, run.inputs)).max() > 1e-3


@cases()
def test_fitted_settings_are_the_closest(run: Run) -> None:
    assert run.algorithms[1] or not has_products(run.case), "only an end of the range was reached"
    for name, setting in run.algorithms[1].items():
        equal(run.findings.measures[name].values, setting)


@cases()
def test_losses_after_each_layer(run: Run) -> None:
    for name, model in ({"model": run.model} | run.constructed).items():
        readouts = np.array([model.readouts(tokens) for tokens in run.inputs])
        losses = [run.slow.half_squared(readouts[:, layer], run.targets) for layer in range(run.case.n_layers)]
        equal(run.findings.measures[f"loss_by_layer_{name}"].values, losses)


@cases(lambda case: case.n_layers > 1)
def test_several_layers_are_not_rolled_out(run: Run) -> None:
    measures = run.findings.measures
    assert measures["loss_rollout_model"].status == measures["loss_rollout_gd"].status == "not applicable"


@cases(lambda case: case.n_layers == 1)
def test_fifty_more_steps(run: Run) -> None:
    measures = run.findings.measures
    assert measures["loss_rollout"].labels("dampening") == (1.0, 0.875, 0.75)
    for dampening in (1.0, 0.875, 0.75):
        rolled = replace(run.model, layers=run.model.layers * 50, dampening=dampening, target_only=True)
        rates = [run.case.probe["learning_rate"]] * 50
        descent = run.slow.TokenDescent(rates, [0.0] * 50, run.case.d_out, dampening)
        for name, model in {"model": rolled, "gd": descent}.items():
            with np.errstate(over="ignore", invalid="ignore"):
                readouts = np.array([model.readouts(tokens) for tokens in run.inputs])
                losses = np.array([run.slow.half_squared(readouts[:, step], run.targets) for step in range(50)])
            found = measures["loss_rollout"].sel(candidate=name, dampening=dampening).values
            exact = np.nan_to_num(losses, nan=np.inf) < 1e4  # beyond, rounding grows along with the loss
            equal(found[exact], losses[exact])


Products = list[list[tuple[np.ndarray, np.ndarray]]]  # [block][head] -> KQ, PV


def distinct(run: Run) -> Products:
    """KQ = W_Q W_K^T and PV = W_V P of every distinct block, head by head."""
    blocks = run.model.layers[:1] if run.case.tied else run.model.layers
    return [[(W_Q @ W_K.T, W_V @ W_O) for W_Q, W_K, W_V, W_O in heads] for heads in blocks]


def constructed_products(run: Run, name: str) -> Products:
    d, probe = run.case.d_in, run.case.probe
    rate, gamma = (probe["learning_rate"], 0.0) if name == "gd" else (probe["gdpp_learning_rate"], probe["gdpp_gamma"])
    KQ = np.diag([1.0] * d + [0.0] * run.case.d_out)
    PV = np.diag([-gamma] * d + [-rate / run.case.n_context] * run.case.d_out)
    return [[(KQ, PV)] for _ in distinct(run)]


def aligned(run: Run, products: Products) -> Products:
    if len(products[0]) > 1:
        return products
    found = []
    for [(KQ, PV)] in products:
        beta = sum(KQ[i, i] for i in range(run.case.d_in)) / run.case.d_in
        assert beta < 0, "the case is meant to have a gauge of its own sign"
        found.append([(KQ / beta, PV * beta)])
    return found


def with_products(run: Run, products: Products) -> Any:
    """The case's network with other products."""
    eye = np.eye(run.case.d_in + run.case.d_out)
    layers = [[(KQ, eye, eye, PV) for KQ, PV in heads] for heads in products]
    return replace(run.model, layers=layers * run.case.n_layers if run.case.tied else layers)


def live(run: Run, products: Products) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each block, the entries of KQ and PV that change a prediction when they are changed."""
    before = run.slow.answers(with_products(run, products), run.inputs[:3])
    masks = []
    for block in range(len(products)):
        pair = []
        for which in (0, 1):
            mask = np.zeros_like(products[0][0][0], dtype=bool)
            for place in np.ndindex(mask.shape):
                edited = [[list(pair) for pair in heads] for heads in products]
                edited[block][0][which] = edited[block][0][which].copy()
                edited[block][0][which][place] += 0.3
                after = run.slow.answers(with_products(run, edited), run.inputs[:3])
                mask[place] = not np.allclose(after, before, rtol=0, atol=1e-14)
            pair.append(mask)
        masks.append((pair[0], pair[1]))
    return masks


@cases(lambda case: not has_products(case))
def test_weights_without_a_construction_are_not_compared(run: Run) -> None:
    measures = run.findings.measures
    names = ("weight_distance_gd_trained", "barrier_gd_aligned", "loss_path_gd_unaligned", "loss_interpolated")
    assert {measures[name].status for name in names} == {"not applicable"}


@cases(has_products)
def test_distances_of_the_summed_tensor(run: Run) -> None:
    trained, distances = distinct(run), run.findings.measures["weight_distance"]
    masks = live(run, trained)
    for name in run.constructed:
        other = constructed_products(run, name)
        wrong = [[(KQ, PV / 2) for KQ, PV in heads] for heads in other]
        of_candidate = distances.sel(candidate=name)
        equal(of_candidate.sel(control="trained").values, run.slow.tensor_distance(trained, other, masks))
        equal(of_candidate.sel(control="wrong_rate").values, run.slow.tensor_distance(trained, wrong, masks))


@cases(single_head)
def test_distances_of_the_products(run: Run) -> None:
    trained, distances = distinct(run), run.findings.measures["product_distance"]
    masks, ours = live(run, trained), aligned(run, trained)
    for name in run.constructed:
        other = constructed_products(run, name)
        for which, product in enumerate(("KQ", "PV")):
            for block, mask in enumerate(pair[which] for pair in masks):
                found = distances.sel(candidate=name, product=product).at(layer=block)
                a, b = ours[block][0][which], other[block][0][which]
                for entries, chosen in (("live", mask), ("dead", ~mask)):
                    expected = np.linalg.norm((a - b) * chosen) / np.linalg.norm(b)
                    equal(found.sel(entries=entries).values, expected)


@cases(several_heads)
def test_products_of_several_heads_have_no_distance(run: Run) -> None:
    found = run.findings.measures["product_distance_gd_KQ_live"]
    assert found.status == "not applicable"
    assert "several heads" in found.message


@cases(has_products)
def test_paths_and_barriers(run: Run) -> None:
    measures, trained = run.findings.measures, distinct(run)
    for name in run.constructed:
        other = constructed_products(run, name)
        wrong = [[(KQ, PV / 2) for KQ, PV in heads] for heads in other]
        ends = {"aligned": (aligned(run, trained), other), "unaligned": (trained, other)}
        ends["wrong_rate"] = aligned(run, trained), wrong
        for label, (start, end) in ends.items():
            losses = []
            for step in range(21):
                model = with_products(run, run.slow.mixed(start, end, step / 20))
                losses.append(run.slow.half_squared(run.slow.answers(model, run.inputs), run.targets))
            equal(measures["loss_path"].sel(candidate=name, path=label).values, losses)
            above = [loss - (losses[0] + (losses[20] - losses[0]) * i / 20) for i, loss in enumerate(losses)]
            found = measures["barrier"].sel(candidate=name, path=label)
            np.testing.assert_allclose(found.values, max(above), rtol=1e-8, atol=1e-13)
            if label == "aligned" and name == ("gdpp" if run.case.n_layers > 1 else "gd"):
                equal(measures["loss_interpolated"].values, losses[10])


@cases(single_head)
def test_settings_read_off_the_weights(run: Run) -> None:
    d = run.case.d_in
    for name, entries, factor in (
        ("weights_learning_rate", slice(d, None), run.case.n_context),
        ("weights_gamma", slice(None, d), 1),
    ):
        expected = [-np.diag(PV)[entries].mean() * factor for [(_, PV)] in aligned(run, distinct(run))]
        equal(run.findings.measures[name].values, expected)
