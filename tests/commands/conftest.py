"""Run commands in this process, so that torch is imported only once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from norsim.backends import programming
from norsim.commands import main
from norsim.spice.simulators import ngspice


@dataclass(frozen=True)
class Ended:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as JSON; fails if there is anything else on it."""
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def norsim(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command line: `norsim("doctor", "--json")`."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["norsim", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Return a function that makes a path the ngspice program until the test ends: `simulator(path)`."""

    def forget() -> None:
        ngspice.find_ngspice.cache_clear()
        ngspice.version_line.cache_clear()
        programming.program_levels.cache_clear()

    def use(path: object) -> None:
        monkeypatch.setenv(ngspice.EXECUTABLE_VARIABLE, str(path))
        forget()

    yield use
    forget()
