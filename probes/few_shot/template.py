"""How an example is written: the text before its input, between input and output, and after the output."""

from __future__ import annotations

from dataclasses import dataclass

from ...data.errors import TaskError

TEMPLATE = "Q: {input}\nA: {output}\n\n"
_FIELDS = ("{input}", "{output}")
_SHELL = {"\\n": "\n", "\\t": "\t"}
"""What a shell leaves as two characters."""


@dataclass(frozen=True)
class Template:
    before: str
    between: str
    after: str

    @classmethod
    def of(cls, text: str) -> Template:
        """The template that a user writes. TaskError unless input and output stand in it once each, input first."""
        for written, meant in _SHELL.items():
            text = text.replace(written, meant)
        if any(text.count(field) != 1 for field in _FIELDS) or text.index(_FIELDS[0]) > text.index(_FIELDS[1]):
            raise TaskError(
                f"template = {text!r:.80}; expected {{input}} once and then {{output}} once, as in {TEMPLATE!r}"
            )
        before, rest = text.split(_FIELDS[0])
        between, after = rest.split(_FIELDS[1])
        return cls(before, between, after)

    def written(self, given: str, told: str) -> tuple[str, int]:
        """An example as text, and the character where its output begins.

        TaskError for an output with a blank of its own after that of the template.
        """
        if self.between[-1:].isspace() and told[:1].isspace():
            raise TaskError(
                f"the label {told!r:.60} begins with a blank, and so does the template have one before {{output}}:"
                f" {self.between + told!r:.80}; leave out one of the two"
            )
        ahead = self.before + given + self.between
        return ahead + told + self.after, len(ahead)
