"""What is run for the page of results: which network, on which chip, how."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from norsim.paths import models_folder

ATTRIBUTED_IMAGES = 1000
UNFITTED = ("--set", "calibration.column_fit=false")
# ngspice takes minutes for one read of a full linear-pair tile. Without the fit of columns the circuit is that of the
# run with it, so that fewer reads need be solved again.
PROOF = {
    ("bit-serial", True): "12",
    ("bit-serial", False): "4",
    ("linear-pair", True): "4",
    ("linear-pair", False): "1",
}


@dataclass(frozen=True)
class Case:
    """One run of a norsim command; `name` is its folder's and says what is special about it.

    `command`   and its `options`, as on a command line
    `program`   what Python is called with before these
    """

    name: str
    network: str
    command: str
    options: tuple[str, ...]
    program: tuple[str, ...] = ("-c", "from norsim.commands import main; main()")

    def run(self, root: Path, data: Path | None) -> dict[str, Any]:
        """The run's summary.json; a run that has finished before is not made again.

        Raises SystemExit with the command line where it fails.
        """
        folder = root / self.network / self.name
        if not (folder / "summary.json").is_file():
            where = ("--data", str(data)) if data and card(self.network)["dataset"] != "digits" else ()
            line = ["--network", self.network, *where, *self.options, "--out", str(folder), "--quiet"]
            print(f"norsim {self.command} {' '.join(line)}", file=sys.stderr, flush=True)
            ended = subprocess.run(
                [sys.executable, *self.program, self.command, *line], stdout=subprocess.DEVNULL, check=False
            )
            if ended.returncode:
                raise SystemExit(f"norsim {self.command} ended with code {ended.returncode}; start again to go on")
        found: dict[str, Any] = {"folder": folder}
        for name in ("timing.json", "summary.json"):
            found |= json.loads((folder / name).read_text())
        return found


def card(network: str) -> dict[str, Any]:
    """The card of a shipped network."""
    found: dict[str, Any] = json.loads((models_folder() / "networks" / network / "card.json").read_text())
    return found


def networks() -> list[str]:
    """The shipped networks, those for small images first."""
    names = [path.parent.name for path in (models_folder() / "networks").glob("*/card.json")]
    return sorted(names, key=lambda name: (card(name)["dataset"] != "digits", name))


def evaluations(network: str) -> list[Case]:
    """On the default chip in both encodings and on the stress chip, each with and without the columns' fit."""
    chips = [("etox65", "bit-serial"), ("etox65", "linear-pair"), ("etox65-stress", "bit-serial")]
    return [
        Case(
            f"{chip}-{encoding}{'' if fitted else '-unfitted'}", network, "eval-network",
            ("--chip", chip, "--encoding", encoding, "--spice-sample", PROOF[encoding, fitted],
             *(() if fitted else UNFITTED)),
        )
        for chip, encoding in chips
        for fitted in (True, False)
    ]  # fmt: skip


def timings(network: str) -> list[Case]:
    """The evaluation against a plain float one in the same process, for networks that take long enough."""
    if card(network)["dataset"] == "digits":
        return []
    return [Case("speed", network, "eval-network", (), ("-m", "results.speed"))]


def cases(network: str) -> list[Case]:
    """All of a network's."""
    return evaluations(network) + timings(network) + attributions(network)


def attributions(network: str) -> list[Case]:
    """By cause in both encodings, and by layer in the default one, on the first images."""
    images = ("--images", str(min(ATTRIBUTED_IMAGES, card(network)["test_images"])))
    return [
        Case("causes-bit-serial", network, "attribute", ("--encoding", "bit-serial", *images)),
        Case("causes-linear-pair", network, "attribute", ("--encoding", "linear-pair", *images)),
        Case("layers-bit-serial", network, "attribute", ("--by", "layers", "--encoding", "bit-serial", *images)),
    ]
