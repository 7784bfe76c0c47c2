"""Run commands in this process, so that torch is imported only once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from norsim.backends import programming
from norsim.commands import cli, main
from norsim.data import load
from norsim.data.tensors import images_tensor
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


LINEAR = """
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture(scope="session")
def linear_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network folder of a trained linear classifier of digits: one tile. Its code must be trusted."""
    place = tmp_path_factory.mktemp("linear-digits")
    (place / "nets.py").write_text(LINEAR)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    train = load("digits", "train")
    images, labels = images_tensor(train), torch.from_numpy(train.labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    torch.save(network.state_dict(), place / "weights.pt")
    cli.main(
        ["eval-network", "--model", f"{place}/nets.py:make", "--weights", f"{place}/weights.pt", "--dataset", "digits",
         "--images", "2", "--backend", "ideal", "--quiet", "--json", "--no-cache", "--out", f"{place}/run"],
        standalone_mode=False,
    )  # fmt: skip
    return place / "run" / "network"


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
