"""Streaming token-norm statistics over a corpus: CPU time and memory beside the plain forward pass with logits.

A model of GPT-2 small's width, heads and vocabulary with random weights, float32, one thread. In turns:

    plain       logits of every window, and nothing else
    norms       norms at every site, correlations' material and outliers
    attention   norm-based attention and mixing ratios of every head
    both        all of it in one pass
    inner       the inner problem at every layer

Seconds are the process's CPU time, the median of the repeats; what has no need of logits forms none. Memory is counted
exactly: the peak of live tensors that the pass makes, and of NumPy's arrays, above that of the plain pass; and what is
left when it is through. It is taken again on twice the text and at twice the layers.

    python benchmarks/token_norms.py [--layers 12] [--batch 2] [--length 512] [--batches 2] [--repeats 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from linear_attention_scaling import PeakMemory
from mesascope.data.corpus import windows
from mesascope.models import from_module
from mesascope.probes.streaming import Watcher, stream
from mesascope.probes.token_norms.accumulator import ModelPass
from mesascope.probes.token_norms.attention_watcher import AttentionWatcher
from mesascope.probes.token_norms.inner_watcher import InnerWatcher
from mesascope.probes.token_norms.length_watcher import LengthWatcher
from mesascope.probes.token_norms.outlier_watcher import OutlierWatcher, pilots
from mesascope.probes.token_norms.text import Text

VOCABULARY = 50_257
LIMITS = {"norms": 1.3, "attention": 1.6}  # of the plain pass
COLUMNS = 120
MIB = 2**20


class Case:
    """A model and a corpus; `pass_of` reads it whole under the watch of some."""

    def __init__(self, layers: int, batch: int, length: int, batches: int) -> None:
        from transformers import GPT2Config, GPT2LMHeadModel

        torch.manual_seed(0)
        self.subject = from_module(GPT2LMHeadModel(GPT2Config(n_layer=layers, n_positions=length)).eval())
        rng = np.random.default_rng(0)
        documents = [rng.integers(0, VOCABULARY, length) for _ in range(batch * batches)]
        corpus = windows(documents, length, VOCABULARY)
        self.batch, self.text = batch, Text(corpus, np.zeros(VOCABULARY))
        self.pilots = pilots(self.subject, next(iter(corpus.batches(batch))).tokens)

    def watchers(self, name: str, model_pass: ModelPass) -> list[Watcher]:
        if name == "inner":
            return [InnerWatcher(model_pass)]
        found: list[Watcher] = []
        if name in ("norms", "both"):
            found += [LengthWatcher(model_pass), OutlierWatcher(model_pass, self.pilots)]
        if name in ("attention", "both"):
            found.append(AttentionWatcher(model_pass))
        return found

    def read(self, name: str) -> Any:
        if name == "plain":
            for some in self.text.corpus.batches(self.batch):
                self.subject.logits(some.tokens)
            return None
        model_pass = ModelPass(self.subject, self.text, 0, COLUMNS)
        watchers = self.watchers(name, model_pass)
        stream(self.subject, model_pass.noted.batches(self.batch), watchers)
        return model_pass, watchers  # kept alive: what is left belongs to them


def seconds(run: Callable[[], Any]) -> float:
    begun = time.process_time()
    run()
    return time.process_time() - begun


def memory(run: Callable[[], Any]) -> tuple[float, float]:
    """MiB at the peak, and left at the end: of tensors and of arrays together."""
    tracemalloc.start()
    with PeakMemory() as tensors:
        kept = run()
        left = tensors.live + tracemalloc.get_traced_memory()[0]
    peak = tensors.peak + tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    del kept
    return peak / MIB, left / MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("layers", 12), ("batch", 2), ("length", 512), ("batches", 2), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = (options.batch, options.length)
    case = Case(options.layers, *size, options.batches)
    names = ("norms", "attention", "both", "inner")
    case.read("plain")
    print(f"{options.layers} layers, {options.batches} batches of {options.batch} x {options.length} tokens")
    times: dict[str, list[float]] = {name: [] for name in ("plain", *names)}
    for _ in range(options.repeats):
        for name, found in times.items():
            found.append(seconds(lambda name=name: case.read(name)))
    plain = statistics.median(times["plain"])
    for name, found in times.items():
        ratio = statistics.median(found) / plain
        verdict = (
            "" if name not in LIMITS else f"  {'ok' if ratio <= LIMITS[name] else 'TOO SLOW'}, at most {LIMITS[name]}"
        )
        print(f"{name:10} {statistics.median(found):8.2f} s {ratio:6.2f} x{verdict}")
    larger = {"": case, "twice the text": Case(options.layers, *size, 2 * options.batches)}
    larger["twice the layers"] = Case(2 * options.layers, *size, options.batches)
    for words, other in larger.items():
        base, _ = memory(lambda other=other: other.read("plain"))
        for name in names[:3]:
            peak, left = memory(lambda other=other, name=name: other.read(name))
            print(f"{name:10} {peak - base:+8.1f} MiB at the peak, {left:6.1f} left  {words}")


if __name__ == "__main__":
    main()
