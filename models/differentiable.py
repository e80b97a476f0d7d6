"""Passes of a language model with other parameters, differentiable in them, and with gradients cut between layers.

The model itself never changes: its module answers with the parameters that it is lent for one pass. Whatever the family
adds to a pass (norms, rotations, caps, masks) is its own code. There is no dropout and no cache of keys and values.
Models in half precision are computed in float32, and any in float64 where that is asked: with a copy of their
parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from ..data.errors import TaskError, UsageError, nearest
from .key_values import KeyValuePlaces
from .language_model import LanguageModel
from .mlp_reading import MlpReading
from .opening_check import TOLERANCES, relative_error
from .places import Places
from .subject import AttentionScores, Edit, NotApplicable, Reduce, Site
from .taps import Taps

Which = Literal["keys and values", "mlp input", "all"]
"""Which parameters are replaced: W_K and W_V of every layer, the matrices that MLPs read by, or all that there are."""
Shown = Literal["attn_out", "resid_post", "scores", "mlp_in"]
Positions = tuple[int, ...] | Int[Tensor, "*task batch"]
"""The same places in every sequence, or one place of its own in each."""
HELD = 2**27
"""Numbers that tasks computed together may hold: 512 MiB in float32."""
KEPT = 36
"""Numbers that a pass with gradients keeps of each dimension of a token's state in each layer, as measured."""
KEPT_OF_ANSWERS = 4
"""Of each answer over the vocabulary: the answer, its logarithms, and gradients of both."""
COPIES = 4
"""Of a task's own parameters: the parameters, their gradients, and both as they are written into the module's."""


class Answers(NamedTuple):
    """What a pass gives at the asked positions; None for what was not asked.

    scores:  the softmax's input, of the asked queries; -inf where a query does not attend to a key
    mlp_in:  what MLPs read: the stream before them, after the norm if there is one
    """

    logits: Float[Tensor, "*task batch asked d_vocab"]
    attn_out: Float[Tensor, "*task layer batch asked d_model"] | None
    resid_post: Float[Tensor, "*task layer batch asked d_model"] | None
    scores: Float[Tensor, "*task layer batch head asked pos"] | None
    mlp_in: Float[Tensor, "*task layer batch asked d_model"] | None = None


def differentiable(
    subject: LanguageModel, parameters: Which = "keys and values", least: torch.dtype = torch.float32
) -> Differentiable | NotApplicable:
    """The passes of a model with other parameters, computed in `least` or the model's own precision, whichever is
    finer; or why it has none.
    """
    if not subject.shape.causal:
        return NotApplicable(
            "this model's attention is bidirectional; learning from demonstrations is defined for models that predict"
            " the next token"
        )
    if (no_logits := subject.no_token_logits()) is not None:
        return no_logits
    places = subject.mlp_reading() if parameters == "mlp input" else subject.key_value_places()
    return places if isinstance(places, NotApplicable) else Differentiable(subject, parameters, places, least)


