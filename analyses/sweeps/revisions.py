"""Revisions and seeds as people write them: `step{0,512,1000..143000..1000}`, `0-9`. Needs no torch."""

from __future__ import annotations

import re
from itertools import product
from math import prod

from ...data.errors import UsageError

MOST = 10_000
"""Revisions, or seeds, that one text may name."""
EXAMPLES = "step1000 or step{0,512,1000..143000..1000}"
_BALANCED = re.compile(r"(?:[^{}]|\{[^{}]*\})*")
_WORD = re.compile(r"(?:[^{},]|\{[^{}]*\})+")
_PART = re.compile(r"\{([^{}]*)\}|([^{}]+)")
_RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})(?:\.\.([0-9]{1,9}))?")
_SEEDS = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def expanded(text: str) -> tuple[str, ...]:
    """Every revision that a text names, in its order, each once.

    Commas separate. Braces hold what may stand at one place of a name: texts, and ranges `first..last..by`, both ends
    included. Several braces multiply, the last of them fastest.
    """
    what = f"revisions {text!r:.200}"
    if not _BALANCED.fullmatch(text):
        raise UsageError(f"{what}: braces that do not pair, or stand within others; expected names like {EXAMPLES}")
    found: dict[str, None] = {}
    for word in filter(None, map(str.strip, _WORD.findall(text))):
        places = [[plain] if plain else _choices(within, what) for within, plain in _PART.findall(word)]
        _refuse_many(len(found) + prod(map(len, places)), what)
        found |= dict.fromkeys(map("".join, product(*places)))
    if not found:
        raise UsageError(f"{what}: names no revision; expected names like {EXAMPLES}")
    return tuple(found)


def _choices(within: str, what: str) -> list[str]:
    """What braces hold, one by one. Numbers are as long as the first of their range, where that begins with 0."""
    found: list[str] = []
    for item in map(str.strip, within.split(",")):
        if not item:
            raise UsageError(f"{what}: nothing between two commas or braces; expected names like {EXAMPLES}")
        if ".." not in item:
            found.append(item)
            continue
        if not (match := _RANGE.fullmatch(item)):
            raise UsageError(
                f"{what}: the range {item!r:.60} is not understood; expected first..last or first..last..by"
            )
        first, last, by = match[1], int(match[2]), int(match[3] or 1)
        numbers = range(int(first), last + 1, by) if by else range(0)
        if not numbers:
            raise UsageError(
                f"{what}: the range {item} is empty; write the smaller number first, and steps of 1 or more"
            )
        _refuse_many(len(found) + len(numbers), what)
        width = len(first) if len(first) > 1 and first.startswith("0") else 0
        found += [f"{number:0{width}}" for number in numbers]
    return found


def seed_range(text: str) -> tuple[int, ...]:
    """The seeds that `0-9` or `0,2,5-7` names, in its order, each once."""
    what = f"seeds {text!r:.200}"
    found: dict[int, None] = {}
    for item in filter(None, map(str.strip, text.split(","))):
        if not (match := _SEEDS.fullmatch(item)):
            raise UsageError(f"{what}: {item!r:.60} is not understood; expected seeds like 0-9 or 0,2,5-7")
        seeds = range(int(match[1]), int(match[2] or match[1]) + 1)
        if not seeds:
            raise UsageError(f"{what}: the range {item} is empty; write the smaller seed first")
        _refuse_many(len(found) + len(seeds), what)
        found |= dict.fromkeys(seeds)
    if not found:
        raise UsageError(f"{what}: names no seed; expected seeds like 0-9 or 0,2,5-7")
    return tuple(found)


def _refuse_many(number: int, what: str) -> None:
    if number > MOST:
        raise UsageError(f"{what}: names {number}; expected at most {MOST}; split the sweep, or take larger steps")
