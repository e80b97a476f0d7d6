"""The token layout: found where the labels tell, else said to be assumed; and no null gains from the search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import UsageError
from mesascope.models import (
    RegressionConfig,
    RegressionTransformer,
    Regressor,
    TokenLayout,
    from_predictor,
    from_transformer,
    gd_transformer,
    initialise,
)
from mesascope.probes import Claim, GDAlignment
from mesascope.probes.measure import Measure
from mesascope.probes.regression import nulls, token_search
from mesascope.probes.regression.reading import Gain, Reading, products, share
from mesascope.probes.regression.reading_measures import assumed_layout, found_layout
from torch import Tensor

pytestmark = pytest.mark.usefixtures("few_shifts")
RATE = 4.0
D = 4
LAW: dict[str, Any] = {"limit": 400, "n_context": 6, "twins": "gd", "steps": 1}
ASSUMED = "mesascope assumed joint tokens with the label in slot 4. These tasks do not show how the model reads them."


def step(tokens: Tensor, x: slice, y: int, order: str) -> Tensor:
    """One step of gradient descent, read off tokens by hand: x at some coordinates, y at one."""
    if order == "joint":
        inputs, labels, query = tokens[:, :-1, x], tokens[:, :-1, y], tokens[:, -1, x]
    else:
        inputs, labels, query = tokens[:, :-1:2, x], tokens[:, 1::2, y], tokens[:, -1, x]
    return RATE / inputs.shape[1] * torch.einsum("tni,tn,ti->t", inputs, labels, query)


class ReadsOnly(torch.nn.Module):
    """A predictor of tokens of one width."""

    def __init__(self, width: int, x: slice, y: int, order: str, sign: int = 1) -> None:
        super().__init__()
        self.width, self.x, self.y, self.order, self.sign = width, x, y, order, sign

    def forward(self, tokens: Tensor) -> Tensor:
        if tokens.shape[-1] != self.width or (self.order == "apart") != (tokens.shape[1] == 13):
            raise RuntimeError(f"tokens {list(tokens.shape)} do not fit")
        return self.sign * step(tokens, self.x, self.y, self.order)


PREDICTORS = {
    "joint-0": ReadsOnly(D + 1, slice(1, None), 0, "joint"),
    "interleaved-0": ReadsOnly(D, slice(None), 0, "apart"),
    "interleaved-3": ReadsOnly(D, slice(None), 3, "apart", sign=-1),
    "separate-4": ReadsOnly(D + 1, slice(0, D), D, "apart"),
    "separate-0": ReadsOnly(D + 1, slice(1, None), 0, "apart"),
}


def relabelled(slot: int, sign: int = 1) -> Regressor:
    """The constructed step in a transformer whose tokens have the label at `slot`; it predicts there, too.

    Its own read-out is the last coordinate: as handed over, it answers with another number.
    """
    model = gd_transformer(6, RATE, D)
    joint = [*range(slot), D, *range(slot, D)]  # coordinate i of its tokens is coordinate joint[i] of [x ; y]
    names = ("W_Q", "W_K", "W_V", "W_O")
    moved = {n: getattr(model, n)[..., joint] if n == "W_O" else getattr(model, n)[..., joint, :] for n in names}
    moved["W_O"] = sign * moved["W_O"]
    return from_transformer(RegressionTransformer(model.config, moved))


def answer(subject: Regressor, **settings: Any) -> tuple[dict[str, Measure], Claim]:
    probe = GDAlignment(**{**LAW, **settings})
    findings = probe.measure(subject, 0, 512)
    return findings.measures, probe.claim(findings.measures, (subject.source,))


def used(measures: dict[str, Measure]) -> str:
    measure = measures["token_layout"]
    return measure.labels("token_layout")[int(measure.values.argmax())]


# ---- found, and measured so ----


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_predictor_is_read_as_it_reads(name: str) -> None:
    """It refuses all tokens of another shape; among those of its shape the labels decide."""
    setup = GDAlignment(**LAW)._setup(from_predictor(PREDICTORS[name], TokenLayout(D)), 0, 512)
    tasks = setup.splits.evaluation
    joint = step(tasks.inputs, slice(0, D), D, "joint")
    assert setup.reading.layout.name == name
    assert setup.sign == PREDICTORS[name].sign
    torch.testing.assert_close(setup.sign * setup.subject.predict(tasks.inputs)[:, 0], joint, rtol=1e-6, atol=1e-9)


def test_the_card_says_how_tokens_are_read() -> None:
    measures, claim = answer(from_predictor(PREDICTORS["interleaved-3"], TokenLayout(D)))
    assert claim.found == (
        "Tokens rearranged. Sign turned. The model agrees with 1 step of gradient descent, leaving less than 0.1 %"
        " unexplained."
    )
    order, slot = used(measures).split("-")
    words = [sentence for sentence in claim.limits if "By the labels of the tuning tasks the model reads" in sentence]
    assert len(words) == 1
    assert words[0].startswith(
        f"By the labels of the tuning tasks the model reads {order} tokens with the label in slot {slot}: so its"
    )
    assert words[0].endswith("as joint tokens with the label in slot 4. Every number is that of the model read so.")
    assert ASSUMED not in claim.limits
    assert "the layout of tokens was found likewise" in claim.methods


@pytest.mark.parametrize(("slot", "sign"), [(0, 1), (2, -1)])
def test_a_transformer_with_its_label_elsewhere_is_the_same_model(slot: int, sign: int) -> None:
    """Every number is that of the model with its label last: weights, paths, layers and all."""
    moved, claim = answer(relabelled(slot, sign))
    straight, plain = answer(relabelled(D, sign))
    assert used(moved) == f"joint-{slot}"
    assert claim.found == f"Tokens rearranged. {plain.found}"
    assert moved.keys() == straight.keys()
    for name in moved.keys() - {"token_layout", "label_share"}:
        np.testing.assert_allclose(moved[name].values, straight[name].values, rtol=1e-9, atol=1e-12, err_msg=name)
    assert moved["weight_distance"].status == "ok"


def test_the_layout_assumed_is_kept_and_not_spoken_of_where_the_labels_confirm_it() -> None:
    measures, claim = answer(relabelled(D))
    assert used(measures) == "joint-4"
    assert measures["layout_gain"].interval[0] > 0
    assert "okens" not in claim.found
    assert not any("okens with the label" in sentence for sentence in claim.limits)


# ---- near-misses ----


def test_what_explains_no_label_in_any_layout_is_assumed_and_said_to_be() -> None:
    measures, claim = answer(from_predictor(lambda tokens: tokens[:, 0].sin().sum(dim=1), TokenLayout(D)))
    assert used(measures) == "joint-4"
    assert ASSUMED in claim.limits
    assert "joint tokens with the label in slot 4 were assumed" in claim.methods
    assert not claim.found.startswith("Tokens")


def test_too_few_tasks_decide_nothing(on_tasks: Callable[..., Any]) -> None:
    """Each half of the file has 60 tasks."""
    findings = on_tasks(relabelled(0), n=120, n_context=6, d_in=D, twins="gd")
    assert findings.measures["label_share"].status == "not applicable"
    assert assumed_layout(findings.measures) == "joint-4"
    assert found_layout(findings.measures) is None


def test_both_halves_of_a_file_have_to_say_so(on_tasks: Callable[..., Any]) -> None:
    findings = on_tasks(relabelled(0), n=240, n_context=6, d_in=D, twins="gd")
    assert found_layout(findings.measures) is not None
    clear, unclear = products_with(0.9), products_with(0.36)
    none = products_with(0.0)
    first, other = TokenLayout(2, label_slot=2), TokenLayout(2, label_slot=0)
    chosen = [
        token_search._chosen(first, {first: [none, none], other: [clear, second]}, 0) for second in (clear, unclear)
    ]
    assert chosen == [other, first]


def products_with(correlation: float, n: int = 400) -> np.ndarray:
    rng = np.random.default_rng(1)
    y = rng.normal(size=(n, 1))
    p = correlation * y + np.sqrt(1 - correlation**2) * rng.normal(size=(n, 1))
    return products(torch.from_numpy(p), torch.from_numpy(y))


@pytest.mark.parametrize(("correlation", "moved"), [(0.30, False), (0.36, False), (0.55, True)])
def test_the_whole_interval_has_to_be_clear(correlation: float, moved: bool) -> None:
    """Shares of about .09, .13 and .30: the second is above the limit, and its interval is not."""
    first, other = TokenLayout(2, label_slot=2), TokenLayout(2, label_slot=0)
    answered = {first: [products_with(0.0, 200)], other: [products_with(correlation, 200)]}
    assert (token_search._chosen(first, answered, 0) == other) is moved


def test_two_equally_good_layouts_leave_it_open_unless_they_are_read_alike() -> None:
    first, one, two = (TokenLayout(2, label_slot=slot) for slot in (2, 0, 1))
    good, none = products_with(0.9), products_with(0.0)
    as_good = np.roll(good, 7, axis=0)  # the same share, of other answers
    assert token_search._chosen(first, {first: [none], one: [good], two: [as_good]}, 0) == first
    assert token_search._chosen(first, {first: [none], one: [good], two: [good]}, 0) == one


def test_a_predictor_that_refuses_everything_says_so_itself() -> None:
    def refuses(tokens: Tensor) -> Tensor:
        raise RuntimeError(f"width {tokens.shape[-1]}")

    with pytest.raises(RuntimeError, match=f"width {D + 1}"):
        answer(from_predictor(refuses, TokenLayout(D)))


# ---- given ----


@pytest.mark.parametrize("how", ["setting", "declared"])
def test_a_layout_that_is_given_is_used_without_a_search(how: str) -> None:
    model = PREDICTORS["separate-0"]
    given = {"token_order": "separate", "label_slot": 0} if how == "setting" else {}
    layout = TokenLayout(D) if how == "setting" else TokenLayout(D, order="separate", label_slot=0)
    measures, claim = answer(from_predictor(model, layout), **given)
    assert claim.found.startswith("The model agrees with 1 step of gradient descent")
    assert used(measures) == "separate-0"
    assert measures["layout_gain"].message == "the layout was given, so none was tried"
    assert not any("label in slot" in sentence for sentence in claim.limits)
    assert "the layout of tokens was given" in claim.methods


def test_a_wrong_layout_that_is_given_is_kept() -> None:
    measures, claim = answer(relabelled(0), label_slot=D)
    assert used(measures) == "joint-4"
    assert "agrees" not in claim.found
    assert not claim.found.startswith("Tokens")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"token_order": "interleaved"}, "gd-alignment: interleaved tokens; expected joint ones"),
        ({"label_slot": 5}, "gd-alignment: label_slot = 5; expected 0 to 4"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        answer(relabelled(0), **given)


# ---- the numbers, and the nulls ----


def test_shares_are_those_of_a_regression_through_the_origin() -> None:
    rng = np.random.default_rng(0)
    p, y = rng.normal(size=(50, 1)), rng.normal(size=(50, 1))
    slope = np.linalg.lstsq(p, y, rcond=None)[0]
    explained = 1 - ((y - p @ slope) ** 2).sum() / (y**2).sum()
    for scale in (1.0, -1e6):
        means = products(torch.from_numpy(scale * p), torch.from_numpy(y)).mean(axis=0)
        assert share(means) == pytest.approx(explained, rel=1e-12)
    for nothing in (np.zeros((50, 1)), np.full((50, 1), np.nan), np.full((50, 1), 1e300)):
        assert share(products(torch.from_numpy(nothing), torch.from_numpy(y)).mean(axis=0)) == 0


def test_a_gain_has_the_spread_of_repeated_draws() -> None:
    """The standard deviation over 300 fresh samples, beside the half width of one bootstrap interval."""
    rng = np.random.default_rng(0)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        y = torch.from_numpy(rng.normal(size=(200, 1)))
        noise = torch.from_numpy(rng.normal(size=(2, 200, 1)))
        return products(0.8 * y + 0.6 * noise[0], y), products(0.4 * y + 0.9 * noise[1], y)

    drawn = [share(a.mean(axis=0)) - share(b.mean(axis=0)) for a, b in (draw() for _ in range(300))]
    low, high = Gain.of(*draw(), 0).interval
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(drawn), rel=0.25)


def test_every_null_gets_the_same_search(all_nulls: None) -> None:
    measures, _ = answer(relabelled(0))
    samples = measures["label_share"].nulls
    assert {null: held.shape for null, held in samples.items()} == {"untrained": (50, 5), "shuffled labels": (20, 5)}
    assert (samples["untrained"].std(axis=0) > 0).all()
    place = measures["label_share"].labels("token_layout").index("joint-0")
    assert measures["label_share"].values[place] > 0.4
    assert samples["shuffled labels"][:, place].max() < 0.2  # the model saw shuffled labels here, too


def test_a_null_is_searched_as_a_subject_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the best layout were taken at once, four of five untrained models would be moved, subjects and nulls alike."""
    monkeypatch.setattr(nulls, "UNTRAINED", 60)
    monkeypatch.setattr(token_search, "_chosen", lambda first, answered, seed: best(answered))
    probe = GDAlignment(**{**LAW, "limit": 200})
    config = RegressionConfig(d_in=D, d_head=D + 1)
    draws = (initialise(config, 0.5, torch.Generator().manual_seed(1_000 + i)) for i in range(60))
    setups = [probe._setup(from_transformer(draw), 0, 512) for draw in draws]
    drawn = nulls.untrained_models(setups[0])
    ours, theirs = (np.mean([one.reading.layout.slot != D for one in of]) for of in (setups, drawn))
    assert ours == pytest.approx(0.8, abs=0.2)
    assert theirs == pytest.approx(0.8, abs=0.2)
    tasks = setups[0].splits.folds[0].tuning
    for null in drawn:  # and each is given tokens as it was found to read them
        answers = products(null.module(tasks.inputs), tasks.targets)
        assert share(answers.mean(axis=0)) == pytest.approx(null.reading.shares[null.reading.layout], rel=1e-9)


