"""A constructed model of three layers in which one known head carries the task, and examples of its two tasks.

Inputs x are tokens 1 to n, labels n + 1 to 2 n; in the task "next" the label of x is that of x + 1, in "previous" that
of x - 1, in a circle. The residual stream holds codes, each written by one kind of head and read by the next:

    L0H0, L0H1   at a label: attends to the token before it if it is the input that the rule of "next" (or "previous")
                 gives this label, else to BOS; writes that the rule holds here
    L1H0         attends to all tokens alike: writes how often each rule holds. The head that carries the task
    L2H0, L2H1   attend to the query itself if "next" (or "previous") holds, else to BOS; write the label of the query

Where no rule holds, as with shuffled labels, every label is equally likely. L1H1 writes nothing. Attention that should
be 0 is below e^-150, so these labels tie.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from mesascope.models.constructed.induction import BOS, in_memory
from mesascope.models.own.attention_only import AttentionOnlyConfig, AttentionOnlyModel

N = 66  # outputs of a task: more than those that are taken for classes
D_VOCAB, N_CTX = 2 * N + 1, 16
SHARP, GAIN = 300.0, 20.0
RULES = {"next": 1, "previous": -1}


def label_of(x: int, rule: str) -> int:
    return N + 1 + (x - 1 + RULES[rule]) % N


def task_file(folder: Path, rules: Sequence[str] = tuple(RULES)) -> str:
    """Each input with its label, under these rules."""
    examples = [{"input": [x], "output": [label_of(x, rule)], "task": rule} for rule in rules for x in range(1, N + 1)]
    path = folder / "rules.json"
    path.write_text(json.dumps(examples))
    return str(path)


def task_model() -> AttentionOnlyModel:
    ends = {"own": D_VOCAB, "place": N_CTX, "holds": 2, "task": 2, "answer": D_VOCAB}
    codes, start = {}, 0
    for name, size in ends.items():
        codes[name], start = slice(start, start + size), start + size
    config = AttentionOnlyConfig(
        d_vocab=D_VOCAB, n_ctx=N_CTX, d_model=start, n_layers=3, n_heads=2, d_head=D_VOCAB + N_CTX + 1, norm="none",
        attention_scale=1.0,
    )  # fmt: skip
    weights = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in config.shapes.items()}
    weights["W_E"][:, codes["own"]] = torch.eye(D_VOCAB, dtype=torch.float64)
    weights["W_pos"][:, codes["place"]] = torch.eye(N_CTX, dtype=torch.float64)
    weights["W_U"][codes["answer"]] = GAIN * torch.eye(D_VOCAB, dtype=torch.float64)
    weights["b_U"][BOS] = -1000.0
    for number, rule in enumerate(RULES):
        _check(weights, number, rule, codes)
        _answer(weights, number, rule, codes)
    for number in range(2):
        weights["W_V"][1, 0][codes["holds"].start + number, number] = 1.0
        weights["W_O"][1, 0][number, codes["task"].start + number] = 1.0
    return in_memory(config, weights, "task-head")


def _check(weights: dict[str, torch.Tensor], head: int, rule: str, codes: dict[str, slice]) -> None:
    """L0: match and offset 1 together outdo BOS."""
    W_Q, W_K, b_Q, W_V, W_O = (weights[name][0, head] for name in ("W_Q", "W_K", "b_Q", "W_V", "W_O"))
    b_Q[-1] = 1.0
    W_K[BOS, -1] = 1.5 * SHARP
    for x in range(1, N + 1):
        W_K[x, label_of(x, rule)] = 1.0
        W_Q[label_of(x, rule), label_of(x, rule)] = SHARP
    place = slice(D_VOCAB, D_VOCAB + N_CTX)
    W_K[codes["place"], place] = torch.eye(N_CTX, dtype=W_K.dtype)
    W_Q[codes["place"], place] = SHARP * torch.ones(N_CTX - 1, dtype=W_Q.dtype).diag(-1)
    W_V[1:D_VOCAB, 0] = 1.0
    W_O[0, codes["holds"].start + head] = 1.0


def _answer(weights: dict[str, torch.Tensor], head: int, rule: str, codes: dict[str, slice]) -> None:
    """L2: the query itself outdoes BOS where the rule holds."""
    W_Q, W_K, b_Q, W_V, W_O = (weights[name][2, head] for name in ("W_Q", "W_K", "b_Q", "W_V", "W_O"))
    b_Q[-1] = 1.0
    W_K[BOS, -1] = 1.5 * SHARP
    place = slice(D_VOCAB, D_VOCAB + N_CTX)
    W_K[codes["place"], place] = torch.eye(N_CTX, dtype=W_K.dtype)
    W_Q[codes["place"], place] = SHARP * torch.eye(N_CTX, dtype=W_Q.dtype)
    W_K[1:D_VOCAB, 0] = 1.0
    W_Q[codes["task"].start + head, 0] = 4 * SHARP
    for x in range(1, N + 1):
        W_V[x, x] = 1.0
        W_O[x, codes["answer"].start + label_of(x, rule)] = 1.0
