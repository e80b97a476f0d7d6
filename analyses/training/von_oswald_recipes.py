"""The trainings of von Oswald et al. 2023 (arXiv 2212.07677) beyond the shipped ones, one for each variant of a figure.

Settings are those of their notebooks where text and code disagree. Where a figure shows more steps than a notebook has,
it has the figure's. What neither says is ours: the steps of `lsa-10layer-recurrent` and of `blocks-12-mlp`, and seeds.
"""

from __future__ import annotations

from .recipe_kinds import EmbeddingRecipe, RepeatedTasksRecipe, TrainingRecipe

STEPS_5000 = (0, 100, 200, 300, 400, 500, 750, 1000, 1250, 1500, 2000, 2500, 3000, 4000, 5000)
_AROUND_A_FALL = (*range(0, 600, 25), 600, 750, 1000, 1500, 2000, 3000, 5000)
"""Losses of one layer fall between steps 200 and 400, each seed's at a step of its own."""
_STEPS_15000 = (*STEPS_5000, 7500, 10000, 12500, 15000)
_STEPS_50000 = (0, 500, 1000, *range(2000, 20000, 2000), *range(20000, 50001, 2500))
_SINES = {"amplitudes": (0.1, 0.5)}
_DEEP_RATE = 5e-4
"""Of more than three layers."""
BATCHES = (128, 512, 2048, 8192)
WIDTHS = (2, 5, 20, 30, 40, 50)
"""N = d, beside the 10 of `lsa-1layer`."""
NARROW = 2
"""N = d of which seeds settle in two solutions: more of them say how often."""

TEN = tuple(range(10))

VON_OSWALD = (
    *(
        TrainingRecipe(
            name=f"lsa-1layer-{n_heads}head{'s' * (n_heads > 1)}-10seeds",
            summary=f"one layer of linear self-attention with {n_heads} head{'s' * (n_heads > 1)}, ten seeds",
            model={"n_heads": n_heads},
            checkpoint_steps=_AROUND_A_FALL,
            seeds=TEN,
        )
        for n_heads in (1, 2)
    ),
    TrainingRecipe(
        name="lsa-3layer-recurrent",
        summary="one layer of linear self-attention, applied three times, on linear regression",
        model={"n_layers": 3},
        checkpoint_steps=_STEPS_15000,
        init_scale=0.002 / 3,
    ),
    TrainingRecipe(
        name="lsa-10layer-recurrent",
        summary="one layer of linear self-attention, applied ten times, on linear regression",
        model={"n_layers": 10, "activation_clip": 10.0},
        checkpoint_steps=_STEPS_15000,
        init_scale=0.0002,
        learning_rate=_DEEP_RATE,
        clip_norm=10.0,
    ),
    *(
        TrainingRecipe(
            name=f"blocks-12-mlp{suffix}",
            summary=f"twelve layers of linear self-attention with four heads and {which}",
            model={"n_layers": 12, "tied": False, "n_heads": 4, "mlp": mlp, "activation_clip": 10.0},
            checkpoint_steps=(0, 500, 1000, 2000, 3000, 4000, 5000, 7500, 10000),
            seeds=(0,),
            init_scale=0.002 / 12,
            learning_rate=_DEEP_RATE,
            clip_norm=10.0,
        )
        for suffix, mlp, which in (("", "shared", "one MLP for all"), ("-own", "own", "an MLP in each"))
    ),
    *(
        TrainingRecipe(
            name=f"lsa-{n_layers}layer-norm",
            summary=f"one layer of linear self-attention with layer norm{', applied twice' * (n_layers > 1)}",
            model={"n_layers": n_layers, "layer_norm": True},
            checkpoint_steps=_STEPS_15000,
            init_scale=0.002 / n_layers,
        )
        for n_layers in (1, 2)
    ),
    TrainingRecipe(
        name="sine-mlp",
        summary="one layer of linear self-attention behind an embedding with an MLP, on sines",
        model={"d_embed": 40},
        tasks=_SINES,
        checkpoint_steps=_STEPS_50000,
        clip_norm=100.0,
    ),
    EmbeddingRecipe(
        name="sine-mlp-gd",
        summary="the embedding of sine-mlp in front of one written step of gradient descent, on sines",
        model={"d_embed": 40},
        tasks=_SINES,
        checkpoint_steps=tuple(step for step in _STEPS_50000 if step <= 20000),
        learning_rate=3e-4,
        clip_norm=100.0,
    ),
    TrainingRecipe(
        name="separate-tokens",
        summary="a layer of softmax and one of linear self-attention, x and y in tokens of their own",
        model={
            "n_layers": 2,
            "tied": False,
            "softmax": True,
            "linear_from": 1,
            "token_order": "interleaved",
            "d_position": 10,
        },
        checkpoint_steps=_STEPS_50000,
        init_scale=0.01,
        clip_norm=10.0,
    ),
    *(
        RepeatedTasksRecipe(
            name=f"lsa-1layer-fixed-{size}",
            summary=f"one layer of linear self-attention on the same {size:,} tasks at every step",
            model={"n_layers": 1},
            checkpoint_steps=STEPS_5000,
            batch_size=size,
        )
        for size in BATCHES
    ),
    *(
        TrainingRecipe(
            name=f"lsa-1layer-d{width}",
            summary=f"one layer of linear self-attention on linear regression with N = d = {width}",
            model={"n_layers": 1},
            tasks={"n_context": width, "d_in": width},
            checkpoint_steps=(0, 1000, 2500, 5000),
            seeds=TEN if width == NARROW else (0, 1, 2),
        )
        for width in WIDTHS
    ),
)
