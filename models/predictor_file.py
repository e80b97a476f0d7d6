"""A predictor in a file of the user's, as a subject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .opening.catalogue import PREDICTOR_FILE
from .predictor_code import LoadedCode, PredictorCode, PredictorFailedError
from .regressors import PredictorRegressor
from .subject import Source
from .token_layout import TokenLayout
from .weights import weights_sha256


class FilePredictor(nn.Module):
    """A function or module of a user's file. What its code raises is told in one line, with the file and the line."""

    predict: Callable[[Tensor], Any]

    def __init__(self, loaded: LoadedCode) -> None:
        super().__init__()
        self.loaded = loaded
        self.predict = loaded.predictor
        if not isinstance(loaded.predictor, nn.Module):  # which has no dtype and no device of its own
            self.example = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, tokens: Float[Tensor, "task position width"]) -> Any:
        try:
            with self.loaded.running():
                return self.predict(tokens)
        except (Exception, SystemExit) as error:
            code, dtype = self.loaded.code, str(tokens.dtype).removeprefix("torch.")
            raise PredictorFailedError(
                f"predictor {code.path}:{code.function}: {self.loaded.told(error)}; it was given {dtype} tokens shaped"
                f" {list(tokens.shape)}, [task, token, feature]"
            ) from error


def from_predictor_file(
    predictor: str | PredictorCode,
    layout: TokenLayout,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> PredictorRegressor:
    """Run a file of yours, and wrap the function or the `nn.Module` that it calls by this name as a subject, as
    `from_predictor` does. The report knows it by the SHA-256 of the file, of the modules that it imports from its own
    folder, and of a module's state dict.

    predictor:  "FILE.py:function"
    dtype:      of its tokens; of a module also that of its weights. Default: the module's own, or float32

    Raises UsageError, in one line, for a file that cannot be run or lacks the function.
    """
    code = PredictorCode.named(predictor) if isinstance(predictor, str) else predictor
    loaded = LoadedCode(code)
    source = Source(
        name=code.label,
        layout=PREDICTOR_FILE,
        path=code.path,
        weights_sha256=_state_sha256(loaded.predictor),
        facts={
            **{name: value for name, value in asdict(layout).items() if value is not None},
            "function": code.function,
            "file_sha256": code.sha256,
            "beside_sha256": loaded.beside,
        },
        notes=(_note(loaded),),
    )
    return PredictorRegressor(FilePredictor(loaded).to(device=device, dtype=dtype), layout, source)


def _state_sha256(predictor: Any) -> str | None:
    return weights_sha256(predictor.state_dict()) if isinstance(predictor, nn.Module) else None


def _note(loaded: LoadedCode) -> str:
    """What the digests cover, and what they do not."""
    files = [loaded.code.name, *loaded.beside]
    files += [f"the state dict of {loaded.code.function}"] if isinstance(loaded.predictor, nn.Module) else []
    covered = " and ".join([", ".join(files[:-1]), files[-1]] if files[1:] else files)
    return f"the report has the SHA-256 of {covered}; what this code reads, or imports from elsewhere, has none"
