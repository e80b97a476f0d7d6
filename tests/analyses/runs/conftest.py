"""A small model, and a text for it, as several files of tests read them."""

from __future__ import annotations

import pytest
from mesascope.models import AttentionOnlyModel

from .readers import small_model, text_file


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return text_file(tmp_path_factory.mktemp("text"))


@pytest.fixture
def subject() -> AttentionOnlyModel:
    return small_model()
