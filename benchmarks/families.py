"""Every class of transformers that predicts tokens: does mesascope open it, and is what it measures right?

Each class of transformers' registries of causal and masked language models is made tiny, with random, widened weights,
saved, and opened again. What opens is compared with the model's own eager pass over other tokens than those of the
opening check: logits within 1e-4 of the largest, patterns within 1e-5. The rest is listed with its reason.

    python benchmarks/families.py [--only MODEL_TYPE ...] [--table docs/families.md]

Fails if a class opens and differs. `--table` writes the table of the documentation.
"""

from __future__ import annotations

import argparse
import inspect
import re
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from types import FrameType
from typing import Any

import torch

LOGITS, PATTERNS = 1e-4, 1e-5
SECONDS = 60  # for one class
MOST_PARAMETERS = 15_000_000
SIZES: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 128, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
}  # fmt: skip
"""Given to every configuration."""
OTHER_NAMES: dict[str, Any] = {
    "n_layer": 2, "n_head": 4, "n_embd": 32, "hidden_dim": 48, "dim": 32, "n_layers": 2, "n_heads": 4, "n_inner": 48,
    "ffn_dim": 48, "d_model": 32, "d_ff": 48, "n_positions": 128, "max_seq_len": 128, "ffn_hidden_size": 48,
    "word_embed_proj_dim": 32, "embedding_size": 32, "rotary_dim": 4, "sliding_window": 64, "attn_head_dim": 8,
    "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "attention_types": [[["global", "local"], 1]],
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_num_experts": 4,
    "moe_k": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "num_shared_experts": 1,
    "n_shared_experts": 1, "moe_layer_start_index": 1, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
    "vocab_size_per_layer_input": 96, "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0,
    "full_attention_interval": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "entity_vocab_size": 96,
    "entity_emb_size": 32, "default_language": "en_XX", "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1,
    "layer_group_size": 2, "block_types": ("recurrent", "attention"), "expert_ffn_hidden_size": 16,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8,
}  # fmt: skip
"""Given where a configuration has a field of that name."""
HYBRID: dict[str, Any] = {"layer_types": ["linear_attention", "full_attention"]}
"""Given to families whose first layers are of one kind, so that small models have both."""
OF_TYPE: dict[str, dict[str, Any]] = dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"), HYBRID)
WITHIN: dict[str, dict[str, Any]] = {
    "text_config": {**SIZES, "num_key_value_heads": 2, "head_dim": 8},
    "vision_config": {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
        "patch_size": 8, "depth": 2, "num_heads": 4, "out_hidden_size": 32,
    },
}  # fmt: skip
"""Given to models that hold others."""
HEADS: tuple[dict[str, Any], ...] = (
    {"num_key_value_heads": 2, "head_dim": 8}, {"num_key_value_heads": 2}, {"head_dim": 8}, {},
    {"num_key_value_heads": 4, "head_dim": 4},
)  # fmt: skip
"""Tried in turn: families refuse combinations."""


PAGE = (
    "# Families",
    "Made by `python benchmarks/families.py --table docs/families.md`, from the {all} classes of causal and masked"
    " language models in the registries of transformers {version}. Each was made tiny, with random, widened weights,"
    " saved, and opened. {right} open, and their logits and patterns are those of the eager pass of transformers over"
    " 2 x 20 other tokens than those of the opening check. {refused} are refused with a reason; {not_made} were not"
    " tried. None opens and differs.",
    "## What opens",
    "Errors are the largest difference, relative to the largest number. *Not applicable* names the parts of the"
    " [opening check](language-models.md#the-opening-check) that such a model does not offer. What depends on them is"
    " not applicable; everything else is measured. *Heads* means that all that heads attend to and move is not"
    " applicable. token-norms applies to every model that opens, induction-heads to causal ones that show their heads.",
)


@dataclass(frozen=True)
class Row:
    """What became of one class.

    outcome:  "right" or "WRONG" where it opens, "refused", or "not made": its configuration does not take small sizes
    reason:   why it was refused or not made
    errors:   of logits and patterns, relative to the largest; a NaN where transformers returns no patterns
    causal:   whether attention is causal
    without:  what is not applicable
    """

    model_type: str
    architecture: str
    outcome: str
    reason: str = ""
    errors: tuple[float, float] = (float("nan"), float("nan"))
    causal: bool = True
    without: tuple[str, ...] = ()


def classes() -> Iterator[tuple[str, str]]:
    """Model type and class name of every entry, each class once for a model type."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    entries = [*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items(), *MODEL_FOR_MASKED_LM_MAPPING_NAMES.items()]
    yield from dict.fromkeys(
        (model_type, name) for model_type, names in entries for name in ([names] if isinstance(names, str) else names)
    )


def configuration(model_type: str, heads: dict[str, Any]) -> Any:
    """A small configuration, with what its fields are called in this family."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = CONFIG_MAPPING[model_type]
    fields = {*inspect.signature(kind.__init__).parameters}
    for parent in kind.__mro__:
        fields |= set(vars(parent).get("__annotations__", {}))
    given = {name: value for name, value in {**OTHER_NAMES, **WITHIN, **heads}.items() if name in fields}
    return kind(**{**SIZES, **given, **OF_TYPE.get(model_type, {})})


def made(model_type: str, architecture: str) -> Any:
    """The first model that can be made and runs, with weights of a size at which every part matters."""
    import transformers

    kind, failure = getattr(transformers, architecture), Exception("no configuration")
    for heads in HEADS:
        try:
            config = configuration(model_type, heads)
            with torch.device("meta"):
                parameters = sum(p.numel() for p in kind(config).parameters())
            if parameters > MOST_PARAMETERS:
                raise ValueError(f"{parameters:,} parameters with small sizes")
            config._attn_implementation = "eager"
            model = widened(kind(config))
            eager(model)
        except Exception as error:  # a family may refuse in any way
            failure = error
        else:
            return model
    raise failure


