"""Several readings of one text in one pass: each sees what it sees alone, and what would change that is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data.corpus import Corpus, Windows, windows
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source
from mesascope.models.subject import Reduce, Site
from mesascope.probes.reading import Reading, read, read_alone
from mesascope.probes.streaming import Watcher
from torch import Tensor


class Seen(Watcher):
    """Sums at one site, beside the documents of the windows that they are of."""

    def __init__(self, site: Site, logits: bool = False) -> None:
        self.site, self.logits = site, logits
        self.documents: list[list[int]] = []
        self.sums: list[float] = []
        self.widths: set[int] = set()

    def begin(self, some: Windows) -> None:
        self.documents.append(some.document.tolist())

    def watch(self, tokens: Tensor) -> Mapping[Site, Reduce]:
        return {self.site: lambda x, layer: self.sums.append(float((x.q if self.site == "attention" else x).sum()))}

    def take(self, tokens: Tensor, output: Tensor) -> None:
        self.widths.add(output.shape[-1])

    def found(self) -> tuple[Any, ...]:
        return self.documents, self.sums, self.widths if self.logits else None


@pytest.fixture(scope="module")
def subject() -> AttentionOnlyModel:
    config = AttentionOnlyConfig(d_vocab=11, n_ctx=6, d_model=8, n_layers=2, n_heads=2, d_head=4)
    rng = torch.Generator().manual_seed(0)
    parameters = {name: torch.randn(shape, generator=rng) for name, shape in config.shapes.items()}
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", "mesascope"))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    rng = np.random.default_rng(1)
    return windows([rng.integers(1, 11, n) for n in (7, 5, 11)], 6, 11, bos=0)


def of(watcher: Seen, corpus: Corpus, batch_size: int = 2) -> Reading:
    attended: frozenset[Site] = frozenset({"attention"} if watcher.site == "attention" else ())
    return Reading(corpus, batch_size, lambda: [watcher], watcher.found, watcher.begin, attended)


def test_each_finds_what_it_finds_alone(subject: AttentionOnlyModel, corpus: Corpus) -> None:
    def kinds() -> list[Seen]:
        return [Seen("resid_post"), Seen("z", logits=True), Seen("resid_post")]

    together = [of(watcher, corpus) for watcher in kinds()]
    read(subject, together)
    found = [reading.found() for reading in together]
    assert found == [read_alone(subject, of(watcher, corpus)) for watcher in kinds()]
    assert found[0][0] == [[0, 1], [2, 2], [0], [2]]  # full windows first, batch by batch
    assert found[1][2] == {11}


def test_progress_is_told_and_passes_are_as_many_as_batches(subject: AttentionOnlyModel, corpus: Corpus) -> None:
    told: list[float] = []
    read(subject, [of(Seen("z"), corpus), of(Seen("q"), corpus)], lambda stage, done: told.append(done))
    assert told == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("site", ["attention", "pattern"])
def test_a_reading_that_hides_how_it_attends_is_refused(
    site: Site, subject: AttentionOnlyModel, corpus: Corpus
) -> None:
    hidden = replace(of(Seen(site), corpus), attended=frozenset())
    with pytest.raises(ValueError, match=f"watches .'{site}'., but its attended is"):
        read_alone(subject, hidden)
    said = replace(of(Seen("z"), corpus), attended=frozenset({site}))
    with pytest.raises(ValueError, match="but its attended is"):
        read_alone(subject, said)


def test_what_is_no_way_to_attend_is_refused(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="expected some of attention, pattern"):
        replace(of(Seen("z"), corpus), attended=frozenset({"z"}))


def test_which_readings_share_a_pass(corpus: Corpus) -> None:
    one = of(Seen("z"), corpus)
    longer = windows(corpus.documents, 5, 11, bos=0)
    shorter_text = windows(corpus.documents, 6, 11, bos=0, limit=10)
    assert one.same_pass == of(Seen("q", logits=True), corpus).same_pass
    others = [
        of(Seen("z"), corpus, 3),
        of(Seen("attention"), corpus),
        of(Seen("z"), longer),
        of(Seen("z"), shorter_text),
    ]
    others.append(of(Seen("z"), windows(corpus.documents, 6, 11, bos=1)))
    assert len({one.same_pass, *(other.same_pass for other in others)}) == 1 + len(others)


def test_readings_that_need_a_pass_each_are_not_mixed(subject: AttentionOnlyModel, corpus: Corpus) -> None:
    with pytest.raises(AssertionError, match="a pass each"):
        read(subject, [of(Seen("z"), corpus), of(Seen("z"), corpus, 3)])
