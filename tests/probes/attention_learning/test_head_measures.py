"""Heads as measures: axes, nulls and reasons; shipped models; and the twin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mesascope.data.errors import UsageError
from mesascope.models import from_language_model, from_module, load
from mesascope.models.language_model import LanguageModel
from mesascope.probes import Findings
from mesascope.probes.attention_learning.agreement import DRAWS, Agreements
from mesascope.probes.attention_learning.head_measures import (
    NO_GOLD,
    SAME,
    head_findings,
    head_measures,
    over_heads,
)
from mesascope.probes.attention_learning.head_proxy import NO_OTHERS
from mesascope.probes.attention_learning.head_reading import HeadReading
from mesascope.probes.attention_learning.head_settings import HeadHow
from mesascope.probes.attention_learning.head_verdicts import head_verdicts
from mesascope.probes.attention_learning.names import (
    ATTENTION_ARRAY,
    CHANCE,
    FOLLOWS,
    INPUTS,
    OTHER_TARGETS,
    PAIRS,
    PUSH_ARRAY,
    SHUFFLED,
)
from mesascope.probes.attention_learning.twin import NO_TWIN_OF_TEXT
from mesascope.probes.statistics.sample_measures import PerTask, task_measures

from .tiny_language_models import ids_file, model, module_of

HOW = HeadHow(n_sequences=4, queries=24, saliency=3)


def measured(subject: LanguageModel, how: HeadHow = HOW, twin: LanguageModel | str = NO_TWIN_OF_TEXT) -> Findings:
    return head_findings(subject, how, twin, 0, 8)


@pytest.fixture(scope="module")
def findings() -> Findings:
    return measured(model(), twin=model(seed=1))


def test_every_pair_has_an_interval_and_both_nulls(findings: Findings) -> None:
    for name, axes, shape in (("agreement", (), ()), ("head_agreement", ("layer", "head"), (3, 2))):
        measure = findings.measures[name]
        assert measure.axes == ("pair", *axes)
        assert measure.labels("pair") == tuple(PAIRS)
        for pair in PAIRS:
            part, own = measure.sel(pair=pair), findings.arrays[f"{name}_{pair}"]
            assert (part.unit, part.replicate, part.n, part.status) == ("share", "sequence", 4, "ok")
            np.testing.assert_allclose(part.values, own.mean(axis=0))
            assert {null: samples.shape for null, samples in part.nulls.items()} == {
                SHUFFLED: (DRAWS, *shape),
                OTHER_TARGETS: (DRAWS, *shape),
            }
            again = task_measures({"": PerTask(own, "share", axes, no_nulls="none")}, 0)[""]
            np.testing.assert_allclose(part.interval, again.interval)
    assert (
        findings.measures["agreement"]
        .sel(pair="beta")
        .message.endswith("mean over the heads that have a number in every sequence")
    )


def test_accuracies_are_of_the_next_token(findings: Findings) -> None:
    task = findings.measures["task_accuracy"]
    np.testing.assert_allclose(task.values, findings.arrays["task_accuracy"].mean())
    np.testing.assert_allclose(task.nulls[CHANCE], [1 / 13])
    for name, why in NO_GOLD.items():
        measure = findings.measures[f"{name}_accuracy"]
        assert (measure.status, measure.message) == ("not applicable", why)
    for name in ("agreement_push", "first_crossing", "ktiw_lead"):
        assert findings.measures[name].message.startswith("one step: ")


def test_rows_and_recipes_are_kept(findings: Findings) -> None:
    for name in (ATTENTION_ARRAY, PUSH_ARRAY):
        assert findings.arrays[name].shape == (4, 3, 2, 6, 12)
    assert {name: recipe.family for name, recipe in findings.recipes.items()} == {
        INPUTS: "random tokens",
        "co-occurrence": "random tokens",
    }
    assert findings.recipes[INPUTS].sha256 != findings.recipes["co-occurrence"].sha256


def test_what_is_lacking_says_why(tmp_path: Path) -> None:
    documents = [[1, 2, 3, 4, 5, 6], [3, 4, 5, 6, 7, 1]]
    how = HeadHow(tokens=ids_file(tmp_path, documents), n_sequences=2, context=6, saliency=0)
    found = measured(model(), how)
    asked = "saliency was not asked for (--saliency 0)"
    reasons = {"uniform": NO_TWIN_OF_TEXT, "own_proxy": NO_OTHERS, "proxy": f"{NO_TWIN_OF_TEXT}; {NO_OTHERS}"}
    reasons |= {"own_saliency": asked, "saliency": f"{asked}; {NO_TWIN_OF_TEXT}"}
    for name in ("agreement", "head_agreement"):
        for pair, why in reasons.items():
            part = found.measures[name].sel(pair=pair)
            assert (part.status, part.message) == ("not applicable", why)
        assert found.measures[name].sel(pair="beta").has_number
    assert set(found.recipes) == {INPUTS}
    assert not {"agreement_uniform", "head_agreement_own_proxy"} & set(found.arrays)
    twin = from_module(module_of("openai-gpt"))
    refused = measured(from_module(module_of("gpt2")), replace(HOW, saliency=0), twin).measures["agreement"]
    assert "the twin's heads have no beta: this model normalises" in refused.sel(pair="uniform").message


def test_one_query_a_sequence_has_no_other_targets(tmp_path: Path) -> None:
    how = HeadHow(tokens=ids_file(tmp_path, [[1, 2, 3], [4, 5, 6]]), n_sequences=2, context=3)
    assert set(measured(model(), how).measures["agreement"].sel(pair="beta").nulls) == {SHUFFLED}


def test_heads_that_write_nothing_are_named() -> None:
    subject = model()
    subject.module.W_O.data[1, 0] = 0
    subject.module.W_O.data[2, 1] = 0
    found = measured(subject)
    message = found.measures["head_agreement"].sel(pair="beta").message
    assert message.endswith(f"L1H0, L2H1: {SAME}, so that any agreement is by chance")
    assert SAME not in measured(model()).measures["head_agreement"].sel(pair="beta").message


def test_a_head_without_a_number_is_in_no_mean() -> None:
    """Head 1 attends to its own position only: no row of it has two sources."""
    rng = np.random.default_rng(0)
    samples, drawn = rng.random((5, 2, 2)), rng.random((DRAWS, 5, 2, 2))
    samples[:, 0, 1] = drawn[:, :, 0, 1] = np.nan
    found = over_heads(Agreements(samples, {SHUFFLED: drawn}))
    counted = samples.reshape(5, 4)[:, [0, 2, 3]]
    np.testing.assert_allclose(found.samples, counted.mean(axis=1))
    np.testing.assert_allclose(found.drawn[SHUFFLED], drawn.reshape(DRAWS, 5, 4)[..., [0, 2, 3]].mean(axis=-1))
    rows = np.empty((0, 2, 2, 1, 3), dtype=np.float32)
    same = np.zeros((2, 2), dtype=bool)
    reading = HeadReading({"beta": Agreements(samples, {SHUFFLED: drawn})}, rng.random(5), same, rows, rows)
    measures = head_measures(reading, dict.fromkeys(list(PAIRS)[1:], "not there"), 13, 0)
    heads = measures["head_agreement"].sel(pair="beta")
    assert np.isnan(heads.values).tolist() == [[False, True], [False, False]]
    assert "NaN where no query attends to two sources" in heads.message
    assert measures["agreement"].sel(pair="beta").has_number


def test_a_model_without_beta_is_refused() -> None:
    wrapped = from_language_model(lambda ids: ids[..., None].expand(-1, -1, 5).float(), d_vocab=5)
    with pytest.raises(UsageError, match="heads have no beta: the model was wrapped without its W_U"):
        measured(wrapped)


@pytest.mark.parametrize(
    ("name", "follow"),
    [
        ("induction-2layer", {"L1H0", "L1H2", "L1H3"}),  # its induction heads
        ("induction-1layer", set()),  # cannot have any
        ("tiny-grammar", {"L0H1", "L0H3", "L2H3"}),
    ],
)
def test_heads_of_shipped_models(name: str, follow: set[str]) -> None:
    """Those that follow beta by far."""
    found = measured(
        load(name), HeadHow(n_sequences=12, queries=240, saliency=2, context=64 if "grammar" in name else None)
    )
    heads = found.measures["head_agreement"].sel(pair="beta")
    assert np.isfinite(heads.values).all()
    assert np.isfinite(heads.interval).all()
    verdicts = head_verdicts(found.measures)
    assert len(verdicts) == heads.values.size
    following = {head for head, verdict in verdicts.items() if verdict == FOLLOWS}
    assert follow <= following
    assert following == follow or name == "tiny-grammar"


def test_before_training_no_head_follows_beta() -> None:
    found = measured(load("induction-2layer", "step0"), HeadHow(n_sequences=12, queries=240, saliency=0))
    assert set(head_verdicts(found.measures).values()) == {"none"}
    agreement = found.measures["agreement"].sel(pair="beta")
    assert abs(agreement.estimate - agreement.nulls[OTHER_TARGETS].mean()) < 0.02