@torch.no_grad()
def widened(model: Any) -> Any:
    rng = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=rng)
        parameter.data = 0.25 * noise if parameter.ndim > 1 else parameter.data.float() + 0.1 * noise
    if hasattr(model, "tie_weights"):
        model.tie_weights()
    return model.eval().float()


def tokens() -> torch.Tensor:
    return torch.randint(3, 90, (2, 20), generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def eager(model: Any) -> Any:
    return model(input_ids=tokens(), output_attentions=True, use_cache=False)


def tried(model_type: str, architecture: str) -> Row:
    """One class: made, saved, opened, compared."""
    from mesascope.data.errors import MesascopeError
    from mesascope.models import load

    with tempfile.TemporaryDirectory() as folder:
        try:
            with at_most(SECONDS):
                model = made(model_type, architecture)
                model.save_pretrained(folder)
                # some families change what they save: the reference is what transformers itself opens
                expected = eager(type(model).from_pretrained(folder, attn_implementation="eager").eval())
        except Exception as error:  # a family may refuse in any way
            return Row(model_type, architecture, "not made", one_line(error))
        try:
            subject = load(folder)
        except MesascopeError as error:
            return Row(model_type, architecture, "refused", without_start(str(error)))
    trace = subject.run(tokens(), {"pattern": lambda pattern, layer: pattern}, logits=True)
    errors = (
        distance([trace.output], [expected.logits]),
        distance(trace.values["pattern"], patterns(expected, trace.values["pattern"])),
    )
    without = missing(subject)
    outcome = "WRONG" if errors[0] > LOGITS or errors[1] > PATTERNS else "right"
    return Row(model_type, architecture, outcome, errors=errors, causal=subject.shape.causal, without=without)


def missing(subject: Any) -> tuple[str, ...]:
    """What is not applicable: parts of the check, or all heads."""
    check = subject.opening_check
    parts = [*check.failed, *(part for part in check.not_compared if part not in ("patterns", "scores", "embed"))]
    if "attention" not in subject.not_shown:
        return tuple(parts)
    return ("heads", *(part for part in parts if part not in ("attention write", "values", "qk")))


def patterns(expected: Any, found: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """What transformers returns. Some families leave the share of a learned sink out: their rows sum to 1, and what the
    sink takes of them is in the logits only.
    """
    returned = getattr(expected, "attentions", None) or ()
    if len(returned) != len(found) or not (whole(returned) and not whole(found)):
        return returned
    return [rows * own.sum(-1, keepdim=True) for rows, own in zip(returned, found, strict=True)]


def whole(patterns: Sequence[torch.Tensor]) -> bool:
    """Whether all rows sum to 1."""
    return all((rows.sum(-1) - 1).abs().max() < 1e-5 for rows in patterns)


def distance(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """The largest difference, relative to the largest number. NaN where one side has none."""
    if not found or len(expected) != len(found):
        return float("nan")
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True))


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not made in {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:120]


def without_start(message: str) -> str:
    """The reason alone, without the folder and the model type."""
    return re.sub(r"^(tmp\w+: |.*?(is not supported|config\.json): )", "", " ".join(message.split()))[:160]


def table(rows: Sequence[Row]) -> str:
    """The page of the documentation."""
    import transformers

    counts = Counter(row.outcome for row in rows)
    opened = [
        (
            row.model_type,
            row.architecture,
            "causal" if row.causal else "bidirectional",
            number(row.errors[0]),
            number(row.errors[1]),
            ", ".join(row.without),
        )
        for row in rows
        if row.outcome == "right"
    ]
    refused, not_made = (
        [(row.model_type, row.architecture, row.reason.replace("|", "/")) for row in rows if row.outcome == outcome]
        for outcome in ("refused", "not made")
    )
    numbers = {"all": len(rows), "right": counts["right"], "refused": len(refused), "not_made": len(not_made)}
    return "\n".join(
        [
            *(f"{fill(part.format(**numbers, version=transformers.__version__), 120)}\n" for part in PAGE),
            *lines(("model type", "class", "attention", "logits", "patterns", "not applicable"), opened),
            "",
            "## What is refused",
            "",
            *lines(("model type", "class", "why"), refused),
            "",
            "## What was not tried",
            "",
            "Small sizes do not fit their configurations, or the small model does not run in transformers.",
            "",
            *lines(("model type", "class", "why"), not_made),
            "",
        ]
    )


def number(error: float) -> str:
    return "not compared" if error != error else f"{error:.0e}" if error else "0"


def lines(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (names, ["---"] * len(names), *rows)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="MODEL_TYPE")
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    from transformers.utils import logging

    warnings.filterwarnings("ignore")
    logging.set_verbosity(50)
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    rows, begun = [], time.process_time()
    for model_type, architecture in classes():
        if arguments.only and model_type not in arguments.only:
            continue
        row = tried(model_type, architecture)
        rows.append(row)
        found = f"{row.errors[0]:.0e} {row.errors[1]:.0e} {', '.join(row.without)}" if not row.reason else row.reason
        print(f"{row.outcome:9} {model_type:24} {architecture:36} {found}", flush=True)
    print(dict(Counter(row.outcome for row in rows)), f"{time.process_time() - begun:.0f} CPU s")
    if arguments.table:
        arguments.table.write_text(table(rows), encoding="utf-8")
    return int(any(row.outcome == "WRONG" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
