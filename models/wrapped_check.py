"""The check of a wrapped language model: whether its functions answer as a model does, and its parts agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..data.errors import UsageError
from .opening_check import TOLERANCES, OpeningCheck, Part, relative_error
from .predictor_check import TOLERANCE as ROUNDING
from .wrapped_parts import ACTIVATIONS, WEIGHTS, OfIds, Reading, called
from .wrapped_subject import WrappedLanguageModel, mixed

_SEQUENCES, _LONGEST = 3, 12
_SAID: Mapping[Part, str] = {
    "causality": "logits before a token change when that token changes or is cut off; expected a causal model; give"
    " causal=False where attention is bidirectional",
    "patterns": "pattern is no attention; expected rows of numbers from 0 on that sum to 1, and in a causal model none"
    " for later tokens; give causal=False where attention is bidirectional",
    "residual stream": "resid_pre, attn_out, resid_mid, mlp_out and resid_post do not add up to one residual stream;"
    " expected each write as it is added; leave out those that are added otherwise",
    "embed": "rows of W_E do not enter the first layer as they are; expected that two tokens at one position differ in"
    " resid_pre[0] as in W_E; give W_E with its factors, or leave it out",
    "qk": "q and k are not those of W_Q and W_K; expected q = norm(resid_pre) W_Q + b_Q before any rotation, heads in"
    " the same order; look at attention_norms and biases",
    "scores": "q and k do not give the pattern; expected softmax(scale * q k^T) after the rotation; look at scale and"
    " rotary, or leave out q, k and the weights where scores are capped, windowed or sloped",
    "values": "v does not give z; expected z = pattern v, and v = norm(resid_pre) W_V + b_V where weights are given;"
    " look at attention_norms and at the order of heads",
    "attention write": "attn_out is not z W_O + b_O; expected the sum over heads; look at b_O, or leave out the weights"
    " where something else stands between z and the residual stream",
    "logits": "the last state does not give the logits; expected final_norm(resid_post[-1]) W_U + b_U; look at"
    " final_norm, or leave out W_U where logits are capped or come from a head of several layers",
}
"""What is wrong where a part fails; of several, the first is said."""
_NEEDED: Mapping[Part, str] = {
    "causality": "sequences of two tokens, and two tokens to tell apart",
    "patterns": "pattern",
    "residual stream": "resid_pre, attn_out and mlp_out",
    "embed": "W_E and resid_pre",
    "qk": "q, k and W_Q",
    "scores": "q and k, or W_Q",
    "values": "v and z, or v and W_V",
    "attention write": "attn_out and W_O",
    "logits": "W_U",
}
"""What a part is compared by."""


def some_tokens(d_vocab: int, n_ctx: int | None, device: torch.device) -> Int[Tensor, "batch pos"]:
    """A few random sequences; the caller's random generator does not change."""
    pos = _LONGEST if n_ctx is None else min(_LONGEST, n_ctx)
    return torch.randint(d_vocab, (_SEQUENCES, pos), generator=torch.Generator().manual_seed(0)).to(device)


def first_answer(function: OfIds, tokens: Int[Tensor, "batch pos"], d_vocab: int) -> Float[Tensor, "batch pos width"]:
    """The logits of the tokens. UsageError for other answers."""
    expected = [*tokens.shape, d_vocab]
    answer = called("logits", function, tokens)
    if not isinstance(answer, Tensor):
        raise UsageError(
            f"logits are a {type(answer).__name__}; expected a torch.Tensor shaped {expected} for ids shaped"
            f" {list(tokens.shape)}; of a transformers model give lambda ids: model(ids).logits"
        )
    if answer.dtype not in TOLERANCES or list(answer.shape) != expected:
        raise UsageError(
            f"logits are {answer.dtype} shaped {list(answer.shape)} for ids shaped {list(tokens.shape)}; expected"
            f" floating-point numbers shaped {expected}"
        )
    return answer


@torch.no_grad()
def check_wrapped(subject: WrappedLanguageModel, tokens: Int[Tensor, "batch pos"]) -> OpeningCheck:
    """Passes the tokens through every function. UsageError where an answer is none, or parts contradict each other."""
    functions: dict[str, Callable[[Tensor], Tensor]] = {"logits": subject.read_logits}
    for part in ACTIVATIONS:
        if part in subject.given:
            functions[part] = lambda ids, part=part: _reading(subject, ids)(part).transpose(0, 1)
    for part in WEIGHTS:
        if part in subject.given and not subject.given[part].isfinite().all():
            raise UsageError(f"{subject.source.name}: numbers of {part} are not finite; expected finite ones")
    for part, function in functions.items():
        _check_answers(subject, part, function, tokens)
    compared = _Compared(subject, tokens)
    check = OpeningCheck(TOLERANCES[subject.dtype], *compared.all())
    for part in _SAID:
        if part in check.failed:
            raise UsageError(
                f"{subject.source.name}: {_SAID[part]} (relative error {check.errors[part]:.2g}, allowed"
                f" {check.tolerance:g})"
            )
    return check


def _reading(subject: WrappedLanguageModel, tokens: Int[Tensor, "batch pos"]) -> Reading:
    return Reading(subject.given, subject.sizes, tokens, subject.dtype)


