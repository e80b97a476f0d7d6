"""Code that a user names and owns: a function, or a module, in a file of Python. Needs no torch.

Nothing else in mesascope runs code from a file. Neither a checkpoint nor a report can name such a file: only the user
does, and `opening` knows nothing of it.

The bytes that are digested are those that run. While the code runs, its folder is on Python's path, and it and the
modules beside it are known by their names; afterwards they are not, so that they cannot be mistaken for anybody's.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..data.errors import UsageError, nearest, not_a_file

EXPECTED = "FILE.py:function, a file of yours and the name of a function or an nn.Module in it"
_LONGEST = 300
"""Letters of another's message that are shown."""


class PredictorFailedError(UsageError, RuntimeError):
    """The user's code raised an exception. Whoever asks it for a gradient expects a RuntimeError."""


@dataclass(frozen=True)
class PredictorCode:
    """A function of a file, and the file's bytes as they were when it was named.

    path:      as given
    function:  its name in the file
    """

    path: str
    function: str
    content: bytes

    @classmethod
    def named(cls, given: str) -> PredictorCode:
        """`FILE.py:function`. The last colon counts, since a path may have one, too (`C:\\mine.py:predict`)."""
        path, _, function = given.rpartition(":")
        if not path.endswith(".py") or not function.isidentifier():
            raise UsageError(f"predictor {given!r:.200}; expected {EXPECTED}")
        if not Path(path).is_file():
            raise UsageError(f"predictor {not_a_file(Path(path))}")
        try:
            return cls(path, function, Path(path).read_bytes())
        except OSError as error:
            raise UsageError(f"predictor {path}: cannot be read ({error.strerror}); check the path") from error

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return Path(self.path).name

    @property
    def label(self) -> str:
        """ "least_squares.predict": for titles and folders of reports."""
        return f"{Path(self.path).stem}.{self.function}"


class LoadedCode:
    """A file that has been run, and what its name stands for.

    predictor:  the function or module
    beside:     modules from the file's own folder that it imported, by path within the folder, with their SHA-256
    """

    def __init__(self, code: PredictorCode) -> None:
        self.code = code
        self._folder = Path(code.path).resolve().parent
        self._module = ModuleType(f"_predictor_{code.sha256[:16]}")
        self._module.__file__ = str(Path(code.path).resolve())
        self._own: dict[str, ModuleType] = {self._module.__name__: self._module}
        try:
            with self.running():
                importlib.invalidate_caches()  # a module beside it may be younger than Python's list of the folder
                exec(compile(code.content, self._module.__file__, "exec", dont_inherit=True), vars(self._module))
        except (Exception, SystemExit) as error:
            raise UsageError(
                f"predictor {self.told(error)}; expected a file that Python can import; `python {code.path}` shows"
                " the whole traceback"
            ) from error
        self.beside = self._digests()
        self.predictor = self._found()

    @contextmanager
    def running(self) -> Iterator[None]:
        """While its code runs. What it prints goes to stderr: stdout may be for data."""
        before, folder = dict(sys.modules), str(self._folder)
        sys.path.insert(0, folder)
        sys.modules.update(self._own)
        try:
            with redirect_stdout(sys.stderr):
                yield
        finally:
            if folder in sys.path:
                sys.path.remove(folder)
            for name, module in list(sys.modules.items()):
                if before.get(name) is not module and (name in self._own or self._is_beside(name, module)):
                    self._own[name] = module
                    del sys.modules[name]
            sys.modules.update({name: before[name] for name in self._own if name in before})

    def told(self, error: BaseException) -> str:
        """An exception of its code in one line, with the last place in its own files."""
        own = {str(getattr(module, "__file__", None)) for module in self._own.values()}
        frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        if isinstance(error, SyntaxError) and error.filename is not None:
            frames.append((error.filename, error.lineno))
            own |= {error.filename} if self._folder in Path(error.filename).parents else set()
        path, line = next(((path, line) for path, line in reversed(frames) if path in own), (self.code.path, None))
        message = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())[:_LONGEST]
        place = f"{Path(path).name}, line {line}" if line else Path(path).name
        return f"{place}: {type(error).__name__}{': ' if message else ''}{message}"

    def _is_beside(self, name: str, module: ModuleType) -> bool:
        """Whether it was imported from the folder, as `a.b` is from `a/b.py` or `a/b/__init__.py`."""
        within = _within(self._folder, module)
        return within is not None and [part.partition(".")[0] for part in within.parts] in (
            name.split("."),
            [*name.split("."), "__init__"],
        )

    def _digests(self) -> dict[str, str]:
        found = {}
        for name, module in self._own.items():
            within = _within(self._folder, module)
            if name != self._module.__name__ and within is not None and (self._folder / within).is_file():
                found[within.as_posix()] = hashlib.sha256((self._folder / within).read_bytes()).hexdigest()
        return dict(sorted(found.items()))

    def _found(self) -> Any:
        """What the file has under the name. UsageError for what cannot predict."""
        code, names = self.code, vars(self._module)
        if code.function not in names:
            own = [name for name, value in names.items() if callable(value) and not inspect.isclass(value)]
            raise UsageError(f"predictor {code.name}: has no {code.function!r}; {nearest(code.function, own)}")
        found = names[code.function]
        if inspect.isclass(found):
            raise UsageError(
                f"predictor {code.name}: {code.function} is a class; expected a function or an instance: write"
                f" `model = {code.function}(…)` in the file, and give {code.name}:model"
            )
        if not callable(found):
            raise UsageError(
                f"predictor {code.name}: {code.function} has the type {type(found).__name__}; expected a function or an"
                " nn.Module"
            )
        _refuse_other_arguments(found, f"predictor {code.name}: {code.function}")
        return found


def _within(folder: Path, module: ModuleType) -> Path | None:
    """A module's file, or a package's folder, within another folder."""
    places = [getattr(module, "__file__", None), *list(getattr(module, "__path__", None) or [])]
    place = next((Path(place) for place in places if isinstance(place, str)), None)
    return place.relative_to(folder) if place is not None and folder in place.parents else None


def _refuse_other_arguments(found: Any, name: str) -> None:
    """UsageError for a function that tokens alone do not call."""
    try:
        signature = inspect.signature(getattr(found, "forward", found))
    except (TypeError, ValueError):  # of a function that is not written in Python
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise UsageError(
            f"{name}{signature} cannot be called with one argument ({error}); expected a function of tokens"
            " [task, token, feature] alone"
        ) from error