def best(answered: Any) -> TokenLayout:
    return max(answered, key=lambda layout: Reading(layout, answered).shares[layout])


def test_over_seeds_it_is_said_in_how_many() -> None:
    parts = {
        "token_layout": (np.array([0.5, 0.5]), np.array([[1.0, 0.0], [0.0, 1.0]])),
        "label_share": (np.array([0.3, 0.4]), np.array([[0.6, 0.0], [0.0, 0.8]])),
    }
    axes: dict[str, Any] = {"axes": ("token_layout",), "coords": {"token_layout": ("joint-2", "joint-0")}}
    nothing = (np.full(2, np.nan), np.full(2, np.nan))
    measures = {
        name: Measure(values, "share", nothing, "seed", 2, no_nulls="none", points=points, **axes)
        for name, (values, points) in parts.items()
    }
    found = found_layout(measures)
    assert found is not None
    assert (found.name, found.first, found.seeds, found.of) == ("joint-0", "joint-2", 1, 2)


def test_a_reading_knows_its_rival() -> None:
    first, one, two = (TokenLayout(2, label_slot=slot) for slot in (2, 0, 1))
    good, fair, none = products_with(0.9), products_with(0.5), products_with(0.0)
    reading = Reading(one, {first: [none], one: [good], two: [fair]})
    assert reading.rival == two
    gain = reading.gain(0)
    assert gain is not None
    assert gain.value == pytest.approx(float(share(good.mean(axis=0)) - share(fair.mean(axis=0))), rel=1e-12)
    assert Reading(one, {one: [good], two: [good]}).gain(0) is None


def test_a_subject_that_is_read_in_a_layout_already_is_not_rearranged_again() -> None:
    subject = from_transformer(gd_transformer(6, 2.0, D)).read_as(TokenLayout(D, 1, "joint", 0))
    assert GDAlignment(**LAW)._setup(subject, 0, 512).subject is subject
