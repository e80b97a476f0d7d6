"""Attention of a few heads on one sequence, kept by a probe for people to look at. Without torch.

Any probe may keep it; pages and `report.attention` find it by the names of its arrays and of its recipe:

    arrays["attention_heads"]         [head, 2]             layer and head
    arrays["attention_tokens"]        [token]               ids
    arrays["attention_pattern"]       [head, query, key]    0 where a key comes after its query
    arrays["attention_value_norms"]   [head, key]           length of what each key sends; absent where not known
    recipes["attention"]              settings: `sequence`, what was read; `ids` and `texts` of its tokens; and
                                      `not_weighted`, why the lengths are not known
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from ..data.errors import UsageError
from ..data.recipe import Recipe
from .findings import Findings, Head, head_name

MOST_HEADS, MOST_TOKENS = 8, 128
"""Of one report: people look at no more, and its page stays small."""
RECIPE = "attention"
HEADS, TOKENS, PATTERN, VALUE_NORMS = (f"attention_{name}" for name in ("heads", "tokens", "pattern", "value_norms"))
Weighting = Literal["attention", "value-weighted"]


@dataclass(frozen=True, eq=False)
class KeptAttention:
    """Attention of a few heads on one sequence.

    pattern:      A[i, j], [head, query, key]; 0 where j > i
    value_norms:  ‖f(x_j)‖ with f(x) = v W_O, [head, key]; None where `not_weighted` says why
    recipe:       of the sequence, see above
    verdicts:     "" where the probe gives none
    """

    heads: tuple[Head, ...]
    pattern: Float[np.ndarray, "_ _ _"]
    value_norms: Float[np.ndarray, "_ _"] | None
    recipe: Recipe
    verdicts: tuple[str, ...]

    def __post_init__(self) -> None:
        n_heads, n = len(self.heads), len(self.texts)
        if self.pattern.shape != (n_heads, n, n):
            raise ValueError(
                f"patterns {list(self.pattern.shape)}; expected {[n_heads, n, n]}: {n_heads} heads, {n} tokens"
            )
        if self.value_norms is not None and self.value_norms.shape != (n_heads, n):
            raise ValueError(f"value norms {list(self.value_norms.shape)}; expected {[n_heads, n]}")

    @classmethod
    def of(cls, findings: Findings) -> KeptAttention | None:
        """What findings of one checkpoint hold; None where they hold none, and over several seeds."""
        arrays = findings.arrays
        if not {HEADS, TOKENS, PATTERN} <= arrays.keys() or arrays[PATTERN].ndim != 3:
            return None
        recipe = _recipe_of(arrays[TOKENS].astype(int).tolist(), findings.recipes)
        if recipe is None:
            return None
        heads = tuple((int(layer), int(head)) for layer, head in arrays[HEADS])
        verdicts = tuple(findings.heads.get(head_name(head), "") for head in heads)
        return cls(heads, arrays[PATTERN], arrays.get(VALUE_NORMS), recipe, verdicts)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """As findings hold them."""
        ids = np.array(self.recipe.settings["ids"])
        found = {HEADS: np.array(self.heads), TOKENS: ids, PATTERN: self.pattern}
        return found if self.value_norms is None else found | {VALUE_NORMS: self.value_norms}

    @property
    def findings(self) -> Findings:
        """Findings of nothing else: what figures of it are drawn from."""
        return Findings({}, self.arrays, {RECIPE: self.recipe}, dict(zip(self.names, self.verdicts, strict=True)))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(map(head_name, self.heads))

    @property
    def texts(self) -> tuple[str, ...]:
        """Of the tokens; joined, they are the text."""
        return tuple(self.recipe.settings["texts"])

    @property
    def sequence(self) -> str:
        """What was read, in words."""
        return self.recipe.settings["sequence"]

    @property
    def not_weighted(self) -> str:
        """Why there is no value-weighted pattern; "" where there is one."""
        return "" if self.value_norms is not None else self.recipe.settings["not_weighted"]

    def values(self, weighting: Weighting) -> Float[np.ndarray, "head query key"]:
        """The pattern, or weighted by the length of what each key sends. UsageError where that is not known."""
        if weighting == "attention":
            return self.pattern
        if self.value_norms is None:
            raise UsageError(f"value-weighted attention: not applicable, because {self.not_weighted}")
        return self.pattern * self.value_norms[:, None]

    def only(self, names: Sequence[str]) -> KeptAttention:
        """Some of the heads, in this order. UsageError names those that are kept."""
        if absent := [name for name in names if name not in self.names]:
            raise UsageError(
                f"{', '.join(absent)}: this report keeps the attention of {', '.join(self.names)} only; to keep that"
                f" of other heads, run the probe again with --attention {','.join(dict.fromkeys(names))}"
            )
        places = [self.names.index(name) for name in names]
        return replace(
            self,
            heads=tuple(self.heads[place] for place in places),
            pattern=self.pattern[places],
            value_norms=None if self.value_norms is None else self.value_norms[places],
            verdicts=tuple(self.verdicts[place] for place in places),
        )


def _recipe_of(ids: list[int], recipes: Mapping[str, Recipe]) -> Recipe | None:
    """That of these tokens: over several steps "attention" is the first one's, and others have names behind it."""
    named = (recipe for name, recipe in recipes.items() if name.partition(" ")[0] == RECIPE)
    return next((recipe for recipe in named if list(recipe.settings["ids"]) == ids), None)
