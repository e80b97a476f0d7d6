"""The browser that pages of reports are looked at with."""

from __future__ import annotations

from ..reports.conftest import browser

__all__ = ["browser"]
