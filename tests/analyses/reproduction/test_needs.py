"""What each figure needs is there: recipes, probes that take the settings, and what a training costs."""

from __future__ import annotations

import pytest
from mesascope.analyses.reproduction.costs import MEASURING_S, TRAINING_MS
from mesascope.analyses.reproduction.needs import Need, Reduction
from mesascope.analyses.reproduction.papers import PAPERS, VON_OSWALD_2023, paper_named
from mesascope.analyses.runs.running import probe_named
from mesascope.analyses.training.recipes import RECIPES
from mesascope.data.errors import UsageError

NEEDS = {one.key: one for need in VON_OSWALD_2023.needs.values() for one in need.with_twin}


def test_every_figure_has_a_claim_and_needs() -> None:
    assert sorted(VON_OSWALD_2023.claims) == sorted(VON_OSWALD_2023.of_figures) == list(range(1, 17))
    used = {key for keys in VON_OSWALD_2023.of_figures.values() for key in keys}
    assert used == set(VON_OSWALD_2023.needs)
    for number, claim in VON_OSWALD_2023.claims.items():
        assert {one.of for one in claim.conditions if one.of} <= set(VON_OSWALD_2023.of_figures[number])


@pytest.mark.parametrize("key", NEEDS)
@pytest.mark.parametrize("quick", [True, False], ids=["quick", "full"])
def test_a_probe_takes_the_settings_of_a_need_and_a_recipe_its_size(key: str, quick: bool) -> None:
    need = NEEDS[key]
    recipe = need.trained(RECIPES[need.recipe], quick)
    assert set(recipe.seeds) <= set(RECIPES[need.recipe].seeds)
    assert recipe.steps == (
        min(need.reduced.steps, RECIPES[need.recipe].steps) if quick else RECIPES[need.recipe].steps
    )
    if need.probe is not None:
        assert probe_named(need.probe, need.measured_with(quick)).name == need.probe


def test_every_training_and_no_other_has_a_cost() -> None:
    recipes = {need.recipe for need in NEEDS.values()}
    assert set(TRAINING_MS) == recipes
    assert set(MEASURING_S) <= recipes | set(NEEDS)


def test_the_figure_map_agrees_with_what_figures_show() -> None:
    """Figures that the paper draws of the same models share them, so that each is measured once."""
    of = VON_OSWALD_2023.of_figures
    assert of[1] == of[10] == ("lsa-1layer",)
    assert {"lsa-1layer", "lsa-2layer-recurrent", "lsa-5layers"} == set(of[6])
    assert [need.key for need in VON_OSWALD_2023.needs_of((1, 10, 6))] == [
        "lsa-1layer", "lsa-2layer-recurrent", "lsa-5layers",
    ]  # fmt: skip


def test_measured_steps() -> None:
    kept = (0, 10, 20, 30, 40, 50)
    need = Need("a", "lsa-1layer", Reduction(50, measured=3))
    assert need.measured_steps(kept, quick=False) == kept
    assert need.measured_steps(kept, quick=True) == (0, 20, 50)
    assert Need("a", "lsa-1layer", Reduction(50)).measured_steps(kept, quick=True) == (50,)
    assert Need("a", "lsa-1layer", Reduction(50, measured=None)).measured_steps(kept, quick=True) == kept
    assert Need("a", "lsa-1layer", Reduction(50), over_steps=False).measured_steps(kept, quick=False) == (50,)
    assert Need("a", "lsa-1layer", Reduction(50, measured=9)).measured_steps((0, 50), quick=True) == (0, 50)


def test_the_reduced_training_is_the_recipe_cut_short() -> None:
    need, whole = NEEDS["lsa-5layers"], RECIPES["lsa-5layers"]
    cut = need.trained(whole, quick=True)
    assert cut.checkpoint_steps == (0, 375, 750, 1500)
    assert cut.seeds == whole.seeds == (0, 1, 2, 3, 4)
    assert {**cut.as_dict(), "checkpoint_steps": 0, "seeds": 0} == {
        **whole.as_dict(),
        "checkpoint_steps": 0,
        "seeds": 0,
    }


def test_figures_and_papers_that_do_not_exist() -> None:
    assert paper_named("von-oswald-2023") is PAPERS["von-oswald-2023"]
    with pytest.raises(UsageError, match="did you mean von-oswald-2023"):
        paper_named("von-oswald")
    assert VON_OSWALD_2023.chosen(()) == tuple(range(1, 17))
    assert VON_OSWALD_2023.chosen((9, 1, 9)) == (1, 9)
    with pytest.raises(UsageError, match="figure 17: von-oswald-2023 has figures 1 to 16"):
        VON_OSWALD_2023.chosen((3, 17))
