"""What files say is shown as plain text, whatever they say."""

from __future__ import annotations

import pytest
from mesascope.analyses.commands.terminal import number, print_claim, print_table, printable, sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain – η ≥ 1, 数", "plain – η ≥ 1, 数"),
        ("\x1b[31mred\x07", "[31mred"),
        ("name\u202egnp.exe", "namegnp.exe"),
        ("a\u2066b\u2069\u200f\u200bc\x9b2J", "abc2J"),
        ("line\nline\r\n", "line\nline\n"),
    ],
)
def test_what_steers_a_terminal_is_dropped(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_a_table_shows_brackets_and_escapes_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("[bold]t[/bold]", [{"name": "[red]x[/red]\x1b[2J", "n": 3, "share": 0.123456}])
    text = capsys.readouterr().out
    assert "[bold]t[/bold]" in text
    assert "[red]x[/red][2J" in text
    assert "0.1235" in text
    assert "\x1b" not in text


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("checkpoints", [])
    assert "(none)" in capsys.readouterr().out


def test_a_card_of_short_sentences_says_the_claim_in_five_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesascope.analyses.commands.terminal.width", lambda: 80)
    claim = {
        "found": "Closest candidate: 1 step of gradient descent (prediction difference 0.020).",
        "rival": "Next: 2 steps of gradient descent (0.125); the gap is 0.105 (95 % CI 0.101 to 0.109).",
        "evidence": "5 seeds, 1,000 tasks each.",
        "limits": [],
    }
    print_claim("gd-alignment on lsa-1layer", claim)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert len(lines) - 3 <= 5, "beside the title, the empty limits and the last line"
    assert all(len(line) <= 80 for line in lines)


def test_sentences_end_once() -> None:
    assert [sentence(text) for text in ("a", "a.", "a?")] == ["a.", "a.", "a?"]


def test_a_claim_card_shows_its_limits(capsys: pytest.CaptureFixture[str]) -> None:
    claim = {
        "found": "closest is GD",
        "rival": "ridge, by .1",
        "evidence": "10 tasks",
        "limits": ["not this", "nor that"],
    }
    print_claim("probe on model", claim)
    text = capsys.readouterr().out
    assert all(label in text for label in ("Found", "Compared with", "Evidence", "Does not show"))
    assert all(part in text for part in ("closest is GD", "ridge, by .1", "10 tasks", "• not this", "• nor"))


@pytest.mark.parametrize(
    ("value", "expected"), [(0.123456, "0.1235"), (-0.0, "0"), (float("nan"), "undefined"), (12345678.0, "1.235e+07")]
)
def test_numbers_have_four_digits_and_no_negative_zero(value: float, expected: str) -> None:
    assert number(value) == expected


def test_a_long_list_is_cut_in_the_middle(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("steps", [{"name": "a", "steps": list(range(100, 200))}])
    assert "100, 101, …, 199 (100)" in capsys.readouterr().out
