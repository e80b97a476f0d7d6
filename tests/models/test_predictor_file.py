"""Predictors in a user's file, as subjects: as those in memory, and known by their code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mesascope.data.errors import UsageError
from mesascope.models import NotApplicable, Regressor, TokenLayout, from_predictor, from_predictor_file
from mesascope.models.predictor_check import check_predictor
from mesascope.models.weights import weights_sha256
from torch import Tensor, nn

TEXT = """
import torch
from torch import nn

def gd(tokens):
    x, y, query = tokens[:, :-1, :-1], tokens[:, :-1, -1], tokens[:, -1, :-1]
    return torch.einsum("td,tnd,tn->t", query, x, y) / x.shape[1]

class Net(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor([rate], dtype=torch.float64))
    def forward(self, tokens):
        return self.rate * gd(tokens)

net = Net(0.5)

def failing(tokens):
    raise IndexError("no such\\nplace")

def leaving(tokens):
    raise SystemExit(3)

def numpy(tokens):
    return torch.from_numpy(tokens.numpy()[:, -1, 0])

def dtypes(tokens):
    return torch.full((len(tokens),), torch.finfo(tokens.dtype).bits, dtype=tokens.dtype)

def nothing(tokens):
    return None

def nan(tokens):
    return tokens[:, -1, 0] * torch.nan
"""
LAYOUT = TokenLayout(d_in=3)


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(TEXT)
    return str(tmp_path / "mine.py")


def gd(tokens: Tensor) -> Tensor:
    x, y, query = tokens[:, :-1, :-1], tokens[:, :-1, -1], tokens[:, -1, :-1]
    return torch.einsum("td,tnd,tn->t", query, x, y) / x.shape[1]


def test_it_predicts_as_the_same_function_in_memory(file: str) -> None:
    inputs = torch.randn(5, 7, 4, requires_grad=True)
    subject, other = from_predictor_file(f"{file}:gd", LAYOUT), from_predictor(gd, LAYOUT)
    assert isinstance(subject, Regressor)
    assert isinstance(subject.weights(), NotApplicable)
    found, expected = (torch.autograd.grad(one.predict(inputs).sum(), inputs)[0] for one in (subject, other))
    assert torch.equal(subject.predict(inputs), other.predict(inputs))
    assert torch.equal(found, expected)


def test_its_record(file: str) -> None:
    source = from_predictor_file(f"{file}:gd", LAYOUT).source
    assert (source.name, source.label, source.path) == ("mine.gd", "mine.gd", file)
    assert (source.layout, source.weights_sha256) == ("predictor-file", None)
    digest = source.facts["file_sha256"]
    assert source.facts == {"d_in": 3, "d_out": 1, "function": "gd", "file_sha256": digest, "beside_sha256": {}}
    assert len(digest) == 64
    (note,) = source.notes
    assert note == "the report has the SHA-256 of mine.py; what this code reads, or imports from elsewhere, has none"


def test_a_module_is_known_by_its_state_too(file: str) -> None:
    subject = from_predictor_file(f"{file}:net", LAYOUT)
    state = {"rate": torch.tensor([0.5], dtype=torch.float64)}
    assert subject.source.weights_sha256 == weights_sha256(state)
    assert subject.dtype == torch.float64
    assert "the SHA-256 of mine.py and the state dict of net; what" in subject.source.notes[0]
    narrow = from_predictor_file(f"{file}:net", LAYOUT, dtype=torch.float32)
    assert narrow.dtype == torch.float32
    assert narrow.source == subject.source
    assert isinstance(narrow.function, nn.Module)


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float64])
def test_a_function_computes_in_the_precision_that_is_asked_for(file: str, dtype: torch.dtype | None) -> None:
    subject = from_predictor_file(f"{file}:dtypes", LAYOUT, dtype=dtype)
    assert subject.dtype == (dtype or torch.float32)
    assert subject.predict(torch.zeros(1, 2, 4, dtype=subject.dtype)).item() == torch.finfo(subject.dtype).bits


def test_what_it_raises_in_one_line(file: str) -> None:
    subject = from_predictor_file(f"{file}:failing", LAYOUT)
    with pytest.raises(UsageError) as caught:
        subject.predict(torch.zeros(5, 7, 4))
    line = TEXT.splitlines().index('    raise IndexError("no such\\nplace")') + 1
    assert str(caught.value) == (
        f"predictor {file}:failing: mine.py, line {line}: IndexError: no such place; it was given float32 tokens shaped"
        " [5, 7, 4], [task, token, feature]"
    )
    with pytest.raises(UsageError, match="SystemExit: 3"):
        from_predictor_file(f"{file}:leaving", LAYOUT).predict(torch.zeros(5, 7, 4))


def test_asked_for_a_gradient_numpy_fails_as_it_does_in_memory(file: str) -> None:
    """Probes then say that it has none."""
    subject = from_predictor_file(f"{file}:numpy", LAYOUT)
    assert subject.predict(torch.ones(5, 7, 4)).shape == (5, 1)
    with pytest.raises(RuntimeError, match=r"\.detach"):
        subject.predict(torch.ones(5, 7, 4, requires_grad=True))


def test_wrong_answers_are_refused_as_of_any_predictor(file: str) -> None:
    with pytest.raises(UsageError, match="returned a NoneType"):
        from_predictor_file(f"{file}:nothing", LAYOUT).predict(torch.zeros(2, 3, 4))
    nan = from_predictor_file(f"{file}:nan", LAYOUT)
    with pytest.raises(UsageError, match=r"mine\.nan: the predictor returned \[nan\] for task 0"):
        check_predictor(nan.predict, torch.zeros(2, 3, 4), nan.source.label)
