"""Where `lsa-plateaus` rests, with query and key apart and merged, seed by seed.

    python benchmarks/plateaus.py > plateaus.md

The recipes are those of `mesascope train lsa-plateaus` and `lsa-plateaus-merged`, on seeds 0 to 19 and 0 to 4. Losses
are those of the file's record: whole squared errors, over all tasks. A plateau is one of
`mesascope.probes.statistics.plateaus`; the level beside it is the nearest L_m of the closed form.

One thread. It takes about 4 minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mesascope.analyses import RECIPES, train
from mesascope.analyses.training.recipe_kinds import PopulationRecipe
from mesascope.models.opening.catalogue import read_header
from mesascope.probes.gd_certificate.optimum import Law, rank_losses
from mesascope.probes.statistics.plateaus import Plateau, cannot_tell, plateaus, resolution


def levels_of(recipe: PopulationRecipe) -> np.ndarray:
    tasks = recipe.family
    covariance = torch.diag(torch.tensor(tasks.variances, dtype=torch.float64))
    return 2 * rank_losses(Law(covariance, tasks.n_context)).numpy()


def told(plateau: Plateau, levels: np.ndarray) -> str:
    level = int(np.abs(levels - plateau.loss).argmin())
    off = 100 * (plateau.loss / levels[level] - 1)
    return f"L_{level} {off:+.3f} %, {plateau.first} to {plateau.last} ({plateau.decades:.2f} decades)"


def report(name: str, n_seeds: int) -> None:
    recipe = RECIPES[name]
    assert isinstance(recipe, PopulationRecipe)
    levels = levels_of(recipe)
    print(f"## {name}\n\nlevels: {', '.join(f'{level:.5f}' for level in levels)}\n")
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        path = train(replace(recipe, seeds=tuple(range(n_seeds))), Path(folder, f"{name}.safetensors"))
        print(f"{n_seeds} seeds: {time.perf_counter() - begun:.0f} s, {path.stat().st_size / 1e6:.2f} MB\n")
        record = read_header(path).record
    print("| seed | plateaus: level, difference, steps | a plateau would be seen from |\n|---|---|---|")
    for seed in range(n_seeds):
        losses = np.array(record["training_loss"][f"seed{seed}"])
        reason = cannot_tell(recipe.checkpoint_steps, losses)
        found = [] if reason else plateaus(recipe.checkpoint_steps, losses)
        said = reason or "; ".join(told(plateau, levels) for plateau in found)
        print(f"| {seed} | {said} | {resolution(recipe.checkpoint_steps, losses):.2f} decades |")
    print()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="seeds with query and key apart; a fourth of them merged")
    options = parser.parse_args()
    torch.set_num_threads(1)
    report("lsa-plateaus", options.seeds)
    report("lsa-plateaus-merged", max(options.seeds // 4, 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
