"""What is run for the page of results: which network, on which chip, how."""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from norsim.files import write_text
from norsim.jobs.unit_store import code_digest
from norsim.paths import models_folder, netlists_folder

ROOT = Path(__file__).resolve().parents[1]
ATTRIBUTED_IMAGES = 500
ENERGY = "energy"
UNFITTED = ("--set", "calibration.column_fit=false")
# ngspice takes minutes for one read of a full linear-pair tile, so the time of the proof is limited. Without the fit of
# columns the circuit is that of the run with it, so that fewer reads need be solved again, and no images.
PROOF = {
    ("bit-serial", True): ("--spice-sample", "59", "--proof-images", "300"),
    ("bit-serial", False): ("--spice-sample", "4", "--proof-images", "0"),
    ("linear-pair", True): ("--spice-sample", "4", "--proof-images", "300", "--proof-seconds", "3600"),
    ("linear-pair", False): ("--spice-sample", "1", "--proof-images", "0", "--proof-seconds", "600"),
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
        """The run's summary.json; a run that has finished before is not made again, unless its command line, norsim's
        code, the network or a chip has changed since, as a record beside its folder says.

        Raises SystemExit with the command line where it fails.
        """
        folder = root / self.network / self.name
        where = ("--data", str(data)) if data and card(self.network)["dataset"] != "digits" else ()
        line = ["--network", self.network, *where, *self.options, "--out", str(folder), "--quiet", "--overwrite"]
        record = folder.with_name(f"{self.name}.made-by.json")
        made_by = json.dumps({"command": [*self.program, self.command, *line], **inputs(self.network)}, indent=1) + "\n"
        same = record.is_file() and record.read_text() == made_by
        if not same or not (folder / "summary.json").is_file():
            record.unlink(missing_ok=True)
            print(f"norsim {self.command} {' '.join(line)}", file=sys.stderr, flush=True)
            ended = subprocess.run(
                [sys.executable, *self.program, self.command, *line], stdout=subprocess.DEVNULL, check=False
            )
            if ended.returncode:
                raise SystemExit(f"norsim {self.command} ended with code {ended.returncode}; start again to go on")
            write_text(record, made_by)
        found: dict[str, Any] = {"folder": folder}
        for name in ("timing.json", "summary.json"):
            found |= json.loads((folder / name).read_text())
        return found


def inputs(network: str) -> dict[str, str]:
    """What a run depends on beside its command line: SHA-256 of norsim's code, of its chips, and of the weights."""
    folders = (models_folder() / "chips", models_folder() / "devices", netlists_folder())
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    chips = hashlib.sha256(b"\0".join(part for path in files for part in (path.name.encode(), path.read_bytes())))
    return {"code": code_digest(), "chips": chips.hexdigest(), "weights": card(network)["weights_sha256"]}


def card(network: str) -> dict[str, Any]:
    """The card of a shipped network."""
    found: dict[str, Any] = json.loads((models_folder() / "networks" / network / "card.json").read_text())
    return found


def networks() -> list[str]:
    """The shipped networks, those for small images first."""
    names = [path.parent.name for path in (models_folder() / "networks").glob("*/card.json")]
    return sorted(names, key=lambda name: (card(name)["dataset"] != "digits", name))


def options(program: str, about: str | None, page: str) -> argparse.ArgumentParser:
    """The options of a program that makes runs and writes a `page` of docs/ from them."""
    parser = argparse.ArgumentParser(prog=program, description=about)
    parser.add_argument("--data", type=Path, help="folder of CIFAR-10, for the networks that need it")
    parser.add_argument("--networks", nargs="*", default=networks(), help="shipped networks; all by default")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "results", help="where the runs are kept")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / page, help="the page to write")
    return parser


