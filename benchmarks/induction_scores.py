"""Attention scores of every head of a model of GPT-2 small's shape: CPU time and memory, beside TransformerLens.

One thread, random weights, float32. At 8 x 257, 4 x 1,025 and 1 x 2,049 tokens, in turns:

    forward     the plain forward pass: Hugging Face's base model, torch's own attention, no logits
    stripe      one pass that scores every head's prefix matching
    ours        one pass for five scores: prefix matching, duplicate, previous, current and first token
    fallback    the five where torch's kernel for CPUs does not give the normaliser
    theirs      `transformer_lens.head_detector.detect_head`, one sequence at a time: one of the scores

Seconds are the process's CPU time, the median of the repeats; memory is the peak of resident memory above what was
resident before the call, each in a process of its own. The last lines score 16,384 tokens through two small models, and
give the peak of everything, Python and libraries included.

    python benchmarks/induction_scores.py [--repeats 5] [--without-theirs]
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source, from_module
from mesascope.models import attention as kernels
from mesascope.probes.induction_heads import scores
from torch import Tensor

SHAPES = ((8, 257), (4, 1_025), (1, 2_049))
VOCABULARY = 50_257
LONG = 16_384
LIMITS = {"stripe": 1.10, "ours": 1.10, "fallback": 1.5}  # of the plain forward pass
MEGABYTES = 400


def repeated_tokens(batch: int, length: int) -> Tensor:
    """BOS + r + r."""
    rng = torch.Generator().manual_seed(0)
    runs = [torch.randperm(1_000, generator=rng)[: (length - 1) // 2] + 1 for _ in range(batch)]
    if (length - 1) // 2 > 1_000:
        runs = [torch.randint(1, 1_000, ((length - 1) // 2,), generator=rng) for _ in range(batch)]
    return torch.cat([torch.zeros(batch, 1, dtype=torch.long), torch.stack(runs).repeat(1, 2)], dim=1)


def stripe(subject: Any, tokens: Tensor) -> Tensor:
    """[layer, batch, head]."""
    period = tokens.shape[1] // 2
    watch = {"attention": lambda one, layer: scores.prefix_matching_score(one, period)}
    return torch.stack(subject.observe(tokens, watch)["attention"])


def all_scores(subject: Any, tokens: Tensor) -> Tensor:
    """[layer, score, batch, head]."""
    period = tokens.shape[1] // 2

    def reduce(attention: Any, layer: int) -> Tensor:
        own = (scores.previous_token_score, scores.current_token_score, scores.first_token_score)
        repeats = (scores.prefix_matching_score, scores.duplicate_token_score)
        return torch.stack([*(score(attention) for score in own), *(score(attention, period) for score in repeats)])

    return torch.stack(subject.observe(tokens, {"attention": reduce})["attention"])


def gpt2_small() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(n_positions=2_304, attn_implementation="sdpa", architectures=["GPT2LMHeadModel"])
    return GPT2LMHeadModel(config).eval().requires_grad_(False)


def bridge_of(module: Any) -> Any:
    """A bridge over a copy, since the bridge changes what it is given; it needs a tokenizer to boot."""
    from tokenizers import Tokenizer, models
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    marks = dict.fromkeys(("bos_token", "eos_token", "pad_token"), "a")
    with TemporaryDirectory() as folder:
        PreTrainedTokenizerFast(tokenizer_object=words, **marks).save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        bridge = TransformerBridge.boot_transformers("random", hf_model=copy.deepcopy(module), tokenizer=tokenizer)
    bridge.to_tokens = lambda tokens, **_: tokens
    return bridge


def peak_reset() -> int:
    """Forget the peak of resident memory; bytes resident now."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def status(field: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1_024


