"""Reports of a user's function, made again: from the same code alone, and only from a file that the user names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope import models
from mesascope.analyses.reports.provenance import key
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.family import run_family
from mesascope.analyses.runs.running import finished, run
from mesascope.analyses.runs.verifying import verify
from mesascope.data.errors import UsageError
from mesascope.models import TokenLayout, from_predictor_file

TEXT = """
import helper
from pathlib import Path
import torch
Path(__file__).with_name("ran").write_text("x")

def predict(tokens):
    return helper.half(tokens[:, -1, 0])

def other(tokens):
    return helper.half(tokens[:, -1, 1])

net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(1))
state = Path(__file__).with_name("state.pt")
net(torch.zeros(1, 5, 4))
net.load_state_dict({"1.weight": torch.full((1, 20), float(state.read_text())), "1.bias": torch.zeros(1)})
"""
HELPER = "def half(x): return x / 2\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the folder that everything happens in."""
    monkeypatch.chdir(tmp_path)
    Path("helper.py").write_text(HELPER)
    Path("state.pt").write_text("0.5")
    path = Path("mine.py")
    path.write_text(TEXT)
    return path


@pytest.fixture
def save(mean_answer: Any, file: Path) -> Callable[..., Path]:
    """Report on a function of the file, and forget that it ever ran."""

    def saved(function: str = "predict", layout: TokenLayout | None = None, **how: Any) -> Path:
        subject = from_predictor_file(f"{file}:{function}", layout or TokenLayout(d_in=3), **how)
        folder = run(subject, mean_answer()).save("out", figures="none")
        Path("ran").unlink()
        return folder

    return saved


def refusal(folder: Path, **given: Any) -> str:
    with pytest.raises(UsageError) as caught:
        verify(folder, **given)
    return str(caught.value)


@pytest.mark.parametrize("function", ["predict", "net"])
@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_the_same_file_is_bit_identical(save: Callable[..., Path], function: str, dtype: torch.dtype | None) -> None:
    assert verify(save(function, dtype=dtype), predictor=f"mine.py:{function}").verdict == "bit-identical"


def test_a_layout_that_was_declared_is_declared_again(save: Callable[..., Path]) -> None:
    folder = save(layout=TokenLayout(d_in=3, order="joint", label_slot=0))
    assert Report.load(folder).provenance["command"] is None  # the command line declares none
    assert "TokenLayout(d_in=3, d_out=1, order='joint', label_slot=0)" in Report.load(folder).provenance["python"]
    assert verify(folder, predictor="mine.py:predict").verdict == "bit-identical"


def test_so_is_a_copy_elsewhere_under_another_name(save: Callable[..., Path]) -> None:
    folder = save()
    Path("there").mkdir()
    shutil.move("mine.py", "there/yours.py")
    shutil.move("helper.py", "there/helper.py")
    shutil.move("state.pt", "there/state.pt")
    assert verify(folder, predictor="there/yours.py:predict").verdict == "bit-identical"
    assert verify(Report.load(folder), predictor="there/yours.py:predict").verdict == "bit-identical"


def test_without_the_file_nothing_runs(save: Callable[..., Path]) -> None:
    message = refusal(save())
    assert "this report is of a predictor, 'predict' of a file with SHA-256 " in message
    assert "give it with --predictor FILE.py:predict" in message
    assert not Path("ran").exists()


def test_weights_stand_for_no_code(save: Callable[..., Path]) -> None:
    assert refusal(save(), weights="mine.py").startswith("--weights of a report of a predictor; leave it out")


def test_another_file_is_refused_before_it_runs(save: Callable[..., Path], file: Path) -> None:
    folder = save()
    recorded = Report.load(folder).sources[0]["facts"]["file_sha256"]
    file.write_text(TEXT + "\n")
    message = refusal(folder, predictor="mine.py:predict")
    assert f"the report was made with {recorded}" in message
    assert message.count("SHA-256 ") == 1
    assert recorded not in message.partition(";")[0]
    assert not Path("ran").exists()


def test_another_function_is_refused_before_it_runs(save: Callable[..., Path]) -> None:
    assert "expected mine.py:predict" in refusal(save(), predictor="mine.py:other")
    assert not Path("ran").exists()


def test_another_module_beside_it_is_named(save: Callable[..., Path]) -> None:
    folder = save()
    Path("helper.py").write_text("def half(x): return x / 3\n")
    assert refusal(folder, predictor="mine.py:predict").startswith("helper.py, beside mine.py: SHA-256 ")


def test_other_weights_are_found(save: Callable[..., Path]) -> None:
    folder = save("net")
    Path("state.pt").write_text("0.25")
    found = verify(folder, predictor="mine.py:net")
    assert found.verdict == "weights differ"
    assert found.differences[0].startswith("mine.net: weights_sha256: the report has")


