"""What the guide shows on other libraries' objects (blocks fenced as `py`) runs, where the library is installed."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

# third parties' own
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
LIBRARIES = ("transformer_lens", "nnsight")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "induction-heads.md"
BLOCKS = re.findall(r"^```py\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def test_every_library_is_shown() -> None:
    assert len(BLOCKS) == len(LIBRARIES)


@pytest.mark.parametrize(("library", "block"), list(zip(LIBRARIES, BLOCKS, strict=True)), ids=LIBRARIES)
def test_a_block_runs(library: str, block: str, tmp_path: Path) -> None:
    pytest.importorskip(library)
    assert re.search(rf"^(import|from) {library}", block, flags=re.MULTILINE)
    script = tmp_path / "block.py"  # nnsight reads its own source
    script.write_text(block, encoding="utf-8")
    runpy.run_path(str(script))
