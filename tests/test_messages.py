"""Messages outside the commands speak in terms of Python: they name no option of a command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "norsim"
OPTION = re.compile(r"(?<![\w-])--[a-z]")
# What is no message: options that norsim passes to programs, and the command lines that reports and pages show.
EXCEPTIONS = {
    "report/page.py": {
        "--", "--backend", "--by", "--chip", "--data", "--dataset", "--encoding", "--images", "--model", "--network",
        "--seed", "--set", "--trust-cell", "--trust-model",
    },
    "validation/page.py": {"norsim validate --row guo-drift --page validation.md"},
    "spice/simulators/running.py": {"--pdeathsig"},
    "spice/simulators/vacask.py": {"--tomlfile"},
    "spice/simulators/ngspice.py": {"--version", " does not answer --version as ngspice does. Reinstall ngspice"},
}  # fmt: skip


def texts(tree: ast.Module) -> Iterator[str]:
    """All strings of a module and the constant parts of its f-strings, except docstrings, also of attributes."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def options_in(text: str) -> list[str]:
    """The strings of a module that mention an option."""
    return [found for found in texts(ast.parse(text)) if OPTION.search(found)]


def test_no_message_outside_the_commands_names_an_option() -> None:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith("commands/"):
            found[name] = [text for text in options_in(path.read_text()) if text not in EXCEPTIONS.get(name, ())]
    assert len(found) > 150
    assert {name: options for name, options in found.items() if options} == {}


def test_every_exception_is_still_needed() -> None:
    for name, allowed in EXCEPTIONS.items():
        assert set(options_in((PACKAGE / name).read_text())) >= allowed - {"--"}, name


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("raise ValueError('use --seed 3')", True),
        ("raise ValueError(f'{x}: give {y} or --data DIR')", True),
        ("HELP = 'with --data'\ndef f():\n    raise ValueError(HELP)", True),
        ("'''A module about --seed.'''\ndef f():\n    '''As --data does.'''", False),
        ("raise ValueError('ngspice -b, a--b, ---- and 3 --')", False),
    ],
)
def test_options_are_seen_in_messages(text: str, seen: bool) -> None:
    assert bool(options_in(text)) is seen