def test_a_report_of_something_else(mean_answer: Any, make_subject: Any, file: Path) -> None:
    folder = run(make_subject(), mean_answer()).save("out", figures="none")
    assert "this report is of built, which is no function in a file" in refusal(folder, predictor="mine.py:predict")
    assert not Path("ran").exists()


def test_in_python_the_subject_is_passed_again(save: Callable[..., Path]) -> None:
    folder = save()
    subject = from_predictor_file("mine.py:predict", TokenLayout(d_in=3))
    assert verify(folder, subject=subject).verdict == "bit-identical"
    other = verify(folder, subject=from_predictor_file("mine.py:other", TokenLayout(d_in=3)))
    assert any("facts.function" in difference for difference in other.differences)


def test_several_functions_make_a_family_that_python_verifies(mean_answer: Any, file: Path) -> None:
    subjects = [from_predictor_file(f"mine.py:{name}", TokenLayout(d_in=3)) for name in ("predict", "other")]
    answer = run_family(subjects, mean_answer())
    assert isinstance(answer, tuple)
    folder = answer[1].save("out", figures="none")
    for given in ("mine.py:predict", None):
        assert "over 2 models; pass them in Python" in refusal(folder, predictor=given)
    assert verify(folder, subject=subjects).verdict == "bit-identical"


@pytest.mark.parametrize("facts", [{"d_in": "wide"}, {"d_in": -3}, {"label_slot": 99}])
def test_a_damaged_record_is_refused(save: Callable[..., Path], facts: dict[str, Any]) -> None:
    folder = save()
    record = json.loads((folder / "report.json").read_text())
    record["sources"][0]["facts"] |= facts
    (folder / "report.json").write_text(json.dumps(record))
    assert "report.json: sources.facts" in refusal(folder, predictor="mine.py:predict")
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", ["beside_sha256", "function", "file_sha256"])
def test_a_record_without_its_code_is_damaged(save: Callable[..., Path], name: str) -> None:
    folder = save()
    record = json.loads((folder / "report.json").read_text())
    for facts in ({name: None}, {}):
        record["sources"][0]["facts"].pop(name)
        record["sources"][0]["facts"] |= facts if name == "beside_sha256" else {}
        (folder / "report.json").write_text(json.dumps(record))
        assert "damaged" in refusal(folder, predictor="mine.py:predict")
        record["sources"][0]["facts"][name] = "x"


# -- the key ----------------------------------------------------------------------------------------------------------


def test_the_key_is_of_all_the_code(mean_answer: Any, file: Path) -> None:
    """The file's bytes, the function and the modules beside it; neither its name nor its place."""

    def made(path: str = "mine.py", function: str = "predict") -> str:
        return key(from_predictor_file(f"{path}:{function}", TokenLayout(d_in=3)), mean_answer(), 0, 64)

    first = made()
    shutil.copy("mine.py", "yours.py")
    assert made() == made("yours.py") == first
    assert made(function="other") != first
    Path("helper.py").write_text(HELPER + "\n")
    assert made() != first
    Path("helper.py").write_text(HELPER)
    file.write_text(TEXT + "\n")
    assert made() != first


def test_a_finished_report_is_found_by_its_code(
    save: Callable[..., Path], mean_answer: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = {"commit": "c" * 40, "dirty": False}
    for place in ("reports.provenance", "runs.running"):
        monkeypatch.setattr(f"mesascope.analyses.{place}.source_state", lambda: clean)

    def found() -> Path | None:
        return finished("out", from_predictor_file("mine.py:predict", TokenLayout(d_in=3)), mean_answer())

    folder = save()
    assert found() == folder
    file.write_text(TEXT + "\n")
    assert found() is None
    in_memory = models.from_predictor(lambda tokens: tokens[:, -1, 0], TokenLayout(d_in=3), "mine.predict")
    assert finished("out", in_memory, mean_answer()) is None


def test_what_makes_it_again(save: Callable[..., Path], file: Path) -> None:
    made = Report.load(save()).provenance
    assert made["command"] == (
        "mesascope run --predictor mine.py:predict --d-in 3 --d-out 1 --probe mean-answer --seed 0 --batch-size 2048"
        " --dtype float32"
    )
    load = "models.from_predictor_file('mine.py:predict', models.TokenLayout(d_in=3, d_out=1), dtype=torch.float32)"
    assert f"subject = {load}" in made["python"]
    assert "`mesascope verify REPORT --predictor FILE.py:function`" in made["verification"]
    names = {"models": models, "torch": torch}
    assert eval(load, names).source == replace(from_predictor_file("mine.py:predict", TokenLayout(d_in=3)).source)