def _check_answers(
    subject: WrappedLanguageModel, part: str, function: Callable[[Tensor], Tensor], tokens: Int[Tensor, "batch pos"]
) -> None:
    """Finite numbers, the same when asked twice and whichever sequences stand beside."""
    name, first = subject.source.name, function(tokens)
    if not first.isfinite().all():
        raise UsageError(f"{name}: numbers of {part} are not finite on random ids; expected finite ones")
    twice, alone = function(tokens), function(tokens[:1])
    for answers, how, cause in (
        (twice, "when asked twice", "dropout (call model.eval()) or random draws"),
        (alone, "for a sequence alone and beside others", "a batch norm (call model.eval()) or a mean over the batch"),
    ):
        error = relative_error(answers, first[: len(answers)])
        if not error <= ROUNDING[subject.dtype]:
            raise UsageError(
                f"{name}: {part} answers differently {how} (relative error {error:.2g}); expected one answer for each"
                f" sequence; look for {cause}"
            )


class _Compared:
    """The parts that can be compared, with their largest errors, and why others cannot."""

    def __init__(self, subject: WrappedLanguageModel, tokens: Int[Tensor, "batch pos"]) -> None:
        self._subject, self._tokens = subject, tokens
        self._given = subject.given
        self._read = _reading(subject, tokens)
        self._errors: dict[Part, float] = {}

    def all(self) -> tuple[dict[Part, float], dict[Part, str]]:
        self._causality()
        self._stream()
        for needed, compare in (
            (("pattern",), self._patterns),
            (("W_E", "resid_pre"), self._embed),
            (("W_U",), self._logits),
        ):
            if all(part in self._given for part in needed):
                compare()
        for layer in range(self._subject.shape.n_layers):
            self._heads(layer)
        reason = "not compared without {}".format
        return self._errors, {part: reason(_NEEDED[part]) for part in _NEEDED if part not in self._errors}

    def _note(self, part: Part, found: Tensor, expected: Tensor) -> None:
        self._errors[part] = max(relative_error(found, expected), self._errors.get(part, 0.0))

    def _causality(self) -> None:
        """Of the first half of the sequences, with later tokens changed, and cut off."""
        subject, tokens = self._subject, self._tokens
        half = tokens.shape[1] // 2
        if half == 0 or subject.shape.d_vocab == 1:
            return
        changed = tokens.clone()
        changed[:, half:] = (changed[:, half:] + 1) % subject.shape.d_vocab
        own, cut_off = (subject.read_logits(ids)[:, :half] for ids in (tokens, tokens[:, :half]))
        others = subject.read_logits(changed)[:, :half]
        if subject.shape.causal:
            self._note("causality", others, own)
            self._note("causality", cut_off, own)
        elif torch.equal(others, own):
            raise UsageError(
                f"{subject.source.name}: causal=False, but no token affects an earlier one; expected bidirectional"
                " attention; leave causal out"
            )
        else:
            self._errors["causality"] = 0.0

    def _stream(self) -> None:
        """Every sum of the residual stream of which all parts are given."""
        given, read = self._given, self._read
        if "resid_pre" not in given:
            return
        before, after = read("resid_pre"), read("resid_post")
        if len(before) > 1:
            self._note("residual stream", before[1:], after[:-1])
        if "attn_out" not in given:
            return
        middle = before + read("attn_out")
        if "resid_mid" in given:
            self._note("residual stream", read("resid_mid"), middle)
        if "mlp_out" in given:
            self._note("residual stream", middle + read("mlp_out"), after)

    def _patterns(self) -> None:
        pattern = self._read("pattern")
        sums = pattern.sum(dim=-1)
        self._note("patterns", sums, torch.ones_like(sums))
        self._note("patterns", pattern.abs(), pattern)
        if self._subject.shape.causal:
            self._note("patterns", pattern.tril(), pattern)

    def _embed(self) -> None:
        """In what differs from one token to another at the same position."""
        embedded, entering = self._subject.embedding()[self._tokens], self._read("resid_pre")[0]
        self._note("embed", embedded[1:] - embedded[:1], entering[1:] - entering[:1])

    def _logits(self) -> None:
        subject = self._subject
        normed = subject.final_norm(self._read("resid_post")[-1])
        self._note("logits", subject.unembed(normed), subject.read_logits(self._tokens))

    def _heads(self, layer: int) -> None:
        """q, k, v, pattern, z and attn_out of one layer."""
        subject, read, given = self._subject, self._read, self._given
        if "k" not in subject.not_shown:
            self._note("scores", subject.scores(layer, read).pattern(), read("pattern")[layer])
        if {"pattern", "z"} <= set(given) and "v" not in subject.not_shown:
            z = mixed(read("pattern")[layer].to(subject.dtype), subject.at("v", layer, read))
            self._note("values", z, read("z")[layer])
        if not subject.has_weights:
            return
        own: dict[str, Part] = {"q": "qk", "k": "qk", "v": "values"}
        for site, part in own.items():
            if site in given:
                self._note(part, subject.projected(site, layer, read), read(site)[layer])
        self._note("attention write", subject.written(layer, read), read("attn_out")[layer])
