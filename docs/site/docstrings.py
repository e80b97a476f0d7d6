"""Docstrings of this package as Markdown, before the reference shows them: an extension of griffe."""

from __future__ import annotations

from typing import Any

import markup
from griffe import Extension, Object


class Docstrings(Extension):
    def on_instance(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markup.of_docstring(obj.docstring.value)
