"""Which checkpoints stand for a need, and which are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mesascope.analyses.reproduction.finding import planned, plans_of
from mesascope.analyses.reproduction.judging import FigureVerdict
from mesascope.analyses.reproduction.making import trained
from mesascope.analyses.reproduction.needs import Need, Reduction
from mesascope.analyses.reproduction.papers import VON_OSWALD_2023
from mesascope.analyses.reproduction.results import FigureResult, Made
from mesascope.analyses.training.recipes import RECIPES
from mesascope.analyses.training.training import train
from mesascope.data.errors import UsageError
from mesascope.models import shipped
from mesascope.probes.probe import silent

RECIPE = "lsa-1layer-d5"
NEED = Need(RECIPE, RECIPE, Reduction(8, (1,)), settings={"limit": 100})
SHORT = replace(RECIPES[RECIPE], checkpoint_steps=(0, 4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a file of the recipe that has two of its three seeds."""
    folder = tmp_path_factory.mktemp("checkpoints")
    train(SHORT, folder / f"{RECIPE}.safetensors", seeds=(0, 2))
    return folder


def test_a_shipped_one_is_found_by_its_name(tmp_path: Path) -> None:
    plan = planned(VON_OSWALD_2023.needs["lsa-1layer"], False, tmp_path, None)
    assert (plan.found, plan.model, plan.file) == (True, "lsa-1layer", shipped()["lsa-1layer"])
    assert plan.seeds == RECIPES["lsa-1layer"].seeds
    assert plan.steps[-1] == RECIPES["lsa-1layer"].steps
    assert plan.reduced == ""
    assert plan.training_seconds == 0


def test_of_a_shipped_one_the_reduced_size_takes_all_seeds_and_some_steps(tmp_path: Path) -> None:
    plan = planned(VON_OSWALD_2023.needs["lsa-1layer"], True, tmp_path, None)
    assert (plan.seeds, len(plan.steps), plan.steps[-1]) == ((0, 1, 2, 3, 4), 4, 5000)
    assert plan.reduced == "500 of 4,000 tasks"
    assert not plan.cut_short


def test_what_is_not_there_is_to_be_trained(tmp_path: Path) -> None:
    full, quick = planned(NEED, False, tmp_path, None), planned(NEED, True, tmp_path, None)
    assert not full.found
    assert not quick.found
    assert full.file == tmp_path / "checkpoints" / f"{RECIPE}.safetensors"
    assert quick.file == tmp_path / "checkpoints" / "reduced" / f"{RECIPE}.safetensors"
    assert quick.reduced == "8 of 5,000 steps, 1 of 3 seeds"
    assert quick.cut_short
    assert not full.cut_short
    assert full.seconds > quick.seconds > 0
    assert not any(tmp_path.iterdir())


def test_a_file_of_the_user_s_serves_with_the_seeds_that_it_has(folder: Path, tmp_path: Path) -> None:
    plan = planned(NEED, False, tmp_path, folder)
    assert (plan.found, plan.model) == (True, str(folder / f"{RECIPE}.safetensors"))
    assert (plan.seeds, plan.steps) == ((0, 2), (0, 4))
    assert plan.reduced == "4 of 5,000 steps, 2 of 3 seeds"
    # the reduced size asks for seed 1, which is not there
    assert planned(NEED, True, tmp_path, folder).seeds == (0,)


def test_a_training_with_other_settings_is_refused(tmp_path: Path) -> None:
    train(replace(SHORT, learning_rate=0.5, batch_size=16), tmp_path / f"{RECIPE}.safetensors", seeds=(0,))
    with pytest.raises(UsageError, match=r"another training than the recipe lsa-1layer-d5: batch_size, learning_rate"):
        planned(NEED, False, tmp_path / "out", tmp_path)


def test_training_makes_the_file_and_is_not_done_twice(tmp_path: Path) -> None:
    plan = trained(planned(NEED, True, tmp_path, None), silent)
    assert plan.found
    assert plan.file.is_file()
    begun = plan.file.stat().st_mtime_ns
    again = planned(NEED, True, tmp_path, None)
    assert (again.found, again.seeds, again.steps) == (True, (1,), (8,))
    trained(again, silent)
    assert plan.file.stat().st_mtime_ns == begun


def test_a_half_finished_training_of_other_settings_is_refused_and_kept(tmp_path: Path) -> None:
    plan = planned(NEED, True, tmp_path, None)
    plan.file.parent.mkdir(parents=True)
    other = replace(plan.recipe, learning_rate=0.5, checkpoint_steps=(0, 100_000))

    def stop(stage: str, fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(other, plan.file, progress=stop)
    partial = plan.file.with_name(f"{plan.file.name}.partial")
    held = partial.read_bytes()
    with pytest.raises(UsageError, match=r"holds another training .*learning_rate = 0.5, here 0.001"):
        trained(plan, silent)
    assert partial.read_bytes() == held


def test_the_reduced_size_takes_what_the_full_one_has_trained(tmp_path: Path) -> None:
    whole = planned(NEED, False, tmp_path, None)
    whole.file.parent.mkdir(parents=True)
    train(SHORT, whole.file, seeds=(1,))
    quick = planned(NEED, True, tmp_path, None)
    assert (quick.found, quick.model, quick.seeds, quick.steps) == (True, str(whole.file), (1,), (4,))


@pytest.mark.parametrize("full", [True, False])
def test_a_figure_is_as_reduced_as_a_twin_of_its_model(full: bool, tmp_path: Path) -> None:
    """The model may be there in full, and what it is compared with be trained for some steps."""
    need = VON_OSWALD_2023.needs["sine-mlp"]
    assert need.twin is not None
    model, twin = planned(need, False, tmp_path, None), planned(need.twin, not full, tmp_path, None)
    made = Made(model, None, twin=twin)
    assert made.cut_short == (not full)
    result = FigureResult(VON_OSWALD_2023.claims[4], FigureVerdict("not measured"), None, {"sine-mlp": made})
    assert ("sine-mlp-gd: 300 of 20,000 steps" in result.reduced) == (not full)
    said = made.as_dict()["twin"]
    assert (said["recipe"], said["steps"]) == ("sine-mlp-gd", list(twin.steps))
    assert not Made(model, None).cut_short
    assert Made(model, None).as_dict()["twin"] is None


def test_a_twin_comes_before_its_need(tmp_path: Path) -> None:
    plans = plans_of(VON_OSWALD_2023, (4,), True, tmp_path, None)
    assert list(plans) == ["sine-mlp-gd", "sine-mlp"]
    assert plans["sine-mlp-gd"].measuring_seconds == 0


def test_an_estimate_falls_with_steps_seeds_and_tasks_and_rises_with_the_length_of_contexts(tmp_path: Path) -> None:
    ten, hundred = (VON_OSWALD_2023.needs[f"lsa-2layer-recurrent N={n}"] for n in (10, 100))
    full, quick = (planned(ten, quick, tmp_path, None) for quick in (False, True))
    one_seed = full.measuring_seconds / len(full.seeds)
    assert quick.measuring_seconds == pytest.approx(one_seed * (1 + 500 / 10_000) / 2)
    assert planned(hundred, False, tmp_path, None).measuring_seconds > 5 * full.measuring_seconds
    over_steps = planned(VON_OSWALD_2023.needs["lsa-2layer-recurrent"], False, tmp_path, None)
    one_step = planned(replace(over_steps.need, over_steps=False), False, tmp_path, None)
    assert over_steps.measuring_seconds == len(over_steps.steps) * one_step.measuring_seconds