def evaluations(network: str) -> list[Case]:
    """On the default chip in both encodings and on the stress chip, each with and without the columns' fit."""
    chips = [("etox65", "bit-serial"), ("etox65", "linear-pair"), ("etox65-stress", "bit-serial")]
    return [
        Case(
            f"{chip}-{encoding}{'' if fitted else '-unfitted'}", network, "eval-network",
            ("--chip", chip, "--encoding", encoding, *PROOF[encoding, fitted], *(() if fitted else UNFITTED)),
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
    return [case for some in KINDS for case in some(network)]


def cures(network: str) -> list[Case]:
    """On the stress chip: what each cure regains, of all test images by itself and of the first ones with others."""
    if network != "resnet20":
        return []
    name = "etox65-stress-bit-serial"
    chip = ("--chip", "etox65-stress", "--encoding", "bit-serial")
    all_images = (*chip, *PROOF["bit-serial", True])
    images = ("--images", str(ATTRIBUTED_IMAGES))
    return [
        Case(f"{name}-in-place", network, "eval-network", (*all_images, "--set", "silicon.in_situ=true")),
        Case(f"{name}-levels", network, "eval-network", all_images, ("-m", "results.cured", "levels")),
        Case(f"{name}-tuned", network, "eval-network", all_images, ("-m", "results.cured", "tuned")),
        Case("cures-etox65-stress", network, "attribute", ("--by", "cures", *chip, *images)),
    ]


# Fewer chips leave the spread between them unknown: the 95 % interval of three is 0.5 to 6 times the estimate, that of
# ten 0.7 to 1.8 times.
CHIPS = ("--trials", "10")
SONOS = (
    "--set", "silicon.programming={scale: 19.887 nA, knee: 176.31 nA}",
    "--set", "silicon.aged={scale: 34.579 nA, knee: 207.34 nA, after: 5 day}",
    "--set", "silicon.mean_drift={shift: -48 nA, at: 1067 nA, power: 1.058, after: 5 day}",
)  # fmt: skip
SWEPT = {
    "spread": ("--vary", "silicon.drift_cell=0 mV,2 mV,5 mV,10 mV,20 mV", *CHIPS),
    # `sweep` fits the converters of these before ageing.
    "time": ("--vary", "silicon.time=0 s,1 hour,1 day,5 day", *CHIPS, *SONOS),
    "temperature": (
        "--vary", "temperature=0 degC,27 degC,55 degC,85 degC", "--vary", "silicon.tracking=false,true",
        "--set", "silicon.programmed_at=27 degC", "--set", "calibration.fresh=true",
    ),
    "converter": ("--vary", "adc.bits=3,4,5,6,8"),
    "wordline lag": ("--vary", "bit_serial.wordline_rise=20 ps,40 ps,60 ps,100 ps,200 ps"),
    "rows": ("--vary", "tile.wordlines=64,128,256,512"),
    "source line": ("--vary", "bit_serial.wires.source_line=5 ohm,20 ohm,50 ohm,150 ohm"),
    "bitline": ("--vary", "bit_serial.wires.bitline=0.4 ohm,1 ohm,2 ohm,4 ohm"),
}  # fmt: skip


def sweeps(network: str) -> list[Case]:
    """The accuracy over what silicon, converters and wires may be, on the first images."""
    if card(network)["dataset"] == "digits":
        return []
    common = ("--images", str(ATTRIBUTED_IMAGES), "--encoding", "bit-serial", "--spice-sample", "1")
    return [
        Case(f"sweep-{name.replace(' ', '-')}", network, "sweep", (*common, *swept)) for name, swept in SWEPT.items()
    ]


def energies(network: str) -> list[Case]:
    """Energy and time of an image, which follow from the calibration: few images say as much as all."""
    return [
        Case(f"{ENERGY}-{encoding}", network, "eval-network",
             ("--encoding", encoding, "--images", "20", "--spice-sample", "0", "--proof-images", "0"))
        for encoding in ("bit-serial", "linear-pair")
    ]  # fmt: skip


def attributions(network: str) -> list[Case]:
    """By cause in both encodings, and by layer in the default one, on the first images."""
    images = ("--images", str(min(ATTRIBUTED_IMAGES, card(network)["test_images"])))
    return [
        Case("causes-bit-serial", network, "attribute", ("--encoding", "bit-serial", *images)),
        Case("causes-linear-pair", network, "attribute", ("--encoding", "linear-pair", *images)),
        Case("layers-bit-serial", network, "attribute", ("--by", "layers", "--encoding", "bit-serial", *images)),
    ]


KINDS = (evaluations, timings, attributions, cures, sweeps, energies)
