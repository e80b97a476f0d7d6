"""The recipes of the shipped checkpoints, and more, by name.

The settings of the linear regressions are those of von Oswald et al. 2023 (arXiv 2212.07677), read in their notebooks
where text and code disagree: clip at 0.001 (the text says 10), Adam's b2 0.98 (the text says default parameters). Those
of `lsa-causal-layernorm`, which is no model of theirs, are ours. So are those of softmax regression: Li et al. 2023
(arXiv 2304.13276) print none. And so are those of language models, and of the copy models: Snell et al. 2021 (arXiv
2103.07601) trained recurrent ones. Seeds 0 and 1 of `copy-permutations-1head` were chosen to show both outcomes: about
half of all learn.
`lsa-plateaus` is a setting of Zhang, Singh, Latham & Saxe 2025 (arXiv 2501.16265) with inputs of our own. Its seeds are
the first five that rest at every level: where two heads start alike, they leave one together and skip the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from .recipe_kinds import BaseRecipe, CopyRecipe, LanguageRecipe, PopulationRecipe, SoftmaxRecipe, TrainingRecipe
from .von_oswald_recipes import STEPS_5000, VON_OSWALD

_COPY_TASKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "permutations": ("permutations of 40 words", {"n_words": 40, "n_tokens": 40}),
    "40of60": ("40 of 60 words", {"n_words": 60, "n_tokens": 40}),
}
_COPY_HEADS: Mapping[int, tuple[str, Mapping[str, Any]]] = {
    1: ("1head", {"d_model": 32, "n_heads": 1, "d_head": 32}),
    8: ("8heads", {"d_model": 32, "n_heads": 8, "d_head": 16}),
}
_COPY_STEPS = (0, 20, 40, 60, 80, 100)
_COPIES_SHIPPED: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "copy-permutations-1head": ((0, 1), (0, 40, 60, 100)),
    "copy-permutations-1head-uniform": ((0, 1), (100,)),
    "copy-permutations-8heads": ((0,), (0, 100)),
    "copy-40of60-1head": ((0, 2), (0, 40, 100)),
    "copy-40of60-1head-uniform": ((0, 2), (100,)),
    "copy-40of60-8heads": ((0,), (100,)),
}
"""Seeds and checkpoint steps of copy models that ship: not all, so that the files are small."""


def _copy_recipes() -> Iterator[CopyRecipe]:
    """Both tasks with one head and with eight: as they are, with uniform attention, and with beta as it starts."""
    for (task, (words, tasks)), (n_heads, (heads, model)) in product(_COPY_TASKS.items(), _COPY_HEADS.items()):
        summary = f"one layer of attention with {n_heads} head{'s' * (n_heads > 1)} copies {words}"
        name = f"copy-{task}-{heads}"
        for suffix, about, frozen in (
            ("", "", False),
            ("-uniform", "; its attention stays uniform", False),
            ("-frozen-beta", "; only its attention learns", True),
        ):
            seeds, steps = _COPIES_SHIPPED.get(name + suffix, ((0, 1, 2, 3, 4), _COPY_STEPS))
            yield CopyRecipe(
                name=name + suffix,
                summary=summary + about,
                model={**model, "uniform_attention": suffix == "-uniform"},
                tasks=tasks,
                checkpoint_steps=steps,
                seeds=seeds,
                frozen_beta=frozen,
            )


_MAPPINGS: Mapping[str, tuple[str, str]] = {
    "icl-mapping": ("in-context", "labels drawn anew in each sequence; learns in context"),
    "iwl-mapping": ("in-weights", "labels that stay the same; learns in weights, not in context"),
    "noise-mapping": ("random", "random labels; learns which labels occur, and no rule"),
}


def _mapping_recipes() -> Iterator[LanguageRecipe]:
    """The same training three times; only what labels depend on differs."""
    for name, (labels, what) in _MAPPINGS.items():
        yield LanguageRecipe(
            name=name,
            summary=f"two layers with MLPs on classes of inputs with {what}",
            model={"n_layers": 2, **_SMALL_ATTENTION, "d_mlp": 256, "n_ctx": 64},
            tasks={"family": "label-mapping", "labels": labels},
            checkpoint_steps=(0, 500, 1000, 1500, 2000, 2500, 3000, 4000),
            batch_size=64,
            learning_rate=1e-3,
            b2=0.999,
        )


def _table(*recipes: BaseRecipe) -> dict[str, BaseRecipe]:
    return {recipe.name: recipe for recipe in recipes}


_SMALL_ATTENTION = {"d_model": 64, "n_heads": 4, "d_head": 16, "positions": "rotary"}
_ALONG_INDUCTION = (0, 500, 1000, 1300, 1400, 1450, 1500, 1600, 2000, 4000)
_STEPS_3000 = (0, 100, 300, 1000, 3000)
_LOGARITHMIC = (0, 1, 2, 3, 5, 7, 10, 14, 20, *(round(30 * 2000 ** (k / 158)) for k in range(159)))
"""Up to step 60,000. From 30 on there are 48 in a decade, so that a plateau is not missed between two of them."""

RECIPES: Mapping[str, BaseRecipe] = _table(
    TrainingRecipe(
        name="lsa-1layer",
        summary="one layer of linear self-attention on linear regression",
        model={"n_layers": 1},
        checkpoint_steps=STEPS_5000,
    ),
    TrainingRecipe(
        name="lsa-2layer-recurrent",
        summary="one layer of linear self-attention, applied twice, on linear regression",
        model={"n_layers": 2},
        checkpoint_steps=STEPS_5000,
        init_scale=0.001,
    ),
    TrainingRecipe(
        name="lsa-5layers",
        summary="five layers of linear self-attention, each with its own weights (50,000 steps: hours)",
        model={"n_layers": 5, "tied": False, "activation_clip": 10.0},
        checkpoint_steps=(0, 1000, 2500, 5000, 10000, 20000, 30000, 40000, 50000),
        init_scale=0.0004,
        learning_rate=5e-4,
        clip_norm=10.0,
    ),
    TrainingRecipe(
        name="lsa-causal-layernorm",
        summary="four layers of causal linear self-attention with layer norms, each with its own weights",
        model={"n_layers": 4, "tied": False, "causal": True, "layer_norm": True},
        checkpoint_steps=(0, 100, 250, 1000, 6000),
        seeds=(0, 1, 2),
        batch_size=256,
        init_scale=0.1,
        learning_rate=3e-3,
        clip_norm=1.0,
    ),
    *(
        TrainingRecipe(
            name=f"softmax-1layer-{n_heads}head{'s' * (n_heads > 1)}",
            summary=f"one layer of softmax self-attention with {n_heads} head{'s' * (n_heads > 1)}",
            model={"n_layers": 1, "n_heads": n_heads, "softmax": True},
            checkpoint_steps=(*STEPS_5000, 7500, 10000),
        )
        for n_heads in (1, 2)
    ),
    *VON_OSWALD,
    *(
        PopulationRecipe(
            name=f"lsa-plateaus{'-merged' * merged}",
            summary=f"four heads of linear self-attention, {how}, by plain gradient descent on Gaussian inputs",
            model={"n_heads": 4, "d_head": d_head, "dampening": 1 / 31},
            tasks={"n_context": 31, "d_in": 4, "input_variances": (0.4, 0.3, 0.2, 0.1)},
            checkpoint_steps=_LOGARITHMIC,
            seeds=(1, 2, 3, 6, 7),
            init_scale=0.0005,
            learning_rate=rate,
            merged=merged,
        )
        for merged, d_head, rate, how in (
            (False, 1, 0.3, "each of rank one"),
            (True, 5, 0.1, "with query and key merged"),
        )
    ),
    *(
        SoftmaxRecipe(
            name=f"softmax-attention-1layer{suffix}",
            summary=f"one softmax layer on softmax regression, output scale {scale:g}",
            model={"output_scale": scale},
            checkpoint_steps=steps,
        )
        for suffix, scale, steps in (
            ("", 1.0, (0, 100, 300, 600, 1000, 2000, 3000, 5000)),
            ("-c4", 4.0, _STEPS_3000),
            ("-c16", 16.0, _STEPS_3000),
        )
    ),
    LanguageRecipe(
        name="induction-2layer",
        summary="two layers of attention on repeated random segments; learns induction heads",
        model={"n_layers": 2, **_SMALL_ATTENTION},
        tasks={"family": "repeated-segments"},
        checkpoint_steps=_ALONG_INDUCTION,
    ),
    LanguageRecipe(
        name="induction-1layer",
        summary="one layer of attention on repeated random segments; cannot have induction heads",
        model={"n_layers": 1, **_SMALL_ATTENTION},
        tasks={"family": "repeated-segments"},
        checkpoint_steps=_ALONG_INDUCTION,
    ),
    LanguageRecipe(
        name="tiny-grammar",
        summary="three layers with MLPs on text from a probabilistic grammar of English with known entropy",
        model={"n_layers": 3, "d_model": 64, "n_heads": 4, "d_head": 16, "d_mlp": 256},
        tasks={"family": "grammar"},
        checkpoint_steps=(0, 100, 300, 800, 2000, 4000),
        learning_rate=1e-3,
    ),
    *_mapping_recipes(),
    *_copy_recipes(),
)
"""The recipes by name. Those in `SHIPPED` ship, in `data/checkpoints/` under the same names."""
SHIPPED = (
    "lsa-1layer",
    "lsa-2layer-recurrent",
    "lsa-3layer-recurrent",
    "lsa-5layers",
    "lsa-10layer-recurrent",
    "separate-tokens",
    "lsa-causal-layernorm",
    "softmax-1layer-1head",
    "softmax-1layer-2heads",
    "lsa-1layer-norm",
    "lsa-2layer-norm",
    "softmax-attention-1layer",
    "softmax-attention-1layer-c4",
    "softmax-attention-1layer-c16",
    "induction-2layer",
    "induction-1layer",
    "tiny-grammar",
    *_MAPPINGS,
    *_COPIES_SHIPPED,
)
