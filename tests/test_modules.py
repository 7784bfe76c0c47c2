"""Modules stay small; the docstring of a long one states the reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 300
REASON = "Longer than 300 lines because "


def without_reason(path: Path) -> bool:
    """Return whether a module is long and its docstring states no reason."""
    text = path.read_text()
    docstring = " ".join((ast.get_docstring(ast.parse(text)) or "").split())
    return len(text.splitlines()) > LONGEST and len(docstring.partition(REASON)[2]) < 20


def test_a_long_module_states_the_reason() -> None:
    modules = sorted((ROOT / "norsim").rglob("*.py"))
    assert len(modules) > 100
    assert [str(path) for path in modules if without_reason(path)] == []


@pytest.mark.parametrize(
    ("docstring", "lines", "detected"),
    [
        ("What it is.", LONGEST, False),
        ("What it is.", LONGEST + 1, True),
        ("What it is.\n\nLonger than 300 lines because", LONGEST + 1, True),
        ("What it is.\n\nLonger than 300\nlines because its parts are compiled together.", LONGEST + 1, False),
    ],
)
def test_long_modules_are_detected(tmp_path: Path, docstring: str, lines: int, detected: bool) -> None:
    path = tmp_path / "module.py"
    text = f'"""{docstring}\n"""\n'
    path.write_text(text + "x = 1\n" * (lines - text.count("\n")))
    assert without_reason(path) is detected
