"""When induction heads appear is said where it can be, and not where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from mesascope.probes import InductionHeads
from mesascope.probes.drawing import page
from mesascope.probes.findings import Findings
from mesascope.probes.induction_heads import onset as module
from mesascope.probes.induction_heads.evidence import Thresholds
from mesascope.probes.induction_heads.figures.trajectory import trajectory_figure
from mesascope.probes.induction_heads.names import ONSET
from mesascope.probes.induction_heads.onset import onset
from mesascope.probes.measure import Measure, without_interval

WEAK, MODERATE, STRONG = range(3)
Called = Mapping[tuple[int, int], int]


Appear = Callable[[Mapping[int, Called]], module.Onset | None]


@pytest.fixture
def appear(monkeypatch: pytest.MonkeyPatch) -> Appear:
    """The onset in a training whose verdicts are made up: they have tests of their own."""

    def of(called: Mapping[int, Called]) -> module.Onset | None:
        by_step = {
            step: {"step": without_interval(np.array(step), "1", message="made up", no_nulls="made up")}
            for step in called
        }
        monkeypatch.setattr(module, "_called", lambda measures, thresholds: called[int(measures["step"].estimate)])
        return onset(by_step, Thresholds())

    return of


def test_heads_appear_between_the_last_step_without_any_and_the_first_as_at_the_end(appear: Appear) -> None:
    found = appear({
        0: {}, 1000: {}, 1300: {},
        1400: {(1, 0): WEAK}, 1450: {(1, 0): STRONG, (1, 1): WEAK}, 1500: {(1, 0): STRONG, (1, 2): STRONG},
        4000: {(1, 0): STRONG, (1, 2): STRONG},
    })  # fmt: skip
    assert found is not None
    assert found.sentence == "Induction heads appear between steps 1300 and 1500."
    np.testing.assert_array_equal(found.measure.values, [1300, 1500])
    assert found.measure.labels("bound") == ("none at", "as at the end from")


def test_heads_that_come_and_go_count_from_when_they_stay(appear: Appear) -> None:
    found = appear({0: {}, 10: {(1, 0): STRONG}, 20: {}, 30: {(1, 0): STRONG}, 40: {(1, 0): STRONG}})
    assert found is not None
    assert (found.before, found.settled) == (0, 30)


def test_heads_that_grow_weaker_again_appeared_before(appear: Appear) -> None:
    found = appear({0: {}, 10: {(1, 0): MODERATE}, 20: {(1, 0): STRONG}, 30: {(1, 0): MODERATE}})
    assert found is not None
    assert (found.before, found.settled) == (0, 10)


def test_without_induction_heads_at_the_end_nothing_is_said(appear: Appear) -> None:
    assert appear({0: {}, 10: {(1, 0): STRONG}, 20: {}}) is None


def test_heads_that_are_there_from_the_start_have_no_onset(appear: Appear) -> None:
    found = appear({100: {(1, 0): STRONG}, 200: {(1, 0): STRONG}})
    assert found is not None
    assert (
        found.sentence == "There are induction heads at the first checkpoint already: when they appear cannot be told."
    )
    assert np.isnan(found.measure.values[0])
    assert "at the first checkpoint" in found.measure.message


def test_over_seeds_heads_have_no_verdicts_and_nothing_is_said() -> None:
    nothing: dict[str, Measure] = {}
    assert onset({0: nothing, 10: nothing}, Thresholds()) is None
    assert InductionHeads().over_training({0: nothing, 10: nothing}).measures == {}
    assert ONSET == "induction_onset"


def over_training(*extra: Measure) -> Findings:
    """A score of two heads that rises at step 1400, and what is known of the onset."""
    steps = (0, 1300, 1400, 1500, 4000)
    values = np.array([0.0, 0.0, 0.3, 0.9, 1.0])[:, None, None] * np.array([[0.01, 1.0]])
    score = Measure(
        values, "probability", (values, values), "sequence", 9, ("step", "layer", "head"), {"step": steps},
        no_nulls="made up",
    )  # fmt: skip
    measures = {"prefix_matching_score": score, **dict(zip((ONSET,), extra, strict=False))}
    return Findings(measures, {}, {}, {"L0H0": "none", "L0H1": "induction"})


def test_the_trajectory_marks_the_steps_between_which_heads_appear() -> None:
    found = page.compose(trajectory_figure, over_training(module.Onset(1, 1300, 1500, 4000).measure))
    assert found is not None
    figure, table = found
    marked = table[table["series"] == "induction heads appear"]
    assert marked[["low", "high"]].to_numpy().tolist() == [[1300, 1500]]
    (band,) = (patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle))
    assert (band.get_x(), band.get_x() + band.get_width()) == (1300, 1500)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "induction heads appear: steps 1300 to 1500" in labels


@pytest.mark.parametrize("extra", [(), (module.Onset(1, None, 0, 4000).measure,)])
def test_without_an_onset_nothing_is_marked(extra: tuple[Measure, ...]) -> None:
    found = page.compose(trajectory_figure, over_training(*extra))
    assert found is not None
    assert not found[0].axes[0].patches
    assert "induction heads appear" not in set(found[1]["series"])
