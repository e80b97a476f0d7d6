"""Code that a user names: what of it runs, what is left behind, and what its exceptions say."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
from mesascope.data.errors import UsageError
from mesascope.models.predictor_code import LoadedCode, PredictorCode, PredictorFailedError


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def loaded(folder: Path, text: str, function: str = "predict") -> LoadedCode:
    return LoadedCode(PredictorCode.named(f"{write(folder, text)}:{function}"))


def refusal(folder: Path, text: str, function: str = "predict") -> str:
    with pytest.raises(UsageError) as caught:
        loaded(folder, text, function)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_bytes_that_are_digested_are_those_that_run(tmp_path: Path) -> None:
    path = write(tmp_path, "def predict(x):\n    return 1\n")
    code = PredictorCode.named(f"{path}:predict")
    assert code.sha256 == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    write(tmp_path, "def predict(x):\n    return 2\n")
    assert LoadedCode(code).predictor(None) == 1
    assert (code.name, code.label) == ("mine.py", "mine.predict")


@pytest.mark.parametrize("path", [r"C:\mine.py", "a:b.py", "./mine.py"])
def test_the_last_colon_separates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(), "", path)
    code = PredictorCode.named(f"{path}:predict")
    assert (code.path, code.function) == (path, "predict")


@pytest.mark.parametrize("given", ["mine.py", "mine:predict", "mine.py:", ":predict", "mine.py:a b", "mine.py:a.b",
                                   r"C:\mine.py", "weights.pt:predict", ""])  # fmt: skip
def test_what_is_no_file_with_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", "weights.pt", "mine"):
        write(tmp_path, "", name)
    with pytest.raises(UsageError, match=r"expected FILE\.py:function"):
        PredictorCode.named(given)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    for name, what in (("folder.py", "a directory"), ("none.py", "no such file")):
        with pytest.raises(UsageError, match=what):
            PredictorCode.named(f"{tmp_path / name}:predict")


HELPED = """
from __future__ import annotations
from dataclasses import dataclass
import helper
from package.inner import three
import wave  # of Python itself
@dataclass
class Setting:
    rate: float = 2.0
def predict(x):
    import later
    return helper.two() + three() + later.five() + Setting().rate
"""


def with_helpers(folder: Path) -> LoadedCode:
    write(folder, "def two(): return 2", "helper.py")
    write(folder, "from helper import two\ndef three(): return two() + 1", "package/inner.py")
    write(folder, "def five(): return 5", "later.py")
    write(folder, "unused = 1", "unused.py")
    return loaded(folder, HELPED)


def test_modules_beside_the_file_are_found_and_digested(tmp_path: Path) -> None:
    found = with_helpers(tmp_path)
    expected = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
                for name in ("helper.py", "package/inner.py")}  # fmt: skip
    assert found.beside == expected
    with found.running():
        assert found.predictor(None) == 12


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on the path nor among the modules: a second file's helper of the same name is its own."""
    monkeypatch.setitem(sys.modules, "unused", theirs := type(sys)("unused"))
    before, path = set(sys.modules), list(sys.path)
    first = with_helpers(tmp_path / "a")
    with first.running():
        first.predictor(None)
    assert sys.path == path
    assert {
        name
        for name in set(sys.modules) - before
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path))
    } == set()
    assert not {"helper", "package", "package.inner", "later"} & set(sys.modules)
    assert sys.modules["unused"] is theirs
    write(tmp_path / "b", "def two(): return 20", "helper.py")
    second = loaded(tmp_path / "b", "import helper\ndef predict(x): return helper.two()")
    for one, answer in ((second, 20), (first, 12)):
        with one.running():
            assert one.predictor(None) == answer


def test_a_module_of_the_same_name_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = with_helpers(tmp_path)
    monkeypatch.setitem(sys.modules, "helper", theirs := type(sys)("helper"))
    with found.running():
        assert found.predictor(None) == 12
        assert sys.modules["helper"] is not theirs
    assert sys.modules["helper"] is theirs


def test_packages_below_the_folder_that_are_found_in_another_way_are_not_its_own(tmp_path: Path) -> None:
    """An environment may lie in the folder of a project: what is installed in it is no code of the file's."""
    write(tmp_path, "x = 1", "venv/site-packages/installed_there.py")
    text = f"import sys; sys.path.append({str(tmp_path / 'venv/site-packages')!r})\nimport installed_there\n"
    path = list(sys.path)
    try:
        assert loaded(tmp_path, text + "def predict(x): return 1").beside == {}
        assert "installed_there" in sys.modules
    finally:
        sys.path[:] = path
        sys.modules.pop("installed_there", None)


def test_what_it_prints_is_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = loaded(tmp_path, "print('while imported')\ndef predict(x): print('while asked')")
    with found.running():
        found.predictor(None)
    assert capsys.readouterr() == ("", "while imported\nwhile asked\n")


def test_it_is_not_run_as_a_program(tmp_path: Path) -> None:
    loaded(tmp_path, "def predict(x): return 1\nif __name__ == '__main__': raise ValueError")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\ndef predict(:\n", "mine.py, line 2: SyntaxError: "),
        ("x = 1\n\nimport no_such_module_here\n", "line 3: ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("from math import no_such_name\n", "mine.py, line 1: ImportError: "),
        ("def f():\n    return {}['a\\nb']\nf()\n", "mine.py, line 2: KeyError: "),
        ("assert False\n", "mine.py, line 1: AssertionError; expected"),
        ("import sys\nsys.exit('bye')\n", "mine.py, line 2: SystemExit: bye"),
        ("import broken\n", "broken.py, line 2: SyntaxError: "),
        ("import torch\ntorch.zeros(2) @ torch.zeros(3)\n", "mine.py, line 2: RuntimeError: "),
        ("\0", "mine.py"),
    ],
)
def test_exceptions_of_the_file_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    write(tmp_path, "x = 1\ny = (\n", "broken.py")
    message = refusal(tmp_path, text)
    assert told in message
    assert f"`python {tmp_path / 'mine.py'}` shows" in message


def test_an_interruption_is_none_of_them(tmp_path: Path) -> None:
    path = list(sys.path)
    with pytest.raises(KeyboardInterrupt):
        loaded(tmp_path, "raise KeyboardInterrupt")
    assert sys.path == path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def predicted(x): return 1\nclass Predict: pass\n", "has no 'predict'; did you mean predicted?"),
        ("", "has no 'predict'; there are no valid names"),
        ("class predict: pass\n", "is a class; expected a function or an instance: write `model = predict(…)`"),
        ("predict = 3.5\n", "predict has the type float; expected a function or an nn.Module"),
        ("def predict(): return 1\n", "predict() cannot be called with one argument (too many positional"),
        ("def predict(x, n): return 1\n", "predict(x, n) cannot be called with one argument (missing a required"),
        ("def predict(x, *, n): return 1\n", "missing a required argument: 'n'"),
    ],
)  # fmt: skip
def test_names_that_predict_nothing(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal(tmp_path, text)


@pytest.mark.parametrize("text", ["def predict(x, n=1): return x", "predict = lambda *x, **y: x[0]",
                                  "predict = abs", "class A:\n    def __call__(self, x): return x\npredict = A()"]
)  # fmt: skip
def test_whatever_takes_one_argument(tmp_path: Path, text: str) -> None:
    assert loaded(tmp_path, text).predictor(1) == 1


def test_its_failure_is_an_error_of_usage_and_one_at_run_time() -> None:
    kinds: tuple[Any, ...] = (UsageError, RuntimeError)
    assert all(issubclass(PredictorFailedError, kind) for kind in kinds)
