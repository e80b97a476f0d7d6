"""The onset of induction on shipped checkpoints."""

from __future__ import annotations

from mesascope import analyses, models, probes
from mesascope.analyses.reports.parts import part
from mesascope.analyses.timelines.judging import onset
from mesascope.probes.followed import Step, course_of


def test_induction_begins_between_steps_1300_and_1600() -> None:
    """Prefix matching of the head that is largest at the end; attention to the previous token begins before it."""
    probe = probes.InductionHeads(periods=(20, 15), n_sequences=12, ablate="nothing")
    steps = {}
    for step in (4000, 1300, 1000, 1600):
        report = analyses.run(models.load("induction-2layer", revision=f"step{step}"), probe)
        assert isinstance(report, analyses.Report)
        steps[step] = Step(report.measures)
    found = {}
    for followed in part("induction-heads", "followed").FOLLOWED:
        course = course_of(followed, steps)
        one = onset(course, followed.above)
        assert one is not None
        found[followed.measure] = (course.place[:7], one.after, one.by)
    assert found["excess"] == ("head L1", 1300, 1600)
    assert found["previous_token_score"] == ("head L0", 1000, 1300)