def measure(methods: dict[str, Callable[[Tensor], Any]], tokens: Tensor, repeats: int) -> dict[str, float]:
    """Median CPU seconds of each method, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(repeats):
        for name, method in methods.items():
            began = time.process_time()
            method(tokens)
            seconds[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


@torch.no_grad()
def extra_memory(name: str, batch: int, length: int) -> int:
    """Peak of extra bytes of one call, in this process."""
    method = methods_on(gpt2_small(), theirs=name == "theirs")[name]
    method(repeated_tokens(1, 33))  # first calls set things up
    resident = peak_reset()
    method(repeated_tokens(batch, length))
    return status("VmHWM") - resident


def in_own_process(*words: str) -> str:
    return subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True).stdout.strip()


def methods_on(module: Any, theirs: bool) -> dict[str, Callable[[Tensor], Any]]:
    subject = from_module(module)
    found: dict[str, Callable[[Tensor], Any]] = {
        "forward": lambda tokens: module.base_model(tokens, use_cache=False),
        "stripe": lambda tokens: stripe(subject, tokens),
        "ours": lambda tokens: all_scores(subject, tokens),
        "fallback": lambda tokens: without_kernel(lambda: all_scores(subject, tokens)),
    }
    if theirs:
        from transformer_lens.head_detector import detect_head

        bridge = bridge_of(module)
        found["theirs"] = lambda tokens: [detect_head(bridge, one[None], "induction_head") for one in tokens]
    return found


def without_kernel(call: Callable[[], Any]) -> Any:
    kernel, kernels._KERNEL = kernels._KERNEL, None
    try:
        return call()
    finally:
        kernels._KERNEL = kernel


@torch.no_grad()
def compare(repeats: int, theirs: bool) -> None:
    methods = methods_on(gpt2_small(), theirs)
    for method in methods.values():
        method(repeated_tokens(1, 33))  # first calls set things up
    print("   tokens  method     CPU s  / forward   extra MB   limit")
    for batch, length in SHAPES:
        seconds = measure(methods, repeated_tokens(batch, length), repeats)
        extra = {name: int(in_own_process("--memory", name, str(batch), str(length))) for name in methods}
        for name in methods:
            limit = f"{LIMITS[name]:.2f}, {MEGABYTES} MB" if name in LIMITS else ""
            ratio, megabytes = seconds[name] / seconds["forward"], extra[name] / 1e6
            print(f"{batch} x {length:5,}  {name:8} {seconds[name]:7.2f} {ratio:10.2f} {megabytes:10.0f}   {limit}")
        if theirs and (batch, length) == SHAPES[-1]:
            times, share = seconds["theirs"] / seconds["stripe"], extra["theirs"] / extra["stripe"]
            print(f"theirs / stripe: {times:.2f} in time (limit: at least 3), {share:.1f} in memory (at least 15)")


def long_context(which: str) -> str:
    """Scores of 16,384 tokens, and the peak of the whole process."""
    torch.manual_seed(0)
    if which == "attention-only":
        config = AttentionOnlyConfig(d_vocab=1_024, n_ctx=LONG, d_model=64, n_layers=2, n_heads=4, d_head=16)
        weights = {name: torch.randn(shape) / 8 for name, shape in config.shapes.items()}
        subject: Any = AttentionOnlyModel(AttentionOnlyTransformer(config, weights), Source("random", "in-memory"))
    else:
        from transformers import LlamaConfig, LlamaForCausalLM

        shape = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4}
        sizes = {"vocab_size": 1_024, "intermediate_size": 512, "max_position_embeddings": LONG}
        subject = from_module(LlamaForCausalLM(LlamaConfig(**shape, **sizes)).eval())
    tokens, began = repeated_tokens(1, LONG + 1)[:, 1:], time.process_time()
    all_scores(subject, tokens)
    subject.observe(tokens, {"attention": lambda one, layer: scores.attention_by_offset(one)})
    subject.observe(tokens, {"attention": lambda one, layer: scores.matching_attention(one, tokens).excess})
    peak = status("VmHWM")
    return (
        f"{tokens.numel():,} tokens, {which}: {time.process_time() - began:.1f} CPU s for all scores, attention by"
        f" offset and matches; peak of the process {peak / 1e6:,.0f} MB (limit 2,000)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--without-theirs", action="store_true")
    parser.add_argument("--long", choices=("attention-only", "llama"), help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.long:
        print(long_context(options.long))
    elif options.memory:
        name, batch, length = options.memory
        print(extra_memory(name, int(batch), int(length)))
    else:
        compare(options.repeats, not options.without_theirs)
        for which in ("attention-only", "llama"):
            print(in_own_process("--long", which))


if __name__ == "__main__":
    main()
