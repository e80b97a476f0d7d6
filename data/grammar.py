"""A probabilistic grammar of simple English with known probabilities: text, and the exact distribution behind it.

    sentence    = clause {"and" clause} "."
    clause      = phrase [preposition phrase] verb-phrase
    phrase      = name | determiner [adjective] noun
    verb-phrase = (intransitive verb | transitive verb phrase | "is" adjective) [adverb]

Words of a class follow Zipf's law. The verb agrees in number with the first phrase of its clause, whatever phrase
stands between them. A name is drawn by Zipf's law too, or is one of the last few names in the document. The next word
depends on the previous words of the document alone. So the distribution of the next word, its entropy and the
probability of every word are exact at each position: they are what an ideal model would give.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .english import ADJECTIVES, ADVERBS, INTRANSITIVE, NAMES, NOUNS, PLURAL, PREPOSITIONS, SINGULAR, TRANSITIVE
from .errors import TaskError
from .recipe import named_seed

BOS = "<s>"
_RECENT = np.array([4.0, 3.0, 2.0, 1.0])  # how likely the last name is to come back, the one before it, …


class State(NamedTuple):
    """A word's place in its sentence. With the recent names, it determines the next word's distribution.

    place:    which part of the rules comes next
    role:     of the phrase under way: "subject", "beside" (after a preposition) or "object"
    subject:  number of the clause's subject, "s", "p" or "" where it does not matter
    number:   number of the phrase under way, "any" after "the"
    """

    place: str
    role: str = ""
    subject: str = ""
    number: str = ""


def options(state: State) -> Iterator[tuple[float, str, State]]:
    """The rules: (probability, word class, next state). In one state, no word belongs to two options."""
    place, role, subject, number = state
    if place == "phrase":
        yield 0.3, "name", _after(role, subject, "s")
        for share, kind, of in ((0.35, "the", "any"), (0.2, "determiner-s", "s"), (0.15, "determiner-p", "p")):
            yield share, kind, State("noun", role, subject, of)
    elif place in ("noun", "bare noun"):
        bare = 1.0 if place == "bare noun" else 0.8
        if bare < 1:
            yield 1 - bare, "adjective", State("bare noun", role, subject, number)
        for share, of in ((0.6, "s"), (0.4, "p")) if number == "any" else ((1.0, number),):
            yield bare * share, f"noun-{of}", _after(role, subject, of)
    elif place in ("preposition", "verb"):
        verb = 1.0 if place == "verb" else 0.75
        if verb < 1:
            yield 1 - verb, "preposition", State("phrase", "beside", subject)
        yield verb * 0.25, f"intransitive-{subject}", State("end")
        yield verb * 0.5, f"transitive-{subject}", State("phrase", "object")
        yield verb * 0.25, f"be-{subject}", State("predicate")
    elif place == "predicate":
        yield 1.0, "adjective", State("end")
    else:
        rest = 1.0 if place == "close" else 0.85
        if rest < 1:
            yield 1 - rest, "adverb", State("close")
        yield rest * 0.15, "and", START
        yield rest * 0.85, "stop", START


def _after(role: str, subject: str, number: str) -> State:
    """The state after a complete phrase."""
    return {"subject": State("preposition", "", number), "beside": State("verb", "", subject)}.get(role, State("end"))


START = State("phrase", "subject")
CLASSES: Mapping[str, Sequence[str]] = {
    "name": NAMES.split(),
    "the": ["the"],
    "determiner-s": SINGULAR.split(),
    "determiner-p": PLURAL.split(),
    "noun-s": NOUNS.split(),
    "noun-p": [f"{noun}s" for noun in NOUNS.split()],
    "intransitive-s": [f"{verb}s" for verb in INTRANSITIVE.split()],
    "intransitive-p": INTRANSITIVE.split(),
    "transitive-s": [f"{verb}s" for verb in TRANSITIVE.split()],
    "transitive-p": TRANSITIVE.split(),
    "be-s": ["is"],
    "be-p": ["are"],
    "adjective": ADJECTIVES.split(),
    "adverb": ADVERBS.split(),
    "preposition": PREPOSITIONS.split(),
    "and": ["and"],
    "stop": ["."],
}
"""Words by class. A class ending in -s or -p is the singular or plural of the other, lemma by lemma."""


@dataclass(frozen=True, eq=False)
class Documents:
    """Documents with their exact log-probabilities and entropies; float64, in nats.

    log_probability:  of each token given the tokens before it; 0 for BOS
    entropy:          of each token's distribution given the tokens before it; 0 for BOS
    """

    tokens: Int[Tensor, "document pos"]
    log_probability: Float[Tensor, "document pos"]
    entropy: Float[Tensor, "document pos"]


@dataclass(frozen=True)
class Grammar:
    """English sentences from a grammar with known probabilities.

    A document has `length` tokens: BOS (the last id), then sentences, of which the last is cut off.

    seed:        decides which words of a class are frequent; singular and plural forms share their rank
    zipf:        the n-th most frequent word of a class has probability proportional to n^-zipf
    recurrence:  probability that a name repeats one of the last four names, weighted 4 : 3 : 2 : 1
    """

    family: ClassVar[str] = "grammar"

    length: int = 128
    seed: int = 0
    zipf: float = 1.0
    recurrence: float = 0.7

    def __post_init__(self) -> None:
        if self.length < 2:
            raise TaskError(f"length = {self.length}; expected at least 2, BOS and one word")
        if not 0 <= self.zipf <= 10:
            raise TaskError(f"zipf = {self.zipf}; expected 0 to 10")
        if not 0 <= self.recurrence < 1:
            raise TaskError(f"recurrence = {self.recurrence}; expected at least 0 and below 1")

    @classmethod
    def recorded(cls, record: Mapping[str, Any], d_vocab: int) -> Grammar | None:
        """The grammar that a training's record names, where its vocabulary has that size."""
        tasks: Mapping[str, Any] = record.get("recipe", {}).get("tasks", {})
        if tasks.get("family") != cls.family:
            return None
        grammar = cls(**{name: value for name, value in tasks.items() if name != "family"})
        return grammar if grammar.d_vocab == d_vocab else None

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Every token's text, by id. BOS comes last."""
        return (*(word for words in CLASSES.values() for word in words), BOS)

    @property
    def d_vocab(self) -> int:
        return len(self.words)

    @property
    def bos(self) -> int:
        return self.d_vocab - 1

    def documents(self, n: int, seed: int) -> Documents:
        """`n` documents with their log-probabilities and entropies; the same seed gives the same documents."""
        if n < 1:
            raise TaskError(f"n = {n} documents; expected at least 1")
        tokens, laws = [np.full(n, self.bos)], []
        for word, law in self._generated(n, np.random.Generator(np.random.SFC64(named_seed(seed, "documents")))):
            tokens.append(word)
            logs = np.log(law, out=np.zeros_like(law), where=law > 0)
            laws.append((logs[np.arange(n), word], -(law * logs).sum(axis=1)))
        truth = np.concatenate([np.zeros((2, n, 1)), np.array(laws).transpose(1, 2, 0)], axis=2)
        return Documents(torch.from_numpy(np.stack(tokens, axis=1)), *torch.from_numpy(truth))

    def draw(self, n: int, seed: int, step: int) -> Int[Tensor, "document pos"]:
        """The documents of one training step; a pure function of its arguments."""
        rng = np.random.Generator(np.random.SFC64([named_seed(seed, "training documents"), step]))
        tokens = [np.full(n, self.bos), *(word for word, _ in self._generated(n, rng))]
        return torch.from_numpy(np.stack(tokens, axis=1))

    def next_word(self, prefix: Sequence[int]) -> Float[Tensor, " d_vocab"]:
        """The next word's distribution after a document's first tokens, BOS included.

        Raises TaskError for a prefix that this grammar cannot generate.
        """
        reading = _Reading(self, 1)
        for place, token in enumerate(prefix):
            token = int(token)
            possible = token == self.bos if place == 0 else 0 <= token < self.bos and reading.law()[0, token] > 0
            if not possible:
                word = repr(self.words[token]) if 0 <= token < self.d_vocab else "outside the vocabulary"
                raise TaskError(
                    f"token {token} ({word}) at position {place} has probability 0 there; expected the beginning of a"
                    " document that this grammar can generate"
                )
            if place:
                reading.hear(np.array([token]))
        if not len(prefix):
            raise TaskError(f"the prefix is empty; expected it to begin with token {self.bos} ({BOS})")
        return torch.from_numpy(reading.law()[0])

    def frequencies(self) -> Float[Tensor, " d_vocab"]:
        """Every token's expected share of a document's tokens, BOS included: exact, by recursion over positions.

        Repeated names do not change it: which earlier name returns does not depend on the names themselves, so every
        name follows Zipf's law marginally.
        """
        laws, after = self.rules.laws, self.rules.after
        flow = np.zeros((len(laws), len(laws)))
        np.add.at(flow, (np.arange(len(laws))[:, None], after), laws)
        here = np.eye(len(laws))[0]
        counts = np.eye(self.d_vocab)[self.bos]
        for _ in range(1, self.length):
            counts += here @ laws
            here = here @ flow
        return torch.from_numpy(counts / self.length)

    def text(self, tokens: Sequence[int] | Int[Tensor, " pos"]) -> str:
        """The tokens as English text, without BOS."""
        words = " ".join(self.words[int(token)] for token in tokens if int(token) != self.bos)
        return words.replace(" .", ".")

    def _generated(self, n: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The words of `n` documents position by position, after BOS, each with the distribution it was drawn from."""
        reading = _Reading(self, n)
        for _ in range(1, self.length):
            law = reading.law()
            upto = law.cumsum(axis=1)
            at = np.minimum(rng.random(n) * upto[:, -1], np.nextafter(upto[:, -1], 0))
            word = (upto <= at[:, None]).sum(axis=1)
            yield word, law
            reading.hear(word)

    @cached_property
    def rules(self) -> Rules:
        return Rules.of(self)


@dataclass(frozen=True, eq=False)
class Rules:
    """A grammar's rules as tables. State 0 is a sentence's start.

    laws:   probability of each word in each state [state, word], without repetition of names
    after:  the next state after a word [state, word]
    named:  probability that the next word is a name [state]
    names:  the ids of names
    """

    laws: np.ndarray
    after: np.ndarray
    named: np.ndarray
    names: slice

    @classmethod
    def of(cls, grammar: Grammar) -> Rules:
        ids = {word: number for number, word in enumerate(grammar.words)}
        laws_of = {kind: _zipf(grammar, kind) for kind in CLASSES}
        states, laws, after = [START], [], []
        for state in states:  # grows while it is read
            law, leads = np.zeros(len(ids)), np.zeros(len(ids), dtype=np.int64)
            for probability, kind, follows in options(state):
                if follows not in states:
                    states.append(follows)
                places = [ids[word] for word in CLASSES[kind]]
                law[places] = probability * laws_of[kind]
                leads[places] = states.index(follows)
            laws.append(law)
            after.append(leads)
        names = slice(0, len(CLASSES["name"]))
        table = np.stack(laws)
        return cls(table, np.stack(after), table[:, names].sum(axis=1), names)


def _zipf(grammar: Grammar, kind: str) -> np.ndarray:
    """Zipf's law over the words of a class. The seed decides the ranks, the same for singular and plural."""
    words = CLASSES[kind]
    rng = np.random.Generator(np.random.SFC64(named_seed(grammar.seed, "ranks", kind.partition("-")[0])))
    weights = (1.0 + rng.permutation(len(words))) ** -grammar.zipf
    return weights / weights.sum()


class _Reading:
    """The states of `n` documents: their place in the sentence, and their recent names."""

    def __init__(self, grammar: Grammar, n: int) -> None:
        self.rules, self.recurrence = grammar.rules, grammar.recurrence
        self.state = np.zeros(n, dtype=np.int64)
        self.recent = np.full((n, len(_RECENT)), -1)  # names, the last one first; -1: none yet

    def law(self) -> np.ndarray:
        """The next word's distribution [document, word]."""
        law = self.rules.laws[self.state]
        weights = _RECENT * (self.recent >= 0)
        total = weights.sum(axis=1)
        comes_back = np.where(total > 0, self.recurrence, 0.0)
        law[:, self.rules.names] *= 1 - comes_back[:, None]
        shares = (self.rules.named[self.state] * comes_back / np.maximum(total, 1))[:, None] * weights
        for name, share in zip(self.recent.T, shares.T, strict=True):
            law[np.arange(len(law)), name] += share
        return law

    def hear(self, word: np.ndarray) -> None:
        named = word < self.rules.names.stop
        self.recent[named] = np.concatenate([word[named, None], self.recent[named, :-1]], axis=1)
        self.state = self.rules.after[self.state, word]
