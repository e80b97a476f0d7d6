"""Moments of S = X^T X, where X [n, d] has independent standard normal entries: exact, in whole numbers.

tr S^k is a sum of zonal polynomials, Jack's J_κ with α = 2, and each has a mean in closed form (R. P. Stanley, Some
combinatorial properties of Jack symmetric functions, Advances in Mathematics 77, 1989; R. J. Muirhead, Aspects of
Multivariate Statistical Theory, 1982, theorem 7.2.7). With the content c = 2 (column) - (row) of every box of κ:

    E tr S^k = Σ_κ 2k Π_{boxes but the first} c / Π_boxes h (h + 1) · Π_boxes (d + c)(n + c),    h = 2 arm + leg + 1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import comb, prod


def trace_moment(power: int, d: int, n: int) -> Fraction:
    """E tr S^power."""
    return sum((_term(shape, d, n) for shape in _shapes(power)), start=Fraction(0))


def descent_risk(steps: int, rate: Fraction, d: int, n: int) -> Fraction:
    """E tr (I - rate/n S)^(2 steps): the risk of gradient descent from 0, for w and x_q from N(0, I), without noise."""
    terms = (comb(2 * steps, k) * (-rate / n) ** k * trace_moment(k, d, n) for k in range(1, 2 * steps + 1))
    return sum(terms, start=Fraction(d))


def _shapes(boxes: int) -> Iterator[Sequence[int]]:
    """Rows of the diagrams that count: a third row of two boxes would have a content of 0."""
    yield (boxes,)
    for second in range(1, boxes // 2 + 1):
        for ones in range(boxes - 2 * second + 1):
            yield boxes - second - ones, second, *[1] * ones


def _term(rows: Sequence[int], d: int, n: int) -> Fraction:
    boxes = [(row, column) for row, length in enumerate(rows) for column in range(length)]
    contents = [2 * column - row for row, column in boxes]
    columns = [sum(length > column for length in rows) for column in range(rows[0])]
    hooks = (2 * (rows[i] - j - 1) + columns[j] - i for i, j in boxes)
    share = Fraction(2 * len(boxes) * prod(contents[1:]), prod(hook * (hook + 1) for hook in hooks))
    return share * prod((d + content) * (n + content) for content in contents)
