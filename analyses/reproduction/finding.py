"""The checkpoints of a need: those that ship, those of a folder of the user's, those that an earlier call has trained,
and else a training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import UsageError
from ...models.opening.catalogue import Header, read_header, shipped
from ..training.recipe_kinds import BaseRecipe
from ..training.recipes import RECIPES
from .costs import MEASURING_S, OTHERS_S, TRAINING_MS
from .needs import Need
from .papers import Paper

OUR_FOLDER = "checkpoints"
REDUCED = "reduced"
_ANY = ("seeds", "checkpoint_steps", "name")
"""What may differ between a recipe and the training of a file that stands for it."""


@dataclass(frozen=True)
class Planned:
    """What a need comes to.

    recipe:   what is trained, or was
    file:     where its checkpoints are, or will be
    model:    what opens them: the name of a shipped one, or the file
    found:    whether they are there
    seeds, steps:  what is measured
    settings:  of the probe
    """

    need: Need
    recipe: BaseRecipe
    file: Path
    model: str
    found: bool
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    settings: Mapping[str, Any]

    @property
    def reduced(self) -> str:
        """How it is less than the recipe, in words; "" where it is all of it."""
        whole = RECIPES[self.need.recipe]
        said = []
        if self.cut_short:
            said.append(f"{self.last_step:,} of {whole.steps:,} steps")
        if len(self.seeds) < len(whole.seeds):
            said.append(f"{len(self.seeds)} of {len(whole.seeds)} seeds")
        if self.settings.get("limit", 0) < self.need.settings.get("limit", 0):
            said.append(f"{self.settings['limit']:,} of {self.need.settings['limit']:,} tasks")
        return ", ".join(said)

    @property
    def cut_short(self) -> bool:
        return self.last_step < RECIPES[self.need.recipe].steps

    @property
    def last_step(self) -> int:
        return self.steps[-1]

    @property
    def training_seconds(self) -> float:
        """About; 0 where nothing is trained."""
        if self.found:
            return 0.0
        return TRAINING_MS[self.need.recipe] * self.recipe.steps * len(self.recipe.seeds) / 1000

    @property
    def measuring_seconds(self) -> float:
        if self.need.probe is None:
            return 0.0
        one = MEASURING_S.get(self.need.key, MEASURING_S.get(self.need.recipe, OTHERS_S))
        tasks = self.settings.get("limit", 1) / self.need.settings.get("limit", 1)
        return one * (1 + tasks) / 2 * len(self.seeds) * len(self.steps)

    @property
    def seconds(self) -> float:
        return self.training_seconds + self.measuring_seconds


def plans_of(
    paper: Paper, figures: Sequence[int], quick: bool, out: Path, checkpoints: Path | None
) -> dict[str, Planned]:
    """Of every need of these figures and of their twins, by key. See `planned`.

    Raises UsageError for a folder of checkpoints that is not there.
    """
    if checkpoints is not None and not checkpoints.is_dir():
        raise UsageError(
            f"checkpoints: no folder {checkpoints}; name one with files that `mesascope train` wrote, or leave it out"
        )
    needs = (one for need in paper.needs_of(figures) for one in need.with_twin)
    return {need.key: planned(need, quick, out, checkpoints) for need in needs}


def planned(need: Need, quick: bool, out: Path, checkpoints: Path | None) -> Planned:
    """Where the checkpoints of a need are, and what is measured of them. Nothing is trained or written.

    checkpoints:  a folder with files of the recipes' names, which are used where they are there

    Raises UsageError for a file that holds another training.
    """
    recipe = need.trained(RECIPES[need.recipe], quick)
    name = f"{need.recipe}.safetensors"
    ours = out / OUR_FOLDER / (REDUCED if quick else "") / name
    trained = [(file, str(file)) for file in dict.fromkeys((out / OUR_FOLDER / name, ours))]
    for file, model in (*_places(need, checkpoints), *trained):
        if file.exists():
            return _of_file(need, quick, recipe, file, model)
    steps = need.measured_steps(recipe.checkpoint_steps, quick)
    return Planned(need, recipe, ours, str(ours), False, recipe.seeds, steps, need.measured_with(quick))


def _places(need: Need, checkpoints: Path | None) -> list[tuple[Path, str]]:
    """Files that may stand for a need's recipe, and what opens them."""
    places = []
    if checkpoints is not None:
        file = checkpoints / f"{need.recipe}.safetensors"
        places.append((file, str(file)))
    if (file := shipped().get(need.recipe)) is not None:
        places.append((file, need.recipe))
    return places


def _of_file(need: Need, quick: bool, recipe: BaseRecipe, file: Path, model: str) -> Planned:
    header = read_header(file)
    _refuse_other_training(RECIPES[need.recipe], header, file)
    seeds = tuple(sorted({member.seed for member in header.members}))
    kept = tuple(sorted({member.step for member in header.members}))
    wanted = need.reduced.seeds if quick else seeds
    chosen = tuple(seed for seed in seeds if seed in wanted) or seeds[:1]
    steps = need.measured_steps(kept, quick)
    return Planned(need, recipe, file, model, True, chosen, steps, need.measured_with(quick))


def _refuse_other_training(recipe: BaseRecipe, header: Header, file: Path) -> None:
    """A file with fewer seeds or steps serves, and one with other settings does not."""
    held, expected = _settings(header.record.get("recipe", {})), _settings(recipe.as_dict())
    differing = sorted(name for name in expected if held.get(name) != expected[name])
    if differing:
        raise UsageError(
            f"{file} holds another training than the recipe {recipe.name}: {', '.join(differing)} differ; move it away,"
            f" or train it anew with `mesascope train {recipe.name}`"
        )


def _settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in recipe.items() if name not in _ANY}