@dataclass(frozen=True, eq=False)
class Differentiable:
    """A language model whose passes take the parameters that they are given.

    Parameters are a flat mapping from names to tensors: "L0.W_K", "L0.W_V", "L1.W_K", … shaped [kv_head, d_model,
    d_head], whatever the model stores them in; or "L0.W_in", … as in `MlpReading`; or, of `parameters="all"`, the
    module's own names and shapes. Those left out are the model's. What passes give has gradients to them, also inside
    `torch.func.grad` and `torch.func.vmap`.
    """

    subject: LanguageModel
    parameters: Which
    places: Places
    least: torch.dtype = torch.float32

    @property
    def start(self) -> dict[str, Tensor]:
        """Copies of the model's own, in the precision of the passes."""
        return {name: tensor.detach().clone() for name, tensor in self._replaceable.items()}

    @property
    def in_layers(self) -> frozenset[str]:
        """Names of those that belong to layers; not of embeddings, final norm and unembedding."""
        if self.parameters == "all":
            assert isinstance(self.places, KeyValuePlaces)
            return frozenset(filter(self.places.in_layers, self._replaceable))
        return frozenset(self._replaceable)

    def run(
        self,
        replaced: Mapping[str, Tensor],
        tokens: Int[Tensor, "batch pos"],
        positions: Positions = (-1,),
        watch: Collection[Shown] = (),
        cut: bool = False,
    ) -> Answers:
        """One pass with these parameters.

        positions:  where answers are asked; negative ones count from the end. Of sequences that are padded on the right
                    each has its own: what comes after it changes nothing
        cut:        every layer's input is detached: gradients reach the parameters of the layer itself alone, through
                    its `resid_post` and `layer_logits`
        """
        self.check(tokens, positions)
        return self.inside(replaced, tokens, positions, watch, cut)

    def check(self, tokens: Int[Tensor, "batch pos"], positions: Positions = (-1,)) -> None:
        """TaskError for tokens that the model cannot read, and positions that they have not."""
        self.subject.check(tokens)
        n = tokens.shape[1]
        for position in positions.tolist() if isinstance(positions, Tensor) else positions:
            if not -n <= position < n:
                raise TaskError(f"position {position} of sequences of {n} tokens; expected {-n} to {n - 1}")

    @torch.enable_grad()
    def inside(
        self,
        replaced: Mapping[str, Tensor],
        tokens: Int[Tensor, "batch pos"],
        positions: Positions = (-1,),
        watch: Collection[Shown] = (),
        cut: bool = False,
    ) -> Answers:
        """`run` without `check`: inside `torch.func.vmap` nobody can look at tokens."""
        if unknown := set(replaced) - set(self._replaceable):
            name = min(unknown)
            raise UsageError(f"{name!r} is no parameter that can be replaced; {nearest(name, self._replaceable)}")
        if "attn_out" in watch and (reason := self.subject.not_shown.get("attn_out")) is not None:
            raise UsageError(f"attn_out of {self.subject.source.name} is not shown: {reason}")
        at: _At = [position % tokens.shape[1] for position in positions] if isinstance(positions, tuple) else positions
        edit: dict[Site, Edit] = {"resid_pre": lambda x, layer: x.detach()} if cut else {}
        watched = _watching(watch, at)
        if "mlp_in" in watch:
            watched["resid_mid"] = self._reading_at(at)
        taps = Taps(watched, edit, not_shown=self.subject.not_shown)

        def passed() -> Tensor:
            states = self.subject._states(tokens.to(self.subject.device), taps)
            return self.subject.unembed(_states_at(at, states))

        logits, seen = self._lent(replaced, passed), taps.values
        sites = ("attn_out", "resid_post", "attention", "resid_mid")
        return Answers(logits, *(torch.stack(seen[site]) if site in seen else None for site in sites))

    def mlp(
        self, replaced: Mapping[str, Tensor], resid_mid: Float[Tensor, "layer batch d_model"]
    ) -> tuple[Float[Tensor, "layer batch d_model"], Float[Tensor, "layer batch d_model"]]:
        """What the MLP of every layer reads and writes if this is the stream before it."""
        edit: dict[Site, Edit] = {"resid_mid": lambda x, layer: resid_mid[layer][:, None].expand_as(x)}
        watch: dict[Site, Reduce] = {"resid_mid": self._reading_at([0]), "mlp_out": partial(_states_at, [0])}
        taps, tokens = Taps(watch, edit), self._two_tokens[:, :1].expand(resid_mid.shape[1], 1)
        self._lent(replaced, lambda: self.subject._states(tokens, taps))
        read, written = (torch.stack(taps.values[site])[:, :, 0] for site in ("resid_mid", "mlp_out"))
        return read, written

    @torch.enable_grad()
    def layer_logits(self, resid_post: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        """What the model would answer if it ended with these states: by its own final norm and unembedding, which are
        not replaced. Of the last layer it is the model's answer.

        UsageError where `no_cut` says why it is not.
        """
        if self.no_cut is not None:
            raise UsageError(f"{self.subject.source.name}: layers cannot be read out: {self.no_cut.reason}")
        return self._read_out(resid_post)

    @cached_property
    def no_cut(self) -> NotApplicable | None:
        """Why layers have no answers of their own; None where `layer_logits` gives them."""
        answers = self.inside({}, self._two_tokens, watch=("resid_post",))
        assert answers.resid_post is not None
        error = relative_error(self._read_out(answers.resid_post[-1]), answers.logits)
        if error <= TOLERANCES[answers.logits.dtype]:
            return None
        return NotApplicable(
            "final norm and unembedding of the last layer's state do not give this model's logits (relative error"
            f" {error:.2g})"
        )

    @cached_property
    def together(self) -> bool:
        """Whether several tasks run in one pass, by `torch.func.vmap`; not where the model's code refuses it."""

        def loss(tokens: Tensor, replaced: Mapping[str, Tensor]) -> Tensor:
            return self.inside(replaced, tokens).logits.logsumexp(dim=-1).mean()

        start, tokens = self.start, self._two_tokens
        two = {name: torch.stack([tensor, tensor]) for name, tensor in start.items()}
        by_task = torch.func.vmap(lambda replaced, tokens: torch.func.grad(partial(loss, tokens))(replaced))
        try:
            with _by_rules_for_tasks():
                found = by_task(two, torch.stack([tokens, tokens]))
        except (RuntimeError, ValueError, TypeError, NotImplementedError):  # an operation without a rule for tasks
            return False
        expected = _by_autograd(partial(loss, tokens), start)
        whole = (torch.cat([x.flatten() for x in each]) for each in ((x[1] for x in found.values()), expected.values()))
        return relative_error(*whole) <= TOLERANCES[self._dtype]  # some of them are rounding alone (those of b_K)

    def gradient(
        self, loss: Callable[[Mapping[str, Tensor]], Tensor], parameters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Of a number, at these parameters; also within `of_tasks`."""
        return torch.func.grad(loss)(dict(parameters)) if self.together else _by_autograd(loss, parameters)

    def at_once(self, n_tokens: int, n_answers: int = 1) -> int:
        """How many tasks of so many tokens, with so many answers over the vocabulary, are computed together."""
        own = COPIES * sum(tensor.numel() for tensor in self._replaceable.values())
        shape = self.subject.shape
        kept = KEPT * shape.n_layers * shape.d_model * n_tokens + KEPT_OF_ANSWERS * shape.d_vocab * n_answers
        return max(1, HELD // (own + kept))

    def of_tasks(self, function: Callable[..., Any], n_tokens: int, *by_task: Any, n_answers: int = 1) -> Any:
        """A function of one task, of many: of mappings and tensors that are stacked along a first axis of tasks.

        n_tokens:   of one task, in all its sequences
        n_answers:  over the vocabulary, of one task

        The function calls `inside`. Tasks run together where the model's code allows it, as many as memory does; the
        others run one after the other.
        """
        if self.together:
            with _by_rules_for_tasks():
                return torch.func.vmap(function, chunk_size=self.at_once(n_tokens, n_answers))(*by_task)
        tasks = range(len(pytree.tree_leaves(by_task)[0]))
        found = [function(*pytree.tree_map(lambda x, task=task: x[task], by_task)) for task in tasks]
        return pytree.tree_map(lambda *answers: torch.stack(answers), *found)

    def run_tasks(
        self,
        replaced: Mapping[str, Float[Tensor, "task ..."]],
        tokens: Int[Tensor, "task batch pos"],
        positions: Positions = (-1,),
        watch: Collection[Shown] = (),
    ) -> Answers:
        """`run` of many tasks, each with its own sequences and parameters. Answers have a first axis of tasks."""
        self.check(tokens.flatten(0, 1), positions.flatten() if isinstance(positions, Tensor) else positions)

        by_task = (positions,) if isinstance(positions, Tensor) else ()

        def of_one(replaced: Mapping[str, Tensor], tokens: Tensor, *own: Tensor) -> dict[str, Tensor]:
            answers = self.inside(replaced, tokens, own[0] if own else positions, watch)._asdict()
            return {field: answer for field, answer in answers.items() if answer is not None}

        asked = tokens.shape[1] * (1 if isinstance(positions, Tensor) else len(positions))
        found = self.of_tasks(of_one, tokens[0].numel(), dict(replaced), tokens, *by_task, n_answers=asked)
        return Answers(found["logits"], *(found.get(field) for field in Answers._fields[1:]))

    @cached_property
    def _replaceable(self) -> Mapping[str, Tensor]:
        """The model's own parameters by the names that passes take; a tensor that several names share has the first."""
        if self.parameters != "all":
            return self.places.read(self._own)
        return {names[0]: self._own[names[0]] for names in self._shared}

    @cached_property
    def _shared(self) -> list[list[str]]:
        """The names of each of the module's tensors: embeddings and unembedding may be one."""
        names: dict[tuple[int, torch.Size], list[str]] = {}
        for name, parameter in self._module.named_parameters():
            names.setdefault((parameter.data_ptr(), parameter.shape), []).append(name)
        return list(names.values())

    @cached_property
    def _own(self) -> dict[str, Tensor]:
        """The module's parameters, in the precision of the passes."""
        return dict(self._module.named_parameters()) | self._wide

    @cached_property
    def _wide(self) -> dict[str, Tensor]:
        """Parameters and buffers that are coarser than the passes, in their precision."""
        held = (*self._module.named_parameters(), *self._module.named_buffers())
        finer = {tensor.dtype: torch.promote_types(tensor.dtype, self.least) for _, tensor in held}
        return {
            name: tensor.detach().to(finer[tensor.dtype])
            for name, tensor in held
            if tensor.is_floating_point() and finer[tensor.dtype] != tensor.dtype
        }

    def _reading_at(self, at: _At) -> Reduce:
        """Of the stream before an MLP, what the MLP reads. UsageError where nobody knows it."""
        reading = self.places if isinstance(self.places, MlpReading) else self.subject.mlp_reading()
        if isinstance(reading, NotApplicable):
            raise UsageError(f"mlp_in of {self.subject.source.name} is not shown: {reading.reason}")
        return lambda resid_mid, layer: reading.input(_states_at(at, resid_mid), layer)

    @property
    def _module(self) -> nn.Module:
        return self.subject.module  # type: ignore[attr-defined]

    @property
    def _dtype(self) -> torch.dtype:
        return torch.promote_types(self.subject.dtype, self.least)

    @property
    def _two_tokens(self) -> Int[Tensor, "1 pos"]:
        pos = min(2, self.subject.shape.n_ctx or 2)
        return (torch.arange(pos, device=self.subject.device) % self.subject.shape.d_vocab)[None]

    def _read_out(self, states: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        return self._lent({}, lambda: self.subject.unembed(self.subject.normed(states)))

    def _lent(self, replaced: Mapping[str, Tensor], function: Callable[[], Tensor]) -> Tensor:
        """What a function of the module gives while the module has other parameters."""
        if self.parameters == "all":
            written = {name: replaced[names[0]] for names in self._shared if names[0] in replaced for name in names}
        else:
            written = self.places.write({**self._replaceable, **replaced}, self._own) if replaced else {}
        lent = {f"module.{name}": tensor for name, tensor in {**self._wide, **written}.items()}
        return torch.func.functional_call(_Borrower(self._module), lent, (function,))


@contextmanager
def _by_rules_for_tasks() -> Iterator[None]:
    """Of torch's attentions only the plain one has a rule for tasks; torch warns of other operations without, and runs
    them task by task.
    """
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        yield


@torch.enable_grad()
def _by_autograd(loss: Callable[[Mapping[str, Tensor]], Tensor], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradient without `torch.func`, which some models' own functions refuse."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}
    found = torch.autograd.grad(loss(leaves), list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


class _Borrower(nn.Module):
    """Calls a function while `functional_call` lends parameters to the module that the function reads."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[[], Tensor]) -> Tensor:
        return function()


_At = list[int] | Tensor


def _watching(watch: Collection[Shown], at: _At) -> dict[Site, Reduce]:
    """Reductions to the asked positions. With scores a pattern is formed that nobody keeps: kernels that form none
    have no rule for tasks.
    """
    found: dict[Site, Reduce] = {site: partial(_states_at, at) for site in ("attn_out", "resid_post") if site in watch}
    if "scores" in watch:
        found |= {"attention": partial(_scores_at, at), "pattern": lambda pattern, layer: None}
    return found


def _states_at(at: _At, states: Tensor, layer: int = 0) -> Tensor:
    if isinstance(at, list):
        return states[:, at]
    return states.gather(1, at.to(states.device)[:, None, None].expand(-1, 1, states.shape[-1]))


def _scores_at(at: _At, attention: AttentionScores, layer: int) -> Tensor:
    if isinstance(at, list):
        return attention.scores_at(at)
    scores = attention.scores_at(range(attention.q.shape[2]))
    places = at.to(scores.device)[:, None, None, None]
    return scores.gather(2, places.expand(-1, scores.shape[1], 1, scores.shape[3]))
